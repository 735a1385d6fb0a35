"""The processor: what a machine asks of one (`contract`), and one that runs on Unicorn (the extra `guest`).

Nothing here imports Unicorn until `new_cpu` is called.
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
"""What `[cpu] model` may be; the portable one does without machine code of ours, and gives the same run."""

CODE_SIZE: Final = 1 << 30
"""Bytes of address space that Unicorn 2.1.4 takes for the code it translates.

As `strace -e mmap` shows it: one private anonymous mapping, to be read, written and executed, of 1073741824 bytes, at
the first use of each engine. Where it is refused, the library prints "Could not allocate dynamic translator buffer" and
ends the process.
"""

_BESIDE: Final = 64 << 20
"""What is asked for above that: libunicorn.so itself (24.5 MB), and what the engine takes from malloc (about 3)."""

_AGAIN: Final = f"install it again: pip install --force-reinstall '{UNICORN}'"
_NOT_INSTALLED: Final = f"unicorn is not installed, which a CPU needs: {install('guest')}"


def missing_extra() -> str:
    """Return why no processor can be made here, with what to install; empty where one can. Imports nothing."""
    return "" if find_spec("unicorn") is not None else _NOT_INSTALLED


def new_cpu(model: str, memory: "Memory", bus: Bus) -> Cpu:
    """Make a processor, in the state after power-on.

    Args:
        model: one of `MODELS`.
        memory: what it sees at physical addresses.
        bus: what answers it otherwise.

    Raises:
        ConfigError: no such model, Unicorn is not installed, or it is one that chkpt does not know how to drive.
        StorageError: the host does not give the address space that it needs.
    """
    if model not in MODELS:
        raise ConfigError(f"cpu: model {model!r} is not one of {', '.join(MODELS)}")
    _refuse_without_space()
    try:
        unicorn = import_module("chkpt.machine.cpu.unicorn")
    except ImportError as exc:
        if exc.name is None:  # Unicorn's own, where its library cannot be loaded
            raise ConfigError(f"unicorn is installed, but cannot be used: {exc}; {_AGAIN}") from exc
        if exc.name.partition(".")[0] != "unicorn":
            raise
        raise ConfigError(_NOT_INSTALLED) from exc
    cpu: Cpu = unicorn.UnicornCpu(memory, bus, native=False if model == "unicorn-portable" else None)
    return cpu


def _refuse_without_space() -> None:
    """Raise StorageError where the engine would not get its address space. To try takes 40 us: no page is used."""
    need = CODE_SIZE + _BESIDE
    prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    try:
        mmap.mmap(-1, need, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=prot).close()
    except (OSError, MemoryError) as exc:
        raise StorageError(
            f"cpu: unicorn needs {need >> 20} MiB of address space beside the machine's RAM, for code that it "
            f"translates, and this host refuses it ({exc}); allow the process more: "
            "ulimit -v unlimited, or LimitAS= of its service"
        ) from exc
