"""Look for what a restore changes: make random conversations, cut them anywhere, and compare a machine with its twin.

If an attribute of a live device differs after a load and nothing shows, it is a suspect. The prover goes back to that
cut many times and converses with this device only, until the difference shows or the chances are used up.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from random import Random
from time import monotonic
from typing import Final

from chkpt.grammar import Phrase, Step, Wait
from chkpt.prove.attributes import Attribute
from chkpt.prove.bench import Bench
from chkpt.prove.lockstep import AT_THE_CUT, Divergence, Experiment, Pair, Symptom, Way, attempt, make_pair, run
from chkpt.prove.reach import DeviceReach, Reach
from chkpt.prove.setup import Setup
from chkpt.prove.shrink import shrink
from chkpt.prove.talk import conversation
from chkpt.prove.transcript import write

RUNS: Final = 200
"""Runs, if the caller does not say how many."""

RUN: Final = 300
"""Steps of one run."""

ALONE: Final = (1, 2, 4, 16)
"""How many steps a machine does alone before a cut. Each number is chosen equally often."""

TOGETHER: Final = (1, 4, 16, 64)
"""How many steps a machine and its twin do together."""

IN_USE: Final = 0.25
"""The share of twins that were in use before the load."""

PARTIAL: Final = 0.15
"""The share of loads that load each device by its name, into a machine at another time."""

UNDONE: Final = 0.1
"""The share of cuts at which a load is undone."""

CHANCES: Final = 6
"""How many conversations a suspect gets at one cut."""

ALL_CHANCES: Final = 300
"""How many conversations a suspect gets in all."""

CHANCE: Final = 100
"""Steps of each of these conversations."""

FIRST_EXTRA: Final = 60_000
"""How many steps more than the runs all these conversations together may have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A restore that a guest can notice, with the shortest conversation found that shows it.

    `run` is the number of the run that found it. `length` is the number of steps before the conversation was shortened.
    """

    run: int
    length: int
    experiment: Experiment
    divergence: Divergence
    transcript: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What was tried, and the result. `unnoticed` are attributes that differed after a load but never showed."""

    seed: int
    runs: int
    steps: int
    cuts: int
    seconds: float
    finding: Finding | None
    reach: tuple[DeviceReach, ...]
    unnoticed: tuple[Attribute, ...]


Progress = Callable[[int, int], None]
"""A function that takes the number of runs and the number of steps that are done."""


