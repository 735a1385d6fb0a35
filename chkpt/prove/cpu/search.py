"""Run programs whole and cut, and find the first that a restore changes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from random import Random
from time import monotonic
from typing import Final, Self

from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.machine.cpu import MODELS
from chkpt.machine.cpu.contract import Activity
from chkpt.prove.bench import snapshot_of
from chkpt.prove.cpu.leaves import leaves
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

WHOLE: Final = 1 << 32
"""The length of a run, as cuts count it."""

PORTABLE_PROGRAMS: Final = 8
"""One in so many programs runs whole on the portable engine."""

LOADS: Final = 16
"""How many snapshots one machine loads, one after the other. Every second such machine has the portable engine."""

MakeMachine = Callable[[str], Machine]
"""Makes a machine with a processor of a model."""


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
    """What was tried, and the result. `unreached` are the leaves of the state that had one value at every cut."""

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
        make: makes a machine with a processor of one of `MODELS`, as `new_machine` does; else all are alike.
        progress: is called after each program with the numbers of programs and of cuts.

    Raises:
        ConfigError: there is no processor to be had.
    """
    began = monotonic()
    finding: CpuFinding | None = None
    values: dict[str, set[object]] = {}
    done = cuts = 0
    with unlogged(), _Runner(make, values) as bench:
        while done < programs and finding is None and (seconds is None or monotonic() - began < seconds):
            program = make_program(seed << 32 | done)
            places = _cuts(Random(f"{seed}/{done}"))  # noqa: S311  nothing secret
            bench.model = MODELS[done % PORTABLE_PROGRAMS == PORTABLE_PROGRAMS - 1]
            found = bench.try_program(program, places)
            if found is not None:
                finding = _shorten(bench, done, program, places, found)
            done += 1
            cuts = bench.cuts
            progress(done, cuts)
    reached = tuple(name for name, seen in values.items() if len(seen) > 1)
    unreached = tuple(name for name, seen in values.items() if len(seen) == 1)
    return CpuProof(seed, done, cuts, monotonic() - began, finding, reached, unreached)


@dataclass(frozen=True, slots=True, order=True)
class Cut:
    """The place of a cut: at a part of the run in 2**32, or soon after the next interrupt request or HLT after that.

    `steps` is -1 for the first; 0 for the point at which the request has come and has not been taken; 1 for the same
    tick, where it has been taken if it may be; and from 2 on a block more for each. A shorter program has the same
    cuts, each at its part of the run.
    """

    part: int
    steps: int = -1

    def reach(self, machine: Machine, length: int) -> None:
        """Let a machine run there, whose whole run takes `length` ticks."""
        cpu = machine.processor().cpu
        machine.run(ticks=self.part * length // WHOLE)
        if self.steps >= 0:
            machine.run(ticks=LIMIT, enough=lambda: machine.irq.intr or cpu.activity is Activity.HALTED)
        for step in range(self.steps):
            machine.run(ticks=cpu.ticks + (step > 0))


def _cuts(choose: Random) -> tuple[Cut, ...]:
    """Return random cuts, half of them near requests for interrupts and HLT."""
    return tuple(Cut(choose.randrange(WHOLE), choose.randrange(5) if number % 2 else -1) for number in range(CUTS))


@dataclass(frozen=True, slots=True)
class _Found:
    cut: Cut
    tick: int
    differences: tuple[tuple[str, str, str], ...]


class _Runner:
    """Machines that programs are run on: new ones for the programs, and one that is used again and again for loads."""

    def __init__(self, make: MakeMachine, values: dict[str, set[object]]) -> None:
        self.cuts = 0
        self.model = MODELS[0]  # that programs run on
        self._make = make
        self._values = values
        self._twin: Machine | None = None
        self._loads = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def try_program(self, program: Program, cuts: Iterable[Cut]) -> _Found | None:
        """Run a program whole, then from a snapshot at each cut; return the first that ends otherwise."""
        with self._begun(program) as whole:
            whole.run(ticks=LIMIT)
            end, length = _snapshot(whole), whole.processor().cpu.ticks
        with self._begun(program) as machine:
            cut, tick = Cut(0), 0
            for cut in sorted(cuts):
                cut.reach(machine, length)
                execution = machine.processor()
                if execution.stands_still:
                    break
                tick = execution.cpu.ticks
                snapshot = _snapshot(machine)
                self.cuts += 1
                self._note(machine)
                found = self._goes_on(snapshot, end)
                if found:
                    return _Found(cut, tick, found)
            machine.run(ticks=LIMIT)
            if _snapshot(machine) != end:  # a save, or a stop, has changed it
                return _Found(cut, tick, tuple(_differences(end, _snapshot(machine))))
        return None

    @contextmanager
    def _begun(self, program: Program) -> Iterator[Machine]:
        with closing(self._make(self.model)) as machine:
            put(program, machine)
            yield machine

    def _goes_on(self, snapshot: bytes, end: bytes) -> tuple[tuple[str, str, str], ...]:
        """Load a snapshot, run it to the end, and return what differs there."""
        if self._twin is None or not self._loads % LOADS:  # a new machine now and then, else the one of the load before
            self._open.close()
            model = MODELS[self._loads // LOADS % 2]
            self._twin = self._open.enter_context(closing(self._make(model)))
        self._loads += 1
        try:
            self._twin.load(loads(snapshot), strict=True)
        except ChkptError as exc:
            return (("the load", "done", str(exc)),)
        self._twin.run(ticks=LIMIT)
        there = _snapshot(self._twin)
        return () if there == end else tuple(_differences(end, there))

    def _note(self, machine: Machine) -> None:
        for name, value in leaves(machine.processor().save()):
            seen = self._values.setdefault(name, set())
            if len(seen) < 2:
                seen.add(value)


def _snapshot(machine: Machine) -> bytes:
    """Return a machine as the bytes of a snapshot, which do not say what model its processor is."""
    return snapshot_of(machine, config={})


def _differences(whole: bytes, restored: bytes) -> Iterator[tuple[str, str, str]]:
    found = compare(loads(whole), loads(restored))
    for change in (*found.header, *found.tags):
        path = "/".join(change.path) or "header"
        yield f"{path}.{change.tag}", str(change.old), str(change.new)
    for blob in found.blobs:
        for first, end in blob.ranges[:4]:
            yield f"{'/'.join(blob.path)}.{blob.tag}", f"bytes {first:#x} to {end - 1:#x}", "others"


def _shorten(bench: _Runner, number: int, program: Program, cuts: Sequence[Cut], found: _Found) -> CpuFinding:
    """Leave out phrases as long as a cut still shows it (Zeller's ddmin, without its complements).

    The cuts stay the same, each at its part of the run, and some are added that lie evenly; what has shown it is there.
    """
    length, left = len(program.phrases), SHRINKS
    even = [Cut((2 * number + 1) * WHOLE // (2 * CUTS), number // 2 if number % 2 else -1) for number in range(CUTS)]
    size = length // 2
    while size and left:
        at, before = 0, program
        while at < len(program.phrases) and left:
            shorter = replace(program, phrases=program.phrases[:at] + program.phrases[at + size :])
            left -= 1
            again = bench.try_program(shorter, {found.cut, *cuts, *even})
            if again is None:
                at += size
            else:
                program, found = shorter, again
        if size > 1 or program == before:
            size //= 2
    return CpuFinding(number, program, length, found.tick, found.differences)
