"""A processor on Unicorn 2.1.4, QEMU's translator as a library. Only `new_cpu` imports this module.

The engine translates and runs code. The rest of a processor is ours: interrupts and exceptions (`delivery`), SYSCALL,
SYSENTER, CPUID, the time-stamp counter, A20. One engine in 64-bit mode serves all modes: it follows its own registers,
and `emu_start` takes the offset in CS in each mode. docs/decisions/0011-how-unicorn-is-driven.md says why it is driven
in this way.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, Final

from unicorn import (  # noqa: TID253  only a machine with such a CPU imports this
    UC_ARCH_X86,
    UC_HOOK_INSN,
    UC_HOOK_INSN_INVALID,
    UC_HOOK_INTR,
    UC_MODE_64,
    Uc,
    UcError,
    x86_const,
)
from unicorn.unicorn_const import (  # noqa: TID253
    UC_CTL_IO_WRITE,
    UC_CTL_TLB_FLUSH,
    UC_ERR_FETCH_PROT,
    UC_ERR_FETCH_UNMAPPED,
)
from unicorn.unicorn_py3 import unicorn as binding  # noqa: TID253
from unicorn.unicorn_py3.arch.intel import HOOK_INSN_CPUID_CFUNC  # noqa: TID253

from chkpt.machine.board.memory import Memory
from chkpt.machine.cpu.budget import Budget
from chkpt.machine.cpu.contract import Activity, Bus, CpuState
from chkpt.machine.cpu.cpuid import cpuid
from chkpt.machine.cpu.delivery import UD, WITH_ERROR, Cause, Delivery, Event, TripleFaultError
from chkpt.machine.cpu.fxsave import fxrstor, fxsave
from chkpt.machine.cpu.paging import Linear
from chkpt.machine.cpu.power_on import MSRS, check_state, power_on
from chkpt.machine.cpu.registers import AX, BX, CS, CX, DX, IF, Registers, Segment
from chkpt.machine.cpu.strings import INS, OUTS, Repeat, Strings
from chkpt.machine.cpu.system_calls import enter_syscall, enter_sysenter
from chkpt.machine.cpu.unicorn_context import HEADER, buffer_of, discover
from chkpt.machine.cpu.unicorn_memory import EngineMemory
from chkpt.machine.cpu.words import registers_into_state, state_into_registers

_EFLAGS: Final = x86_const.UC_X86_REG_EFLAGS
_MSR: Final = x86_const.UC_X86_REG_MSR
_FCS, _FDS = x86_const.UC_X86_REG_FCS, x86_const.UC_X86_REG_FDS


_DR7_ENABLED: Final = 0xFF  # L0 to G3
_DR7_NONE: Final = 0x400  # after power-on
_MOV_DR7_EAX: Final = bytes((0x0F, 0x23, 0xF8, 0xF4))  # and HLT

_MOST_EXCEPTIONS: Final = 4096
"""The processor shuts down after so many exceptions without a block of code between them."""


class UnicornCpu:
    """See `chkpt.machine.cpu.contract.Cpu`."""

    def __init__(self, memory: Memory, bus: Bus, *, native: bool | None = None) -> None:
        """Make a processor in the state after power-on.

        Args:
            memory: the machine's physical memory.
            bus: what answers it otherwise.
            native: whether machine code counts blocks; None: if the host can run it.

        Raises:
            ConfigError: chkpt does not know how to drive this build of Unicorn.
        """
        layout = discover(_new_engine())
        self._uc = uc = _new_engine()
        self._library: Any = binding.uclib
        self._memory = memory
        self._bus = bus
        self._context = uc.context_save()
        self._registers = Registers(buffer_of(self._context), layout)
        assert self._context.size == HEADER + layout.size
        self._physical = EngineMemory(uc, memory, bus, self._registers)
        self._linear = Linear(self._registers, self._physical)
        self._delivery = Delivery(self._registers, self._linear)
        self._strings = Strings(self._registers, self._linear, self._physical.find_ram)
        self._block_reads, self._block_writes = bus.block_reads, bus.block_writes
        self.bulk = True  # if False, string I/O is slower, with the same result
        self._budget = Budget(uc, self._library, native=native)
        self._ticks = 0
        self._stale = False
        self.activity = Activity.ACTIVE
        self.reason = ""
        self._in_a_row = 0  # exceptions, at the same tick
        self._ticks_of_exception = -1
        self._hook()
        self._map()
        memory.watch(on_write=self.invalidate, on_rearrange=self._map)
        self.load(power_on(0, a20=True))

    def _hook(self) -> None:
        uc = self._uc
        uc.hook_add(UC_HOOK_INTR, self._on_interrupt)
        uc.hook_add(UC_HOOK_INSN_INVALID, self._on_invalid)
        uc.hook_add(UC_HOOK_INSN, self._on_in, None, 1, 0, x86_const.UC_X86_INS_IN)
        uc.hook_add(UC_HOOK_INSN, self._on_out, None, 1, 0, x86_const.UC_X86_INS_OUT)
        uc.hook_add(UC_HOOK_INSN, self._on_cpuid, None, 1, 0, x86_const.UC_X86_INS_CPUID)
        uc.hook_add(UC_HOOK_INSN, self._on_syscall, None, 1, 0, x86_const.UC_X86_INS_SYSCALL)
        uc.hook_add(UC_HOOK_INSN, self._on_sysenter, None, 1, 0, x86_const.UC_X86_INS_SYSENTER)
        self._kept: list[object] = []  # callbacks that the binding does not keep
        self._hook_rdtsc()

    def _hook_rdtsc(self) -> None:
        """Hook RDTSC. The binding has no hook for it; the engine calls it as it calls CPUID's."""

        @binding.uccallback(self._uc, HOOK_INSN_CPUID_CFUNC)  # type: ignore[untyped-decorator]
        def call(_uc: Uc, _key: int) -> int:
            tsc = self._bus.read_tsc()
            registers = self._pull()  # cheaper than one by one through the binding
            registers[AX], registers[DX] = tsc & 0xFFFF_FFFF, tsc >> 32 & 0xFFFF_FFFF
            self._push()
            return 1

        self._kept.append(call)
        add: Any = getattr(self._uc, "_Uc__do_hook_add")  # noqa: B009  a private name of another class
        add(UC_HOOK_INSN, call, 1, 0, ctypes.c_int(x86_const.UC_X86_INS_RDTSC))

    def _map(self) -> None:
        """Map memory as it is now; this sets CR2, so put the registers back."""
        self._pull()
        self._physical.map()
        self._push()
        self._stale = True

    def invalidate(self) -> None:
        """Forget translated code."""
        self._stale = True

    # -- registers ----------------------------------------------------------------------------------------------------

    def _pull(self) -> Registers:
        """Update the view of the registers from the engine, all but `eflags`."""
        self._library.uc_context_save(self._uc._uch, self._context.context)
        return self._registers

    def _push(self) -> None:
        """Set the engine's registers from the view, all but `eflags`."""
        self._library.uc_context_restore(self._uc._uch, self._context.context)

    def _flush_tlb(self) -> None:
        self._library.uc_ctl(self._uc._uch, UC_CTL_TLB_FLUSH | UC_CTL_IO_WRITE << 30)

    @property
    def interrupts_enabled(self) -> bool:
        """RFLAGS.IF."""
        return bool(self._uc.reg_read(_EFLAGS) & IF)

    @property
    def shadow(self) -> bool:
        """Whether interrupts are held back for one instruction."""
        return self._pull().shadow

    @property
    def a20(self) -> bool:
        """Whether address line 20 gets through."""
        return self._pull().a20

    @a20.setter
    def a20(self, level: bool) -> None:
        registers = self._pull()
        if registers.a20 != level:
            registers.a20 = level
            self._push()
            self._flush_tlb()

    # -- running ------------------------------------------------------------------------------------------------------

    @property
    def ticks(self) -> int:
        """The ticks that it has run, up to now."""
        return self._ticks + self._budget.ticks

    @property
    def native(self) -> bool:
        """Whether machine code counts blocks."""
        return self._budget.native

    def run(self, until: int, *, watch: bool = False) -> bool:
        """Run to the first end of a block at or after `until`; with `watch`, or to the first with RFLAGS.IF set."""
        if self.activity is not Activity.ACTIVE:
            return False
        if self._stale:
            self._uc.ctl_flush_tb()
            self._flush_tlb()
            self._stale = False
        self._budget.begin(max(until - self._ticks, 1), watch=watch)
        try:
            self._uc.emu_start(self._pull().eip, 0)
            if not self._budget.has_stopped and self.activity is Activity.ACTIVE:
                self.activity = Activity.HALTED
        except UcError as exc:
            hole = exc.errno in {UC_ERR_FETCH_PROT, UC_ERR_FETCH_UNMAPPED}
            self._shut_down("no memory to run code from" if hole else f"it cannot go on: {exc}")
        finally:
            opens = self._budget.has_opened
            self._ticks += self._budget.ticks
            self._budget.begin(0)
        return opens

    def hurry(self, until: int = 0) -> None:
        """Let the present `run` end at the first end of a block at or after `until`."""
        self._budget.tighten(until - self._ticks)

    def charge(self, ticks: int) -> None:
        """Add ticks to the present run."""
        self._budget.charge(ticks)

    def interrupt(self, vector: int) -> None:
        """Take an external interrupt."""
        self.activity = Activity.ACTIVE
        self._pull()
        self._deliver(Event(vector, Cause.INTERRUPT))

    def _shut_down(self, reason: str) -> None:
        cs, eip = self._pull().segment(1).selector, self._registers.eip
        self.activity = Activity.SHUTDOWN
        self.reason = f"{reason}, at {cs:04x}:{eip:x}"
        self.hurry()

    # -- what the engine calls ----------------------------------------------------------------------------------------

    def _deliver(self, event: Event, retry: int | None = None) -> None:
        """Deliver an event. The view must be up to date."""
        registers = self._registers
        registers.eflags = self._uc.reg_read(_EFLAGS)
        cr3 = registers.cr(3)
        try:
            self._delivery.deliver(event, retry=retry)
        except TripleFaultError:
            self._shut_down(f"triple fault (vector {event.vector})")
            return
        self._push()
        self._uc.reg_write(_EFLAGS, registers.eflags)
        if registers.cr(3) != cr3:
            self._flush_tlb()

    def _on_interrupt(self, _uc: Uc, vector: int, _data: object) -> None:
        if self.activity is Activity.SHUTDOWN:
            return
        registers = self._pull()
        if self._is_stuck():
            self._shut_down(f"nothing runs but exceptions (vector {vector}), {_MOST_EXCEPTIONS} in a row")
        elif vector > 0xFF:
            self._shut_down(f"the engine raised {vector:#x}, which is not an exception of a processor")
        elif registers.is_software:
            self._deliver(Event(vector, Cause.SOFTWARE), registers.eip - self._length_of_int(vector))
        else:
            self._deliver(Event(vector, Cause.EXCEPTION, registers.error_code if vector in WITH_ERROR else None))

    def _is_stuck(self) -> bool:
        """Count an exception; return whether too many have come without a block of code between them.

        A handler whose first byte cannot be fetched raises the next exception, without end and without a tick, so no
        limit would end the run.
        """
        ticks = self.ticks
        self._in_a_row = self._in_a_row + 1 if ticks == self._ticks_of_exception else 0
        self._ticks_of_exception = ticks
        return self._in_a_row > _MOST_EXCEPTIONS

    def _length_of_int(self, vector: int) -> int:
        """Return the length of the INT instruction that has just run: 1 for INT3 and INTO, else 2."""
        if vector not in {3, 4}:
            return 2
        last = self._linear.read(self._registers.segment(1).base + self._registers.eip - 1, 1)[0]
        return 1 if last in {0xCC, 0xCE} else 2

    def _on_invalid(self, _uc: Uc, _data: object) -> bool:
        if self.activity is not Activity.SHUTDOWN:
            self._pull()
            self._deliver(Event(UD, Cause.EXCEPTION))
        return True

    def _on_in(self, _uc: Uc, port: int, width: int, _data: object) -> int:
        value = self._bus.read_port(port & 0xFFFF, width)
        if port & 0xFFFF in self._block_reads and self.bulk:
            self._continue_ins(port & 0xFFFF, width)
        return value

    def _on_out(self, _uc: Uc, port: int, width: int, value: int, _data: object) -> None:
        self._bus.write_port(port & 0xFFFF, width, value)
        if port & 0xFFFF in self._block_writes and self.bulk:
            self._continue_outs(port & 0xFFFF, width)

    def _continue_ins(self, port: int, width: int) -> None:
        """Do the next rounds of a REP INS, up to the first that an event could precede."""
        repeat, fits = self._find_rounds(INS, width)
        if repeat is None:
            return
        data = self._bus.read_block(port, width, min(repeat.rounds, fits))
        if data:
            self._physical.write(repeat.physical, data)
            self._advance(repeat, len(data) // width, width)

    def _continue_outs(self, port: int, width: int) -> None:
        """Do the next rounds of a REP OUTS, up to the first that an event could precede."""
        repeat, fits = self._find_rounds(OUTS, width)
        if repeat is None:
            return
        data = self._physical.read(repeat.physical, min(repeat.rounds, fits) * width)
        taken = self._bus.write_block(port, width, data)
        if taken:
            self._advance(repeat, taken, width)

    def _find_rounds(self, opcode: int, width: int) -> tuple[Repeat | None, int]:
        """Return the rounds that may follow, and how many of them end before the limit, and so before any timer."""
        if self._budget.room <= self._bus.port_cost:
            return None, 0
        self._pull()
        repeat = self._strings.find(opcode, width)
        if repeat is None:
            return None, 0
        fits = (self._budget.room - 1) // (repeat.length + self._bus.port_cost)
        return (repeat, fits) if fits > 0 else (None, 0)

    def _advance(self, repeat: Repeat, count: int, width: int) -> None:
        self._strings.advance(repeat, count, width)
        self._push()
        self._budget.charge(count * (repeat.length + self._bus.port_cost))

    def _on_cpuid(self, _uc: Uc, _data: object) -> int:
        registers = self._pull()
        values = cpuid(registers[AX] & 0xFFFF_FFFF, registers.efer)
        registers[AX], registers[BX], registers[CX], registers[DX] = values
        self._push()
        return 1

    def _on_syscall(self, _uc: Uc, _data: object) -> None:
        self._enter_system(enter_syscall)

    def _on_sysenter(self, uc: Uc, _data: object) -> None:
        msrs = tuple(uc.reg_read(_MSR, msr) for msr in (0x174, 0x175, 0x176))
        self._enter_system(lambda registers, after: enter_sysenter(registers, after, msrs))

    def _enter_system(self, enter: Any) -> None:
        """Do what a SYSCALL or SYSENTER does; the engine itself only goes on after it."""
        registers = self._pull()
        registers.eflags = self._uc.reg_read(_EFLAGS)
        length = self._length_of_call()
        event = enter(registers, registers.eip + length)
        if event is None:
            registers.settle()
        else:
            self._deliver(event)
        registers.eip -= length
        self._push()
        self._uc.reg_write(_EFLAGS, registers.eflags)

    def _length_of_call(self) -> int:
        """Return the length of the present SYSCALL or SYSENTER, which may have prefixes."""
        registers = self._registers
        at = registers.segment(1).base + registers.eip
        length = 0
        while self._linear.read(at + length, 1, user=registers.cpl == 3)[0] != 0x0F:
            length += 1
        return length + 2

    # -- state --------------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Go to the state after power-on. The ticks and A20 stay."""
        self.load(power_on(self._ticks, a20=self.a20))

    def save(self, *, sync: bool) -> CpuState:
        """Return its state."""
        registers = self._pull()
        registers.eflags = self._uc.reg_read(_EFLAGS)
        msrs = tuple((msr, self._uc.reg_read(_MSR, msr)) for msr in MSRS)
        return registers_into_state(
            registers,
            ticks=self._ticks,
            activity=self.activity,
            reason=self.reason,
            sync=sync,
            fxsave=fxsave(self._uc),
            fcs=self._uc.reg_read(_FCS),
            fds=self._uc.reg_read(_FDS),
            msrs=msrs,
        )

    def check(self, state: CpuState) -> None:
        """Raise StateError if no processor can be in `state`."""
        check_state(state)

    def load(self, state: CpuState) -> None:
        """Become the processor in `state`."""
        uc, registers = self._uc, self._pull()
        self._set_breakpoints(state.dr)
        state_into_registers(state, registers)
        self._push()
        known = dict(state.msrs)
        for msr, value in power_on(0, a20=True).msrs:  # those that an older snapshot lacks are as after power-on
            uc.reg_write(_MSR, (msr, known.get(msr, value)))
        fxrstor(uc, state.fxsave)
        uc.reg_write(_FCS, state.fcs)
        uc.reg_write(_FDS, state.fds)
        uc.reg_write(_EFLAGS, state.rflags)
        self._ticks = state.ticks
        self._budget.begin(0)
        self.activity, self.reason = state.activity, state.reason
        self._in_a_row, self._ticks_of_exception = 0, -1
        self._stale = True

    def _set_breakpoints(self, dr: Sequence[int]) -> None:
        """Make the engine arm the breakpoints of DR0 to DR3 and DR7, and disarm its present ones.

        It keeps breakpoints apart from the registers, and only the instruction MOV to DR7 arms them. So this runs one
        in real mode, in four bytes of RAM, and puts those back.
        """
        registers, ram = self._pull(), self._memory.ram
        here = [registers.dr(number) for number in (0, 1, 2, 3, 7)]
        there = [*dr[:4], dr[7]]
        if not (here[4] | there[4]) & _DR7_ENABLED or not self._physical.has_ram:
            return
        watched = {each >> 4 for each in (*here[:4], *there[:4])}
        at = next(16 * number for number in range(16) if number not in watched)
        before = bytes(ram[at : at + len(_MOV_DR7_EAX)])
        self._uc.mem_write(at, _MOV_DR7_EAX)
        for addresses, value in ((here, _DR7_NONE), (there, there[4])):
            present = registers.dr(7)
            state_into_registers(power_on(0, a20=True), registers)
            for number in range(4):
                registers.set_dr(number, addresses[number])
            registers.set_dr(7, present)
            registers.set_segment(CS, Segment(0, 0, 0xFFFF, 0x9B00))
            registers.eip, registers[AX] = at, value
            registers.settle()
            self._push()
            self._uc.ctl_flush_tb()
            self._flush_tlb()
            self._budget.begin(64)  # ticks; the code takes four
            self._uc.emu_start(at, 0)
            self._budget.begin(0)
            self._pull()
        self._uc.mem_write(at, before)

    def close(self) -> None:
        """Give its memory back."""
        self._physical.unmap_ram()
        self._memory.unwatch()


def _new_engine() -> Uc:
    """Return a new engine. Its CPU model has no feature that our CPUID hides or that a saved state lacks."""
    uc = Uc(UC_ARCH_X86, UC_MODE_64)
    uc.ctl_set_cpu_model(x86_const.UC_CPU_X86_PENRYN)
    uc.ctl_exits_enabled(True)  # otherwise it walks the guest's page tables after each run, which sets CR2
    return uc
