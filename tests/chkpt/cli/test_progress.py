"""The bar while a machine saves or loads."""

import os
import pty
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from chkpt.cli import progress
from chkpt.cli.progress import call_with_bar
from chkpt.context import Checkpoint
from chkpt.errors import NoMachineError
from chkpt.machine import Machine
from chkpt.service.api.messages import MachineInfo
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient, find
from chkpt.snapshot import dumps
from tests.support.processes import PATIENCE, chkpt
from tests.support.served import COM1, launch, serving


class Slow(MachineClient):
    """A machine in the middle of a save."""

    def __init__(self) -> None:
        super().__init__("slow", Path("nowhere"))
        self.asked = threading.Event()

    def machine(self, timeout: float | None = None) -> MachineInfo:
        self.asked.set()
        work = [{"what": "save", "done": 3 << 20, "total": 10 << 20}]
        return {"work": work}  # type: ignore[typeddict-item]  # nothing else is looked at


@contextmanager
def terminal() -> Iterator[bytearray]:
    """Let stderr be a terminal; yield what it shows. Not a fixture: pytest takes stderr back between the phases."""
    master, slave = pty.openpty()
    seen = bytearray()

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(master, 4096):
                seen.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "100")
        patch.setattr(sys, "stderr", stream)
        yield seen
    reader.join()
    os.close(master)


def test_a_bar_is_shown_on_a_terminal_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER", 0.0)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with terminal() as seen:

        def text() -> bytes:
            return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", bytes(seen))

        def save() -> str:
            end = time.monotonic() + PATIENCE
            while b"3.0/10.0 MiB" not in text() and time.monotonic() < end:
                time.sleep(0.01)
            return "saved"

        assert call_with_bar(Slow(), "save", save, quiet=False) == "saved"
        assert b"save slow" in text()
        assert b"3.0/10.0 MiB" in text()


def test_an_error_comes_through_and_the_bar_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER", 0.0)

    def save() -> None:
        raise ValueError("no room")

    with terminal():
        before = {*threading.enumerate()}
        with pytest.raises(ValueError, match="no room"):
            call_with_bar(Slow(), "save", save, quiet=False)
        assert {*threading.enumerate()} <= before


def test_nothing_is_shown_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER", 0.0)
    machine = Slow()
    with terminal() as seen:
        assert call_with_bar(machine, "save", lambda: machine.asked.wait(0.3), quiet=True) is False
    assert seen == b""
    assert call_with_bar(machine, "save", lambda: machine.asked.wait(0.3), quiet=False) is False


def test_a_save_that_is_done_at_once_shows_nothing_and_loads_no_rich(home: Path) -> None:
    with serving(launch(COM1)) as machine, terminal() as seen, pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "rich.progress", None)
        call_with_bar(machine, "save", lambda: machine.save(SaveRequest(str(home / "a.zst"))), quiet=False)
    assert seen == b""


def test_a_machine_that_does_not_answer_has_a_bar_without_an_end(home: Path) -> None:
    with serving(launch(COM1)) as machine:
        assert progress._ask_machine(machine, "save") == (0, 0)
    assert progress._ask_machine(machine, "save") == (0, 0)


# -- the command's own work -------------------------------------------------------------------------------------------


def text(seen: bytearray) -> bytes:
    """Return what a terminal shows, without its control sequences."""
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", bytes(seen))


@pytest.fixture
def boot(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot in the store of a machine whose RAM is not empty; every bar is shown at once."""
    monkeypatch.setattr(progress, "AFTER", 0.0)
    machine = Machine()
    machine.memory.write(0, b"a guest")
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    machine.close()
    (home / "snapshots").mkdir()
    path = home / "snapshots" / "boot.zst"
    path.write_bytes(dumps(checkpoint))
    return path


def test_bar_shows_how_far_it_is_and_hides_again_whatever_ends_it(boot: Path) -> None:
    def count() -> None:
        with progress.bar("count [b]x", quiet=False) as show:
            show(3 << 20, 10 << 20)
            raise ValueError("stop")

    with terminal() as seen, pytest.raises(ValueError, match="stop"):
        count()
    assert b"count [b]x" in text(seen)
    assert b"3.0/10.0 MiB" in text(seen)
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")  # the cursor


def test_bar_is_only_for_a_terminal_and_not_when_quiet(boot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with terminal() as seen, progress.bar("count", quiet=True) as show:
        show(1, 2)
    assert seen == b""
    with progress.bar("count", quiet=False) as show:
        show(1, 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [("verify", "boot"), ("inspect", "boot", "--verify")])
def test_checking_a_snapshot_shows_a_bar(
    boot: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    with terminal() as seen:
        assert chkpt(capsys, *command).status == 0
    assert b"verify boot" in text(seen)
    with terminal() as seen:
        assert chkpt(capsys, *command, "--json").status == 0
    assert seen == b""


def test_run_that_begins_from_a_snapshot_shows_a_bar(boot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(NoMachineError):
                find("m").stop()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=stop)
    thread.start()
    with terminal() as seen:
        assert chkpt(capsys, "run", "--load", "boot", "--name", "m").status == 0
    thread.join()
    assert b"load m" in text(seen)
