"""Physical memory as the engine has it: RAM and ROM mapped, and every other address led to the bus.

Every address is mapped: an access to one that is not would stop the engine.
"""

import ctypes
from typing import Final

from unicorn import (  # noqa: TID253  only a machine with such a CPU imports this
    UC_HOOK_MEM_WRITE_PROT,
    UC_PROT_ALL,
    UC_PROT_EXEC,
    UC_PROT_READ,
    Uc,
)

from chkpt.machine.board.memory import PAGE_SIZE, Memory
from chkpt.machine.cpu.contract import Bus
from chkpt.machine.cpu.cpuid import ADDRESS_BITS
from chkpt.machine.cpu.registers import Registers

_ABOVE: Final = 1 << 32
"""All from here on is one hole: there is no RAM or ROM. To unmap it takes minutes."""


class EngineMemory:
    """The mappings of one engine, and accesses to them through A20. See `chkpt.machine.cpu.paging.Physical`."""

    def __init__(self, uc: Uc, memory: Memory, bus: Bus, registers: Registers) -> None:
        """Take the parts; `map` maps the memory.

        Args:
            uc: the engine.
            memory: the machine's.
            bus: answers accesses to everything but RAM and ROM.
            registers: have the level of A20.
        """
        self._uc = uc
        self._memory = memory
        self._bus = bus
        self._registers = registers
        self._runs: list[tuple[int, int]] = []  # of RAM
        self._holes: set[tuple[int, int]] = set()
        self._roms: list[tuple[int, bytes]] = []
        self._rom_hooks: list[int] = []
        self._pinned: ctypes.c_char | None = None  # keeps RAM where it is

    # -- mappings -----------------------------------------------------------------------------------------------------

    @property
    def has_ram(self) -> bool:
        """Whether any RAM is mapped."""
        return bool(self._runs)

    def map(self) -> None:
        """Map RAM and ROM at their present addresses, and everything else to the bus.

        The engine then looks for translated code through the guest's page tables, which sets CR2: save the registers
        before, restore them after.
        """
        uc, ram = self._uc, self._memory.ram
        runs, roms = self._memory.ram_runs(), self._memory.roms()
        mapped = sorted([*runs, *((first, len(image)) for first, image in roms), (_ABOVE, 0)])
        ends = [0, *(first + size for first, size in mapped)]
        begins = [*(first for first, _ in mapped), 1 << ADDRESS_BITS]
        holes = {(end, begin - end) for end, begin in zip(ends, begins, strict=True) if begin > end}
        self.unmap_ram()
        if roms != self._roms:
            self._unmap_roms()
        for first, size in self._holes - holes:  # slow if a hole is large: the last one never changes
            uc.mem_unmap(first, size)
        for first, size in sorted(holes - self._holes):
            uc.mmio_map(first, size, self._on_load, first, self._on_store, first)
        self._holes = holes
        if runs:
            self._pinned = ctypes.c_char.from_buffer(ram)
            for first, size in runs:
                uc.mem_map_ptr(first, size, UC_PROT_ALL, ctypes.addressof(self._pinned) + first)
        self._runs = runs
        if roms != self._roms:
            self._map_roms(roms)

    def unmap_ram(self) -> None:
        """Let go of RAM."""
        for first, size in self._runs:
            self._uc.mem_unmap(first, size)
        self._runs = []
        self._pinned = None

    def _map_roms(self, roms: list[tuple[int, bytes]]) -> None:
        """Map ROM for reading and running code. The engine drops writes to it if a hook lets it go on.

        The protection is set after the mapping. If a range is mapped as read-only at once, a write that the hook lets
        through changes it.
        """
        for first, image in roms:
            self._uc.mem_map(first, len(image), UC_PROT_ALL)
            self._uc.mem_write(first, image)
            self._uc.mem_protect(first, len(image), UC_PROT_READ | UC_PROT_EXEC)
            last = first + len(image) - 1
            self._rom_hooks.append(self._uc.hook_add(UC_HOOK_MEM_WRITE_PROT, _let_go_on, None, first, last))
        self._roms = roms

    def _unmap_roms(self) -> None:
        for first, image in self._roms:
            self._uc.mem_unmap(first, len(image))
        for hook in self._rom_hooks:
            self._uc.hook_del(hook)
        self._roms, self._rom_hooks = [], []

    def _on_load(self, _uc: Uc, offset: int, width: int, first: int) -> int:
        return self._bus.read_memory(first + offset, width)

    def _on_store(self, _uc: Uc, offset: int, width: int, value: int, first: int) -> None:
        self._bus.write_memory(first + offset, width, value)

    # -- accesses for the processor -----------------------------------------------------------------------------------

    def read(self, address: int, size: int) -> bytes:
        """Return bytes of one page, through A20."""
        return self._memory.read(self._behind_a20(address), size)

    def write(self, address: int, data: bytes) -> None:
        """Put bytes into one page, through A20."""
        address = self._behind_a20(address)
        if self._memory.is_ram(address & -PAGE_SIZE):
            self._uc.mem_write(address, data)  # which forgets translations of it
        else:
            self._memory.write(address, data)

    def find_ram(self, address: int) -> int | None:
        """Return a physical address behind A20, or None if it is not in a page of RAM."""
        address = self._behind_a20(address)
        return address if self._memory.is_ram(address & -PAGE_SIZE) else None

    def _behind_a20(self, address: int) -> int:
        return address if self._registers.a20 else address & ~(1 << 20)


def _let_go_on(*_write: object) -> bool:
    """Let the engine go on after a write to ROM, which it drops."""
    return True