def prove(
    setups: Sequence[Setup],
    *,
    runs: int = RUNS,
    seconds: float | None = None,
    seed: int = 0,
    progress: Progress = lambda _runs, _steps: None,
) -> Proof:
    """Look for a restore that a guest can notice, and stop at the first.

    Args:
        setups: what the machines are built from, one after the other; see `setups_of`.
        runs: how many conversations of `RUN` steps.
        seconds: no run begins after so many seconds; None for no limit.
        seed: the seed of all random choices. The same seed finds the same.
        progress: called after each run.

    Raises:
        ChkptError: a machine cannot be built from a setup.
    """
    with unlogged():
        return _Prover(setups, seed).prove(runs, inf if seconds is None else seconds, progress)


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep the thousands of loads and their refusals out of the log."""
    log = logging.getLogger("chkpt")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


class _Prover:
    """One search, over machines of the same setups."""

    def __init__(self, setups: Sequence[Setup], seed: int) -> None:
        self._setups = setups
        self._seed = seed
        self._reach = Reach()
        self._steps = 0
        self._cuts = 0
        self._extra = 0
        self._chances: Counter[str] = Counter()
        self._suspects: dict[str, Attribute] = {}
        for setup in setups:
            machine = setup.machine()
            self._reach.add_machine(machine)
            machine.close()

    def prove(self, runs: int, seconds: float, progress: Progress) -> Proof:
        """Make the runs."""
        began = monotonic()
        finding: Finding | None = None
        done = 0
        while done < runs and finding is None and monotonic() - began < seconds:
            with self._reach.branches(done):
                found = _Run(self, done).go()
            if found is not None:
                finding = self._shorten(done, *found)
            done += 1
            progress(done, self._steps)
        reach, unnoticed = self._reach.devices(), tuple(self._suspects.values())
        return Proof(self._seed, done, self._steps, self._cuts, monotonic() - began, finding, reach, unnoticed)

    def _shorten(self, number: int, experiment: Experiment, found: Divergence) -> Finding:
        setup = self.setup(number)
        length = len(experiment)
        found = run(setup, experiment) or found
        experiment, found = shrink(experiment, found, lambda each: run(setup, each))
        return Finding(number, length, experiment, found, write(setup, experiment, found))

    def setup(self, number: int) -> Setup:
        """Return what the machines of run `number` are built from."""
        return self._setups[number % len(self._setups)]

    def random(self, *names: object) -> Random:
        """Return a random generator whose seed is our seed and `names`."""
        return Random("/".join(map(str, (self._seed, *names))))  # noqa: S311  nothing secret

    def note_step(self, step: Step) -> None:
        """Count a step."""
        self._steps += 1
        self._reach.step(step)

    def note_chance(self, steps: int) -> None:
        """Count the steps of a conversation about suspects, including those before its cut."""
        self._extra += steps

    def note_cut(self, bench: Bench) -> None:
        """Count a cut."""
        self._cuts += 1
        self._reach.saved(bench.machine)

    def chances(self, suspects: Sequence[Attribute]) -> int:
        """Return how many conversations these suspects get at this cut."""
        keys = {f"{each.device}.{each.place}": each for each in suspects}
        self._suspects |= {key: each for key, each in keys.items() if key not in self._suspects}
        left = max(ALL_CHANCES - self._chances[key] for key in keys)
        given = min(left, CHANCES) if self._extra < FIRST_EXTRA + self._steps else 0
        self._chances.update(dict.fromkeys(keys, given))
        return given


class _Run:
    """One run: a conversation with one machine, cut again and again."""

    def __init__(self, prover: _Prover, number: int) -> None:
        self._prover = prover
        self._number = number
        self._setup = prover.setup(number)
        self._choose = prover.random("run", number)
        self._bench = Bench(self._setup)
        self._talk = _Talk(conversation(self._bench.machine, prover.random("talk", number)))
        self._steps: list[Step] = []
        self._answers: list[int] = []
        self._cut = 0

    def go(self) -> tuple[Experiment, Divergence] | None:
        """Converse, cut, and compare; return the first difference."""
        while len(self._steps) < RUN:
            found = self._alone(self._choose.choice(ALONE)) or self._together(self._choose.choice(TOGETHER))
            if found is not None:
                return found
        return self._never_saved()

    def _alone(self, count: int) -> tuple[Experiment, Divergence] | None:
        for _ in range(count):
            step = self._talk.say()
            answer, raised = attempt(self._bench.do, step)
            if raised:
                divergence = Divergence(Symptom.RAISED, AT_THE_CUT, raised, raised)
                return Experiment((*self._steps, step), ()), divergence
            self._note(step, answer)
        return None

    def _note(self, step: Step, answer: int) -> None:
        self._steps.append(step)
        self._answers.append(answer)
        self._talk.hear(answer)
        self._prover.note_step(step)

    def _together(self, count: int) -> tuple[Experiment, Divergence] | None:
        self._cut = len(self._steps)
        before = tuple(self._steps)
        planned = self._plan(before)
        self._prover.note_cut(self._bench)
        pair = make_pair(self._setup, self._bench, planned)
        if isinstance(pair, Divergence):
            return planned, pair
        self._steps.append(Wait(0))
        self._answers.append(0)
        suspects = pair.suspects() if planned.way is Way.WHOLE else ()
        after: list[Step] = []
        found = pair.at_the_cut()
        while found is None and len(after) < count:
            step = self._talk.say()
            after.append(step)
            answer, found = pair.do(step)
            self._note(step, answer)
        found = found or pair.saved(len(after))
        if found is not None:
            return replace(planned, after=tuple(after)), found
        return self._suspect(planned, suspects) if suspects else None

    def _plan(self, before: tuple[Step, ...]) -> Experiment:
        """Choose how the twin is made: most often by a whole load into a new machine."""
        choose = self._choose
        ways = {Way.PARTIAL: PARTIAL, Way.UNDONE: UNDONE}
        way = choose.choices([Way.WHOLE, *ways], [1 - sum(ways.values()), *ways.values()])[0]
        used: tuple[Step, ...] = ()
        if way is Way.UNDONE or choose.random() < IN_USE:
            prefix = before[: choose.randrange(len(before) + 1)]
            used = prefix if choose.random() < 0.5 else self._other_use(choose.choice(TOGETHER))
        ahead = choose.choice((1, 999, 1_234_567, choose.randrange(1, 1 << 40))) if way is Way.PARTIAL else 0
        return Experiment(before, (), used, way, ahead)

    def _other_use(self, count: int) -> tuple[Step, ...]:
        """Return the steps of another conversation, with another machine."""
        bench = Bench(self._setup)
        talk = _Talk(conversation(bench.machine, self._prover.random("use", self._number, self._cut)))
        steps: list[Step] = []
        for _ in range(count):
            step = talk.say()
            answer, raised = attempt(bench.do, step)
            if raised:
                break
            steps.append(step)
            talk.hear(answer)
        return tuple(steps)

    def _suspect(self, planned: Experiment, suspects: Sequence[Attribute]) -> tuple[Experiment, Divergence] | None:
        """Go back to the cut and converse with the devices whose attributes differ."""
        devices = {each.device for each in suspects}
        for chance in range(self._prover.chances(suspects)):
            bench = Bench(self._setup)
            for step in planned.before:
                bench.do(step)
            pair = make_pair(self._setup, bench, planned)
            assert isinstance(pair, Pair)
            choose = self._prover.random("chance", self._number, self._cut, chance)
            talk = _Talk(conversation(bench.machine, choose, devices))
            after: list[Step] = []
            found: Divergence | None = None
            while found is None and len(after) < CHANCE:
                after.append(talk.say())
                answer, found = pair.do(after[-1])
                talk.hear(answer)
            self._prover.note_chance(len(planned) + len(after))
            found = found or pair.saved(len(after))
            if found is not None:
                return replace(planned, after=tuple(after)), found
        return None

    def _never_saved(self) -> tuple[Experiment, Divergence] | None:
        """Do the same with a machine that is never saved, and compare the answers."""
        other = Bench(self._setup)
        number = 0
        while number < len(self._steps) and other.do(self._steps[number]) == self._answers[number]:
            number += 1
        if number == len(self._steps):
            return None
        steps = tuple(self._steps[: number + 1])
        for cut in range(number, -1, -1):
            experiment = Experiment(steps[:cut], steps[cut:], way=Way.UNSAVED)
            found = run(self._setup, experiment)
            if found is not None:
                return experiment, found
        what = "two machines that are treated alike do not answer alike, and no single save does it"
        return Experiment(steps, (), way=Way.UNSAVED), Divergence(Symptom.ANSWER, number, what, what)


class _Talk:
    """A conversation: it gives the next step, and takes the answer to the last one."""

    def __init__(self, phrase: Phrase) -> None:
        self._phrase = phrase
        self._answer: int | None = None

    def say(self) -> Step:
        """Return the next step."""
        return next(self._phrase) if self._answer is None else self._phrase.send(self._answer)

    def hear(self, answer: int) -> None:
        """Take the answer of the step said last."""
        self._answer = answer
