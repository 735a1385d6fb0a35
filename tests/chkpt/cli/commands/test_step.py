"""`chkpt step`, and how `chkpt ps` shows a processor."""

import json
import re
from pathlib import Path

import pytest

from chkpt.machine.config import parse
from chkpt.service.http.client import find
from chkpt.service.launch import Launch
from tests.guests import shell_table
from tests.support.processes import chkpt, refused
from tests.support.served import COM1, launch, serving


def test_steps_and_what_ps_says(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Launch(parse(shell_table()), paused=True)):
        first = chkpt(capsys, "step")
        assert re.fullmatch(r"machine m is at 0\.000000\d{3} s, tick \d+, active at f000:f[0-9a-f]+\n", first.out)
        reply = json.loads(chkpt(capsys, "step", "1000", "--json").out)
        assert reply["outcome"] == "enough"
        assert reply["machine"]["cpu"]["ticks"] >= 1000
        assert chkpt(capsys, "step", "--blocks", "2").status == 0
        assert "machine m is at 0.05" in chkpt(capsys, "step", "--ns", "50000000").out
        row = chkpt(capsys, "ps").out.splitlines()[1]
        assert re.fullmatch(r"m +\d+ +paused +0\.05\d+ s +\d+ +halted +-.*", row)


def test_a_machine_that_stands_still(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Launch(parse(shell_table()))) as machine:
        with machine.console("com1") as stream:
            stream.sendall(b"d")
            seen = b""
            while b"bye" not in seen:
                seen += stream.recv(100)
        machine.pause()
        message = refused(chkpt(capsys, "step", "5"), 1)
        assert re.fullmatch(r"machine m stopped at tick \d+: halted with interrupts off", message)
        assert "halted with interrupts off" in chkpt(capsys, "ps").out
        machine.reset()
        assert find("m").step()["outcome"] == "enough"


def test_what_cannot_be_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch(COM1, paused=True)) as machine:
        assert chkpt(capsys, "step", "--ns", "5").out == "machine m is at 0.000000005 s\n"
        assert "has no CPU to run" in refused(chkpt(capsys, "step"), 2)
        assert refused(chkpt(capsys, "step", "5", "--ns", "5"), 2) == "give ticks, --blocks or --ns, not two of them"
        machine.resume()
        assert "pause it before a step" in refused(chkpt(capsys, "step", "--ns", "5"), 2)
    for bad in ("0", "x"):
        assert chkpt(capsys, "step", bad).status == 2
