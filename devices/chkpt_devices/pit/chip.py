"""The PC's interval timer: an Intel 8254, and the port that gates its counter 2 and shows its output.

Source: Intel 8254 datasheet, order number 231164 ("the datasheet" below). Port 61h is as in Intel's 82371 (PIIX4),
order number 290562, register NMISC. Counter 0's OUT drives an interrupt line, counter 1's goes nowhere, counter 2's
is bit 5 of port 61h. The GATEs of counters 0 and 1 are tied high, counter 2's is bit 0 of port 61h.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from chkpt.device import U4, Host, Length, Port, Time
from chkpt.errors import StateError
from chkpt_devices.pit.config import PitConfig
from chkpt_devices.pit.counter import CW_RW_SHIFT, RW_LATCH, Counter, CounterState, check
from chkpt_devices.pit.waveform import clocks

CW_SC_SHIFT: Final = 6  # of the control word: SC1-SC0, the counter
SC_READ_BACK: Final = 3  # in place of a counter: the read-back command

# The read-back command (datasheet, "Read-Back Command Format")
READ_BACK_NO_COUNT: Final = 0x20  # do not latch the counts
READ_BACK_NO_STATUS: Final = 0x10  # do not latch the statuses
READ_BACK_COUNTERS: Final = (0x02, 0x04, 0x08)  # the bit of each counter

# Port 61h (PIIX4, NMISC)
PORT_B_GATE2: Final = 0x01  # GATE of counter 2
PORT_B_WRITABLE: Final = 0x0F  # GATE, speaker data, and the disables of two NMI sources, which are only stored
PORT_B_REFRESH_SHIFT: Final = 4  # changes with every memory refresh
PORT_B_OUT2_SHIFT: Final = 5  # OUT of counter 2

# The AT's BIOS lets counter 1 ask for a refresh every 18 clocks, "a 15-microsecond period signal" (IBM PC AT Technical
# Reference, "System Timers"). Here the refreshes go on, even if a guest changes counter 1.
REFRESH_CLOCKS: Final = 18


@dataclass(frozen=True, slots=True)
class PitState:
    """The timer's state."""

    VERSION: ClassVar[int] = 1

    counters: Annotated[tuple[CounterState, ...], Length(3, 3)]
    irq: bool  # the interrupt line: OUT of counter 0 once that is programmed; it changes when the timer fires
    edge_deadline: Time | None  # when the line changes next, if nothing is written
    port_b: U4  # bits 3-0 of port 61h
    refresh_start: Time  # the refreshes are counted from here


