"""The processor: what a machine asks of one (`contract`), and one that runs on Unicorn (the extra `chkpt[guest]`).

Nothing here imports Unicorn until `new_cpu` is called.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from chkpt.errors import ConfigError
from chkpt.machine.cpu.contract import Bus, Cpu, CpuState

if TYPE_CHECKING:
    from chkpt.machine.memory import Memory

__all__ = ["MODELS", "Bus", "Cpu", "CpuState", "new_cpu"]

MODELS = ("unicorn", "unicorn-portable")
"""What `[cpu] model` may be; the portable one does without machine code of ours, and gives the same run."""


def new_cpu(model: str, memory: "Memory", bus: Bus) -> Cpu:
    """Make a processor, in the state after power-on.

    Args:
        model: one of `MODELS`.
        memory: what it sees at physical addresses.
        bus: what answers it otherwise.

    Raises:
        ConfigError: no such model, Unicorn is not installed, or it is one that chkpt does not know how to drive.
    """
    if model not in MODELS:
        raise ConfigError(f"cpu: model {model!r} is not one of {', '.join(MODELS)}")
    try:
        unicorn = import_module("chkpt.machine.cpu.unicorn")
    except ImportError as exc:
        if exc.name is None or exc.name.partition(".")[0] != "unicorn":
            raise
        raise ConfigError("unicorn is not installed, which a CPU needs: pip install 'chkpt[guest]'") from exc
    cpu: Cpu = unicorn.UnicornCpu(memory, bus, native=False if model == "unicorn-portable" else None)
    return cpu
