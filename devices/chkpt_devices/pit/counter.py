"""One of the 8254's three counters.

Source: Intel 8254 datasheet, order number 231164 ("the datasheet" below). Of its block diagram's registers the count
register CR is `cr` here, the counting element CE follows from `count` and the time from which it counts, and the output
latch OL is `latched_count`.

Each counter's CLK has its own phase. It starts when a count is loaded: at the write of its last byte or at the rising
edge of GATE. The times in a counter, for a count that GATE does not stop:

    nanoseconds   start          moment(start, origin)     now                  reload_at
                  |--------------|-------------------------|--------------------|------->
    clocks        0              origin                    clocks(now - start)
                                 |<----- _clock_at ------->|

    start      the write or edge that loaded the first count: clock 0
    origin     the clock at which the present count began; a periodic mode moves it when it takes a new count
    _clock_at  what the counting element and OUT follow from
    held       in place of _clock_at while GATE stops the count
    reload_at  when the (half-)period ends, if a new count waits for that
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from chkpt.device import U2, U3, U8, U16, Clock, Range, Time
from chkpt.errors import StateError
from chkpt_devices.pit.waveform import (
    HARDWARE_STROBE,
    MODE_OF_M,
    ONE_SHOT,
    PERIODIC,
    SOFTWARE_STROBE,
    SQUARE_WAVE,
    TERMINAL_COUNT,
    Waveform,
    clocks,
    moment,
)

# The control word (datasheet, "Control Word Format")
CW_BCD: Final = 0x01  # count in four decades, else in 16 bits
CW_M_SHIFT: Final = 1  # M2-M0, the mode
CW_RW_SHIFT: Final = 4  # RW1-RW0, the access mode

# The access mode: which bytes of a count are written and read
RW_LATCH: Final = 0  # in a control word the counter latch command; the access mode before the first control word
RW_LSB: Final = 1  # the least significant byte only, the other is 0
RW_MSB: Final = 2  # the most significant byte only, the other is 0
RW_WORD: Final = 3  # the least, then the most significant byte

# The status byte (datasheet, "Status Byte"); bits 5-0 are those of the control word
STATUS_OUT: Final = 0x80  # level of OUT
STATUS_NULL_COUNT: Final = 0x40  # the count written last is not in the counting element yet

# How the modes load and count
AT_ONCE: Final = frozenset({TERMINAL_COUNT, SOFTWARE_STROBE})  # load every count when it is written
AWAIT_TRIGGER: Final = frozenset({ONE_SHOT, HARDWARE_STROBE})  # load a count at a rising edge of GATE only
TRIGGERED: Final = AWAIT_TRIGGER | PERIODIC  # load the count at a rising edge of GATE
STOPPED_BY_GATE: Final = AT_ONCE | PERIODIC  # count only while GATE is high

# At power-on "the mode, count value, and output of all counters are undefined" (datasheet, "Programming the 8254"). As
# in QEMU they are then square waves of the longest period, and the access mode reads as 0.
M_AT_POWER_ON: Final = SQUARE_WAVE


class Phase(StrEnum):
    """How far a counter has come since its control word."""

    AWAITING_COUNT = "awaiting count"
    AWAITING_TRIGGER = "awaiting trigger"  # modes 1 and 5, with a count
    COUNTING = "counting"  # the counting element has been loaded


# Names of their own, because Python 3.11 takes ten times as long to look a member up in its class.
AWAITING_COUNT: Final = Phase.AWAITING_COUNT
AWAITING_TRIGGER: Final = Phase.AWAITING_TRIGGER
COUNTING: Final = Phase.COUNTING


@dataclass(frozen=True, slots=True)
class CounterState:
    """All of one counter that a guest can ever notice."""

    VERSION: ClassVar[int] = 1

    mode: U3  # M2-M0 as written, so 6 and 7 too
    access: U2  # RW1-RW0; 0 before the first control word, which works like 1
    bcd: bool
    phase: Phase
    gate: bool  # the GATE pin
    out: bool  # the OUT pin
    cr: U16  # the count register: the last whole count written
    cr_lsb: U8 | None  # the first byte of a count whose second byte is not written yet
    null_count: bool  # `cr` is not in the counting element yet, or there is none
    count: U16  # what the counting element was last loaded with, or what it shows if it does not count
    start: Time  # clock 0; `origin` and `held` are counted from here
    origin: Annotated[int, Range(-0x1_0000, 1 << 62)]  # the clock at which `count` was (or would have been) loaded
    held: Annotated[int, Range(0, 1 << 62)] | None  # clocks counted since `origin`; only while GATE stops the count
    latched_count: U16 | None
    latched_msb_next: bool  # one byte of the latched count has been read
    latched_status: U8 | None
    read_msb_next: bool  # one byte of the count, which is not latched, has been read


def check(state: CounterState, now: int, name: str) -> None:
    """Raise StateError if `state` is not one that a counter can be in at `now`. The caller checks the pins."""
    mode = MODE_OF_M[state.mode]
    counting = state.phase is COUNTING
    triggerable = state.phase is AWAITING_TRIGGER
    half_written = state.cr_lsb is not None
    stopped_by_byte = half_written and mode == TERMINAL_COUNT
    half_way = half_written or state.read_msb_next or state.latched_msb_next
    stopped_by_gate = counting and not state.gate and mode in STOPPED_BY_GATE
    counted = clocks(now - state.start) - state.origin
    for wrong, what in (
        (half_way and state.access != RW_WORD, "half of a count is read or written, but access is not of two bytes"),
        (state.latched_msb_next and state.latched_count is None, "latched_msb_next, but no count is latched"),
        (triggerable and mode not in AWAIT_TRIGGER, "phase awaits a trigger, but the mode does not wait for one"),
        (counting and stopped_by_byte, "phase is counting, but half of a new count stops its mode"),
        (not (counting or stopped_by_byte or state.null_count), "no count is loaded, but null_count is clear"),
        (counting and state.null_count and mode in AT_ONCE, "null_count is set, but its mode loads a count at once"),
        (counting and not state.null_count and state.cr != state.count, "count is not cr, but null_count is clear"),
        (counting and counted < 0, "its count begins in the future"),
        (stopped_by_gate is (state.held is None), "held contradicts phase, mode and gate"),
        (state.held is not None and state.held > counted, "held is more than the clocks that have passed"),
    ):
        if wrong:
            raise StateError(f"{name}: {what}")


class Counter:
    """One of the three counters: its registers, latches and flip-flops, and its pins GATE and OUT."""

    def __init__(self, clock: Clock, *, gate: bool) -> None:
        """Make a counter on this clock. `gate` is the level of GATE at power-on."""
        self._clock = clock
        self._gate_at_power_on = gate
        self.reset()

    # -- state ---------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after power-on."""
        self._gate = self._gate_at_power_on
        self._m = M_AT_POWER_ON
        self._mode = MODE_OF_M[M_AT_POWER_ON]
        self._access = RW_LATCH
        self._bcd = False
        self._cr = 0
        self._clear_latches()
        self._load_element(self._clock.now)

    @property
    def is_programmed(self) -> bool:
        """Whether a control word was written since power-on."""
        return self._access != RW_LATCH

    def save(self, now: int) -> CounterState:
        """Return the counter's state, after the load of a new count that is due."""
        waveform, origin, null_count = self._waveform, self._origin, self._null_count
        if self._reload_at is not None and now >= self._reload_at:
            waveform, origin = self._reload(self._reload_at)
            null_count = False
        return CounterState(
            mode=self._m,
            access=self._access,
            bcd=self._bcd,
            phase=self._phase,
            gate=self._gate,
            out=self._level(now, waveform, origin),
            cr=self._cr,
            cr_lsb=self._cr_lsb,
            null_count=null_count,
            count=waveform.count,
            start=self._start,
            origin=origin,
            held=self._held,
            latched_count=self._latched_count,
            latched_msb_next=self._latched_msb_next,
            latched_status=self._latched_status,
            read_msb_next=self._read_msb_next,
        )

    def assign(self, state: CounterState, now: int) -> None:
        """Take everything from `state`, which was saved when the clock was at `now`."""
        self._m = state.mode
        self._mode = MODE_OF_M[state.mode]
        self._access = state.access
        self._bcd = state.bcd
        self._phase = state.phase
        self._gate = state.gate
        self._cr = state.cr
        self._cr_lsb = state.cr_lsb
        self._null_count = state.null_count
        self._start = state.start
        self._origin = state.origin
        self._held = state.held
        self._latched_count = state.latched_count
        self._latched_msb_next = state.latched_msb_next
        self._latched_status = state.latched_status
        self._read_msb_next = state.read_msb_next
        # The rest of the state determines these.
        self._waveform = Waveform(self._mode, state.count, bcd=state.bcd)
        self._reload_at = self._period_end(now) if self._awaits_period_end() else None

    # -- the CPU's side ------------------------------------------------------------------------------------------------

    def program(self, control_word: int) -> None:
        """Take a control word: everything but GATE is reset, and OUT goes to the mode's first level.

        The counting element then stands at what it showed (the datasheet leaves it undefined), until a count is loaded.
        """
        now = self._clock.now
        shown = self._element(now)
        self._m = control_word >> CW_M_SHIFT & 7
        self._mode = MODE_OF_M[self._m]
        self._access = control_word >> CW_RW_SHIFT & 3
        self._bcd = bool(control_word & CW_BCD)
        self._cr = 0  # "CRM and CRL are cleared when the Counter is programmed"
        self._null_count = True
        self._clear_latches()
        self._await_count(shown)

    def write(self, value: int) -> None:
        """Take one byte of a count."""
        access = self._access
        if access == RW_WORD:
            if self._cr_lsb is None:
                self._cr_lsb = value
                if self._mode == TERMINAL_COUNT:
                    # "Writing the first byte disables counting. OUT is set low immediately" (datasheet, "Mode 0").
                    self._await_count(self._element(self._clock.now))
                return
            self._write_count(value << 8 | self._cr_lsb)
            self._cr_lsb = None
        else:
            self._write_count(value << 8 if access == RW_MSB else value)

    def read(self) -> int:
        """Return the latched status, else a byte of the latched count, else one of the counting element."""
        if self._latched_status is not None:
            status = self._latched_status
            self._latched_status = None
            return status
        if self._latched_count is not None:
            return self._read_latched_count(self._latched_count)
        count = self._element(self._clock.now)
        access = self._access
        if access == RW_WORD:
            self._read_msb_next = not self._read_msb_next
            return count & 0xFF if self._read_msb_next else count >> 8
        return count >> 8 if access == RW_MSB else count & 0xFF

    def latch_count(self) -> None:
        """Hold the count until it is read. A count that is already latched stays."""
        if self._latched_count is None:
            self._latched_count = self._element(self._clock.now)

    def latch_status(self) -> None:
        """Hold the status until it is read. A status that is already latched stays."""
        if self._latched_status is None:
            out = self.out(self._clock.now)
            self._latched_status = (
                (STATUS_OUT if out else 0)
                | (STATUS_NULL_COUNT if self._null_count else 0)
                | self._access << CW_RW_SHIFT
                | self._m << CW_M_SHIFT
                | self._bcd
            )

    def _read_latched_count(self, count: int) -> int:
        """Return the next byte of the latched count; the last one unlatches it."""
        if self._access == RW_WORD and not self._latched_msb_next:
            self._latched_msb_next = True
            return count & 0xFF
        self._latched_count = None
        self._latched_msb_next = False
        return count & 0xFF if self._access <= RW_LSB else count >> 8

    def _clear_latches(self) -> None:
        """Forget what is latched, half written or half read."""
        self._cr_lsb = None
        self._latched_count = None
        self._latched_msb_next = False
        self._latched_status = None
        self._read_msb_next = False

    # -- the pins ------------------------------------------------------------------------------------------------------

    def set_gate(self, *, level: bool) -> None:
        """Take GATE's level. Its rise loads the count in modes 1, 2, 3 and 5; low stops modes 0, 2, 3 and 4."""
        if level is self._gate:
            return
        now = self._clock.now
        self._settle(now)
        self._gate = level
        if level and self._mode in TRIGGERED and self._phase is not AWAITING_COUNT:
            self._load_element(now)
        elif self._phase is COUNTING and self._mode in STOPPED_BY_GATE:
            if level:
                self._resume(now)
            else:
                self._held = self._clock_at(now)
                self._reload_at = None

    def out(self, now: int) -> bool:
        """Return the level of OUT at `now`, which is not in the past."""
        if self._reload_at is not None:
            self._settle(now)
        return self._level(now, self._waveform, self._origin)

    def next_edge(self, now: int) -> int | None:
        """Return when OUT changes next if nothing is written, or None for never. GATE is taken to be high."""
        self._settle(now)
        if self._phase is not COUNTING:
            return None
        edge = self._waveform.next_edge(self._clock_at(now))
        # An illegal count of 1 has no edge, but a new count that waits may have one.
        return self._reload_at if edge is None else moment(self._start, self._origin + edge)

    def _level(self, now: int, waveform: Waveform, origin: int) -> bool:
        """Return the level of OUT with this waveform in the counting element."""
        if self._phase is not COUNTING:
            return self._mode != TERMINAL_COUNT
        clock = clocks(now - self._start) - origin
        held = self._held
        if held is None:
            return waveform.out(clock)
        if self._mode in PERIODIC:
            return True  # "If GATE goes low during an output pulse, OUT is set high immediately" (datasheet, "Mode 2")
        if self._mode == SOFTWARE_STROBE and clock > held:
            return True  # "GATE has no effect on OUT" (datasheet, "Mode 4"): the strobe ends with its clock
        return waveform.out(held)

    # -- the counting element ------------------------------------------------------------------------------------------

    def _element(self, now: int) -> int:
        """Return what the counting element shows at `now`."""
        if self._phase is not COUNTING:
            return self._waveform.count
        if self._reload_at is not None:
            self._settle(now)
        held = self._held
        return self._waveform.element(clocks(now - self._start) - self._origin if held is None else held)

    def _clock_at(self, now: int) -> int:
        """Return how many clocks have been counted at `now`, if GATE did not stop any."""
        return clocks(now - self._start) - self._origin

    def _await_count(self, shown: int) -> None:
        """Stop until a whole count is written. The counting element shows `shown`."""
        self._phase = AWAITING_COUNT
        self._waveform = Waveform(self._mode, shown, bcd=self._bcd)
        self._held = None
        self._reload_at = None

    def _write_count(self, value: int) -> None:
        """Take a whole count, and load it when the mode says: at once, at a trigger, or at the end of the period."""
        now = self._clock.now
        self._settle(now)
        self._cr = value
        if self._mode in AT_ONCE or (self._mode in PERIODIC and self._phase is AWAITING_COUNT):
            self._load_element(now)
            return
        self._null_count = True
        if self._phase is AWAITING_COUNT:
            self._phase = AWAITING_TRIGGER
        elif self._awaits_period_end() and self._reload_at is None:
            self._reload_at = self._period_end(now)

    def _load_element(self, now: int) -> None:
        """Load the count register into the counting element, which counts from `now`."""
        self._phase = COUNTING
        self._null_count = False
        self._waveform = Waveform(self._mode, self._cr, bcd=self._bcd)
        self._start = now
        self._origin = 0
        self._held = 0 if not self._gate and self._mode in STOPPED_BY_GATE else None
        self._reload_at = None

    def _resume(self, now: int) -> None:
        """Count on from where GATE stopped. GATE kept whole clocks away, so the phase of CLK stays."""
        held = self._held
        if held is not None:
            if self._mode == SOFTWARE_STROBE and held == self._waveform.length and self._clock_at(now) > held:
                held += self._waveform.wrap  # the element shows the same, but the strobe is over
            self._origin += self._clock_at(now) - held
            self._held = None

    def _awaits_period_end(self) -> bool:
        """Return whether the end of the (half-)period will load a new count."""
        counting = self._phase is COUNTING and self._held is None
        return counting and self._null_count and self._mode in PERIODIC

    def _period_end(self, now: int) -> int:
        """Return when the present period ends, or the half-period in mode 3."""
        return moment(self._start, self._origin + self._waveform.period_end(self._clock_at(now)))

    def _settle(self, now: int) -> None:
        """Carry out the load of a new count, if the (half-)period before it has ended."""
        if self._reload_at is not None and now >= self._reload_at:
            self._waveform, self._origin = self._reload(self._reload_at)
            self._null_count = False
            self._reload_at = None

    def _reload(self, reload_at: int) -> tuple[Waveform, int]:
        """Return the waveform and the origin from `reload_at` on."""
        origin = clocks(reload_at - self._start)
        waveform = Waveform(self._mode, self._cr, bcd=self._bcd)
        if (origin - self._origin) % self._waveform.length:
            origin -= waveform.high  # the high half has ended, the low half of the new count comes next
        return waveform, origin
