"""What a device offers: its methods, and the types that a package makes known by entry points."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

from chkpt.device.backends import BlockBackend, CharBackend, ConsoleBackend, FrontendKind, NetBackend
from chkpt.device.host import Host
from chkpt.grammar import Grammar

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
S_contra = TypeVar("S_contra", contravariant=True)
C = TypeVar("C")


class Device(Protocol):
    """An emulated device. `save` and `load` are optional, see `Saves` and `Loads`."""

    def reset(self) -> None:
        """Go to the state after power-on, as the machine's reset line does. Backends stay connected."""


@runtime_checkable
class Saves(Protocol[S_co]):
    """A device that can be saved."""

    def save(self) -> S_co:
        """Return everything that a guest could ever notice. The running device must not change."""


@runtime_checkable
class Loads(Protocol[S_contra]):
    """A device that can be loaded."""

    def load(self, state: S_contra, /) -> None:
        """Become the saved device: validate first, then assign, arm the timers, drive the lines to their levels.

        The ranges of the fields have been checked already. A load must not make an edge: it sets a line only to the
        level that the line had when it was saved.

        Raises:
            StateError: fields contradict each other. Nothing has changed then.
        """


@runtime_checkable
class KeepsDate(Protocol):
    """A device whose date goes on while the machine is off, as on a battery."""

    def advance_date(self, seconds: int, /) -> bool:
        """Move the date on by so many seconds. A load calls this after `load`, if the user asks for it.

        Nothing else happens, as the machine was off: no interrupt, no alarm, no tick of the machine's clock. If the
        device's counter is stopped, leave the date as it is and return False; else return True.
        """


@dataclass(frozen=True, slots=True)
class DeviceType(Generic[C, S]):
    """A kind of device: its name, how one is made, and the dataclasses of its configuration and its state.

    `config` is a frozen dataclass whose fields follow the rules for states. `state` is None for a device that cannot be
    saved. `grammar` shows `chkpt prove` how a driver uses the device; without it the prover makes random accesses.
    """

    name: str
    create: Callable[[Host, C], Device]
    config: type[C]
    state: type[S] | None
    grammar: Grammar[C] | None = None


@dataclass(frozen=True, slots=True)
class BackendType(Generic[C]):
    """A kind of backend: what frontends it fits, its name in a configuration, and how one is opened.

    A package names it in the entry-point group "chkpt.backends".

    `open` raises StorageError or ConfigError if the host refuses.
    """

    kind: FrontendKind
    name: str
    open: Callable[[C], BlockBackend | CharBackend | NetBackend | ConsoleBackend]
    config: type[C]


@dataclass(frozen=True, slots=True)
class Rom:
    """A ROM that comes with a package, for the `rom` of a machine's `[firmware]`: its name and its bytes.

    The processor sees it as it sees a BIOS. A package names it in the entry-point group "chkpt.roms".
    """

    name: str
    image: bytes = field(repr=False)
