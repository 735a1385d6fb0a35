"""Commands in the test's own process or on a terminal, and snapshots for them to read."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import pytest

from chkpt.cli import main
from chkpt.cli.demo import stage
from chkpt.cli.demo.stage import MachineProcess
from chkpt.context import Checkpoint
from chkpt.snapshot import Reader, dumps
from tests.support.checkpoints import small

T = TypeVar("T", str, bytes)


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """How a command ended."""

    status: int
    out: T
    err: T


def chkpt(capture: pytest.CaptureFixture[T], *arguments: str) -> Ended[T]:
    """Run a command in this process."""
    capture.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    captured = capture.readouterr()
    return Ended(ended.value.code, captured.out, captured.err)


def on_terminal(*arguments: str, environment: Mapping[str, str] | None = None) -> Ended[str]:
    """Run a command whose output is a terminal of 200 columns."""
    outer, inner = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "chkpt", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=subprocess.PIPE,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", **(environment or {})},
        )
        os.close(inner)
        shown = b""
        while True:
            try:
                data = os.read(outer, 1 << 16)
            except OSError:  # EIO: the last process has closed its side
                break
            if not data:
                break
            shown += data
        _, errors = process.communicate()
    finally:
        os.close(outer)
    return Ended(process.returncode, shown.decode().replace("\r\n", "\n"), errors.decode())


def write(path: Path, checkpoint: Checkpoint | None = None) -> Path:
    """Write a snapshot, a small one unless another is given."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(dumps(small() if checkpoint is None else checkpoint))
    return path


def flip(path: Path, offset: int) -> None:
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x10
    path.write_bytes(content)


def flip_section(path: Path, name: str) -> None:
    """Flip a bit of a section's frame."""
    with Reader.open(path) as reader:
        entry = next(entry for entry in reader.sections if "/".join(entry.path) == name)
    flip(path, entry.offset + entry.stored_size - 1)


def flip_piece(path: Path) -> None:
    """Flip a bit of the first piece's frame: the one behind the last section's."""
    with Reader.open(path) as reader:
        last = reader.sections[-1]
    flip(path, last.offset + last.stored_size + 10)


def is_harmless(text: str) -> bool:
    """Return whether a text has only lines of printable characters."""
    return all(char.isprintable() or char == "\n" for char in text)


def impatient(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """Let the stage wait a moment only for what, by this message, a machine does not do; for all else as ever."""
    wait, patience = MachineProcess.wait_until, stage.PATIENCE

    def wait_until(process: MachineProcess, true: Callable[[], bool], what: str) -> None:
        monkeypatch.setattr(stage, "PATIENCE", 0.2 if f" does not {what}" in message else patience)
        wait(process, true, what)

    monkeypatch.setattr(MachineProcess, "wait_until", wait_until)
