"""How a machine runs its processor: time, timers and interrupts.

The processor counts ticks, the machine's clock nanoseconds; they move together at the configured rate while it runs,
and the clock moves alone while it is halted. Everything that the guest could notice happens at points that only the
ticks decide: so a run can be stopped, saved and continued anywhere, and be the run that was never stopped.
"""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Final

from chkpt.machine.board.a20 import A20Gate
from chkpt.machine.board.clock import MachineClock
from chkpt.machine.board.lines import INTR, IrqLines
from chkpt.machine.board.memory import Memory
from chkpt.machine.board.ports import PortBus
from chkpt.machine.board.requests import Requests
from chkpt.machine.cpu import Cpu, CpuState, new_cpu
from chkpt.machine.cpu.contract import Activity

log = logging.getLogger("chkpt.machine")

SECOND: Final = 1_000_000_000

SLICE: Final = 1_000_000
"""The ticks of a slice at most: between two, the host's side of the machine gets its turn."""


WAKELESS: Final = 1_000_000
"""The deadlines that a run without an end on the clock waits through while nothing wakes a halted processor."""


class Outcome(Enum):
    """Why a run ended."""

    ENOUGH = "enough"  # as far as was asked for
    RESTS = "rests"  # halted, and the clock has gone as far as it may meanwhile, or past `WAKELESS` deadlines
    IDLE = "idle"  # halted, and nothing inside the machine will ever wake it: input may
    DEAD = "dead"  # halted with interrupts off: only a reset wakes it
    SHUTDOWN = "shutdown"  # see the processor's reason