class Pit:
    """The 8254 with its three counters, and port 61h."""

    def __init__(self, host: Host, config: PitConfig) -> None:
        self._clock = host.clock
        self._counters = counter0, counter1, counter2 = (
            Counter(host.clock, gate=True),
            Counter(host.clock, gate=True),
            Counter(host.clock, gate=False),
        )
        # A load tries the state on these spare counters before it touches the real ones.
        self._spares = (Counter(host.clock, gate=True), Counter(host.clock, gate=True), Counter(host.clock, gate=False))
        self._irq = host.irq_line(config.irq)
        self._timer = host.timer(self._drive)
        host.claim_ports(
            config.port,
            (
                Port(counter0.read, self._write_counter0),
                Port(counter1.read, counter1.write),
                Port(counter2.read, counter2.write),
                # "No-Operation (3-State)" when it is read (datasheet, "Read/Write Operations Summary")
                Port(write=self._write_control),
            ),
        )
        host.claim_ports(config.speaker_port, (Port(self._read_port_b, self._write_port_b),))
        self.reset()

    # -- state ---------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after power-on."""
        self._port_b = 0
        self._refresh_start = self._clock.now
        for counter in self._counters:
            counter.reset()
        self._drive()

    def save(self) -> PitState:
        """Return the timer's state."""
        now = self._clock.now
        counter0, counter1, counter2 = self._counters
        return PitState(
            counters=(counter0.save(now), counter1.save(now), counter2.save(now)),
            irq=self._level,
            edge_deadline=self._timer.deadline,
            port_b=self._port_b,
            refresh_start=self._refresh_start,
        )

    def load(self, state: PitState) -> None:
        """Take `state`, which was saved at the time that the clock now shows."""
        self._check(state)
        now = self._clock.now
        for counter, saved in zip(self._counters, state.counters, strict=True):
            counter.assign(saved, now)
        self._port_b = state.port_b
        self._refresh_start = state.refresh_start
        self._level = state.irq
        self._irq.set(state.irq)
        self._arm(state.edge_deadline)

    def _check(self, state: PitState) -> None:
        """Raise StateError if `state` is not one that a timer can be in now."""
        now = self._clock.now
        edges = []
        for number, (counter, trial) in enumerate(zip(state.counters, self._spares, strict=True)):
            name = f"counters/{number}"
            gate = number < 2 or bool(state.port_b & PORT_B_GATE2)
            check(counter, now, name)
            trial.assign(counter, now)
            if counter.gate is not gate:
                raise StateError(f"{name}: gate is not at its wired level")
            if trial.out(now) is not counter.out:
                raise StateError(f"{name}: out is not at the level that the counter gives it")
            edges.append(trial.next_edge(now))
        due = state.edge_deadline is not None and state.edge_deadline <= now
        drives = state.counters[0].access != RW_LATCH
        if not due and state.edge_deadline != (edges[0] if drives else None):
            raise StateError("edge_deadline is not when OUT of counter 0 changes")
        if not due and state.irq is not (drives and state.counters[0].out):
            raise StateError("irq is not at the level of OUT of counter 0")
        if state.refresh_start > now:
            raise StateError("refresh_start is in the future")

    # -- the ports -----------------------------------------------------------------------------------------------------

    def _write_counter0(self, value: int) -> None:
        """Take one byte of counter 0's count, which may change its OUT."""
        self._counters[0].write(value)
        self._drive()

    def _write_control(self, value: int) -> None:
        """Take a control word, a counter latch command or a read-back command."""
        select = value >> CW_SC_SHIFT
        if select == SC_READ_BACK:
            for counter, bit in zip(self._counters, READ_BACK_COUNTERS, strict=True):
                if value & bit:
                    if not value & READ_BACK_NO_COUNT:
                        counter.latch_count()
                    if not value & READ_BACK_NO_STATUS:
                        counter.latch_status()
        elif value >> CW_RW_SHIFT & 3 == RW_LATCH:
            self._counters[select].latch_count()
        else:
            self._counters[select].program(value)
            if not select:
                self._drive()

    def _read_port_b(self) -> int:
        """Return port 61h. Bits 7 and 6, the sources of an NMI, are 0: this machine has no such source."""
        now = self._clock.now
        refreshes = clocks(now - self._refresh_start) // REFRESH_CLOCKS
        out2 = self._counters[2].out(now)
        return self._port_b | (refreshes & 1) << PORT_B_REFRESH_SHIFT | out2 << PORT_B_OUT2_SHIFT

    def _write_port_b(self, value: int) -> None:
        """Take bits 3-0 of port 61h, of which bit 0 is GATE of counter 2."""
        self._port_b = value & PORT_B_WRITABLE
        self._counters[2].set_gate(level=bool(value & PORT_B_GATE2))

    # -- the interrupt line --------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        """Set the interrupt line to counter 0's OUT, and arm the timer for its next change.

        Before its first control word OUT is undefined (datasheet, "Programming the 8254"), and the line stays low:
        else the guest would find a request in the interrupt controller that no program asked for.
        """
        now = self._clock.now
        counter = self._counters[0]
        self._level = counter.is_programmed and counter.out(now)
        self._irq.set(self._level)
        self._arm(counter.next_edge(now) if counter.is_programmed else None)

    def _arm(self, deadline: int | None) -> None:
        """Look at counter 0's OUT again at `deadline`."""
        if deadline is None:
            self._timer.cancel()
        elif deadline != self._timer.deadline:
            self._timer.arm(deadline)
