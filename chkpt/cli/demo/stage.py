"""Processes for `chkpt demo`: commands of chkpt, and machines; none outlives the stage, not even where that is killed.

A signal does not interrupt anything here: it is noted, and every wait looks for it. So there is no moment at which a
process or a directory could have been made and not be known.
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

from chkpt.cli.output import on_stdout, plain, show
from chkpt.errors import ChkptError

COMMAND: Final = (sys.executable, "-P", "-m", "chkpt")
"""The command line of this same chkpt, wherever the shell would look for it."""

TICK: Final = 0.05
"""Seconds after which a wait looks for a signal."""

PATIENCE: Final = 60.0
"""Seconds that a process may take for anything it is asked."""

MAX_BASE: Final = 48
"""Bytes of the longest path to temporary files that leaves room for a socket's (107, unix(7)); else it is /tmp."""


class Stage:
    """A temporary directory, and the processes that use it. Its running machines are not seen by other commands."""

    def __init__(self) -> None:
        self.directory = Path()
        self.signal: int | None = None
        self._processes: list[subprocess.Popen[str]] = []
        self._ties: list[int] = []  # the ends that this process holds
        self._closing: list[Callable[[], object]] = []

    def check(self) -> None:
        """End the command where a signal has come."""
        if self.signal is not None:
            raise typer.Exit(128 + self.signal)

    def run(self, *arguments: str, shown: bool = False, lines: int | None = None) -> None:
        """Run a command of chkpt to its end. With `shown` its output is seen, or its first `lines`.

        Raises:
            ChkptError: it failed; the message is what it said.
        """
        output = subprocess.DEVNULL if not shown else None if lines is None else subprocess.PIPE
        with on_stdout():
            sys.stdout.flush()
        process = self.spawn(arguments, output, subprocess.PIPE)
        end = time.monotonic() + PATIENCE
        while True:
            self.check()
            with suppress(subprocess.TimeoutExpired):
                said, errors = process.communicate(timeout=TICK)
                break
            if time.monotonic() > end:
                raise ChkptError(f"chkpt {arguments[0]} does not end")
        if process.returncode:
            raise ChkptError(_with(f"chkpt {arguments[0]} failed with status {process.returncode}", errors))
        if lines is not None:
            _show_first(said.splitlines(), lines)

    def spawn(
        self, arguments: Sequence[str], output: int | None, errors: int, home: Path | None = None
    ) -> "subprocess.Popen[str]":
        """Start a command of chkpt, which is killed at the stage's end. What it runs is found from `home`."""
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
                start_new_session=True,  # Ctrl-C is for the demo, which ends the others
                pass_fds=(reading,),
                preexec_fn=partial(_tie, reading, writing),  # noqa: PLW1509  it makes system calls, and nothing else
            )
        finally:
            os.close(reading)
        self._processes.append(process)
        return process

    def store(self) -> Path:
        """Return where a demo's snapshot is until it is whole; no other demo sees it, and it goes with the stage."""
        path = self.directory / "snapshots"
        self.closing(partial(shutil.rmtree, path, ignore_errors=True))
        return path

    def closing(self, close: Callable[[], object]) -> None:
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
    """Have this process killed when nobody holds the other end of a pipe: when the stage's process has ended, however.

    The kernel sends the signal (fcntl(2), F_SETSIG and O_ASYNC: the end of a pipe's writers is input for its reader),
    so it ends a process that hangs, or has not got to its first line yet. It is set between fork and exec, and outlives
    the exec as the descriptor does: there is no moment at which the stage could end and leave a process. Unlike
    PR_SET_PDEATHSIG it is about the whole process, not the thread that made this one.
    """
    os.close(writing)
    fcntl.fcntl(reading, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([reading], [], [], 0)[0]:  # it had ended before: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)


class MachineProcess:
    """A machine in a process of its own. `seconds` is how long it took to start."""

    def __init__(self, stage: Stage) -> None:
        self.seconds = 0.0
        self._stage = stage
        self._process: subprocess.Popen[str] | None = None
        self._log = Path(os.devnull)
        self._began = 0.0

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process is not None
        return self._process.pid

    def start(self, arguments: Sequence[str], home: Path | None = None) -> None:
        """Start the process; its machine is found from `home`, else from the stage's directory. See `ready`."""
        number = len(list(self._stage.directory.glob("*.log")))
        self._log = self._stage.directory / f"run-{number}.log"
        self._began = time.monotonic()
        with self._log.open("w") as log:
            self._process = self._stage.spawn(arguments, subprocess.PIPE, log.fileno(), home)

    def ready(self) -> None:
        """Return when it serves. Raise ChkptError where it fails."""
        assert self._process is not None
        assert self._process.stdout is not None
        self.wait_for(self._process.stdout.fileno(), "start")  # its one line of output says that it is served
        if not self._process.stdout.readline():
            raise self.failed(f"ended with status {self._process.wait()}")
        self.seconds = time.monotonic() - self._began

    def wait_for(self, file: int, what: str) -> None:
        """Wait until there is something to read. Raise ChkptError where the process ends before, or takes too long."""
        self.wait_until(lambda: bool(select.select([file], [], [], TICK)[0]), what)

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Ask until it is true. Raise ChkptError where the process ends before, or takes too long."""
        end = time.monotonic() + PATIENCE
        while not true():
            self._stage.check()
            assert self._process is not None
            if self._process.poll() is not None:
                raise self.failed(f"ended with status {self._process.returncode}")
            if time.monotonic() > end:
                raise self.failed(f"does not {what}")

    def failed(self, what: str) -> ChkptError:
        """Return the error that says what the machine did, and what it said itself."""
        return ChkptError(_with(f"the machine {what}", self._log.read_text("utf-8", "replace")))

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _show_first(said: list[str], lines: int) -> None:
    for line in said[:lines]:
        show(line)
    if said[lines:]:
        show(f"... ({len(said) - lines} lines more)")


def _with(message: str, said: str) -> str:
    """Return a message with what the process said, if anything."""
    said = said.strip()
    return f"{message}: {said}" if said else message


# -- the stage's beginning and end ------------------------------------------------------------------------------------


@contextmanager
def open_stage(*, keep: bool) -> Iterator[Stage]:
    """Make a stage. However it ends, its processes are killed and, unless `keep`, its directory is removed."""
    base = tempfile.gettempdir()
    stage = Stage()
    with _noted_signals(stage):
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
def _noted_signals(stage: Stage) -> Iterator[None]:
    """Note the signals that end a process, but for those it was started to ignore (nohup)."""

    def note(number: int, _: FrameType | None) -> None:
        stage.signal = number

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    taken = {number: handler for number, handler in before.items() if handler not in {signal.SIG_IGN, None}}
    if threading.current_thread() is not threading.main_thread():
        taken = {}  # signals are not for this thread
    try:
        for number in taken:
            signal.signal(number, note)
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def show_step(line: str, seconds: float | None = None) -> None:
    """Show one line of the story behind a check mark, or a plus sign if the output has no check mark."""
    tick = "\N{CHECK MARK}" if (sys.stdout.encoding or "").lower().startswith("utf") else "+"
    show(f"{tick} {plain(line)}" + ("" if seconds is None else f", {seconds:.2f} s"))
