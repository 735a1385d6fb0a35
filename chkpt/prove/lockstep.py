"""Do the same steps with a machine and its twin, until a difference shows."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from chkpt.errors import ChkptError, HalfLoadedError
from chkpt.grammar import Step, Wait
from chkpt.machine.board.lines import INTR
from chkpt.prove.attributes import Attribute, differences
from chkpt.prove.bench import A20, Bench
from chkpt.prove.setup import Setup
from chkpt.snapshot import loads
from chkpt.snapshot.diff import compare

AT_THE_CUT: Final = -1
"""In place of a step's number: right after the load."""


class Symptom(StrEnum):
    """How a difference showed. The values end the sentence "what differs is ..."."""

    RAISED = "that the device raises an error"  # with or without a restore
    REFUSED = "that the machine does not load what it has saved"
    LEVEL = "a level after the load"
    ANSWER = "an answer"
    EDGE = "an edge of an interrupt line, or its time"
    OUTPUT = "what leaves the machine"
    TIMER = "when a timer is due"
    SAVED = "what a save gives"


class Way(StrEnum):
    """How the twin was made. The values are marks in a transcript."""

    WHOLE = "# cut"
    """The twin did the steps `used`, and then loaded the snapshot."""

    PARTIAL = "# cut, and a partial load at another time"
    """The same, but the twin's clock was `ahead` and was not set: each device was loaded by name, times shifted."""

    UNDONE = "# cut, compared with a machine whose load was taken back"
    """The twin did the steps `before`. Then it loaded the state of a machine that did `used`, and that was undone."""

    UNSAVED = "# cut, compared with a machine that was not saved"
    """The twin did the steps `before` and was never saved: a difference is an effect of the save."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """The steps before a save, and the steps that the machine and its twin do after it."""

    before: tuple[Step, ...]
    after: tuple[Step, ...]
    used: tuple[Step, ...] = ()
    way: Way = Way.WHOLE
    ahead: int = 0  # nanoseconds; of PARTIAL alone

    def __len__(self) -> int:
        return len(self.before) + len(self.after) + len(self.used)


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first difference between a machine and its twin, with both sides as text.

    `step` counts from the first step after the cut. `attributes` differ in the live devices, and are in no field of a
    state. `fields` differ in what the two machines save right after the load.
    """

    what: Symptom
    step: int
    original: str
    twin: str
    attributes: tuple[Attribute, ...] = ()
    fields: tuple[str, ...] = ()


class Pair:
    """A machine and its twin. The twin's clock is `ahead` by so many nanoseconds."""

    def __init__(self, original: Bench, twin: Bench, ahead: int = 0) -> None:
        self.original = original
        self.twin = twin
        self.ahead = ahead
        self.done = 0
        original.forget()
        twin.forget()

    def at_the_cut(self) -> Divergence | None:
        """Compare what both show before the first step."""
        original, twin = self.original, self.twin
        if twin.levels() != original.levels():
            return Divergence(Symptom.LEVEL, AT_THE_CUT, str(original.levels()), str(twin.levels()))
        if self._twins_timers() != original.timers():
            return Divergence(Symptom.TIMER, AT_THE_CUT, str(original.timers()), str(self._twins_timers()))
        return self.saved(AT_THE_CUT)

    def do(self, step: Step) -> tuple[int, Divergence | None]:
        """Do one step with both, and return the original's answer and how they differ."""
        original, twin, number = self.original, self.twin, self.done
        self.done += 1
        answer, raised = attempt(original.do, step)
        answer_of_twin, raised_by_twin = attempt(twin.do, step)
        found: tuple[Symptom, object, object] | None = None
        if raised or raised_by_twin:
            found = Symptom.RAISED, raised or "nothing is raised", raised_by_twin or "nothing is raised"
        elif answer_of_twin != answer:
            found = Symptom.ANSWER, f"{answer:#x}", f"{answer_of_twin:#x}"
        elif self._twins_events() != original.events:
            found = Symptom.EDGE, _edges(original.events), _edges(self._twins_events())
        elif twin.logs != original.logs:
            found = Symptom.OUTPUT, original.logs, twin.logs
        elif self._twins_timers() != original.timers():
            found = Symptom.TIMER, original.timers(), self._twins_timers()
        original.forget()
        twin.forget()
        return answer, None if found is None else Divergence(found[0], number, str(found[1]), str(found[2]))

    def _twins_timers(self) -> list[int | None]:
        """Return the twin's deadlines on the clock of the original."""
        return [None if deadline is None else deadline - self.ahead for deadline in self.twin.timers()]

    def _twins_events(self) -> list[tuple[int, int, bool]]:
        """Return the twin's edges with their times on the clock of the original."""
        return [(time - self.ahead, number, level) for time, number, level in self.twin.events]

    def saved(self, number: int) -> Divergence | None:
        """Compare what the two save: everything, or only the devices if the clocks differ."""
        try:
            ours = self.original.states(self.ahead) if self.ahead else self.original.save()
            theirs = self.twin.states() if self.ahead else self.twin.save()
        except ChkptError as exc:
            return Divergence(Symptom.RAISED, number, str(exc), "")
        if ours == theirs:
            return None
        fields = tuple(_fields(ours, theirs))
        ours_told = ", ".join(f"{path} {value}" for path, value, _ in fields)
        theirs_told = ", ".join(f"{path} {value}" for path, _, value in fields)
        return Divergence(Symptom.SAVED, number, ours_told, theirs_told, fields=tuple(path for path, _, _ in fields))

    def attributes(self) -> tuple[Attribute, ...]:
        """Return the attributes in which the devices differ, and the disks whose content differs."""
        devices = self.twin.machine.devices
        found: list[Attribute] = []
        for entry in self.original.machine.devices:
            found += differences(entry.name, entry.device, devices.find(entry.name))
            if self.ahead:
                found = [each for each in found if not _is_shifted(each, self.ahead)]
            for name, medium in self.original.media(entry.name):
                if medium.differs(dict(self.twin.media(entry.name))[name]):
                    found.append(Attribute(entry.name, f"{name}.blocks", "the medium", "another content"))
        return tuple(found)

    def suspects(self) -> tuple[Attribute, ...]:
        """Return the attributes that differ and that no grammar lists as a cache."""
        grammars = {entry.name: entry.type.grammar for entry in self.original.machine.devices}
        caches = {name: () if grammar is None else grammar.caches for name, grammar in grammars.items()}
        return tuple(each for each in self.attributes() if not each.place.startswith(caches[each.device]))


