"""How long the engine runs: a hook at the start of every block counts its bytes, and stops the engine at a limit.

The hook is 78 bytes of machine code if the host can run them, otherwise a function in Python. Both give the same run,
the machine code some twenty times faster. The engine's own means do not serve: its `count` slows everything down, and
its `timeout`, like a stop from within a port's hook, may lose half an instruction.

While an interrupt waits, the hook also looks for RFLAGS.IF. An instruction that sets it ends a block, so the hook sees
even a window of one instruction, such as GRUB's before each call of the BIOS.
"""

import ctypes
import logging
import mmap
import platform
import sys
from typing import Any, Final

from unicorn import Uc  # noqa: TID253  only a machine with such a CPU imports this
from unicorn.unicorn_const import UC_HOOK_BLOCK  # noqa: TID253
from unicorn.x86_const import UC_X86_REG_EFLAGS as _EFLAGS  # noqa: TID253

from chkpt.machine.cpu.registers import IF

log = logging.getLogger("chkpt.machine")

_CODE: Final = bytes.fromhex(
    "488b01"  #            mov rax, [rcx]           ; the ticks of this slice
    "4883792000"  #        cmp qword [rcx + 32], 0  ; does an interrupt wait?
    "7517"  #              jne watch
    "483b4108"  #  limit:  cmp rax, [rcx + 8]       ; the limit
    "7306"  #              jae stop
    "89d2"  #              mov edx, edx             ; the bytes of the block
    "480111"  #            add [rcx], rdx
    "c3"  #                ret
    "48c7411001000000"  #  stop: mov qword [rcx + 16], 1
    "ff6118"  #            jmp [rcx + 24]           ; uc_emu_stop(rdi), the engine
    "4885c0"  #    watch:  test rax, rax            ; the first block runs in any case
    "74e4"  #              je limit
    "575251"  #            push rdi; push rdx; push rcx
    "be19000000"  #        mov esi, 25              ; UC_X86_REG_EFLAGS
    "488d5138"  #          lea rdx, [rcx + 56]
    "ff5130"  #            call [rcx + 48]          ; uc_reg_read(rdi, esi, rdx)
    "595a5f"  #            pop rcx; pop rdx; pop rdi
    "488b01"  #            mov rax, [rcx]
    "f7413800020000"  #    test dword [rcx + 56], 200h
    "74c6"  #              je limit
    "48c7412801000000"  #  mov qword [rcx + 40], 1  ; it may be taken
    "ebc8"  #              jmp stop
)
"""`void hook(uc_engine *rdi, uint64_t rsi, uint32_t edx, struct *rcx)` by the System V ABI."""

_TICKS, _LIMIT, _STOPPED, _STOP, _WATCH, _OPEN, _READ, _FLAGS = range(8)


class Budget:
    """The ticks of one slice, and their limit."""

    def __init__(self, uc: Uc, library: Any, *, native: bool | None) -> None:
        """Hook the engine.

        Args:
            uc: the engine.
            library: its library, loaded.
            native: whether to use machine code; None: if the host can run it.
        """
        self._cells = (ctypes.c_uint64 * 8)()
        self._cells[_STOP] = ctypes.cast(library.uc_emu_stop, ctypes.c_void_p).value or 0
        self._cells[_READ] = ctypes.cast(library.uc_reg_read, ctypes.c_void_p).value or 0
        self._code: mmap.mmap | None = None
        if native is None:
            native = sys.platform != "win32" and platform.machine() in {"x86_64", "AMD64"}
        if native:
            try:
                self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            except OSError as exc:
                log.warning("the host does not let chkpt run its own machine code (%s): the CPU will be slow", exc)
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
        """Do the same as the machine code."""
        cells = self._cells
        opens = cells[_WATCH] and cells[_TICKS] and uc.reg_read(_EFLAGS) & IF
        if opens:
            cells[_OPEN] = 1
        if opens or cells[_TICKS] >= cells[_LIMIT]:
            cells[_STOPPED] = 1
            uc.emu_stop()
        else:
            cells[_TICKS] += size

    def begin(self, limit: int, *, watch: bool = False) -> None:
        """Begin a slice; with `watch` it also ends after its first block that leaves RFLAGS.IF set."""
        cells = self._cells
        cells[_TICKS] = 0
        cells[_LIMIT] = limit
        cells[_STOPPED] = 0
        cells[_WATCH] = watch
        cells[_OPEN] = 0

    @property
    def ticks(self) -> int:
        """The ticks of this slice."""
        return self._cells[_TICKS]

    @property
    def room(self) -> int:
        """The ticks that are left of this slice; 0 or less if it is over."""
        return self._cells[_LIMIT] - self._cells[_TICKS]

    @property
    def has_stopped(self) -> bool:
        """Whether the slice ended at its limit."""
        return self._cells[_STOPPED] != 0

    @property
    def has_opened(self) -> bool:
        """Whether the slice ended because `watch` found RFLAGS.IF set."""
        return self._cells[_OPEN] != 0

    def charge(self, ticks: int) -> None:
        """Add ticks."""
        self._cells[_TICKS] += ticks

    def tighten(self, limit: int) -> None:
        """Lower the limit."""
        if limit < self._cells[_LIMIT]:
            self._cells[_LIMIT] = max(limit, 0)
