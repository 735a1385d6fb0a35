"""How long the engine runs: a hook at the begin of every block counts its bytes, and stops the engine at a limit.

The hook is 26 bytes of machine code where the host can run them, else a function in Python. Both give the same run,
the first one some twenty times faster. The engine's own means are no use: its `count` slows everything down, its
`timeout` and a stop from within a port's hook may lose half an instruction.
"""

import ctypes
import logging
import mmap
import platform
import sys
from typing import Any, Final

from unicorn import Uc  # noqa: TID253  only a machine with such a CPU imports this
from unicorn.unicorn_const import UC_HOOK_BLOCK  # noqa: TID253

log = logging.getLogger("chkpt.machine")

_CODE: Final = bytes.fromhex(
    "488b01"  #            mov rax, [rcx]         ; the ticks of this slice
    "483b4108"  #          cmp rax, [rcx + 8]     ; its limit
    "7306"  #              jae stop
    "89d2"  #              mov edx, edx           ; the bytes of the block
    "480111"  #            add [rcx], rdx
    "c3"  #                ret
    "48c7411001000000"  #  stop: mov qword [rcx + 16], 1
    "ff6118"  #            jmp [rcx + 24]         ; uc_emu_stop(rdi), the engine
)
"""`void hook(uc_engine *rdi, uint64_t rsi, uint32_t edx, struct *rcx)` by the System V ABI."""

_TICKS, _LIMIT, _STOPPED, _STOP = range(4)


class Budget:
    """The ticks of one slice, and their limit."""

    def __init__(self, uc: Uc, library: Any, *, native: bool | None) -> None:
        """Hook the engine.

        Args:
            uc: the engine.
            library: its library, loaded.
            native: whether to use machine code; None where the host can.
        """
        self._cells = (ctypes.c_uint64 * 4)()
        self._cells[_STOP] = ctypes.cast(library.uc_emu_stop, ctypes.c_void_p).value or 0
        self._code: mmap.mmap | None = None
        if native is None:
            native = sys.platform != "win32" and platform.machine() in {"x86_64", "AMD64"}
        if native:
            try:
                self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            except OSError as exc:
                log.warning("the host does not let us run code of our own (%s): the CPU will be slow", exc)
        if self._code is None:
            uc.hook_add(UC_HOOK_BLOCK, self._enter)
        else:
            self._hook(uc, library, self._code)
        self.native = self._code is not None

    def _hook(self, uc: Uc, library: Any, code: mmap.mmap) -> None:
        code.write(_CODE)
        entry = ctypes.addressof(ctypes.c_char.from_buffer(code))
        handle = ctypes.c_size_t()
        error = library.uc_hook_add(
            uc._uch,
            ctypes.byref(handle),
            UC_HOOK_BLOCK,
            ctypes.c_void_p(entry),
            ctypes.byref(self._cells),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
        )
        if error:
            raise RuntimeError(f"the engine refused our hook: error {error}")

    def _enter(self, uc: Uc, _address: int, size: int, _data: object) -> None:
        """Do what the machine code does."""
        cells = self._cells
        if cells[_TICKS] >= cells[_LIMIT]:
            cells[_STOPPED] = 1
            uc.emu_stop()
        else:
            cells[_TICKS] += size

    def begin(self, limit: int) -> None:
        """Begin a slice."""
        cells = self._cells
        cells[_TICKS] = 0
        cells[_LIMIT] = limit
        cells[_STOPPED] = 0

    @property
    def ticks(self) -> int:
        """The ticks of this slice."""
        return self._cells[_TICKS]

    @property
    def room(self) -> int:
        """The ticks that are left of it: none, or less, where it is over."""
        return self._cells[_LIMIT] - self._cells[_TICKS]

    @property
    def stopped(self) -> bool:
        """Whether the slice ended at its limit."""
        return self._cells[_STOPPED] != 0

    def charge(self, ticks: int) -> None:
        """Add ticks."""
        self._cells[_TICKS] += ticks

    def tighten(self, limit: int) -> None:
        """Lower the limit."""
        if limit < self._cells[_LIMIT]:
            self._cells[_LIMIT] = max(limit, 0)