def make_pair(setup: Setup, original: Bench, experiment: Experiment) -> Pair | Divergence:
    """Save a machine, and return it with its twin. Start both clocks, so that events due now happen."""
    if experiment.way in {Way.UNSAVED, Way.UNDONE}:
        return _side_by_side(setup, original, experiment)
    try:
        snapshot = original.save()
        twin = original.twin(snapshot, experiment.used, experiment.ahead)
    except ChkptError as exc:
        return Divergence(Symptom.REFUSED, AT_THE_CUT, str(exc), "")
    original.do(Wait(0))
    return Pair(original, twin, twin.machine.clock.now - original.machine.clock.now)


def run(setup: Setup, experiment: Experiment) -> Divergence | None:
    """Do an experiment. Return how the machine and its twin differ, outside and inside; None if they do not."""
    original = Bench(setup)
    for step in experiment.before:
        _, raised = attempt(original.do, step)
        if raised:
            return Divergence(Symptom.RAISED, AT_THE_CUT, raised, raised)
    pair = make_pair(setup, original, experiment)
    if isinstance(pair, Divergence):
        changed = _unsaved_attributes(setup, original)
        return replace(pair, attributes=tuple(each for each in changed if _names(pair.original, each.device)))
    inside = pair.attributes()
    found = pair.at_the_cut()
    if found is None:
        for step in experiment.after:
            _, found = pair.do(step)
            if found is not None:
                break
        else:
            found = pair.saved(len(experiment.after))
    return None if found is None else replace(found, attributes=inside or pair.attributes())


def _names(message: str, device: str) -> bool:
    """Whether the message of a refused load, or of one that could not be taken back, is about a device."""
    return bool(re.search(rf"\b{re.escape(device)}\b", message))


def _side_by_side(setup: Setup, original: Bench, experiment: Experiment) -> Pair | Divergence:
    """Return the original and a twin that has done the same steps. One of the two is saved, or has a load undone."""
    other = Bench(setup)
    for step in experiment.before:
        other.do(step)
    if experiment.way is Way.UNSAVED:
        original.save()
    else:
        third = Bench(setup)
        for step in experiment.used:
            third.do(step)
        try:
            other.load_and_take_back(third)
        except HalfLoadedError as exc:
            return Divergence(Symptom.REFUSED, AT_THE_CUT, str(exc), "")
        except ChkptError:
            pass  # the load was refused before its end; that must leave the machine as it was, too
    for each in (other, original):
        each.do(Wait(0))
    return Pair(original, other)


def _unsaved_attributes(setup: Setup, used: Bench) -> tuple[Attribute, ...]:
    """Return the attributes that have changed since the devices were made, although no field of that name has changed.

    If a machine does not load what it has saved, there is no twin to compare with.
    """
    new = Bench(setup)
    try:
        fields = [_words(path)[2:] for path, _, _ in _fields(new.save(), used.save())]  # behind "devices" and its name
    except ChkptError:
        fields = []
    changed = Pair(used, new).attributes()
    return tuple(each for each in changed if not any(_alike(_words(each.path), field) for field in fields))


def _words(path: str) -> list[str]:
    """Return the names and numbers in a path: the same for `_counters[0]._cr` and `counters/0.cr`."""
    return [word.lstrip("_") for word in re.split(r"[./\[\]]+", path) if word]


def _alike(attribute: list[str], field: list[str]) -> bool:
    """Return whether one of the two ends with the other."""
    size = min(len(attribute), len(field))
    return attribute[-size:] == field[-size:]


def attempt(do: Callable[[Step], int], step: Step) -> tuple[int, str]:
    """Do a step. Return its answer, and as text the error that a device has raised; empty if none."""
    try:
        return do(step), ""
    except Exception as exc:  # noqa: BLE001  whatever a device raises is what is looked for
        return 0, f"{type(exc).__name__}: {exc}"


_PINS: Final = {INTR: "INTR", A20: "A20"}


def _is_shifted(attribute: Attribute, ahead: int) -> bool:
    """Return whether an attribute differs by as much as the clocks: a time, or a value computed from one."""
    try:
        return int(attribute.twin) - int(attribute.original) == ahead
    except ValueError:
        return False


def _edges(events: Sequence[tuple[int, int, bool]]) -> str:
    edges = (
        f"{_PINS.get(number) or f'line {number}'} {'rises' if level else 'falls'} at {time} ns"
        for time, number, level in events
    )
    return ", ".join(edges) or "no edge"


def _fields(original: bytes, twin: bytes) -> Iterator[tuple[str, object, object]]:
    """Yield the paths of what differs in two snapshots, with the values."""
    found = compare(loads(original), loads(twin))
    for tag in found.tags:
        yield f"{'/'.join(tag.path)}.{tag.tag}", tag.old, tag.new
    for blob in found.blobs:
        yield f"{'/'.join(blob.path)}.{blob.tag}", blob.ranges, blob.ranges
    for path in (*found.removed, *found.added):
        yield "/".join(path), path in found.added, path in found.removed
