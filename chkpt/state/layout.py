"""The fields of one dataclass and their kinds, read once."""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import cast

from chkpt.state.kinds import Kind, kind_of


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """The fields of a dataclass, and their places in a context."""

    version: int
    kinds: Mapping[str, Kind]  # all, in order of declaration
    times: tuple[tuple[str, Callable[[typing.Any, int], object]], ...]  # the fields with times, and how to shift each
    branches: tuple[str, ...]  # the fields that are contexts or blobs, not tagged values
    fixed: tuple[str, ...] = ()  # those that a load compares, see `chkpt.device.State`


def _read(cls: type) -> Layout:
    """Return the layout of a dataclass. Raise TypeError if a field is of no known kind, or FIXED names none."""
    hints = typing.get_type_hints(cls, include_extras=True)
    kinds: dict[str, Kind] = {}
    for field in dataclasses.fields(cls):
        try:
            kinds[field.name] = kind_of(hints[field.name])
        except TypeError as exc:
            raise TypeError(f"{cls.__name__}.{field.name}: {exc}") from None
    times = tuple((name, shift) for name, kind in kinds.items() if (shift := kind.shift) is not None)
    fixed = tuple(getattr(cls, "FIXED", ()))
    strange = next((name for name in fixed if name not in kinds), None)
    if strange is not None:
        raise TypeError(f"{cls.__name__}.FIXED names {strange}, which is not a field")
    branches = tuple(name for name, kind in kinds.items() if kind.is_branch)
    return Layout(getattr(cls, "VERSION", 0), kinds, times, branches, fixed)


layout_of = cast("Callable[[type], Layout]", cache(_read))  # the cache's own type would ask for a Hashable
