"""`chkpt pause`, `resume`, `reset`, `stop`."""

import json
from pathlib import Path

import pytest

from chkpt.service import directory
from chkpt.service.http import client
from tests.support.processes import chkpt, refused
from tests.support.served import launch, serving


def test_pause_resume_reset_stop(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch()) as machine:
        assert chkpt(capsys, "pause").out == "paused machine m\n"
        assert machine.machine()["paused"] is True
        assert chkpt(capsys, "reset").out == "reset machine m\n"
        assert machine.machine()["paused"] is True
        assert chkpt(capsys, "resume").out == "resumed machine m\n"
        assert machine.machine()["paused"] is False
        for command, paused in (("pause", True), ("reset", True), ("resume", False)):
            info = json.loads(chkpt(capsys, command, "-m", "m", "--json").out)
            assert (info["name"], info["paused"]) == ("m", paused)
        assert chkpt(capsys, "stop").out == "stopped machine m\n"
        assert not machine.path.exists()
    with serving(launch()):
        assert json.loads(chkpt(capsys, "stop", "--json").out) == {"name": "m"}


@pytest.mark.parametrize("command", ["pause", "resume", "reset", "stop", "console"])
def test_machine_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert refused(chkpt(capsys, command), 5) == "no machine is running; start one with chkpt run"
    with serving(launch(name="a")), serving(launch(name="b")):
        assert "several machines are running: a, b" in refused(chkpt(capsys, command), 5)
        assert "no machine c is running" in refused(chkpt(capsys, command, "-m", "c"), 5)


def test_machine_that_is_starting_is_not_one_that_has_ended(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    claimed = directory.claim("m")
    for command in ("pause", "save", "stop"):
        said = refused(chkpt(capsys, command), 5)
        assert said == "machine m is starting, or ending, and does not answer; try again"
    claimed.remove()


def test_machine_that_ends_between_finding_and_asking(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(directory, "running", lambda: {"m": home / "gone"})
    for command in ("pause", "save", "stop"):
        assert refused(chkpt(capsys, command), 5) == "machine m has ended"


def test_machine_that_never_ends_is_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(launch()), monkeypatch.context() as patch:
        patch.setattr(client, "END_SECONDS", 0)
        patch.setattr(directory, "is_over", lambda _: False)
        message = refused(chkpt(capsys, "stop"), 1)
        assert "still runs" in message
