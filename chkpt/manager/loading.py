"""The two phases of a load: read and validate everything, then apply it or put everything back."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from chkpt.device import Loads, Saves
from chkpt.errors import ChkptError, LoadError, SaveError
from chkpt.manager.entry import DeviceEntry
from chkpt.manager.host import Platform
from chkpt.manager.reports import LoadReport
from chkpt.state import shift_times

log = logging.getLogger("chkpt.manager")


@dataclass(frozen=True, slots=True)
class Step:
    """One device that will be loaded, with its validated state."""

    entry: DeviceEntry
    source: str  # the device's name in the snapshot
    state: object


class LoadPlan:
    """A load that has been read and validated, and has not changed anything yet."""

    def __init__(
        self, platform: Platform, steps: Sequence[Step], left: Sequence[DeviceEntry], report: LoadReport
    ) -> None:
        self.report = report
        self._platform = platform
        # A device that cannot be saved cannot be put back: it is loaded last, so that nothing can fail after it.
        self._steps = sorted(steps, key=lambda step: not isinstance(step.entry.device, Saves))
        self._left = left

    def apply(self, *, now: int | None = None, shift: int = 0) -> LoadReport:
        """Load every device of the plan.

        Args:
            now: where the clock is set to. The devices left as they were keep their distance from it.
            shift: nanoseconds added to each time of the loaded states, for a clock that stays where it is.

        Raises:
            LoadError: a device's `load` raised. Every device, the clock and the lines are as they were.
            SaveError: a device could not be saved beforehand. Nothing has changed.
        """
        clock = self._platform.clock
        before = clock.now
        jump = 0 if now is None else now - before
        remembered = self._remember(self._left if jump else ())
        with self._platform.frozen_lines():
            touched: list[DeviceEntry] = []
            if now is not None:
                clock.set(now)
            try:
                for step in self._steps:
                    touched.append(step.entry)
                    _load(step.entry, shift_times(step.state, shift) if shift else step.state)
                for entry in self._left if jump else ():
                    touched.append(entry)
                    _move(entry, remembered.get(entry.name), jump)
            except BaseException as exc:
                clock.set(before)
                lost = _put_back(touched, remembered)
                if not isinstance(exc, Exception):
                    raise
                self._refuse(touched[-1], lost, exc)
        for name in self.report.loaded:
            log.info("%s: loaded", name)
        return self.report

    def _remember(self, left: Sequence[DeviceEntry]) -> dict[str, object]:
        """Return the present state of every device that the plan will touch and that can be saved."""
        states: dict[str, object] = {}
        for entry in [step.entry for step in self._steps] + list(left):
            device = entry.device
            if not isinstance(device, Saves):
                continue
            try:
                states[entry.name] = device.save()
            except Exception as exc:
                raise SaveError(f"devices/{entry.name}: cannot be saved before the load: {exc}") from exc
        return states

    def _refuse(self, entry: DeviceEntry, lost: Sequence[str], exc: Exception) -> None:
        source = next((step.source for step in self._steps if step.entry is entry), entry.name)
        outcome = "nothing has changed" if not lost else f"not put back: {', '.join(lost)}"
        reason = str(exc) or type(exc).__name__
        log.error("%s: load failed: %s", entry.name, reason)
        message = f"device {entry.name} cannot be loaded from devices/{source}: {reason}; {outcome}"
        if isinstance(exc, ChkptError):
            raise LoadError(message) from exc
        raise LoadError(f"{message} ({type(exc).__name__} in the device)") from exc


def _load(entry: DeviceEntry, state: object) -> None:
    cast("Loads[object]", entry.device).load(state)


def _move(entry: DeviceEntry, state: object, jump: int) -> None:
    """Keep a device that is left as it was at the same distance from a clock that has jumped."""
    if state is not None and isinstance(entry.device, Loads):
        _load(entry, shift_times(state, jump))
        return
    for timer in entry.host.timers:
        if timer.deadline is not None:
            timer.arm(timer.deadline + jump)


def _put_back(touched: Sequence[DeviceEntry], remembered: dict[str, object]) -> list[str]:
    """Load the remembered states, and return the names of the devices that could not be put back."""
    lost: list[str] = []
    for entry in reversed(touched):
        if entry.name not in remembered:
            lost.append(entry.name)
            continue
        try:
            _load(entry, remembered[entry.name])
        except Exception:
            log.exception("%s: could not be put back", entry.name)
            lost.append(entry.name)
    return lost
