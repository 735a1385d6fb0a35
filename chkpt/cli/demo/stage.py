"""Processes for `chkpt demo`: commands of chkpt, and machines. None outlives the stage, even if the stage is killed.

A signal interrupts nothing here: its handler notes it, and every wait checks for it. So a signal cannot come between
the start of a process, or the making of a directory, and the moment at which the stage knows of it.
"""

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import typer

from chkpt.cli.output import escape, on_stdout, show
from chkpt.errors import ChkptError

COMMAND: Final = (sys.executable, "-P", "-m", "chkpt")
"""The command line of this same chkpt, whatever the shell's PATH holds."""

TICK: Final = 0.05
"""Seconds between two checks for a signal in a wait."""

PATIENCE: Final = 60.0
"""Seconds that a process may take for one request."""

MAX_BASE: Final = 48
"""Bytes of the longest temporary directory that leaves room for a socket's path (107, unix(7)); else /tmp is used."""


class Stage:
    """A temporary directory, and the processes that use it. Other commands do not see its running machines."""

    def __init__(self) -> None:
        self.directory = Path()
        self.signal: int | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._ties: list[int] = []  # the writing ends of the pipes
        self._closing: list[Callable[[], object]] = []

    def check(self) -> None:
        """End the command if a signal has come."""
        if self.signal is not None:
            raise typer.Exit(128 + self.signal)

    def run(self, *arguments: str, shown: bool = False, lines: int | None = None) -> None:
        """Run a command of chkpt to its end. With `shown`, show its output, or its first `lines`.

        Raises:
            ChkptError: the command failed; the message has its stderr.
        """
        stdout = subprocess.DEVNULL if not shown else None if lines is None else subprocess.PIPE
        with on_stdout():
            sys.stdout.flush()
        process = self.spawn(arguments, stdout, subprocess.PIPE)
        end = time.monotonic() + PATIENCE
        while True:
            self.check()
            with suppress(subprocess.TimeoutExpired):
                output, errors = process.communicate(timeout=TICK)
                break
            if time.monotonic() > end:
                raise ChkptError(f"chkpt {arguments[0]} has not ended after {PATIENCE:g} s")
        if process.returncode:
            raise ChkptError(_add_output(f"chkpt {arguments[0]} failed with status {process.returncode}", errors))
        if lines is not None:
            _show_first(output.splitlines(), lines)

    def spawn(
        self, arguments: Sequence[str], output: int | None, errors: int, home: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command of chkpt, which is killed at the stage's end. `home` is its runtime directory."""
        reading, writing = os.pipe()
        self._ties.append(writing)
        try:
            process = subprocess.Popen(  # noqa: S603  our own command line
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                text=True,
                env={**os.environ, "XDG_RUNTIME_DIR": str(self.directory if home is None else home)},
                start_new_session=True,  # Ctrl-C reaches only the demo, which ends the others
                pass_fds=(reading,),
                preexec_fn=partial(_tie, reading, writing),  # noqa: PLW1509  it makes system calls, and nothing else
            )
        finally:
            os.close(reading)
        self._processes.append(process)
        return process

    def store(self) -> Path:
        """Return the store for the demo's snapshot until it is whole. It is removed with the stage."""
        path = self.directory / "snapshots"
        self.call_at_end(partial(shutil.rmtree, path, ignore_errors=True))
        return path

    def call_at_end(self, close: Callable[[], object]) -> None:
        """Call `close` at the stage's end."""
        self._closing.append(close)

    def close(self) -> None:
        """Kill every process that is left."""
        for close in self._closing:
            close()
        for process in self._processes:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for tie in self._ties:
            os.close(tie)
        self._ties.clear()


def _tie(reading: int, writing: int) -> None:
    """Make the kernel kill this process when the stage's process has ended, for whatever reason.

    The stage holds the writing end of a pipe. When it closes, the kernel sends SIGKILL (fcntl(2), F_SETSIG and O_ASYNC:
    the end of all writers is input for the reader), even to a process that hangs or has not yet run its first line.
    This is set between fork and exec and survives the exec, as the descriptor does, so the stage cannot end without
    the process. Unlike PR_SET_PDEATHSIG it follows the parent's process, not the thread that forked.
    """
    os.close(writing)
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([reading], [], [], 0)[0]:  # the stage has already ended: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)


class MachineProcess:
    """A machine in its own process. `seconds` is how long it took to start."""

    def __init__(self, stage: Stage) -> None:
        self.seconds = 0.0
        self._stage = stage
        self._process: subprocess.Popen[str] | None = None
        self._log = Path(os.devnull)
        self._began = 0.0

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, arguments: Sequence[str], home: Path | None = None) -> None:
        """Start the process. `home` is its runtime directory, else the stage's directory is. See `wait_until_ready`."""
        number = len(list(self._stage.directory.glob("*.log")))
        self._log = self._stage.directory / f"run-{number}.log"
        self._began = time.monotonic()
        with self._log.open("w") as log:
            self._process = self._stage.spawn(arguments, subprocess.PIPE, log.fileno(), home)

    def wait_until_ready(self) -> None:
        """Wait until the machine answers. Raise ChkptError if it fails."""
        assert self._process is not None
        assert self._process.stdout is not None
        self.wait_for(self._process.stdout.fileno(), "start")  # it prints one line when it answers
        if not self._process.stdout.readline():
            raise self.make_error(f"ended with status {self._process.wait()}")
        self.seconds = time.monotonic() - self._began

    def wait_for(self, file: int, what: str) -> None:
        """Wait until `file` is readable. Raise ChkptError if the process ends before, or takes too long."""
        self.wait_until(lambda: bool(select.select([file], [], [], TICK)[0]), what)

    def wait_until(self, is_done: Callable[[], bool], what: str) -> None:
        """Wait until `is_done` returns True. Raise ChkptError if the process ends before, or takes too long."""
        end = time.monotonic() + PATIENCE
        while not is_done():
            self._stage.check()
            assert self._process is not None
            if self._process.poll() is not None:
                raise self.make_error(f"ended with status {self._process.returncode}")
            if time.monotonic() > end:
                raise self.make_error(f"does not {what}")

    def make_error(self, what: str) -> ChkptError:
        """Return an error that says what the machine did, with its log."""
        return ChkptError(_add_output(f"the machine {what}", self._log.read_text("utf-8", "replace")))

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _show_first(output: list[str], lines: int) -> None:
    for line in output[:lines]:
        show(line)
    if output[lines:]:
        show(f"... ({len(output) - lines} lines more)")


