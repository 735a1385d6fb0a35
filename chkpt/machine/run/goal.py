"""The end of a run that a client asks for: at a tick, at a time, after some blocks, or at an action of the guest.

The guest's run decides where that is, so it is the same each time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chkpt.machine.cpu.execution import Execution, Outcome


@dataclass(slots=True, eq=False)
class Goal:
    """How far a processor is to run; the first end that comes counts.

    The loop calls `done` once, in its thread and with the machine at rest: with ENOUGH at the goal, with another
    outcome if the processor will never get there, or with None if the run was ended before.
    """

    done: Callable[[Outcome | None], None]
    ticks: int | None = None  # of the processor since power-on
    until: int | None = None  # nanoseconds of the machine's clock
    blocks: int | None = None  # of code, still to run
    reached: bool = False  # set by `reach`

    def reach(self, execution: Execution) -> None:
        """End the run after the present block. Call it within an access or a timer's callback."""
        self.reached = True
        execution.hurry()

    def is_met(self, ticks: int, now: int) -> bool:
        """Whether the machine is at the goal."""
        return (
            self.reached
            or (self.ticks is not None and ticks >= self.ticks)
            or (self.until is not None and now >= self.until)
            or self.blocks == 0
        )


def nearest(ends: Iterable[int | None]) -> int | None:
    """Return the least of `ends` without None, or None if there is no other."""
    return min((end for end in ends if end is not None), default=None)
