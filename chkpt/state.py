"""From a state's dataclass to a context and back: kinds of field, ranges, versions, upgrades, schema.

A dataclass is read once into a list of its fields; after that, saving is a few dictionary operations and loading one
check per field. The same rules read a configuration table, where fields may be left out.

| field | in the context |
|---|---|
| integer, bool, bytes, str, Enum, tuple of these | a tagged value |
| another dataclass | a child context of the field's name |
| tuple of dataclasses | a child context with the children `0`, `1`, ... |
| Blob | a blob |
| `X | None` that is None | the value nil |
"""

import dataclasses
import difflib
import enum
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Annotated, TypeVar, Union, cast

from chkpt.context import Blob, Context, Value
from chkpt.device import Length, MachineTime, Range, Upgrade
from chkpt.errors import ConfigError, StateError, VersionError

S = TypeVar("S")

Plain = Mapping[str, "Value | Blob"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """What a field may hold. `check` gives the field's value from a tag's, or raises StateError without a path."""

    name: str
    check: Callable[[Value], object]
    encode: Callable[[typing.Any], Value] | None = None  # None: the value is its own encoding
    nested: type | None = None  # a dataclass, or the item of a tuple of them
    items: tuple[int, int] | None = None  # how many of `nested` a tuple holds
    blob: bool = False
    optional: bool = False
    time: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class _Layout:
    """The fields of one dataclass, sorted by where they go."""

    kinds: Mapping[str, _Kind]  # all, in order of declaration
    tags: tuple[str, ...]  # the fields that are tagged values
    values: Callable[[object], tuple[Value, ...]]  # their values, unencoded
    encoded: tuple[tuple[str, Callable[[typing.Any], Value]], ...]
    nested: tuple[tuple[str, _Kind], ...]
    blobs: tuple[tuple[str, _Kind], ...]
    times: tuple[str, ...]
    known: frozenset[str]
    version: int


# -- kinds of field ---------------------------------------------------------------------------------------------------


def _shown(value: object) -> str:
    if isinstance(value, int | str | float) or value is None:
        return repr(value)
    return f"a {type(value).__name__}"


def _integer(least: int, greatest: int, *, time: bool) -> _Kind:
    def check(value: Value) -> object:
        if type(value) is not int:
            raise StateError(f"is {_shown(value)}, not an integer")
        if not least <= value <= greatest:
            raise StateError(f"is {value}, not within {least} to {greatest}")
        return value

    return _Kind(f"integer {least}..{greatest}", check, time=time)


def _boolean() -> _Kind:
    def check(value: Value) -> object:
        if value is not True and value is not False:
            raise StateError(f"is {_shown(value)}, not true or false")
        return value

    return _Kind("bool", check)


def _run(kind: type, length: Length) -> _Kind:
    def check(value: Value) -> object:
        if type(value) is not kind:
            raise StateError(f"is {_shown(value)}, not {kind.__name__}")
        size = len(cast("bytes | str", value))
        if not length.least <= size <= length.greatest:
            raise StateError(f"has length {size}, not within {length.least} to {length.greatest}")
        return value

    return _Kind(f"{kind.__name__} of length {length.least}..{length.greatest}", check)


def _enumeration(kind: type[enum.Enum]) -> _Kind:
    members: dict[object, enum.Enum] = {member.value: member for member in kind}

    def check(value: Value) -> object:
        if isinstance(value, str | int) and type(value) is not bool and value in members:
            return members[value]
        raise StateError(f"is {_shown(value)}, not one of {', '.join(map(str, members))}")

    return _Kind(f"one of {', '.join(map(str, members))}", check, encode=lambda member: cast("Value", member.value))


def _not_a_value(value: Value) -> object:
    raise StateError(f"is {_shown(value)}, not a context or blob of its own")


def _tuple(arguments: tuple[object, ...], length: Length | None) -> _Kind:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        if length is None:
            raise TypeError("a tuple of any length needs a Length")
        least, greatest = length.least, length.greatest
        item = _kind(arguments[0])
        every = [item]
    else:
        least = greatest = len(arguments)
        every = [_kind(argument) for argument in arguments]
        item = every[0]
    if item.nested is not None:
        return _Kind(f"{least}..{greatest} of {item.name}", _not_a_value, nested=item.nested, items=(least, greatest))
    checks = [kind.check for kind in every]

    def check(value: Value) -> object:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise StateError(f"is {_shown(value)}, not a list")
        if not least <= len(value) <= greatest:
            raise StateError(f"has {len(value)} items, not {least} to {greatest}")
        return tuple((checks[i] if i < len(checks) else checks[0])(item) for i, item in enumerate(value))

    encode = item.encode
    return _Kind(
        f"{least}..{greatest} of {item.name}",
        check,
        encode=None if encode is None else lambda items: [encode(each) for each in items],
    )


def _optional(inner: _Kind) -> _Kind:
    def check(value: Value) -> object:
        return None if value is None else inner.check(value)

    encode = inner.encode
    return dataclasses.replace(
        inner,
        name=f"{inner.name} or nil",
        check=check,
        encode=None if encode is None else lambda value: None if value is None else encode(value),
        optional=True,
    )


def _kind(hint: object) -> _Kind:
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
            return _optional(_kind(inner[0]))
    elif typing.get_origin(hint) is tuple:
        return _tuple(arguments, length)
    elif hint is int and bounds is not None:
        return _integer(bounds.least, bounds.greatest, time=any(isinstance(note, MachineTime) for note in notes))
    elif isinstance(hint, type):
        return _class_kind(hint, length)
    raise TypeError(f"{hint!r} is no kind of field: see chkpt.device.State")


def _class_kind(cls: type, length: Length | None) -> _Kind:
    if cls is bool:
        kind = _boolean()
    elif cls is Blob:
        kind = _Kind("blob", _not_a_value, blob=True)
    elif cls in {bytes, str} and length is not None:
        kind = _run(cls, length)
    elif issubclass(cls, enum.Enum):
        kind = _enumeration(cls)
    elif dataclasses.is_dataclass(cls):
        kind = _Kind(cls.__name__, _not_a_value, nested=cls)
    else:
        raise TypeError(f"{cls.__name__} is no kind of field, or needs a Range or Length: see chkpt.device.State")
    return kind


def _layout(cls: type) -> _Layout:
    return _read_layout(cast("Hashable", cls))


@cache
def _read_layout(hashable: Hashable) -> _Layout:
    cls = cast("type", hashable)
    hints = typing.get_type_hints(cls, include_extras=True)
    kinds: dict[str, _Kind] = {}
    for field in dataclasses.fields(cls):
        try:
            kinds[field.name] = _kind(hints[field.name])
        except TypeError as exc:
            raise TypeError(f"{cls.__name__}.{field.name}: {exc}") from None
    tags = tuple(name for name, kind in kinds.items() if kind.nested is None and not kind.blob)
    if len(tags) > 1:
        values = cast("Callable[[object], tuple[Value, ...]]", attrgetter(*tags))
    else:

        def values(state: object) -> tuple[Value, ...]:
            return tuple(getattr(state, tag) for tag in tags)

    return _Layout(
        kinds=kinds,
        tags=tags,
        values=values,
        encoded=tuple((tag, encode) for tag in tags if (encode := kinds[tag].encode) is not None),
        nested=tuple((name, kind) for name, kind in kinds.items() if kind.nested is not None),
        blobs=tuple((name, kind) for name, kind in kinds.items() if kind.blob),
        times=tuple(name for name, kind in kinds.items() if kind.time),
        known=frozenset(kinds),
        version=getattr(cls, "VERSION", 0),
    )


# -- state to context -------------------------------------------------------------------------------------------------


def to_context(state: object, type_name: str = "") -> Context:
    """Return the context that holds `state`, a dataclass that follows the rules of `chkpt.device.State`."""
    layout = _layout(type(state))
    values: dict[str, Value] = dict(zip(layout.tags, layout.values(state), strict=True))
    for tag, encode in layout.encoded:
        values[tag] = encode(values[tag])
    context = Context(type_name, layout.version, values)
    if layout.nested:
        contexts: dict[str, Context] = {}
        for name, kind in layout.nested:
            inner = getattr(state, name)
            if inner is None:
                values[name] = None
            elif kind.items is None:
                contexts[name] = to_context(inner)
            else:
                contexts[name] = Context(contexts={str(i): to_context(item) for i, item in enumerate(inner)})
        context.contexts = contexts
    for name, _ in layout.blobs:
        blob = getattr(state, name)
        if blob is None:
            values[name] = None
        else:
            context.blobs[name] = blob
    return context


# -- context to state -------------------------------------------------------------------------------------------------


def from_context(context: Context, cls: type[S], path: str) -> S:
    """Return the state that `context` holds, every field checked.

    Args:
        context: as `to_context` made it, by this or an earlier version of `cls`; unknown tags are passed over.
        cls: the dataclass to make.
        path: where the context is, for messages: `devices/pit`.

    Raises:
        StateError: a field is missing, of the wrong kind, or out of range; the message gives `path.field`.
        VersionError: the context is of a newer version than `cls`, or of one that `cls` cannot upgrade.
    """
    layout = _layout(cls)
    if context.version != layout.version:
        context = _upgraded(context, cls, layout.version, path)
    values = context.values
    fields: list[object] = []
    for name, kind in layout.kinds.items():
        try:
            value = values[name]
        except KeyError:
            fields.append(_branch(context, name, kind, path))
            continue
        try:
            fields.append(kind.check(value))
        except StateError as exc:
            raise StateError(f"{path}.{name} {exc}") from None
    return cls(*fields)


def _branch(context: Context, name: str, kind: _Kind, path: str) -> object:
    """Return the field that is a context or a blob, not a tagged value."""
    if kind.blob and name in context.blobs:
        return context.blobs[name]
    if kind.nested is not None and name in context.contexts:
        return _nested(context.contexts[name], kind, f"{path}/{name}")
    raise StateError(f"{path}.{name} is missing")


def _nested(inner: Context, kind: _Kind, path: str) -> object:
    cls = cast("type", kind.nested)
    if kind.items is None:
        return from_context(inner, cls, path)
    least, greatest = kind.items
    count = len(inner.contexts)
    if not least <= count <= greatest:
        raise StateError(f"{path} has {count} contexts, not {least} to {greatest}")
    missing = next((i for i in range(count) if str(i) not in inner.contexts), None)
    if missing is not None:
        raise StateError(f"{path}/{missing} is missing")
    return tuple(from_context(inner.contexts[str(i)], cls, f"{path}/{i}") for i in range(count))


def _upgraded(context: Context, cls: type, version: int, path: str) -> Context:
    if context.version > version:
        raise VersionError(
            f"{path} is version {context.version} of its state; this chkpt knows version {version} "
            "and older: load it with a newer chkpt or a newer device"
        )
    upgrades: Mapping[int, Upgrade] = getattr(cls, "UPGRADES", {})
    plain = _plain(context)
    for step in range(context.version, version):
        if step not in upgrades:
            raise VersionError(f"{path} is version {context.version} of its state, from which there is no upgrade")
        try:
            plain = upgrades[step](plain)
        except (KeyError, TypeError, ValueError) as exc:
            raise StateError(f"{path} cannot be upgraded from version {step}: {exc!r}") from exc
    return _from_plain(plain, context.type, version)


def _plain(context: Context) -> dict[str, Value | Blob]:
    children = {name: cast("Value", _plain(child)) for name, child in context.contexts.items()}
    return {**context.values, **context.blobs, **children}


def _from_plain(plain: Plain, type_name: str = "", version: int = 0) -> Context:
    context = Context(type_name, version)
    contexts: dict[str, Context] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            contexts[name] = _from_plain(value)
        elif value is None or isinstance(value, bool | int | float | str | bytes | Sequence):
            context.values[name] = value
        else:
            context.blobs[name] = value
    context.contexts = contexts
    return context


def unknown_tags(context: Context, cls: type, path: str) -> list[str]:
    """Return the paths of the tags, blobs and contexts that `cls` has no field for."""
    layout = _layout(cls)
    if context.version != layout.version:
        context = _upgraded(context, cls, layout.version, path)
    found: list[str] = []
    if not layout.known.issuperset(context.values):
        found += [f"{path}.{tag}" for tag in context.values if tag not in layout.known]
    found += [f"{path}.{tag}" for tag in context.blobs if tag not in layout.known]
    for name, child in context.contexts.items():
        kind = layout.kinds.get(name)
        if kind is None or kind.nested is None:
            found.append(f"{path}/{name}")
        elif kind.items is None:
            found += unknown_tags(child, kind.nested, f"{path}/{name}")
        else:
            found += [f"{path}/{name}.{tag}" for tag in child.values]
            for index, item in child.contexts.items():
                found += unknown_tags(item, kind.nested, f"{path}/{name}/{index}")
    return found


# -- times, schema ----------------------------------------------------------------------------------------------------


def shift_times(state: S, delta: int) -> S:
    """Return `state` with `delta` nanoseconds added to every field that is a time of the machine's clock."""
    layout = _layout(type(state))
    changes: dict[str, object] = {}
    for name in layout.times:
        time = getattr(state, name)
        if time is not None:
            changes[name] = time + delta
    for name, kind in layout.nested:
        inner = getattr(state, name)
        if inner is None:
            continue
        changes[name] = shift_times(inner, delta) if kind.items is None else tuple(shift_times(i, delta) for i in inner)
    if not changes:
        return state
    return cast("S", dataclasses.replace(cast("typing.Any", state), **changes))


def schema(cls: type) -> dict[str, object]:
    """Return what `cls` declares: `{"version": n, "fields": {name: kind or nested schema}}`."""
    layout = _layout(cls)
    fields: dict[str, object] = {}
    for name, kind in layout.kinds.items():
        fields[name] = kind.name if kind.nested is None else {"of": kind.name, **schema(kind.nested)}
    return {"version": layout.version, "fields": fields}


# -- configuration tables ---------------------------------------------------------------------------------------------


def from_table(table: Mapping[str, object], cls: type[S], where: str) -> S:
    """Return the configuration dataclass `cls` from a TOML table; fields left out keep their defaults.

    Raises:
        ConfigError: an unknown key (the nearest known one is named), a missing one, or a value that cannot be.
    """
    layout = _layout(cls)
    refuse_unknown(table, layout.kinds, where)
    fields: dict[str, object] = {}
    for name, value in table.items():
        kind = layout.kinds[name]
        if kind.nested is None:
            try:
                fields[name] = kind.check(cast("Value", value))
            except StateError as exc:
                raise ConfigError(f"{where}: {name} {exc}") from None
        elif kind.items is None:
            fields[name] = from_table(_table(value, where, name), kind.nested, f"{where}.{name}")
        else:
            fields[name] = _tables(value, kind, f"{where}.{name}")
    for field in dataclasses.fields(cast("typing.Any", cls)):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in fields:
            raise ConfigError(f"{where}: {field.name} is missing")
    return cls(**fields)


def _table(value: object, where: str, name: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: {name} is {_shown(value)}, not a table")
    return value


def _tables(value: object, kind: _Kind, where: str) -> tuple[object, ...]:
    least, greatest = cast("tuple[int, int]", kind.items)
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ConfigError(f"{where} is {_shown(value)}, not a list of tables")
    if not least <= len(value) <= greatest:
        raise ConfigError(f"{where} has {len(value)} tables, not {least} to {greatest}")
    cls = cast("type", kind.nested)
    return tuple(from_table(_table(item, where, str(i)), cls, f"{where}[{i}]") for i, item in enumerate(value))


def refuse_unknown(table: Mapping[str, object], known: typing.Collection[str], where: str) -> None:
    """Raise ConfigError for the first key of `table` that is not in `known`, naming the nearest one that is."""
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown key {key}; {hint}")
