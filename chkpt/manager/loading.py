"""The two phases of a load: read and validate everything, then apply it or put everything back."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from chkpt.errors import ChkptError, HalfLoadedError, LoadError, RefusedError, SaveError, StateError
from chkpt.manager.entry import DeviceEntry
from chkpt.manager.host import Platform
from chkpt.manager.reports import LoadReport
from chkpt.state import owned, shift_times

log = logging.getLogger("chkpt.manager")


class Step(NamedTuple):
    """One device that will be loaded, with its validated state."""

    entry: DeviceEntry
    source: str  # the device's name in the snapshot
    state: object


class Action(NamedTuple):
    """One change to one device, and how to take it back; `undo` is None where that cannot be done."""

    entry: DeviceEntry
    do: Callable[[], object]
    undo: Callable[[], None] | None


class LoadPlan:
    """A load that has been read and validated, and has not changed anything yet."""

    def __init__(
        self,
        platform: Platform,
        steps: Sequence[Step],
        left: Sequence[DeviceEntry],
        report: LoadReport,
        reasons: Sequence[str] = (),
    ) -> None:
        self.report = report
        self.reasons = reasons
        """What a strict load refuses, for a caller that has reasons of its own to add; see `refuse_strictly`."""
        self._platform = platform
        self._steps = steps
        self._left = left
        self._before = 0  # where the clock was
        self._done: list[Action] = []
        self._begun = False  # something may have changed, and has not been put back

    def apply(self, *, now: int | None = None, shift: int = 0, seconds: int = 0) -> LoadReport:
        """Load every device of the plan.

        Args:
            now: where the clock is set to. The devices left as they were keep their distance from it.
            shift: nanoseconds added to each time of the loaded states, for a clock that stays where it is.
            seconds: how far the dates of the loaded devices go on, see `chkpt.device.KeepsDate`.

        Raises:
            StateError: a device's `load` refused its state. Every device, the clock and the lines are as they were.
            LoadError: a device's `load` failed otherwise. Everything is as it was.
            HalfLoadedError: the same, but the devices that the message names could not be put back.
            SaveError: a device could not be saved beforehand. Nothing has changed.
            StateError: a time cannot be shifted that far. Nothing has changed.
        """
        clock = self._platform.clock
        self._before = before = clock.now
        self.report.dated.clear()
        actions = [*self._loads(shift, seconds), *(() if now is None or now == before else self._moves(now - before))]
        # A device that cannot be put back comes last, so that nothing can fail after it.
        actions.sort(key=lambda action: action.undo is None)
        done = self._done
        done.clear()
        with self._platform.frozen_lines():
            try:
                self._begun = True
                if now is not None:
                    clock.set(now)
                for action in actions:
                    done.append(action)
                    action.do()
            except BaseException as exc:
                failed = done[-1].entry if done else None
                lost = self._put_back(exc)
                if failed is None or not isinstance(exc, Exception):
                    raise
                self._refuse(failed, lost, exc)
        return self.report

    def tell(self) -> None:
        """Log what has been loaded, once the whole machine has been."""
        for name in self.report.loaded:
            log.info("%s: loaded", name)

    def revert(self, cause: BaseException) -> None:
        """Take back what `apply` has done, because of what failed after it. What it has put back itself stays so.

        Raises:
            HalfLoadedError: a device could not be put back.
        """
        if not self._begun:
            return
        with self._platform.frozen_lines():
            lost = self._put_back(cause)
        if lost:
            raise HalfLoadedError(f"the load failed ({cause!r}); not put back: {', '.join(lost)}") from cause

    def _put_back(self, cause: BaseException) -> list[str]:
        """Undo what was done, the last first, and return the names of the devices that could not be put back.

        It may be for want of memory that this fails, too, wherever it is. Nothing is forgotten before all is undone, so
        it can be tried again.
        """
        self._platform.clock.set(self._before)
        lost: list[str] = []
        failing = self._done[-1] if self._done else None
        for action in reversed(self._done):
            if action.undo is None:
                if action is not failing or not isinstance(cause, StateError):  # raised before it has changed
                    lost.append(action.entry.name)
                continue
            try:
                action.undo()
            except Exception:
                lost.append(action.entry.name)
                with suppress(MemoryError):
                    log.exception("%s: could not be put back", action.entry.name)
        self._begun = bool(lost)
        return lost

    def _loads(self, shift: int, seconds: int) -> Iterator[Action]:
        def load(entry: DeviceEntry, state: object) -> None:
            if entry.load_later(state, seconds):
                self.report.dated.append(entry.name)

        for step in self._steps:
            state = _shifted(step.state, shift, f"devices/{step.source}") if shift else step.state
            undo = partial(step.entry.load, _saved(step.entry)) if step.entry.saves else None
            yield Action(step.entry, partial(load, step.entry, state), undo)

    def _moves(self, jump: int) -> Iterator[Action]:
        """Keep the devices that are left as they were at the same distance from a clock that jumps."""
        for entry in self._left:
            if entry.saves and entry.loads:
                state = _saved(entry)
                moved = _shifted(state, jump, f"device {entry.name}, which follows the clock,")
                yield Action(entry, partial(entry.load, moved), partial(entry.load, state))
            else:
                yield Action(entry, _moving_timers(entry, jump), _moving_timers(entry, -jump))

    def _refuse(self, entry: DeviceEntry, lost: Sequence[str], exc: Exception) -> None:
        source = next((step.source for step in self._steps if step.entry is entry), entry.name)
        outcome = "nothing has changed" if not lost else f"not put back: {', '.join(lost)}"
        reason = str(exc) or type(exc).__name__
        log.error("%s: load failed: %s", entry.name, reason)
        message = f"device {entry.name} cannot be loaded from devices/{source}: {reason}; {outcome}"
        if isinstance(exc, RefusedError) and not lost:
            raise StateError(message) from exc
        if not isinstance(exc, ChkptError):
            message = f"{message} ({type(exc).__name__} in the device)"
        raise (HalfLoadedError if lost else LoadError)(message) from exc


def _saved(entry: DeviceEntry) -> object:
    """Return the present state of a device that will be touched. Nothing that the load does can change it."""
    try:
        return owned(entry.save())
    except Exception as exc:
        raise SaveError(f"cannot be saved before the load: {exc}", where=f"devices/{entry.name}") from exc


def _shifted(state: object, delta: int, where: str) -> object:
    try:
        return shift_times(state, delta)
    except StateError as exc:
        raise StateError(str(exc), subject=where) from exc


def _moving_timers(entry: DeviceEntry, delta: int) -> Callable[[], None]:
    def move() -> None:
        for timer in entry.host.timers:
            if timer.deadline is not None:
                timer.arm(timer.deadline + delta)

    return move
