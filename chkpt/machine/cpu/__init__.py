"""The processor: its contract (`contract`), and one that runs on Unicorn (the extra `guest`).

This module imports Unicorn only in `new_cpu`.
"""

import mmap
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from chkpt.errors import ConfigError, StorageError
from chkpt.extras import UNICORN, install
from chkpt.machine.cpu.contract import Bus, Cpu, CpuState

if TYPE_CHECKING:
    from chkpt.machine.board.memory import Memory

__all__ = ["MODELS", "Bus", "Cpu", "CpuState", "missing_extra", "new_cpu"]

MODELS = ("unicorn", "unicorn-portable")
"""The values of `[cpu] model`. The portable one uses no machine code of ours; its run is the same, but slower."""

CODE_SIZE: Final = 1 << 30
"""Bytes of address space that Unicorn 2.1.4 takes for translated code.

`strace -e mmap` shows it: one private anonymous mapping of 1073741824 bytes, readable, writable and executable, at the
first use of each engine. If the host refuses it, the library prints "Could not allocate dynamic translator buffer" and
ends the process.
"""

_BESIDE: Final = 64 << 20
"""Bytes beyond that: libunicorn.so itself takes 24.5 MB, the engine's use of malloc about 3."""

_AGAIN: Final = f"install it again: pip install --force-reinstall '{UNICORN}'"
_NOT_INSTALLED: Final = f"unicorn is not installed, which a CPU needs: {install('guest')}"


def missing_extra() -> str:
    """Return why no processor can be made here and what to install; empty if one can. Imports nothing."""
    return "" if find_spec("unicorn") is not None else _NOT_INSTALLED


def new_cpu(model: str, memory: "Memory", bus: Bus) -> Cpu:
    """Make a processor, in the state after power-on.

    Args:
        model: one of `MODELS`.
        memory: the machine's physical memory.
        bus: what answers it otherwise.

    Raises:
        ConfigError: no such model, Unicorn is not installed, or chkpt does not know how to drive this build of it.
        StorageError: the host refuses the address space that it needs.
    """
    if model not in MODELS:
        raise ConfigError(f"cpu: model {model!r} is not one of {', '.join(MODELS)}")
    _refuse_without_space()
    try:
        unicorn = import_module("chkpt.machine.cpu.unicorn")
    except ImportError as exc:
        if exc.name is None:  # Unicorn itself raises it if its library cannot be loaded
            raise ConfigError(f"unicorn is installed, but cannot be used: {exc}; {_AGAIN}") from exc
        if exc.name.partition(".")[0] != "unicorn":
            raise
        raise ConfigError(_NOT_INSTALLED) from exc
    cpu: Cpu = unicorn.UnicornCpu(memory, bus, native=False if model == "unicorn-portable" else None)
    return cpu


def _refuse_without_space() -> None:
    """Raise StorageError if the engine would not get its address space. The attempt takes 40 us and uses no page."""
    need = CODE_SIZE + _BESIDE
    prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    try:
        mmap.mmap(-1, need, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=prot).close()
    except (OSError, MemoryError) as exc:
        raise StorageError(
            f"cpu: unicorn needs {need >> 20} MiB of address space beside the machine's RAM, for code that it "
            f"translates, but this host refuses it ({exc}); allow the process more: "
            "ulimit -v unlimited, or LimitAS= of its service"
        ) from exc
