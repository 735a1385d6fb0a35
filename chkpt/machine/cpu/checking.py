"""What no processor can be in, told of a state alone: no engine is needed for that."""

from chkpt.errors import StateError
from chkpt.machine.cpu.contract import CpuState
from chkpt.machine.cpu.power_on import MSRS
from chkpt.machine.cpu.registers import LMA, PG


def check_state(state: CpuState) -> None:
    """Raise StateError where no processor can be in `state`."""
    strange = next((msr for msr, _ in state.msrs if msr not in MSRS), None)
    if strange is not None:
        raise StateError(f"cpu.msrs has {strange:#x}, which this processor does not have")
    if bool(state.efer & LMA) and not state.cr0 & PG:
        raise StateError("cpu.efer has long mode active, but cpu.cr0 has no paging")
    if state.cr8 > 15:
        raise StateError(f"cpu.cr8 is {state.cr8}, not a priority of 0 to 15")