class Execution:
    """One processor at work in a machine. It is the processor's bus."""

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
            requests: the machine's; a reset that a device asks for happens between two blocks of code.

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
        self._skew = 0  # nanoseconds of the clock that were not run
        self._running = False
        self._sync = True
        self._told: Outcome | None = None
        self.cpu: Cpu = new_cpu(model, memory, self)
        self._requests = requests
        irq.watch(self._on_line, changes_only=True)  # an interrupt that waits in a snapshot is not a new one
        a20.watch(self._on_a20)
        requests.watch(self.hurry)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _time(self, ticks: int) -> int:
        return ticks * SECOND // self._rate + self._skew

    def _tick(self, time: int) -> int:
        """Return the first tick that is not before a time."""
        return -(-(time - self._skew) * self._rate // SECOND)

    def _catch_up(self) -> None:
        """Bring the clock to the present tick, and fire what is due."""
        self._clock.advance_to(self._time(self.cpu.ticks))

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
        """Run on, until the first of the ends given.

        Where it ends does not change what the guest does: a run may be cut into any pieces.

        A halted guest may never wake, though timers go on: it has masked their interrupts, or they drive none. A run
        without `until`, `rest` and `enough` ends after `WAKELESS` deadlines in one halt, with RESTS: another waits on.

        Args:
            ticks: of the processor, counted from power-on; the end of a block may lie a little behind.
            until: nanoseconds of the clock; the same.
            rest: nanoseconds of the clock: no further while it is halted.
            enough: asked after each slice, and each time that the processor is halted.
            advance: where the processor stands still, the clock goes on to `until`.
        """
        wakeless = 0
        bounded = not (until is None and rest is None and enough is None)
        while True:
            outcome = self._stands_still()
            if outcome is not None:
                if until is not None and advance:
                    self._clock.advance_to(until)
                return self._tell(outcome)
            self._told = None
            if (ticks is not None and self.cpu.ticks >= ticks) or (until is not None and self._clock.now >= until):
                return Outcome.ENOUGH
            if self.cpu.activity is Activity.HALTED:
                if (rest is not None and self._clock.now >= rest) or (not bounded and wakeless >= WAKELESS):
                    return Outcome.RESTS
                wakeless += 1
                if not self._idle(until, rest):
                    return Outcome.IDLE
            else:
                wakeless = 0
                self._slice(ticks, until)
            if enough is not None and enough():
                return Outcome.ENOUGH

    def _stands_still(self) -> Outcome | None:
        """Take an interrupt that may be taken; return what keeps the processor from ever running on."""
        cpu = self.cpu
        if cpu.activity is Activity.SHUTDOWN:
            return Outcome.SHUTDOWN
        if cpu.activity is Activity.HALTED and not cpu.interrupts_enabled:
            return Outcome.DEAD
        if self._irq.intr and self._sync and cpu.interrupts_enabled and not cpu.shadow:
            cpu.interrupt(self._irq.acknowledge())
            self._sync = False  # one that comes with the acknowledge waits for a block, wherever this run ends
        return None

    def _idle(self, until: int | None, rest: int | None) -> bool:
        """Let the clock go on without the processor; return whether anything can come of it."""
        deadline = self._clock.next_deadline
        ends = [each for each in (deadline, until, rest) if each is not None]
        if ends:
            self._clock.advance_to(min(ends))
        return deadline is not None or until is not None

    def _slice(self, ticks: int | None, until: int | None) -> None:
        """Run to the next event, or to an end."""
        cpu, clock = self.cpu, self._clock
        begin = cpu.ticks
        self._skew = clock.now - begin * SECOND // self._rate
        target = begin + SLICE
        if ticks is not None:
            target = min(target, ticks)
        for time in (clock.next_deadline, until):
            if time is not None:
                target = min(target, self._tick(time))
        self._sync = opens = False
        with self._requests.held():
            self._running = True
            try:
                opens = cpu.run(target, watch=self._irq.intr)
            finally:
                self._running = False
        self._catch_up()
        if opens or cpu.activity is Activity.HALTED:
            self._sync = True

    def _on_line(self, number: int, level: bool) -> None:
        """Look at the processor at the next end of a block, as an interrupt has come."""
        if number == INTR and level:
            self._sync = True
            self.hurry()

    def _on_a20(self, level: bool) -> None:
        self.cpu.a20 = level

    def hurry(self) -> None:
        """Within an access or a timer's callback: let the present slice end at the next end of a block."""
        if self._running:
            self.cpu.hurry()

    def _tell(self, outcome: Outcome) -> Outcome:
        """Log once why the processor stands still."""
        if outcome is not self._told:
            self._told = outcome
            log.error(
                "the CPU stands still: %s; it can be saved and inspected, and a reset starts it again",
                self.stands_still,
            )
        return outcome

    @property
    def stands_still(self) -> str:
        """Why the processor will not run on before a reset; empty where it will."""
        cpu = self.cpu
        if cpu.activity is Activity.SHUTDOWN:
            return cpu.reason
        return "halted with interrupts off" if cpu.activity is Activity.HALTED and not cpu.interrupts_enabled else ""

    # -- the bus (chkpt.machine.cpu.contract.Bus) ---------------------------------------------------------------------

    def _before(self, cost: int) -> None:
        self.cpu.charge(cost)
        self._catch_up()

    def _after(self) -> None:
        """Let the slice end in time for a timer that was armed."""
        deadline = self._clock.next_deadline
        if deadline is not None:
            self.cpu.hurry(self._tick(deadline))

    def read_port(self, port: int, width: int) -> int:
        """Read from a port."""
        self._before(self.port_cost)
        ports = self._ports
        value = ports.inb(port) if width == 1 else ports.inw(port) if width == 2 else ports.inl(port)
        self._after()
        return value

    def write_port(self, port: int, width: int, value: int) -> None:
        """Write to a port."""
        self._before(self.port_cost)
        ports = self._ports
        if width == 1:
            ports.outb(port, value)
        elif width == 2:
            ports.outw(port, value)
        else:
            ports.outl(port, value)
        self._after()

    def read_memory(self, address: int, width: int) -> int:
        """Read where a device answers, or nothing."""
        self._before(self.port_cost)
        value = self._memory.load(address, width)
        self._after()
        return value

    def write_memory(self, address: int, width: int, value: int) -> None:
        """Write where a device answers, or nothing."""
        self._before(self.port_cost)
        self._memory.store(address, width, value)
        self._after()

    def read_tsc(self) -> int:
        """Return the time-stamp counter, which counts the clock's nanoseconds: 1 GHz."""
        self.cpu.charge(self._tsc_cost)
        return self._time(self.cpu.ticks)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> CpuState:
        """Return the processor's state. That it may be interrupted here means something only while something waits."""
        return self.cpu.save(sync=self._sync and self._irq.intr)

    def load(self, state: CpuState) -> None:
        """Let the processor become the one in `state`, which has been checked."""
        self.cpu.load(state)
        self._told = None  # it may stand still for the same reason, and who has loaded it wants to know
        self._sync = state.sync

    def reset(self) -> None:
        """Reset the processor."""
        self.cpu.reset()
        self._sync = True
