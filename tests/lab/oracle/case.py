"""What a rule or a limit is asked about: one command, what both machines held before it, and what both answered."""

from dataclasses import dataclass
from typing import Final

from chkpt_devices.pit.counter import CounterState, Phase
from tests.lab.oracle.command import Command
from tests.lab.oracle.ours import View
from tests.lab.oracle.theirs import Theirs

Line = tuple[str, int]
"""An interrupt line by the group it is told of and its number there, such as `("irq_intercept_in pic0", 4)`."""

TIMER_LINES: Final = frozenset({("irq_intercept_in pic0", 0), ("irq_intercept_out pic0", 0)})
"""Where an edge of line 0 shows: there, and at the master's INT."""

DISK_LINES: Final = frozenset(
    {
        ("irq_intercept_in pic1", 6),
        ("irq_intercept_out pic1", 0),
        ("irq_intercept_in pic0", 2),
        ("irq_intercept_out pic0", 0),
    }
)
"""Where an edge of line 14 shows: there, at the slave's INT, at line 2 and at the master's INT."""


@dataclass(slots=True)
class Case:
    """One command. Before it is carried out, `after` is `before` and there are no answers."""

    sent: Command
    before: View
    after: View
    theirs: Theirs
    ours_value: int = 0
    theirs_value: int = 0
    line: Line = ("", 0)  # one on which edges of one side have no partner on the other
    ours_owed: tuple[str, ...] = ()  # "raise" or "lower": edges that QEMU has not told yet
    theirs_owed: tuple[str, ...] = ()  # edges that we have not told yet

    @property
    def differing(self) -> int:
        """The bits of the answer that differ."""
        return self.ours_value ^ self.theirs_value

    @property
    def counter(self) -> int:
        """The number of the 8254's counter whose port is accessed, -1 for another port."""
        return self.sent.port - 0x40 if 0x40 <= self.sent.port <= 0x42 else -1

    def in_step(self, number: int) -> bool:
        """Tell whether a counter counts the same count from the same time on both sides."""
        ours, theirs = self.before.pit.counters[number], self.theirs.timer.counters[number]
        return (
            ours.phase is Phase.COUNTING
            and ours.held is None
            and not ours.origin
            and ours.start == theirs.start
            and ours.count == theirs.count & 0xFFFF
        )

    @property
    def counts_read(self) -> list[CounterState]:
        """The counters whose counting element, not a latch, the command looks at."""
        return [self.before.pit.counters[number] for number in self._counts_read()]

    def _counts_read(self) -> list[int]:
        sent, counters = self.sent, self.before.pit.counters
        if sent.verb == "inb" and self.counter >= 0:
            state = counters[self.counter]
            live = state.latched_status is None and state.latched_count is None
            return [self.counter] if live else []
        if not sent.writes or sent.port != 0x43:
            return []
        if sent.value >> 6 == 3:
            return [number for number in range(3) if sent.value & 2 << number and not sent.value & 0x20]
        return [] if sent.value & 0x30 else [sent.value >> 6]

    @property
    def out_of_step(self) -> bool:
        """Whether the command looks at a count that is not the same on both sides."""
        return any(not self.in_step(number) for number in self._counts_read())

    @property
    def statuses_latched(self) -> list[int]:
        """The numbers of the counters whose status the command latches, or whose OUT it reads at port 0x61."""
        sent = self.sent
        if sent.reads and sent.port == 0x61:
            return [2]
        if sent.writes and sent.port == 0x43 and sent.value >> 6 == 3 and not sent.value & 0x10:
            return [number for number in range(3) if sent.value & 2 << number]
        return []

    @property
    def control_word(self) -> tuple[int, int] | None:
        """The counter and the mode of a control word, None where the command is none."""
        sent = self.sent
        if not sent.writes or sent.port != 0x43 or sent.value >> 6 == 3 or not sent.value & 0x30:
            return None
        return sent.value >> 6, sent.value >> 1 & 7

    @property
    def whole_count(self) -> int | None:
        """The count that the command completes, None where it completes none."""
        if not self.sent.writes or self.counter < 0:
            return None
        state = self.before.pit.counters[self.counter]
        value = self.sent.value & 0xFF
        if state.access == 3:
            return None if state.cr_lsb is None else value << 8 | state.cr_lsb
        return value << 8 if state.access == 2 else value
