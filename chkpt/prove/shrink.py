"""Make a conversation shorter and simpler, as long as it shows the same difference."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, Literal

from chkpt.grammar import In, Insw, Out, Outsw, Read, Receive, Step, Wait, Write, Wrmsr
from chkpt.prove.lockstep import Divergence, Experiment, Symptom

Trial = Callable[[Experiment], Divergence | None]

MAX_STEPS: Final = 300_000
"""The most steps of all trials together. After that the shortest conversation so far is the result."""

Part = Literal["after", "before", "used"]
PARTS: Final[tuple[Part, ...]] = ("after", "before", "used")


def shrink(experiment: Experiment, found: Divergence, trial: Trial) -> tuple[Experiment, Divergence]:
    """Return a shorter experiment that shows the same kind of divergence, and its divergence.

    It ends with the first step that shows the divergence. The same experiment always gives the same result.
    """
    return _Shrinking(experiment, found, trial).run()


class _Shrinking:
    """The shortest experiment so far, and the number of steps left for trials."""

    def __init__(self, experiment: Experiment, found: Divergence, trial: Trial) -> None:
        self._trial = trial
        self._left = MAX_STEPS
        self._best = experiment
        self._found = found
        self._end()

    def run(self) -> tuple[Experiment, Divergence]:
        """Try until nothing makes the experiment shorter."""
        if self._best.used:
            self._try(replace(self._best, used=()))
        if self._best.ahead:
            self._try(replace(self._best, ahead=1))
        shorter = True
        while shorter and self._left > 0:
            shorter = any([self._leave_out(), self._move_the_cut(), self._simplify()])
        return self._best, self._found

    def _end(self) -> None:
        """End the conversation with the step that shows it."""
        self._best = replace(self._best, after=self._best.after[: self._found.step + 1])

    def _try(self, experiment: Experiment) -> bool:
        """Take an experiment as the best if it shows the same."""
        if self._left <= 0:
            return False
        self._left -= len(experiment) + 1
        found = self._trial(experiment)
        if found is None or found.what is not self._found.what:
            return False
        ours, theirs = _devices(self._found), _devices(found)
        if found.what not in {Symptom.REFUSED, Symptom.RAISED} and (ours or theirs) and not ours & theirs:
            return False  # another hole
        self._best, self._found = experiment, found
        self._end()
        return True

    def _leave_out(self) -> bool:
        """Leave out runs of steps, long ones first (Zeller's ddmin, without its complements)."""
        helped = False
        for part in PARTS:
            size = len(_part(self._best, part))
            while size:
                at = 0
                while at < len(steps := _part(self._best, part)):
                    if self._try(_with(self._best, part, (*steps[:at], *steps[at + size :]))):
                        helped = True
                    else:
                        at += size
                size //= 2
        return helped

    def _move_the_cut(self) -> bool:
        """Move the cut later, so that both machines do as few steps as possible."""
        helped = False
        while len(self._best.after) > 1:
            best = self._best
            if not self._try(replace(best, before=(*best.before, best.after[0]), after=best.after[1:])):
                break
            helped = True
        return helped

    def _simplify(self) -> bool:
        """Make the values of the steps simpler."""
        helped = False
        for part in PARTS:
            at = 0
            while at < len(steps := _part(self._best, part)):
                helped |= any(
                    self._try(_with(self._best, part, (*steps[:at], simpler, *steps[at + 1 :])))
                    for simpler in _simpler(steps[at])
                )
                at += 1
        return helped


def _part(experiment: Experiment, part: Part) -> tuple[Step, ...]:
    return {"after": experiment.after, "before": experiment.before, "used": experiment.used}[part]


def _with(experiment: Experiment, part: Part, steps: tuple[Step, ...]) -> Experiment:
    """Return the experiment with other steps in a part."""
    if part == "after":
        return replace(experiment, after=steps)
    return replace(experiment, before=steps) if part == "before" else replace(experiment, used=steps)


def _devices(found: Divergence) -> set[str]:
    return {each.device for each in found.attributes}


def _simpler(step: Step) -> Iterator[Step]:
    """Yield simpler steps, the simplest first."""
    if isinstance(step, In | Out | Read | Write) and step.width > 1:
        yield replace(step, width=1)
    match step:
        case Out() | Write() | Wrmsr():
            yield from (replace(step, value=value) for value in _smaller(step.value))
        case Insw():
            yield from (replace(step, count=count) for count in _smaller(step.count))
        case Outsw():
            yield from (replace(step, data=step.data[: 2 * count]) for count in _smaller(len(step.data) // 2))
            if any(step.data):
                yield replace(step, data=bytes(len(step.data)))
        case Receive():
            if step.errors:
                yield replace(step, errors=0)
            yield from (replace(step, data=step.data[:size]) for size in _smaller(len(step.data)))
        case Wait(int(ns)) if ns:
            yield from (Wait(shorter) for shorter in (0, 10 ** (len(str(ns)) - 1)) if shorter < ns)
        case _:
            pass


def _smaller(value: int) -> Iterator[int]:
    """Yield numbers with fewer bits set: none, then each bit alone cleared."""
    if value.bit_count() > 1:
        yield 0
    for bit in range(value.bit_length() - 1, -1, -1):
        if value >> bit & 1:
            yield value & ~(1 << bit)
