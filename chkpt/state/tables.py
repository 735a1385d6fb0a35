"""Make configuration dataclasses from TOML tables: the same kinds of field, with defaults."""

import dataclasses
import difflib
import typing
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar, cast

from chkpt.context import Value
from chkpt.errors import ConfigError, StateError
from chkpt.state.kinds import Kind, shown
from chkpt.state.layout import layout_of

S = TypeVar("S")


def from_table(
    table: Mapping[str, object], cls: type[S], where: str, also: Mapping[str, Collection[str]] = MappingProxyType({})
) -> S:
    """Make the configuration dataclass `cls` from a TOML table. Fields that are not in it keep their defaults.

    Args:
        table: the configuration.
        cls: the dataclass to make.
        where: the name of the table in messages.
        also: keys that the caller has taken out of the table (`""`), or out of the tables in a field; for hints only.

    Raises:
        ConfigError: a key is unknown (the message names the nearest known one) or missing, or a value is not allowed.
    """
    layout = layout_of(cls)
    refuse_unknown(table, (*layout.kinds, *also.get("", ())), where)
    fields: dict[str, object] = {}
    for name, value in table.items():
        kind = layout.kinds[name]
        if kind.nested is None:
            try:
                fields[name] = kind.check(cast("Value", value))
            except StateError as exc:
                raise ConfigError(f"{name} {exc}", where=where) from None
        elif kind.items is None:
            fields[name] = from_table(_table(value, where, name), kind.nested, f"{where}.{name}")
        else:
            fields[name] = _tables(value, kind, f"{where}.{name}", {"": also.get(name, ())})
    for field in dataclasses.fields(cast("typing.Any", cls)):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in fields:
            raise ConfigError(f"{field.name} is missing", where=where)
    return cls(**fields)


def _table(value: object, where: str, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} is {shown(value)}, not a table", where=where)
    return value


def _tables(value: object, kind: Kind, where: str, also: Mapping[str, Collection[str]]) -> tuple[object, ...]:
    least, greatest = cast("tuple[int, int]", kind.items)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ConfigError(f"is {shown(value)}, not a list of tables", subject=where)
    if not least <= len(value) <= greatest:
        raise ConfigError(f"has {len(value)} tables, not {least} to {greatest}", subject=where)
    cls = cast("type", kind.nested)
    tables = [_table(item, where, str(i)) for i, item in enumerate(value)]
    return tuple(from_table(table, cls, f"{where}[{i}]", also) for i, table in enumerate(tables))


def refuse_unknown(table: Mapping[str, object], known: typing.Collection[str], where: str) -> None:
    """Raise ConfigError for the first key of `table` that is not in `known`, naming the nearest one that is."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"unknown key {key}; {hint}", where=where)
