"""The configuration keys of the installed types, as plain data for users who write a machine's TOML."""

import dataclasses
import enum
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from chkpt.context import Value
from chkpt.manager.types import AnyBackendType, AnyDeviceType, marked_fields
from chkpt.state import schema


@dataclass(frozen=True, slots=True)
class ConfigKey:
    """A key of a configuration table, `drive[].unit` for one in each table of a list.

    `kind` says what it may hold, such as `integer 0..65535`. `default` counts only if the key is not required. For a
    key that the machine fills in, it says in words what the machine puts there.
    """

    name: str
    kind: str
    required: bool
    default: Value = None


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A device or backend type. `version` is that of a device's state; None if it cannot be saved."""

    name: str
    config: tuple[ConfigKey, ...]
    version: int | None = None
    kind: str = ""  # of a backend: block, char, net, console


def describe_device(device_type: AnyDeviceType) -> TypeInfo:
    """Describe a device type."""
    state = device_type.state
    version = None if state is None else cast("int", schema(state)["version"])
    return TypeInfo(device_type.name, tuple(config_keys(device_type.config)), version)


def describe_backend(backend_type: AnyBackendType) -> TypeInfo:
    """Describe a backend type."""
    return TypeInfo(backend_type.name, tuple(config_keys(backend_type.config)), kind=backend_type.kind.value)


def config_keys(cls: type, before: str = "") -> Iterator[ConfigKey]:
    """Yield the keys of a configuration dataclass in their order, and of the tables in it."""
    kinds = cast("dict[str, str | dict[str, object]]", schema(cls)["fields"])
    hints = typing.get_type_hints(cls)
    of_machine = marked_fields(cls)
    for field in dataclasses.fields(cls):
        kind = kinds[field.name]
        nested = None if isinstance(kind, str) else _nested_type(hints[field.name])
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        default = None if required or nested is not None else _plain(_default(field))
        if field.name in of_machine:
            default = of_machine[field.name].value
        name = f"{before}{field.name}"
        if nested is None:
            yield ConfigKey(name, str(kind), required, default)
        else:
            repeated = typing.get_origin(hints[field.name]) is tuple
            yield ConfigKey(name, "tables" if repeated else "table", required, [] if repeated else None)
            yield from config_keys(nested, f"{name}[]." if repeated else f"{name}.")


def _default(field: "dataclasses.Field[object]") -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: object) -> Value:
    """Return a default in the form that it has in a table."""
    if isinstance(value, enum.Enum):
        return cast("Value", value.value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return cast("Value", value)


def _nested_type(hint: object) -> type | None:
    """Return the dataclass in the hint of a field that is a table or a tuple of tables."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint
    return next((found for each in typing.get_args(hint) if (found := _nested_type(each)) is not None), None)