def _add_output(message: str, output: str) -> str:
    """Return a message with the output of the process, if there is any."""
    output = output.strip()
    return f"{message}: {output}" if output else message


# -- the stage's beginning and end ------------------------------------------------------------------------------------


@contextmanager
def open_stage(*, keep: bool) -> Iterator[Stage]:
    """Make a stage. At its end, kill its processes and, unless `keep`, remove its directory."""
    base = tempfile.gettempdir()
    stage = Stage()
    with _note_signals(stage):
        stage.directory = Path(
            tempfile.mkdtemp(prefix="chkpt-demo-", dir=base if len(os.fsencode(base)) <= MAX_BASE else "/tmp")  # noqa: S108  mkdtemp is safe anywhere
        )
        try:
            yield stage
        finally:
            stage.close()
            shutil.rmtree(stage.directory / "chkpt" if keep else stage.directory, ignore_errors=True)
    stage.check()


@contextmanager
def _note_signals(stage: Stage) -> Iterator[None]:
    """Note the signals that end a process, except those that the parent set it to ignore (nohup)."""

    def note(number: int, _: FrameType | None) -> None:
        stage.signal = number

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    taken = {number: handler for number, handler in before.items() if handler not in {signal.SIG_IGN, None}}
    if threading.current_thread() is not threading.main_thread():
        taken = {}  # only the main thread may set handlers
    try:
        for number in taken:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def show_step(line: str, seconds: float | None = None) -> None:
    """Show one finished step after a check mark, or after a plus sign if the output cannot show one."""
    tick = "\N{CHECK MARK}" if (sys.stdout.encoding or "").lower().startswith("utf") else "+"
    show(f"{tick} {escape(line)}" + ("" if seconds is None else f", {seconds:.2f} s"))
