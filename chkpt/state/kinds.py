"""The kinds of field of a state or a configuration, read from type hints."""

import dataclasses
import enum
import reprlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from operator import attrgetter
from typing import Annotated, TypeAlias, Union, cast

from chkpt.context import Blob, Value
from chkpt.device import Length, MachineTime, Range
from chkpt.errors import StateError

Shape: TypeAlias = "Sequence[str | int | Shape]"
"""What a field may hold, in the form of JSON."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold. `check` turns a tag's value into the field's value, or raises StateError without a path.

    `test` asks the same as `check` where a value is its own encoding, in the terms of `chkpt.state.compile`.
    """

    name: str
    check: Callable[[Value], object]
    encode: Callable[[typing.Any], Value] | None = None  # None: the value is its own encoding
    nested: type | None = None  # a dataclass, or the item of a tuple of them
    items: tuple[int, int] | None = None  # how many of `nested` a tuple holds
    blob: bool = False
    optional: bool = False
    shift: Callable[[typing.Any, int], object] | None = None  # adds nanoseconds to the times in it; None: has none
    test: str | None = None  # a Python expression: whether `{0}` passes `check` and is the field's value itself
    shape: "Shape" = ()  # the same in data, see `chkpt.state.declarations`; of a context, its own dataclass says it

    @property
    def is_branch(self) -> bool:
        """Whether it is a context or a blob, not a tagged value."""
        return self.nested is not None or self.blob


def shown(value: object) -> str:
    """Return a value as a message shows it: a number, text or None itself, of another value its type."""
    if isinstance(value, int | str | float) or value is None:
        return reprlib.repr(value)
    return f"a {type(value).__name__}"


