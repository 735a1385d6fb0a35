"""Uses strace(1) to record the system calls of a running thread, to make them fail, or to send a signal at one."""

import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.lab.reliability.served import PATIENCE

_CALL: Final = re.compile(r"(?P<time>\d+\.\d+) (?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\w+)(?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call, as strace shows it.

    `number` counts the calls of this name in this thread from 1, `result` is what it returned: a number, or the name
    of the error.
    """

    time: float
    thread: int
    name: str
    number: int
    arguments: str
    result: str

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.result.startswith("E")


@cache
def missing() -> str:
    """Return why there can be no tracing here, or nothing."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-o", "/dev/null", "-e", "inject=getppid:retval=7", sys.executable, "-c", "import os; os.getppid()"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"strace cannot trace here: {(tried.stderr.splitlines() or ['?'])[0]}"


@contextmanager
def attached(thread: int, log: Path, *options: str) -> Iterator[None]:
    """Trace this thread, and no other, until the block ends."""
    tracer = subprocess.Popen(
        ["strace", "-ttt", "-y", "-o", str(log), *options, "-p", str(thread)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert tracer.stderr is not None
        said = tracer.stderr.readline() if select.select([tracer.stderr], [], [], PATIENCE)[0] else "nothing"
        if "attached" not in said:
            raise OSError(f"strace does not attach to {thread}, and says {said}")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=PATIENCE)


def calls(log: Path, thread: int) -> list[Call]:
    """Return the finished calls of a thread that strace has recorded."""
    return parse(log.read_text(errors="replace"), thread)


def parse(text: str, thread: int) -> list[Call]:
    """Return the finished calls of one thread, as `strace -ttt` writes them."""
    counts: dict[str, int] = {}
    found: list[Call] = []
    for line in text.splitlines():
        match = _CALL.fullmatch(line)
        name = line.split(" ", 1)[-1].partition("(")[0]
        if not name.isidentifier():
            continue  # a signal, or the end of the thread
        counts[name] = counts.get(name, 0) + 1
        if match is not None:
            result = match["rest"].split()[0] if match["result"] == "-1" else match["result"]
            found.append(Call(float(match["time"]), thread, name, counts[name], match["arguments"], result))
    return found


def injected(log: Path) -> bool:
    """Whether a call was made to fail, or ended by a signal."""
    text = log.read_text(errors="replace")
    return "(INJECTED)" in text or "+++ killed by SIGKILL +++" in text
