"""Machines to test with."""

from collections.abc import Mapping
from importlib import import_module

from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import BackendTypes, DeviceTypes

DEVICE_TYPES = {
    "pit": "chkpt_devices.pit:PIT",
    "pic": "chkpt_devices.pic:PIC",
    "serial": "chkpt_devices.serial:SERIAL",
    "ide": "chkpt_devices.ide:IDE",
    "cmos": "chkpt_devices.cmos:CMOS",
    "i8042": "chkpt_devices.i8042:KEYBOARD_CONTROLLER",
    "port92": "chkpt_devices.port92:PORT92",
    "reset_control": "chkpt_devices.reset_control:RESET_CONTROL",
    "dma_page": "chkpt_devices.dma_page:DMA_PAGE",
    "debugcon": "chkpt_devices.debugcon:DEBUGCON",
    "isa_debug_exit": "chkpt_devices.isa_debug_exit:ISA_DEBUG_EXIT",
}


def device_types(*names: str) -> DeviceTypes:
    """Return these built-in device types, without looking for installed ones."""
    types = DeviceTypes()
    for name in names:
        module, _, attribute = DEVICE_TYPES[name].partition(":")
        types.register(getattr(import_module(module), attribute))
    return types


def rig(*devices: Mapping[str, object], backends: BackendTypes | None = None, memory: int = 0) -> Machine:
    """Build a machine from tables such as `{"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4}`."""
    config = parse({"name": "rig", "memory": memory, "device": list(devices)})
    names = dict.fromkeys(str(device["type"]) for device in devices)
    return Machine(config, device_types=device_types(*names), backend_types=backends)


def saved(machine: Machine) -> Checkpoint:
    """Save a machine."""
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    return checkpoint
