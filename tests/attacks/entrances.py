"""Every attack through every entrance, each in a process of its own that may take what a hostile file may cost.

`python -m tests.attacks.entrances ENTRANCE DIRECTORY` prints a JSON list of outcomes, for the files that `write` has
put there. The process forks for each file, so that the interpreter's start and chkpt's own imports are not counted. It
has made none of the files itself, so that there is no memory left of that for its children to use.
"""

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from chkpt.cli import main
from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.service.configure import configure
from chkpt.snapshot import Reader
from tests.attacks.all import ATTACKS, Level
from tests.attacks.parts import GOOD, MACHINE, REST
from tests.support.handmade import Piece

MEMORY: Final = 64 << 20
"""Bytes of address space that a hostile file may cost, beyond what the process had before it was given the file."""

CPU: Final = 1.0
"""Seconds that a hostile file may cost: of processor time, in the seconds that `second` tells."""

TRIES: Final = 5
"""Processor time is only ever too long by chance: caches, clocks and neighbours. The least of so many is taken."""

HANG: Final = 60
"""Seconds of processor time after which the kernel ends a process that does not come back."""

OTHER: Final = replace(GOOD, pieces=[Piece(b"q" * 1000), Piece(b"q" * 96, digest=None)])
assert len(REST) == 96
"""A file that differs in each piece, so that `diff` must read them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file at one entrance."""

    attack: int  # its index in ATTACKS
    status: int  # the exit status, or minus the signal that ended the process
    said: str
    memory: int  # bytes beyond what the process had before
    cpu: float  # seconds, as `second` tells them


def second() -> float:
    """Return the processor time, in seconds, of work that takes one second on the machine of docs/RELIABILITY.md.

    So that a slow machine, or one that is busy, gives a file no less to do than a fast one. The work is like what is
    done most with a hostile file: to go through the bytes of a content one by one.
    """
    content, left, found = bytes(range(256)) * 40, 100, 0
    began = time.process_time()
    while left:
        left -= 1
        for at in range(len(content)):
            kind, length = _KINDS[content[at]]
            if kind:
                found += length
    return (time.process_time() - began) * ROUNDS / (100 * len(content))


_KINDS: Final = [(first & 1, first >> 4) for first in range(256)]

ROUNDS: Final = 22_000_000
"""Rounds of that loop in a second, on that machine."""


def cost(spend: Callable[[], float], pace: float) -> float:
    """Return what `spend` returns, in the seconds that `second` tells; where that is too long, try again.

    Args:
        spend: does the work.
        pace: the last answer of `second`, for the first try. Each further one asks anew.
    """
    least = spend() / pace
    for _ in range(TRIES - 1):
        if least < CPU:
            break
        least = min(least, spend() / second())
    return least


def _command(*arguments: str) -> Callable[[Path, Path], None]:
    """Return what runs a command; FILE and OTHER stand for the two files, STORE for the directory of the first."""

    def run(file: Path, other: Path) -> None:
        places = {"FILE": str(file), "OTHER": str(other), "STORE": str(file.parent)}
        main([places.get(argument, argument) for argument in arguments])

    return run


def _load(file: Path, _: Path) -> None:
    """Do what the service of a running machine does when it is asked to load."""
    _load_into(lambda _: Machine(parse(MACHINE)), file)


def _run_load(file: Path, _: Path) -> None:
    """Do what `chkpt run --load` does before it serves."""
    _load_into(lambda reader: Machine(configure(None, reader)), file)


def _load_into(make: Callable[[Reader], Machine], file: Path) -> None:
    try:
        with Reader.open(file) as reader:
            make(reader).load(reader.checkpoint())
    except ChkptError as exc:
        sys.stderr.write(f"chkpt: {exc}\n")
        sys.exit(exc.exit_status)


ENTRANCES: Final[dict[str, Callable[[Path, Path], None]]] = {
    "inspect": _command("inspect", "FILE"),
    "inspect all": _command("inspect", "FILE", "/", "--json"),
    "inspect --verify": _command("inspect", "FILE", "--verify"),
    "verify": _command("verify", "FILE"),
    "list": _command("list", "--store", "STORE", "--json"),
    "diff": _command("diff", "FILE", "OTHER"),
    "diff the other way": _command("diff", "OTHER", "FILE"),
    "load": _load,
    "run --load": _run_load,
}

SEES: Final[dict[str, set[Level]]] = {
    "inspect": {Level.OPEN},
    "inspect all": {Level.OPEN, Level.SECTION},
    "inspect --verify": set(Level),
    "verify": set(Level),
    "list": {Level.OPEN},
    "load": set(Level),
    "run --load": set(Level),
}
"""What an entrance reads of a file, where that is not all of it."""


def sees(entrance: str) -> set[Level]:
    """Return what an entrance reads."""
    return SEES.get(entrance, {Level.OPEN, Level.SECTION, Level.PIECE})


def write(directory: Path) -> None:
    """Write the files that `through` reads: every attack, and those beside them."""
    for number, attack in enumerate(ATTACKS):
        (directory / f"{number}.zst").write_bytes(attack.make())
    (directory / "good.zst").write_bytes(GOOD.build())
    (directory / "other.zst").write_bytes(OTHER.build())


def through(entrance: str, files: Path, scratch: Path) -> Iterator[Outcome]:
    """Try every attack at one entrance."""
    logging.disable()  # a load tells more than how it ends
    other, call = files / "other.zst", ENTRANCES[entrance]
    with suppress(SystemExit), (scratch / "out").open("w") as out:
        before, sys.stdout = sys.stdout, out
        try:
            call(files / "good.zst", other)  # imports everything, once for all children
        finally:
            sys.stdout = before
    pace = second()
    for number in range(len(ATTACKS)):
        file = scratch / f"store{number}" / "attack.zst"
        file.parent.mkdir()
        file.symlink_to(files / f"{number}.zst")
        tries: list[tuple[int, str, int, float]] = []

        def spend(file: Path = file, tries: list[tuple[int, str, int, float]] = tries) -> float:
            tries.append(_in_child(partial(call, file, other), scratch))
            return tries[-1][-1]

        cpu = cost(spend, pace)
        status, said, memory, _ = tries[-1]
        yield Outcome(number, status, said, memory, cpu)


def _in_child(call: Callable[[], None], scratch: Path) -> tuple[int, str, int, float]:
    """Run `call` in a child with little memory; return its status, what it said, and what it took."""
    said, took = scratch / "said", scratch / "took"
    took.write_text("0")
    child = os.fork()
    if not child:
        _be_child(call, said, took)
    _, status, usage = os.wait4(child, 0)
    ended = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return ended, said.read_text("utf-8", "replace"), int(took.read_text()), usage.ru_utime + usage.ru_stime


def _be_child(call: Callable[[], None], said: Path, took: Path) -> None:
    status = 99  # an exception that is none of chkpt's, whose traceback is in what was said
    try:
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_CPU, (HANG, HANG))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _peak()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        try:
            call()
            status = 0
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 98
        sys.stdout.flush()
        sys.stderr.flush()
        took.write_text(str(_peak() - before))
    except BaseException:  # noqa: BLE001  whatever it is, it must be told
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
    finally:
        os._exit(status)


def _peak() -> int:
    """Return the most memory that was resident, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        outcomes = [asdict(outcome) for outcome in through(sys.argv[1], Path(sys.argv[2]), Path(scratch))]
    print(json.dumps(outcomes))  # noqa: T201  its result
