"""Runs programs whole and cut, and finds the first that a restore changes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from random import Random
from time import monotonic
from typing import Final, Self

from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.prove.bench import snapshot_of
from chkpt.prove.cpu.fields import leaves
from chkpt.prove.cpu.program import LIMIT, Program, make_program, new_machine, put
from chkpt.prove.prover import unlogged
from chkpt.snapshot import loads
from chkpt.snapshot.diff import compare

PROGRAMS: Final = 300
"""Programs, where the caller does not say how many."""

CUTS: Final = 8
"""Snapshots of each program; each is loaded and run to the end."""

SHRINKS: Final = 200
"""Programs that are tried to find a shorter one."""

MakeMachine = Callable[[], Machine]


@dataclass(frozen=True, slots=True)
class CpuFinding:
    """A program that a restore changes: cut at a tick, it ends otherwise.

    `differences` are the fields that differ at the end, with both values as text: that of the machine that was never
    cut, and that of the restored one. `number` is the program's in the search, `length` its phrases before it was
    shortened.
    """

    number: int
    program: Program
    length: int
    tick: int
    differences: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class CpuProof:
    """What was tried, and what came of it. `unreached` are the leaves of the state that had one value at every cut."""

    seed: int
    programs: int
    cuts: int
    seconds: float
    finding: CpuFinding | None
    reached: tuple[str, ...]
    unreached: tuple[str, ...]


def prove_cpu(
    *,
    programs: int = PROGRAMS,
    seconds: float | None = None,
    seed: int = 0,
    make: MakeMachine = new_machine,
    progress: Callable[[int, int], None] = lambda _programs, _cuts: None,
) -> CpuProof:
    """Look for a restore of a processor that a guest can notice, and stop at the first.

    Args:
        programs: how many.
        seconds: no program begins after so many seconds; None: all are run.
        seed: what all chances follow from.
        make: makes a machine as `new_machine` does; all are alike.
        progress: is called after each program with the numbers of programs and of cuts.

    Raises:
        ConfigError: there is no processor to be had.
    """
    began = monotonic()
    finding: CpuFinding | None = None
    values: dict[str, set[object]] = {}
    done = cuts = 0
    with unlogged(), _Bench(make, values) as bench:
        while done < programs and finding is None and (seconds is None or monotonic() - began < seconds):
            program = make_program(seed << 32 | done)
            found = bench.try_program(program, Random(f"{seed}/{done}"))  # noqa: S311  nothing secret
            if found is not None:
                finding = _shortened(bench, done, program, found)
            done += 1
            cuts = bench.cuts
            progress(done, cuts)
    reached = tuple(name for name, seen in values.items() if len(seen) > 1)
    unreached = tuple(name for name, seen in values.items() if len(seen) == 1)
    return CpuProof(seed, done, cuts, monotonic() - began, finding, reached, unreached)


@dataclass(frozen=True, slots=True)
class _Found:
    tick: int
    differences: tuple[tuple[str, str, str], ...]


class _Bench:
    """Machines that programs are run on: new ones for the programs, and one that is used again and again for loads."""

    def __init__(self, make: MakeMachine, values: dict[str, set[object]]) -> None:
        self.cuts = 0
        self._make = make
        self._values = values
        self._twin: Machine | None = None
        self._loads = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def try_program(self, program: Program, choose: Random, cuts: int = CUTS) -> _Found | None:
        """Run a program whole, then from snapshots at random ticks; return the first that ends otherwise."""
        with self._begun(program) as whole:
            whole.run(ticks=LIMIT)
            end, last = snapshot_of(whole), whole.processor().cpu.ticks
        ticks = sorted(choose.randrange(last) for _ in range(cuts))
        with self._begun(program) as machine:
            for tick in ticks:
                machine.run(ticks=tick)
                snapshot = snapshot_of(machine)
                self.cuts += 1
                self._note(machine)
                found = self._goes_on(snapshot, end)
                if found:
                    return _Found(tick, found)
            machine.run(ticks=LIMIT)
            if snapshot_of(machine) != end:  # a save, or a stop, has changed it
                return _Found(ticks[-1], tuple(_differences(end, snapshot_of(machine))))
        return None

    @contextmanager
    def _begun(self, program: Program) -> Iterator[Machine]:
        with closing(self._make()) as machine:
            put(program, machine)
            yield machine

    def _goes_on(self, snapshot: bytes, end: bytes) -> tuple[tuple[str, str, str], ...]:
        """Load a snapshot, run it to the end, and return what differs there."""
        self._loads += 1
        if self._twin is None or not self._loads % 16:  # a new machine now and then, else the one of the load before
            self._open.close()
            self._twin = self._open.enter_context(closing(self._make()))
        try:
            self._twin.load(loads(snapshot), strict=True)
        except ChkptError as exc:
            return (("the load", "done", str(exc)),)
        self._twin.run(ticks=LIMIT)
        there = snapshot_of(self._twin)
        return () if there == end else tuple(_differences(end, there))

    def _note(self, machine: Machine) -> None:
        for name, value in leaves(machine.processor().save()):
            seen = self._values.setdefault(name, set())
            if len(seen) < 2:
                seen.add(value)


def _differences(whole: bytes, restored: bytes) -> Iterator[tuple[str, str, str]]:
    found = compare(loads(whole), loads(restored))
    for change in (*found.header, *found.tags):
        path = "/".join(change.path) or "header"
        yield f"{path}.{change.tag}", str(change.old), str(change.new)
    for blob in found.blobs:
        for first, end in blob.ranges[:4]:
            yield f"{'/'.join(blob.path)}.{blob.tag}", f"bytes {first:#x} to {end - 1:#x}", "others"


def _shortened(bench: _Bench, number: int, program: Program, found: _Found) -> CpuFinding:
    """Leave out phrases as long as some cut still shows it (Zeller's ddmin, without its complements)."""
    length, left = len(program.phrases), SHRINKS
    size = length // 2
    while size and left:
        at = 0
        while at < len(program.phrases) and left:
            shorter = replace(program, phrases=program.phrases[:at] + program.phrases[at + size :])
            left -= 1
            again = bench.try_program(shorter, Random(number), 2 * CUTS)  # noqa: S311  nothing secret
            if again is None:
                at += size
            else:
                program, found = shorter, again
        size //= 2
    return CpuFinding(number, program, length, found.tick, found.differences)
