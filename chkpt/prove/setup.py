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
"""The device type that stands beside one that is proved alone, so that its interrupts go somewhere."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What machines are built from, all of them the same."""

    config: MachineConfig
    device_types: DeviceTypes
    backend_types: BackendTypes

    def machine(self) -> Machine:
        """Build one, with ends of ours in place of the host's, and without processor, firmware and RAM.

        No device's state is in these, and the conversation is the guest.

        Raises:
            ChkptError: it cannot be built; see `Machine`.
        """
        config = replace(self.config, memory=0, cpu=None, firmware=None, kernel=None)
        machine = Machine(config, device_types=self.device_types, backend_types=_on_the_bench(self.backend_types))
        devices = machine.devices
        for kind, end in _ENDS.items():
            table = devices.frontends[kind]
            for name in set(table.names) - set(table.backends):
                devices.connect(kind, name, end())
        return machine


# What stands behind a frontend without a medium, in place of what the host has.
_ENDS: Final[Mapping[FrontendKind, Callable[[], ends.End]]] = {
    FrontendKind.CHAR: ends.Line,
    FrontendKind.NET: ends.Cable,
    FrontendKind.CONSOLE: ends.Screen,
}


def _on_the_bench(types: BackendTypes) -> BackendTypes:
    """Return the same types of backend, with media that can be made to fail, and nothing of the host for the others."""

    def opener(each: BackendType[Any]) -> Callable[[object], ends.End]:
        if each.kind is FrontendKind.BLOCK:
            return lambda config: ends.Medium(cast("BlockBackend", each.open(config)))
        return lambda _: _ENDS[each.kind]()

    return BackendTypes([replace(each, open=opener(each)) for each in types])


def setups_of(
    what: DeviceType[Any, Any] | MachineConfig,
    device_types: DeviceTypes | None = None,
    backend_types: BackendTypes | None = None,
) -> list[Setup]:
    """Return the machines to prove: the one configured, or for a device type one for each table in its grammar.

    Args:
        what: a machine, or a device type, which need not be installed.
        device_types: the types that its devices may be of, the installed ones when left out.
        backend_types: the types that its backends may be of, the installed ones when left out.
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
