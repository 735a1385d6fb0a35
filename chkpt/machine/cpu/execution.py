"""How a machine runs its processor: time, timers and interrupts.

The processor counts ticks, the machine's clock counts nanoseconds. They move together at the configured rate while the
processor runs; while it is halted, the clock moves alone. Only the ticks decide when something happens that the guest
could notice. So a run that is stopped, saved and continued is the same as one that was never stopped.
"""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Final

from chkpt.machine.board.a20 import A20Gate
from chkpt.machine.board.clock import MachineClock
from chkpt.machine.board.guest_requests import Requests
from chkpt.machine.board.lines import INTR, IrqLines
from chkpt.machine.board.memory import Memory
from chkpt.machine.board.ports import PortBus
from chkpt.machine.cpu import Cpu, CpuState, new_cpu
from chkpt.machine.cpu.contract import Activity

log = logging.getLogger("chkpt.machine")

SECOND: Final = 1_000_000_000

SLICE: Final = 1_000_000
"""The most ticks of a slice: between two slices the host's side of the machine gets its turn."""

WAKELESS: Final = 1_000_000
"""The most deadlines that a run without an end waits through while nothing wakes a halted processor."""


class Outcome(Enum):
    """Why a run ended."""

    ENOUGH = "enough"  # it has come to one of the ends that were given
    RESTS = "rests"  # halted, and the clock is at `rest`, or has passed `WAKELESS` deadlines
    IDLE = "idle"  # halted, and only input can wake it
    DEAD = "dead"  # halted with interrupts off: only a reset wakes it
    SHUTDOWN = "shutdown"  # see the processor's reason


