"""`chkpt ps`: which machines run, and what they are doing."""

import json
import os
import re
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.cli.commands import ps as command
from chkpt.errors import ChkptError
from chkpt.service import directory
from chkpt.service.http import connections
from tests.support.processes import chkpt, running
from tests.support.served import COM1, launch, serving


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
        outcome = chkpt(capsys, "ps")
        row = outcome.out.splitlines()[1]
        assert row.split() == ["stuck", "?", "no", "answer", "?", "?", "?", "?", "?"]
        assert outcome.err == "chkpt: stuck: machine stuck does not answer\n"
        (found,) = json.loads(chkpt(capsys, "ps", "--json").out)
        assert found == {"name": "stuck", "answers": False, "reason": "machine stuck does not answer"}
    stuck.remove()


def test_machine_with_too_many_clients_does_not_hide_the_others(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    reason = "2 clients are connected already; try again later"
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(serving(launch(name=name))) for name in "abc")
        taken = [stack.enter_context(sockets.connect(b.path / "api.sock")) for _ in range(2)]
        for stream in taken:  # b has seen both once it answers
            stream.sendall(b"GET /v1/machine HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.recv(1)
        outcome = chkpt(capsys, "ps")
        found = json.loads(chkpt(capsys, "ps", "--json").out)
        for stream in taken:
            stream.close()
        while True:  # until b has seen that they are gone
            with suppress(ChkptError):
                b.machine()
                break
    assert outcome.status == 0
    states = [line.split()[0:3:2] for line in outcome.out.splitlines()[1:]]
    assert states == [[a.name, "running"], [b.name, "refuses"], [c.name, "running"]]
    assert outcome.err == f"chkpt: b: {reason}\n"
    assert [each["answers"] for each in found] == [True, False, True]
    assert found[1] == {"name": "b", "answers": False, "reason": reason}


def test_path_of_a_pseudo_terminal_is_in_the_line_of_run_in_ps_and_in_json(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running("--name", "t", "--char", "com1=pty") as machine:
        found = re.fullmatch(r"machine t is running, .*/t/api\.sock, com1 is (/dev/pts/\d+)\n", machine.ready)
        assert found is not None, machine.ready
        path = found[1]
        assert stat.S_ISCHR(os.stat(path).st_mode)  # noqa: PTH116
        (row,) = chkpt(capsys, "ps").out.splitlines()[1:]
        assert row.endswith(f"  pic, pit, com1, ide0; com1 is {path}")
        (info,) = json.loads(chkpt(capsys, "ps", "--json").out)
        assert info["terminals"] == {"com1": path}
        machine.end()
    with running("--name", "n", "--char", "com1=null", "--json") as machine:
        assert json.loads(machine.ready)["terminals"] == {}
        machine.end()
