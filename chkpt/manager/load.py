"""The two phases of a load: read and validate everything, then apply all of it or none."""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from chkpt.errors import SaveError, StateError
from chkpt.manager.entry import DeviceEntry
from chkpt.manager.host import Platform
from chkpt.manager.reports import LoadReport
from chkpt.manager.transaction import Action, Transaction
from chkpt.state import owned, shift_times

log = logging.getLogger("chkpt.manager")


class DeviceLoad(NamedTuple):
    """One device that will be loaded, with its validated state."""

    entry: DeviceEntry
    source: str  # the device's name in the snapshot
    state: object


class LoadPlan:
    """A load that has been read and validated, and has not changed anything yet."""

    def __init__(
        self,
        platform: Platform,
        loads: Sequence[DeviceLoad],
        left: Sequence[DeviceEntry],
        report: LoadReport,
        reasons: Sequence[str] = (),
    ) -> None:
        self.report = report
        self.reasons = reasons
        """What a strict load refuses, for a caller that has reasons of its own to add; see `refuse_strictly`."""
        self._platform = platform
        self._loads = loads
        self._left = left
        self._transaction: Transaction | None = None

    def apply(self, *, now: int | None = None, shift: int = 0, seconds: int = 0) -> LoadReport:
        """Load every device of the plan.

        Args:
            now: the time to set the clock to. The devices that are not loaded keep their distance from it.
            shift: see `actions`.
            seconds: see `actions`.

        Raises:
            StateError: a device's `load` refused its state. Every device, the clock and the lines are as they were.
            LoadError: a device's `load` failed otherwise. Everything is as it was.
            HalfLoadedError: the same, but the devices that the message names could not be put back.
            SaveError: a device could not be saved before the load. Nothing has changed.
            StateError: a time cannot be shifted that far. Nothing has changed.
        """
        clock = self._platform.clock
        before = clock.now
        actions: list[Action] = []
        if now is not None:
            actions += [Action("clock", "the clock cannot be set", partial(clock.set, now), partial(clock.set, before))]
        actions += self.actions(jump=0 if now is None else now - before, shift=shift, seconds=seconds)
        self._transaction = Transaction(self._platform.frozen_lines, actions)
        self._transaction.apply()
        return self.report

    def revert(self, cause: BaseException) -> None:
        """Take back what `apply` has done, because of an error after it, unless `apply` has done so itself.

        Raises:
            HalfLoadedError: a device could not be put back.
        """
        if self._transaction is not None:
            self._transaction.take_back(cause)

    def actions(self, *, jump: int = 0, shift: int = 0, seconds: int = 0) -> list[Action]:
        """Return the actions of the plan, one for each device, for a caller that adds actions of its own.

        Args:
            jump: nanoseconds that the clock is moved by. The devices that are not loaded move with it.
            shift: nanoseconds added to each time of the loaded states, if the clock is not set.
            seconds: how far the dates of the loaded devices go on, see `chkpt.device.KeepsDate`.

        Raises:
            SaveError: a device cannot be saved, so it could not be put back.
            StateError: a time cannot be shifted that far.
        """
        self.report.dated.clear()
        return [*self._load_actions(shift, seconds), *(self._move_actions(jump) if jump else ())]

    def log_loaded(self) -> None:
        """Log what has been loaded, once the whole machine has been."""
        for name in self.report.loaded:
            log.info("%s: loaded", name)

    def _load_actions(self, shift: int, seconds: int) -> Iterator[Action]:
        def load(entry: DeviceEntry, state: object) -> None:
            if entry.load_later(state, seconds):
                self.report.dated.append(entry.name)

        for entry, source, state in self._loads:
            path = f"devices/{source}"
            moved = _shift_state(state, shift, path) if shift else state
            undo = partial(entry.load, _save_for_undo(entry)) if entry.saves else None
            failure = f"device {entry.name} cannot be loaded from {path}"
            yield Action(entry.name, failure, partial(load, entry, moved), undo)

    def _move_actions(self, jump: int) -> Iterator[Action]:
        """Yield the actions that keep the devices that are not loaded at the same distance from the clock."""
        for entry in self._left:
            failure = f"device {entry.name} cannot follow the clock"
            if entry.saves and entry.loads:
                state = _save_for_undo(entry)
                moved = _shift_state(state, jump, f"device {entry.name}, which follows the clock,")
                yield Action(entry.name, failure, partial(entry.load, moved), partial(entry.load, state))
            else:
                yield _move_timers(entry, failure, jump)


def _save_for_undo(entry: DeviceEntry) -> object:
    """Return the present state of a device that the load will change. The load cannot change the returned state."""
    try:
        return owned(entry.save())
    except Exception as exc:
        raise SaveError(f"cannot be saved before the load: {exc}", where=f"devices/{entry.name}") from exc


def _shift_state(state: object, delta: int, where: str) -> object:
    try:
        return shift_times(state, delta)
    except StateError as exc:
        raise StateError(str(exc), subject=where) from exc


def _move_timers(entry: DeviceEntry, failure: str, jump: int) -> Action:
    """Return the action that moves the timers of a device that cannot be saved and loaded."""
    before = [(timer, timer.deadline) for timer in entry.host.timers]

    def arm(delta: int) -> Callable[[], None]:
        armed = [(timer, deadline + delta) for timer, deadline in before if deadline is not None]

        def do() -> None:
            for timer, deadline in armed:
                timer.arm(deadline)

        return do

    return Action(entry.name, failure, arm(jump), arm(0))
