"""What machines on the bench are built from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from chkpt.device import BackendType, BlockBackend, DeviceType, FrontendKind
from chkpt.machine import Machine, MachineConfig
from chkpt.machine.config import parse
from chkpt.manager import BackendTypes, DeviceTypes, installed_backend_types, installed_device_types
from chkpt.prove import ends

CONTROLLER = "pic"
"""The device type that is added to a device that is proved alone, so that it has an interrupt controller."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What equal machines are built from."""

    config: MachineConfig
    device_types: DeviceTypes
    backend_types: BackendTypes

    def machine(self) -> Machine:
        """Build a machine with the prover's backends, and without processor, firmware and RAM.

        Those hold no device's state, and the conversation takes the place of the guest.

        Raises:
            ChkptError: the machine cannot be built; see `Machine`.
        """
        config = replace(self.config, memory=0, cpu=None, firmware=None, kernel=None)
        machine = Machine(config, device_types=self.device_types, backend_types=_on_the_bench(self.backend_types))
        devices = machine.devices
        for kind, end in _ENDS.items():
            table = devices.frontends[kind]
            for name in set(table.names) - set(table.backends):
                devices.connect(kind, name, end())
        return machine


# The backends that replace those of the host, for frontends without a medium.
_ENDS: Final[Mapping[FrontendKind, Callable[[], ends.BenchEnd]]] = {
    FrontendKind.CHAR: ends.SerialEnd,
    FrontendKind.NET: ends.NetEnd,
    FrontendKind.CONSOLE: ends.ScreenEnd,
}


def _on_the_bench(types: BackendTypes) -> BackendTypes:
    """Return the same types of backend, but with disks that can be made to fail, and without the host's other ends."""

    def opener(each: BackendType[Any]) -> Callable[[object], ends.BenchEnd]:
        if each.kind is FrontendKind.BLOCK:
            return lambda config: ends.DiskEnd(cast("BlockBackend", each.open(config)))
        return lambda _: _ENDS[each.kind]()

    return BackendTypes([replace(each, open=opener(each)) for each in types])


def setups_of(
    what: DeviceType[Any, Any] | MachineConfig,
    device_types: DeviceTypes | None = None,
    backend_types: BackendTypes | None = None,
) -> list[Setup]:
    """Return the machines to prove: the given one, or one for each table in a device type's grammar.

    Args:
        what: a machine, or a device type, which need not be installed.
        device_types: the device types to use; None for the installed ones.
        backend_types: the backend types to use; None for the installed ones.
    """
    types = installed_device_types() if device_types is None else device_types
    backends = installed_backend_types() if backend_types is None else backend_types
    if isinstance(what, MachineConfig):
        return [Setup(what, types, backends)]
    known = DeviceTypes([what, *(each for each in types if each.name != what.name)])
    controllers = [{"type": each.name} for each in known if each.name == CONTROLLER != what.name]
    tables = ({},) if what.grammar is None else what.grammar.tables
    return [
        Setup(parse({"name": "bench", "device": [*controllers, {**table, "type": what.name}]}), known, backends)
        for table in tables
    ]