class Execution:
    """Runs the processor of a machine, and is its bus."""

    def __init__(
        self,
        model: str,
        rate: int,
        *,
        clock: MachineClock,
        ports: PortBus,
        memory: Memory,
        irq: IrqLines,
        a20: A20Gate,
        requests: Requests,
    ) -> None:
        """Make the processor.

        Args:
            model: see `chkpt.machine.cpu.MODELS`.
            rate: ticks a second.
            clock: the machine's.
            ports: the machine's.
            memory: the machine's.
            irq: the machine's.
            a20: the machine's.
            requests: the machine's; a reset that a device requests happens between two blocks of code.

        Raises:
            ConfigError: see `new_cpu`.
        """
        self._clock = clock
        self._ports = ports
        self._memory = memory
        self._irq = irq
        self._rate = rate
        self.port_cost = max(rate // 1_000_000, 1)  # an access over ISA takes a microsecond
        self.block_reads, self.block_writes = ports.block_reads, ports.block_writes
        self.read_block, self.write_block = ports.read_block, ports.write_block
        self._tsc_cost = max(rate // 2_000_000, 1)
        self._skew = 0  # nanoseconds of the clock during which the processor did not run
        self._running = False
        self._sync = True
        self._logged: Outcome | None = None
        self.cpu: Cpu = new_cpu(model, memory, self)
        self._requests = requests
        irq.watch(self._on_line, changes_only=True)  # an interrupt that waits in a snapshot is not new
        a20.watch(self._on_a20)
        requests.watch(self.hurry)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _time_at(self, ticks: int) -> int:
        return ticks * SECOND // self._rate + self._skew

    def _tick_at(self, time: int) -> int:
        """Return the first tick at or after a time."""
        return -(-(time - self._skew) * self._rate // SECOND)

    def _catch_up(self) -> None:
        """Advance the clock to the present tick, and fire the timers that are due."""
        self._clock.advance_to(self._time_at(self.cpu.ticks))

    # -- running ------------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        ticks: int | None = None,
        until: int | None = None,
        rest: int | None = None,
        enough: Callable[[], bool] | None = None,
        advance: bool = True,
    ) -> Outcome:
        """Run to the first of the given ends.

        An end does not change what the guest does: a run may be cut into any pieces.

        A halted guest may never wake although timers go on: it has masked their interrupts, or they drive none. So a
        run without `until`, `rest` and `enough` ends after `WAKELESS` deadlines in one halt, with RESTS.

        Args:
            ticks: of the processor since power-on; the run ends with the block that reaches them.
            until: nanoseconds of the clock; the same.
            rest: nanoseconds of the clock, beyond which it does not go while the processor is halted.
            enough: called after each slice and each time that the processor is halted; True ends the run.
            advance: if the processor stands still, the clock goes on to `until`.
        """
        wakeless = 0
        bounded = not (until is None and rest is None and enough is None)
        while True:
            outcome = self._check_standstill()
            if outcome is not None:
                if until is not None and advance:
                    self._clock.advance_to(until)
                return self._log_outcome(outcome)
            self._logged = None
            if (ticks is not None and self.cpu.ticks >= ticks) or (until is not None and self._clock.now >= until):
                return Outcome.ENOUGH
            if self.cpu.activity is Activity.HALTED:
                if (rest is not None and self._clock.now >= rest) or (not bounded and wakeless >= WAKELESS):
                    return Outcome.RESTS
                wakeless += 1
                if not self._pass_time(until, rest):
                    return Outcome.IDLE
            else:
                wakeless = 0
                self._run_slice(ticks, until)
            if enough is not None and enough():
                return Outcome.ENOUGH

    def _check_standstill(self) -> Outcome | None:
        """Take an interrupt that may be taken now; return the outcome if the processor needs a reset to run on."""
        cpu = self.cpu
        if cpu.activity is Activity.SHUTDOWN:
            return Outcome.SHUTDOWN
        if cpu.activity is Activity.HALTED and not cpu.interrupts_enabled:
            return Outcome.DEAD
        if self._irq.intr and self._sync and cpu.interrupts_enabled and not cpu.shadow:
            cpu.interrupt(self._irq.acknowledge())
            self._sync = False  # the next one waits for a block, wherever this run ends
        return None

    def _pass_time(self, until: int | None, rest: int | None) -> bool:
        """Let the clock go on without the processor; return False if that can never wake it."""
        deadline = self._clock.next_deadline
        ends = [each for each in (deadline, until, rest) if each is not None]
        if ends:
            self._clock.advance_to(min(ends))
        return deadline is not None or until is not None

    def _run_slice(self, ticks: int | None, until: int | None) -> None:
        """Run to the next event or end."""
        cpu, clock = self.cpu, self._clock
        begin = cpu.ticks
        self._skew = clock.now - begin * SECOND // self._rate
        target = begin + SLICE
        if ticks is not None:
            target = min(target, ticks)
        for time in (clock.next_deadline, until):
            if time is not None:
                target = min(target, self._tick_at(time))
        self._sync = opens = False
        with self._requests.hold():
            self._running = True
            try:
                opens = cpu.run(target, watch=self._irq.intr)
            finally:
                self._running = False
        self._catch_up()
        if opens or cpu.activity is Activity.HALTED:
            self._sync = True

    def _on_line(self, number: int, level: bool) -> None:
        """End the slice after the present block, as an interrupt has come."""
        if number == INTR and level:
            self._sync = True
            self.hurry()

    def _on_a20(self, level: bool) -> None:
        self.cpu.a20 = level

    def hurry(self) -> None:
        """Within an access or a timer's callback: end the slice after the present block."""
        if self._running:
            self.cpu.hurry()

    def _log_outcome(self, outcome: Outcome) -> Outcome:
        """Log once why the processor stands still."""
        if outcome is not self._logged:
            self._logged = outcome
            log.error(
                "the CPU stands still: %s; it can be saved and inspected, and a reset starts it again",
                self.stands_still,
            )
        return outcome

    @property
    def stands_still(self) -> str:
        """Why the processor needs a reset to run on; empty if it does not."""
        cpu = self.cpu
        if cpu.activity is Activity.SHUTDOWN:
            return cpu.reason
        return "halted with interrupts off" if cpu.activity is Activity.HALTED and not cpu.interrupts_enabled else ""

    # -- the bus (chkpt.machine.cpu.contract.Bus) ---------------------------------------------------------------------

    def _begin_access(self, cost: int) -> None:
        self.cpu.charge(cost)
        self._catch_up()

    def _end_access(self) -> None:
        """End the slice in time for a timer that was armed."""
        deadline = self._clock.next_deadline
        if deadline is not None:
            self.cpu.hurry(self._tick_at(deadline))

    def read_port(self, port: int, width: int) -> int:
        """Read from a port."""
        self._begin_access(self.port_cost)
        ports = self._ports
        value = ports.inb(port) if width == 1 else ports.inw(port) if width == 2 else ports.inl(port)
        self._end_access()
        return value

    def write_port(self, port: int, width: int, value: int) -> None:
        """Write to a port."""
        self._begin_access(self.port_cost)
        ports = self._ports
        if width == 1:
            ports.outb(port, value)
        elif width == 2:
            ports.outw(port, value)
        else:
            ports.outl(port, value)
        self._end_access()

    def read_memory(self, address: int, width: int) -> int:
        """Read from an address without RAM and ROM."""
        self._begin_access(self.port_cost)
        value = self._memory.load(address, width)
        self._end_access()
        return value

    def write_memory(self, address: int, width: int, value: int) -> None:
        """Write to an address without RAM."""
        self._begin_access(self.port_cost)
        self._memory.store(address, width, value)
        self._end_access()

    def read_tsc(self) -> int:
        """Return the time-stamp counter, which counts the clock's nanoseconds: 1 GHz."""
        self.cpu.charge(self._tsc_cost)
        return self._time_at(self.cpu.ticks)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> CpuState:
        """Return the processor's state; `sync` is True only while an interrupt waits."""
        return self.cpu.save(sync=self._sync and self._irq.intr)

    def load(self, state: CpuState) -> None:
        """Load the processor's state, which has been checked."""
        self.cpu.load(state)
        self._logged = None  # log it again if the loaded processor stands still for the same reason
        self._sync = state.sync

    def reset(self) -> None:
        """Reset the processor."""
        self.cpu.reset()
        self._sync = True
