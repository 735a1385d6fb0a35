"""Where a run ends that somebody has asked to end: at a tick, at a time, after some blocks, or at what the guest does.

Every end but the caller's own is a place that the guest's run decides, so it is the same each time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chkpt.machine.cpu.execution import Execution, Outcome


@dataclass(slots=True, eq=False)
class Goal:
    """How far a processor shall run; the first end that comes counts.

    `done` is called once, in the loop's thread, with the machine at rest: with ENOUGH at the goal, with why the
    processor will never get there, or with None where somebody has ended the run before.
    """

    done: Callable[[Outcome | None], None]
    ticks: int | None = None  # of the processor, counted from power-on
    until: int | None = None  # nanoseconds of the machine's clock
    blocks: int | None = None  # of code, that are still to run
    reached: bool = False  # set by `reach`

    def reach(self, execution: Execution) -> None:
        """End the run here: from within an access or a timer. The present block is run to its end."""
        self.reached = True
        execution.hurry()

    def is_met(self, ticks: int, now: int) -> bool:
        """Whether the machine has got there."""
        return (
            self.reached
            or (self.ticks is not None and ticks >= self.ticks)
            or (self.until is not None and now >= self.until)
            or self.blocks == 0
        )


def nearest(ends: Iterable[int | None]) -> int | None:
    """Return the least of those that are given."""
    return min((end for end in ends if end is not None), default=None)
