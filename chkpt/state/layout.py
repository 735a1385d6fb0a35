"""The fields of one dataclass, read once and sorted by where they go in a context.

Integers and bools are most of a state. They are taken from a context and checked in a few calls that run in C, all of a
dataclass at once; only where that fails is each looked at again, for the message.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter, itemgetter
from typing import cast

from chkpt.context import Value
from chkpt.state.kinds import Kind, kind_of


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Where each field of a dataclass goes. Positions count from the first field."""

    version: int
    kinds: Mapping[str, Kind]  # all, in order of declaration
    tags: tuple[str, ...]  # the fields that are tagged values
    attributes: Callable[[object], tuple[Value, ...]]  # their values in a state, unencoded
    values: Callable[[Mapping[str, Value]], tuple[Value, ...]]  # their values in a context
    encoded: tuple[tuple[str, Callable[[typing.Any], Value]], ...]  # the tags whose values are not their own encoding
    scalars: Callable[[Mapping[str, Value]], tuple[Value, ...]]  # the values of the integers and bools in a context
    types: tuple[type, ...]  # what each must be exactly
    ranges: tuple[range, ...]  # and be within
    checked: tuple[tuple[int, str, Kind], ...]  # the other tags, by position among the tags
    branches: tuple[tuple[int, str, Kind], ...]  # the fields that are contexts or blobs, by position
    times: tuple[tuple[str, Callable[[typing.Any, int], object]], ...]  # and how to shift each


def _read(cls: type) -> Layout:
    """Return the layout of a dataclass. Raise TypeError where a field is of no known kind."""
    hints = typing.get_type_hints(cls, include_extras=True)
    kinds: dict[str, Kind] = {}
    for field in dataclasses.fields(cls):
        try:
            kinds[field.name] = kind_of(hints[field.name])
        except TypeError as exc:
            raise TypeError(f"{cls.__name__}.{field.name}: {exc}") from None
    tags = tuple(name for name, kind in kinds.items() if not kind.is_branch)
    ranges = {tag: within for tag in tags if (within := kinds[tag].within) is not None}
    return Layout(
        version=getattr(cls, "VERSION", 0),
        kinds=kinds,
        tags=tags,
        attributes=_getter(attrgetter, tags),
        values=_getter(itemgetter, tags),
        encoded=tuple((tag, encode) for tag in tags if (encode := kinds[tag].encode) is not None),
        scalars=_getter(itemgetter, tuple(ranges)),
        types=tuple(bool if kinds[tag].name == "bool" else int for tag in ranges),
        ranges=tuple(ranges.values()),
        checked=tuple((at, tag, kinds[tag]) for at, tag in enumerate(tags) if tag not in ranges),
        branches=tuple((at, name, kind) for at, (name, kind) in enumerate(kinds.items()) if kind.is_branch),
        times=tuple((name, shift) for name, kind in kinds.items() if (shift := kind.shift) is not None),
    )


def _getter(getter: Callable[..., Callable[[typing.Any], typing.Any]], names: tuple[str, ...]) -> typing.Any:
    """Return what gives a tuple of the named items; operator's getters give one item bare, and refuse none."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        single = getter(names[0])
        return lambda source: (single(source),)
    return getter(*names)


layout_of = cast("Callable[[type], Layout]", cache(_read))  # the cache's own type would ask for a Hashable
