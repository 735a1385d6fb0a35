"""The virtual clock: integer nanoseconds, and timers that fire in order of deadline, then of creation.

Timers with the same deadline fire in the order in which they were made, not armed. That order is the same in a restored
machine, whatever the order in which its devices were loaded (docs/decisions/0003-timer-ties.md).
"""

from bisect import bisect_left, insort
from collections.abc import Callable


class MachineClock:
    """Time that moves only when it is set or advanced. It starts at 0."""

    __slots__ = ("_armed", "_made", "now")

    def __init__(self) -> None:
        self.now = 0
        self._armed: list[tuple[int, int, MachineTimer]] = []
        self._made = 0

    def timer(self, fire: Callable[[], None]) -> "MachineTimer":
        """Make a timer that calls `fire`."""
        self._made += 1
        return MachineTimer(self._armed, self._made, fire)

    @property
    def next_deadline(self) -> int | None:
        """The earliest deadline of all armed timers, or None."""
        return self._armed[0][0] if self._armed else None

    def advance_to(self, target: int, enough: Callable[[], bool] | None = None) -> bool:
        """Move the clock forward to `target` and fire every timer that is due; in its callback `now` is its deadline.

        A target in the past leaves the clock as it is and fires the overdue timers.

        Args:
            target: nanoseconds.
            enough: called after each timer but the last one due. If it returns True, the clock stops at that timer's
                deadline. Another call goes on as if there had been no stop.

        Returns:
            Whether the clock is at `target` and no timer is overdue.
        """
        armed = self._armed
        target = max(target, self.now)
        fired = False
        while armed and armed[0][0] <= target:
            if fired and enough is not None and enough():
                return False
            fired = True
            deadline, _, timer = armed.pop(0)
            timer.deadline = None
            self.now = max(self.now, deadline)
            timer.fire()
        self.now = max(self.now, target)
        return True

    def set(self, now: int) -> None:
        """Set the clock to `now`, earlier or later; no timer fires."""
        self.now = now


class MachineTimer:
    """A one-shot timer. See `chkpt.device.Timer`."""

    __slots__ = ("_armed", "_order", "deadline", "fire")

    def __init__(self, armed: "list[tuple[int, int, MachineTimer]]", order: int, fire: Callable[[], None]) -> None:
        self.deadline: int | None = None
        self.fire = fire
        self._armed = armed
        self._order = order

    def arm(self, deadline: int, /) -> None:
        """Fire once at `deadline`; this replaces an earlier deadline."""
        self.cancel()
        self.deadline = deadline
        insort(self._armed, (deadline, self._order, self))

    def cancel(self) -> None:
        """Disarm the timer."""
        if self.deadline is not None:
            del self._armed[bisect_left(self._armed, (self.deadline, self._order))]
            self.deadline = None
