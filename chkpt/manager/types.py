"""Which types there are: found through entry points, the built-in ones like anyone else's."""

import logging
import typing
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Protocol, TypeVar

from chkpt.device import BackendType, DeviceType, OfMachine, Rom
from chkpt.errors import ChkptError, ConfigError, ExistsError, NotFoundError

log = logging.getLogger("chkpt.manager")


class Named(Protocol):
    """What a table of types needs of each."""

    @property
    def name(self) -> str:
        """The name it is found by."""


T = TypeVar("T", bound=Named)
C = TypeVar("C", bound="Types[Any]")

# A table of types cannot know each one's configuration and state: its user checks them at run time.
AnyDeviceType = DeviceType[Any, Any]
AnyBackendType = BackendType[Any]


class Types(Generic[T]):
    """Types of one sort, by name. A name is given once."""

    def __init__(self, sort: str, cls: type[Any], types: Iterable[T] = ()) -> None:
        """Begin with `types`, each of the class `cls`; `sort` is what messages call them, such as "device type"."""
        self._sort = sort
        self._cls = cls
        self._types: dict[str, T] = {}
        self._broken: dict[str, ChkptError] = {}
        for each in types:
            self.register(each)

    def register(self, new: T) -> None:
        """Add a type. Raise ExistsError if its name is taken, ConfigError if it has no name, TypeError for another."""
        if not isinstance(new, self._cls):
            raise TypeError(f"{new!r} is not a {self._sort}: give a {self._cls.__name__}, as the devices of chkpt are")
        if not new.name:
            raise ConfigError(f"a {self._sort} needs a name")
        if new.name in self._types:
            raise ExistsError(f"there is a {self._sort} {new.name} already")
        self._types[new.name] = new

    def register_broken(self, name: str, reason: ChkptError) -> None:
        """Let `find` raise `reason` for a name that a broken package offers."""
        self._broken[name] = reason

    def find(self, name: str) -> T:
        """Return the type of this name.

        Raises:
            NotFoundError: there is none; the message names the nearest.
            ConfigError, ExistsError: the installed package that offers it is broken, or two packages offer it.
        """
        if name in self._broken:
            raise self._broken[name].within(f"{self._sort} {name}") from self._broken[name]
        try:
            return self._types[name]
        except KeyError:
            near = get_close_matches(name, self._types, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(self._types)) or 'none'}"
            raise NotFoundError(f"no {self._sort} {name}; {hint}") from None

    def __iter__(self) -> Iterator[T]:
        return iter(self._types.values())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(sorted(self._types)) or 'none'}>"


class DeviceTypes(Types[AnyDeviceType]):
    """Device types by name, such as `DeviceTypes([PIT, PIC])`. A name is given once."""

    def __init__(self, types: Iterable[AnyDeviceType] = ()) -> None:
        """Begin with these types. Raise TypeError for what is not a DeviceType."""
        super().__init__("device type", DeviceType, types)


class BackendTypes(Types[AnyBackendType]):
    """Backend types by name."""

    def __init__(self, types: Iterable[AnyBackendType] = ()) -> None:
        """Begin with these types. Raise TypeError for what is not a BackendType."""
        super().__init__("backend type", BackendType, types)


class Roms(Types[Rom]):
    """ROMs by name."""

    def __init__(self, roms: Iterable[Rom] = ()) -> None:
        """Begin with these ROMs. Raise TypeError for what is not a Rom."""
        super().__init__("ROM", Rom, roms)


def installed_device_types() -> DeviceTypes:
    """Return the device types of every installed package, from the entry-point group `chkpt.devices`.

    An entry point that is broken does not stop the others: the log warns of it, and `find` raises for its name. It is
    broken if it cannot be imported, if it is not a device type of its name, or if two packages offer the name.
    """
    return _load_installed(DeviceTypes(), "chkpt.devices", DeviceType)


def installed_backend_types() -> BackendTypes:
    """Return the backend types of every installed package, from `chkpt.backends`; see `installed_device_types`."""
    return _load_installed(BackendTypes(), "chkpt.backends", BackendType)


def installed_roms() -> Roms:
    """Return the ROMs of every installed package, from `chkpt.roms`; see `installed_device_types`."""
    return _load_installed(Roms(), "chkpt.roms", Rom)


def _load_installed(types: C, group: str, wanted: type[Any]) -> C:
    packages: dict[str, list[EntryPoint]] = {}
    for entry in dict.fromkeys(entry_points(group=group)):  # two installations of one package offer each twice
        packages.setdefault(entry.name, []).append(entry)
    for name, entries in packages.items():
        try:
            if len(entries) > 1:
                offers = " and ".join(entry.value for entry in entries)
                raise ExistsError(f"{name} is offered by more than one package: {offers}", where=group)
            types.register(_load_entry_point(group, entries[0], wanted))
        except ChkptError as exc:
            log.warning("%s; the others work", exc)
            types.register_broken(name, exc)
    return types


def _load_entry_point(group: str, entry: EntryPoint, wanted: type[Any]) -> Any:
    try:
        found = entry.load()
    except Exception as exc:
        raise ConfigError(f"{entry.name} ({entry.value}) cannot be imported: {exc!r}", where=group) from exc
    if not isinstance(found, wanted) or found.name != entry.name:
        raise ConfigError(f"{entry.name} ({entry.value}) is not a {wanted.__name__} of that name", where=group)
    return found


def marked_fields(config: type) -> dict[str, OfMachine]:
    """Return the fields of a configuration that a machine fills in if the table does not have them."""
    found: dict[str, OfMachine] = {}
    for name, hint in typing.get_type_hints(config, include_extras=True).items():
        found.update((name, mark) for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, OfMachine))
    return found


def fill_in(config: type, table: Mapping[str, object], facts: Mapping[OfMachine, object]) -> dict[str, object]:
    """Return the table of a configuration, with the machine's values for the marked fields that it does not have."""
    known = {name: facts[mark] for name, mark in marked_fields(config).items() if mark in facts}
    return {**known, **table}
