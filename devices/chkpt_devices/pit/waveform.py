"""The 8254's clock and its six modes, as plain arithmetic.

Source: Intel 8254 datasheet, order number 231164 ("the datasheet" below).

Nothing ticks here. A counter keeps the time from which it counts, and computes what it shows from the machine's clock:
t nanoseconds after that time, floor(t * 1193182 / 10^9) clocks have passed. A clock falls on the first nanosecond at
which the formula gives it. Errors do not add up, however long the counter runs.

To load a count takes no time. By the datasheet a count of N ends "N + 1 CLK pulses after the initial count is written".
Here it ends after N clocks, as in QEMU: the CLK pulse that loads the count is left out.
"""

from typing import Final

CLOCK_HZ: Final = 1_193_182  # the CLK inputs: 14.31818 MHz / 12, in whole Hz as QEMU's PIT_FREQ
SECOND: Final = 1_000_000_000  # nanoseconds

# The modes (datasheet, "Mode Definitions")
TERMINAL_COUNT: Final = 0  # interrupt on terminal count
ONE_SHOT: Final = 1  # hardware retriggerable one-shot
RATE: Final = 2  # rate generator
SQUARE_WAVE: Final = 3
SOFTWARE_STROBE: Final = 4  # software triggered strobe
HARDWARE_STROBE: Final = 5  # hardware triggered strobe, retriggerable
MODE_OF_M: Final = (TERMINAL_COUNT, ONE_SHOT, RATE, SQUARE_WAVE, SOFTWARE_STROBE, HARDWARE_STROBE, RATE, SQUARE_WAVE)
"""The mode that M2-M0 of a control word select: M2 has no effect in modes 2 and 3."""

PERIODIC: Final = frozenset({RATE, SQUARE_WAVE})
STROBES: Final = frozenset({SOFTWARE_STROBE, HARDWARE_STROBE})


def clocks(ns: int) -> int:
    """Return how many clocks have passed after `ns` nanoseconds."""
    return ns * CLOCK_HZ // SECOND


def moment(start: int, clock: int) -> int:
    """Return the first nanosecond at which `clock` clocks have passed since `start`."""
    return start - (-clock * SECOND // CLOCK_HZ)


def count_down_bcd(count: int, decrements: int) -> int:
    """Return what four decades show `decrements` decrements after `count`.

    A digit above 9, which the datasheet does not describe, counts down as in 16 bits. Every digit borrows to 9.
    """
    shown = 0
    for shift in range(0, 16, 4):
        digit = count >> shift & 0xF
        if decrements <= digit:
            return shown | (count >> shift) - decrements << shift
        decrements -= digit + 1
        shown |= 9 - decrements % 10 << shift
        decrements = decrements // 10 + 1
    return shown


class Waveform:
    """The counting element and OUT of a loaded count, clock by clock, while GATE lets it count.

    A count of 1 is illegal in modes 2 and 3 (datasheet, "Minimum and Maximum Initial Counts"): OUT stays high.
    """

    __slots__ = ("bcd", "count", "high", "length", "mode", "wrap")

    def __init__(self, mode: int, count: int, *, bcd: bool) -> None:
        self.mode = mode
        self.count = count
        self.bcd = bcd
        self.wrap = 10_000 if bcd else 0x1_0000  # clocks until the counting element shows the same again
        # A count of 0 is the greatest: 2^16, or 10^4 in BCD (datasheet, "Minimum and Maximum Initial Counts").
        self.length = (sum((count >> 4 * i & 0xF) * 10**i for i in range(4)) if bcd else count) or self.wrap
        # Odd counts are "high for (N + 1)/2 counts and low for (N - 1)/2 counts" (datasheet, "Mode 3").
        self.high = (self.length + 1) // 2

    def element(self, clock: int) -> int:
        """Return what the counting element shows. At the end of the count it wraps in the modes that do not reload."""
        count = self.count
        if self.mode == RATE:
            clock %= self.length
        elif self.mode == SQUARE_WAVE:
            # "The initial count minus one (an even number)" of an odd count, and both halves count down by two.
            clock %= self.length
            clock = 2 * (clock if clock < self.high else clock - self.high)
            count &= ~1
        return count_down_bcd(count, clock) if self.bcd else count - clock & 0xFFFF

    def out(self, clock: int) -> bool:
        """Return the level of OUT."""
        if self.mode == SQUARE_WAVE:
            return clock % self.length < self.high
        if self.mode == RATE:
            return clock % self.length != self.length - 1 or self.length == 1
        if self.mode in STROBES:
            return clock != self.length
        return clock >= self.length

    def next_edge(self, clock: int) -> int | None:
        """Return the first clock after `clock` at which OUT changes, or None if it never does again."""
        length = self.length
        if self.mode in PERIODIC:
            if length == 1:
                return None
            end = self.period_end(clock)
            return end - 1 if self.mode == RATE and clock < end - 1 else end
        if clock < length:
            return length
        return length + 1 if clock == length and self.mode in STROBES else None

    def period_end(self, clock: int) -> int:
        """Return the first clock after `clock` at which the counting element is loaded again in modes 2 and 3."""
        passed = clock % self.length
        if self.mode == SQUARE_WAVE and passed < self.high:
            return clock - passed + self.high
        return clock - passed + self.length