def printable(name: str) -> str:
    """Return a name from a file in a form that a message may show: without line ends and terminal controls."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _integer(least: int, greatest: int, *, time: bool) -> Kind:
    def check(value: Value) -> object:
        if type(value) is not int:
            raise StateError(f"is {shown(value)}, not an integer")
        if not least <= value <= greatest:
            raise StateError(f"is {value}, not within {least} to {greatest}")
        return value

    def shift(value: int, delta: int) -> object:
        return check(value + delta)

    test = f"type({{0}}) is int and {int(least)} <= {{0}} <= {int(greatest)}"
    shape = ("time" if time else "int", int(least), int(greatest))
    return Kind(f"integer {least}..{greatest}", check, shift=shift if time else None, test=test, shape=shape)


def _boolean() -> Kind:
    def check(value: Value) -> object:
        if value is not True and value is not False:
            raise StateError(f"is {shown(value)}, not true or false")
        return value

    return Kind("bool", check, test="type({0}) is bool", shape=("bool",))


def _run(kind: type, length: Length) -> Kind:
    def check(value: Value) -> object:
        if type(value) is not kind:
            raise StateError(f"is {shown(value)}, not {kind.__name__}")
        size = len(cast("bytes | str", value))
        if not length.least <= size <= length.greatest:
            raise StateError(f"has length {size}, not within {length.least} to {length.greatest}")
        return value

    test = f"type({{0}}) is {kind.__name__} and {int(length.least)} <= len({{0}}) <= {int(length.greatest)}"
    shape = (kind.__name__, int(length.least), int(length.greatest))
    return Kind(f"{kind.__name__} of length {length.least}..{length.greatest}", check, test=test, shape=shape)


def _enumeration(kind: type[enum.Enum]) -> Kind:
    members: dict[object, enum.Enum] = {member.value: member for member in kind}

    def check(value: Value) -> object:
        if isinstance(value, (str, int)) and type(value) is not bool and value in members:
            return members[value]
        raise StateError(f"is {shown(value)}, not one of {', '.join(map(str, members))}")

    shape = ("one of", tuple(cast("Mapping[str | int, object]", members)))
    return Kind(f"one of {', '.join(map(str, members))}", check, encode=attrgetter("_value_"), shape=shape)


def _not_a_value(value: Value) -> object:
    raise StateError(f"is {shown(value)}, not a context or blob of its own")


def _tuple(arguments: tuple[object, ...], length: Length | None) -> Kind:
    if arguments[1:] == (Ellipsis,):
        if length is None:
            raise TypeError("a tuple of any length needs a Length")
        least, greatest, items = length.least, length.greatest, [kind_of(arguments[0])]
    else:
        least = greatest = len(arguments)
        items = [kind_of(argument) for argument in arguments]
    name = f"{least}..{greatest} of {' and '.join(dict.fromkeys(item.name for item in items))}"
    if not any(item.is_branch for item in items):
        return _tuple_of_values(name, items, least, greatest)
    if any(item.nested is not items[0].nested or item.blob or item.optional for item in items):
        raise TypeError("a tuple of contexts has them all of one dataclass, none of them optional, and holds no blob")
    return Kind(name, _not_a_value, nested=items[0].nested, items=(least, greatest))


def _tuple_of_values(name: str, items: Sequence[Kind], least: int, greatest: int) -> Kind:
    """Return the kind of a tuple; a single item in `items` stands for all."""

    def each(value: Sequence[typing.Any]) -> Iterator[tuple[typing.Any, Kind]]:
        return zip(value, cycle(items), strict=False)

    def check(value: Value) -> object:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise StateError(f"is {shown(value)}, not a list")
        if not least <= len(value) <= greatest:
            raise StateError(f"has {len(value)} items, not {least} to {greatest}")
        checked: list[object] = []
        try:
            for item, kind in each(value):
                checked.append(kind.check(item))
        except StateError as exc:
            raise StateError(f"item {len(checked)} {exc}") from None
        return tuple(checked)

    def encode(value: Sequence[typing.Any]) -> Value:
        return [item if kind.encode is None else kind.encode(item) for item, kind in each(value)]

    def shift(value: Sequence[typing.Any], delta: int) -> object:
        return tuple(item if kind.shift is None else kind.shift(item, delta) for item, kind in each(value))

    return Kind(
        name,
        check,
        encode=encode if any(kind.encode is not None for kind in items) else None,
        shift=shift if any(kind.shift is not None for kind in items) else None,
        shape=("list", int(least), int(greatest), tuple(kind.shape for kind in items)),
    )


def _optional(inner: Kind) -> Kind:
    def check(value: Value) -> object:
        return None if value is None else inner.check(value)

    encode, shift = inner.encode, inner.shift
    return dataclasses.replace(
        inner,
        name=f"{inner.name} or nil",
        check=check,
        encode=None if encode is None else lambda value: None if value is None else encode(value),
        shift=None if shift is None else lambda value, delta: None if value is None else shift(value, delta),
        optional=True,
        test=None if inner.test is None else f"({{0}} is None or {inner.test})",
        shape=("or nil", inner.shape) if inner.shape else (),
    )


def kind_of(hint: object) -> Kind:
    """Return the kind for a type hint, as `chkpt.device.State` lists them."""
    notes: tuple[object, ...] = ()
    if typing.get_origin(hint) is Annotated:
        hint, *rest = typing.get_args(hint)
        notes = tuple(rest)
    length = next((note for note in notes if isinstance(note, Length)), None)
    bounds = next((note for note in notes if isinstance(note, Range)), None)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in {Union, types.UnionType}:
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1 and len(arguments) == 2:
            return _optional(kind_of(inner[0]))
    elif typing.get_origin(hint) is tuple:
        return _tuple(arguments, length)
    elif hint is int and bounds is not None:
        return _integer(bounds.least, bounds.greatest, time=any(isinstance(note, MachineTime) for note in notes))
    elif isinstance(hint, type):
        return _class_kind(hint, length)
    raise TypeError(f"{hint!r} is not a kind of field: see chkpt.device.State")


def _class_kind(cls: type, length: Length | None) -> Kind:
    if cls is bool:
        kind = _boolean()
    elif cls is Blob:
        kind = Kind("blob", _not_a_value, blob=True, shape=("blob",))
    elif cls in {bytes, str} and length is not None:
        kind = _run(cls, length)
    elif issubclass(cls, enum.Enum):
        kind = _enumeration(cls)
    elif dataclasses.is_dataclass(cls):
        kind = Kind(cls.__name__, _not_a_value, nested=cls)
    else:
        raise TypeError(f"{cls.__name__} is not a kind of field, or needs a Range or Length: see chkpt.device.State")
    return kind
