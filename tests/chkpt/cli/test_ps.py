"""`chkpt ps`: which machines run, and what they are doing."""

import json
import re
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.cli import ps as command
from chkpt.service import directory
from tests.chkpt.cli.processes import chkpt
from tests.chkpt.service.served import COM1, launch, serving


def test_no_machine_is_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = chkpt(capsys, "ps")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert json.loads(chkpt(capsys, "ps", "--json").out) == []


def test_machines_in_columns_and_in_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch(name="a")), serving(launch(COM1, name="beta", paused=True)) as beta:
        head, *rows = chkpt(capsys, "ps").out.splitlines()
        assert head.split() == ["NAME", "PROCESS", "STATE", "CLOCK", "TICKS", "CPU", "QTEST", "DEVICES"]
        assert re.fullmatch(r"a     +\d+ +running +\d+\.\d{9} s +-      -    -      pic, pit, com1, ide0", rows[0])
        assert re.fullmatch(r"beta  +\d+ +paused  +0\.000000000 s +-      -    -      com1", rows[1])
        found = json.loads(chkpt(capsys, "ps", "--json").out)
        assert [each["name"] for each in found] == ["a", "beta"]
        assert found[1] == {**beta.machine(), "answers": True}


def test_machine_that_does_not_answer(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "PATIENCE", 0.05)
    stuck = directory.claim("stuck")
    with sockets.listen(stuck.path / "api.sock"):
        row = chkpt(capsys, "ps").out.splitlines()[1]
        assert row.split() == ["stuck", "?", "no", "answer", "?", "?", "?", "?", "?"]
        assert json.loads(chkpt(capsys, "ps", "--json").out) == [{"name": "stuck", "answers": False}]
    stuck.remove()
