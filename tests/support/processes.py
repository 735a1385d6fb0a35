"""Commands run in this process, and machines run in processes of their own."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from chkpt.cli import main

PATIENCE = 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


def chkpt(capsys: pytest.CaptureFixture[str], *args: object) -> Outcome:
    """Run a command in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    said = capsys.readouterr()
    status = ended.value.code
    assert isinstance(status, int)
    return Outcome(status, said.out, said.err)


def refused(outcome: Outcome, status: int) -> str:
    """Return the message of a command that failed as it should: one line, no traceback, nothing on stdout."""
    assert outcome.status == status, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("chkpt: ")
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err
    return outcome.err.removeprefix("chkpt: ").rstrip("\n")


def spawn(*args: object, **options: object) -> "subprocess.Popen[bytes]":
    """Start `chkpt` in a process of its own."""
    command = [sys.executable, "-m", "chkpt", *map(str, args)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0, **options}
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "error"}
    return subprocess.Popen(command, env=env, **pipes)  # type: ignore[call-overload,no-any-return]  # options of any kind


def line(stream: "IO[bytes] | None") -> str:
    """Read one line; the test fails where none comes."""
    assert stream is not None
    ready, _, _ = select.select([stream], [], [], PATIENCE)
    assert ready, "no line came"
    return stream.readline().decode()


@dataclass(slots=True)
class Running:
    """A machine's process that is ready."""

    process: "subprocess.Popen[bytes]"
    ready: str

    def end(self, number: int = signal.SIGTERM) -> Outcome:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> Outcome:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return Outcome(self.process.returncode, out.decode(), err.decode())


@contextmanager
def running(*args: object, ready_on_stderr: bool = False) -> Iterator[Running]:
    """Run a machine; at the end of the block it is killed if it still runs."""
    process = spawn("run", *args)
    try:
        ready = line(process.stderr if ready_on_stderr else process.stdout)
        if not ready:
            pytest.fail(f"it did not start: {process.communicate()}")
        yield Running(process, ready)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
