"""What is not sent to the 8254."""

from typing import Final

from chkpt_devices.pit.counter import Phase
from tests.lab.oracle.case import Case
from tests.lab.oracle.ground.limit import Limit

EXACT_CLOCKS: Final = 596_591
"""After so many clocks a whole number of nanoseconds has passed: 1193182 and 10^9 have no greater divisor than 2."""

TIMER_PORTS: Final = frozenset((0x40, 0x41, 0x42, 0x43, 0x61))


def _counter0_mode(case: Case) -> bool:
    word = case.control_word
    return word is not None and word[0] == 0 and (word[1] not in {0, 2, 3} or bool(case.sent.value & 1))


def _counter0_level(case: Case) -> bool:
    """Tell of a control word after which line 0 would have one edge more on one side."""
    word = case.control_word
    if word is None or word[0]:
        return False
    state = case.before.pit.counters[0]
    if state.access and state.phase is Phase.AWAITING_COUNT:
        return word[1] != state.mode
    return (word[1] == 2 and not case.before.pit.irq) or (word[1] == 3 and case.theirs.timer.pulses)


def _counter0_half(case: Case) -> bool:
    """Tell of anything but an access to the timer while counter 0 waits for a count."""
    state = case.before.pit.counters[0]
    waits = bool(state.access) and state.phase is Phase.AWAITING_COUNT
    return waits and case.sent.port not in TIMER_PORTS


def _counter0_count(case: Case) -> bool:
    count = case.whole_count
    if count is None or case.counter:
        return False
    state = case.before.pit.counters[0]
    return state.mode in {2, 3} and (count == 1 or state.phase is Phase.COUNTING)


def in_rate_window(case: Case) -> bool:
    """Tell whether counter 0, in mode 2, has begun a period, and QEMU tells of it with the clock to come."""
    counter = case.theirs.timer.counters[0]
    passed = counter.counted(case.before.now)
    return counter.mode == 2 and counter.access != 0 and passed > 0 and passed % counter.count == 0


def _rate_window(case: Case) -> bool:
    word = case.control_word
    writes = (case.sent.writes and case.sent.port == 0x40) or (word is not None and not word[0])
    other = case.sent.verb != "clock_step" and case.sent.port not in TIMER_PORTS
    return in_rate_window(case) and (writes or other)


def _rate_exact(case: Case) -> bool:
    counter = case.theirs.timer.counters[0]
    passed = counter.counted(case.before.now + case.sent.value)
    return case.sent.verb == "clock_step" and counter.mode == 2 and passed >= EXACT_CLOCKS - 1


def _out_of_step(case: Case) -> bool:
    return case.out_of_step


def _status_out_of_step(case: Case) -> bool:
    counters = case.before.pit.counters
    return any(
        not case.in_step(number) and counters[number].phase is Phase.COUNTING for number in case.statuses_latched
    )


def _latched_over(case: Case) -> bool:
    word = case.control_word
    if word is None:
        return False
    state, theirs = case.before.pit.counters[word[0]], case.theirs.timer.counters[word[0]]
    ours_latched = state.latched_count is not None or state.latched_status is not None
    return ours_latched or theirs.latched is not None or theirs.status is not None


LIMITS: Final = (
    Limit(
        "counter-0-modes",
        "pit",
        "OUT of modes 1, 4 and 5 is inverted, BCD counts in binary, modes 6 and 7 count as 2: line 0 has other edges",
        "8254, Mode Definitions; counters 1 and 2 show the same without a line",
        _counter0_mode,
    ),
    Limit(
        "counter-0-level",
        "pit",
        "OUT of mode 2 is low until the first period ends, and a control word alone does not move it",
        "8254, Mode Definitions: a control word sets OUT, so line 0 would have an edge more",
        _counter0_level,
    ),
    Limit(
        "counter-0-half-programmed",
        "pit",
        "counts on between a control word and its count",
        "8254, Mode 0: counting waits for the whole count",
        _counter0_half,
    ),
    Limit(
        "counter-0-new-count",
        "pit",
        "a new count in modes 2 and 3 begins at once, and a count of 1 is legal",
        "8254, Mode 2 and Mode 3: at the end of the (half-)period; 1 is illegal",
        _counter0_count,
    ),
    Limit(
        "counter-0-at-its-edge",
        "pit",
        "tells the period of mode 2 one clock later",
        "8254, Mode 2: what is done within that clock meets another level of line 0",
        _rate_window,
    ),
    Limit(
        "counter-0-exact-clock",
        "pit",
        "misses an edge of mode 2 that falls on a whole nanosecond, which is after 0.5 s at the earliest",
        "8254, Mode 2",
        _rate_exact,
    ),
    Limit(
        "counts-apart",
        "pit",
        "counts on when GATE is low or a count is awaited; takes a new count, or one that needs a trigger, at once",
        "8254, Gate Pin Operations Summary and Mode Definitions: the counts are not the same until the next load",
        _out_of_step,
    ),
    Limit(
        "statuses-apart",
        "pit",
        "the same, for OUT in the status and at port 0x61",
        "8254, Gate Pin Operations Summary and Mode Definitions",
        _status_out_of_step,
    ),
    Limit(
        "control-word-over-a-latch",
        "pit",
        "a latched count or status outlives a control word",
        "8254, Programming the 8254: the counter is programmed anew",
        _latched_over,
    ),
)
