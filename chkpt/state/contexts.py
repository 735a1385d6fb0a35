"""State to context and back: ranges, versions, upgrades, unknown tags, times."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from operator import contains, is_
from typing import TypeVar, cast

from chkpt.context import Blob, Context, Value
from chkpt.device import Plain, Upgrade
from chkpt.errors import StateError, VersionError
from chkpt.state.kinds import Kind, printable, shown
from chkpt.state.layout import Layout, layout_of

S = TypeVar("S")

_PRESENT = -1
"""The version of a context that an upgrade has made: whatever its class has now."""


# -- state to context -------------------------------------------------------------------------------------------------


def to_context(state: object, type_name: str = "") -> Context:
    """Return the context that holds `state`, a dataclass that follows the rules of `chkpt.device.State`."""
    layout = layout_of(type(state))
    values: dict[str, Value] = dict(zip(layout.tags, layout.attributes(state), strict=True))
    for tag, encode in layout.encoded:
        values[tag] = encode(values[tag])
    if not layout.branches:
        return Context(type_name, layout.version, values)
    blobs: dict[str, Blob] = {}
    contexts: dict[str, Context] = {}
    for _, name, kind in layout.branches:
        branch = getattr(state, name)
        if branch is None:
            values[name] = None
        elif kind.blob:
            blobs[name] = branch
        elif kind.items is None:
            contexts[name] = to_context(branch)
        else:
            contexts[name] = Context(contexts={str(at): to_context(item) for at, item in enumerate(branch)})
    return Context(type_name, layout.version, values, blobs, contexts)


# -- context to state -------------------------------------------------------------------------------------------------


def from_context(context: Context, cls: type[S], path: str, unknown: list[str] | None = None) -> S:
    """Return the state that `context` holds, every field checked.

    Args:
        context: as `to_context` made it, by this or an earlier version of `cls`.
        cls: the dataclass to make.
        path: where the context is, for messages: `devices/pit`.
        unknown: takes the paths of the tags, blobs and contexts that are passed over, as `cls` has no field for them.

    Raises:
        StateError: a field is missing, of the wrong kind, or out of range; the message gives `path.field`.
        VersionError: the context is of a newer version than `cls`, or of one that `cls` cannot upgrade.
    """
    layout = layout_of(cls)
    if context.version != layout.version:
        context = _upgraded(context, cls, layout.version, path)
    values = context.values
    try:
        fields: list[object] = list(layout.values(values))
        scalars = layout.scalars(values)
    except KeyError as exc:
        raise StateError(f"{path}.{exc.args[0]} is missing") from None
    if not (all(map(is_, map(type, scalars), layout.types)) and all(map(contains, layout.ranges, scalars))):
        _refuse(values, layout, path)
    for at, name, kind in layout.checked:
        try:
            fields[at] = kind.check(values[name])
        except StateError as exc:
            raise StateError(f"{path}.{name} {exc}") from None
    for at, name, kind in layout.branches:
        fields.insert(at, _branch(context, name, kind, path, unknown))
    if unknown is not None and len(values) + len(context.blobs) + len(context.contexts) > len(layout.kinds):
        unknown += _strangers(context, layout.kinds, path)
    return cls(*fields)


def _strangers(context: Context, kinds: Mapping[str, Kind], path: str) -> Iterator[str]:
    """Yield the paths of what is directly in `context` and is no field."""
    for tag in (*context.values, *context.blobs):
        if tag not in kinds:
            yield f"{path}.{printable(tag)}"
    for name in context.contexts:
        if name not in kinds or kinds[name].nested is None:
            yield f"{path}/{printable(name)}"


def _refuse(values: Mapping[str, Value], layout: Layout, path: str) -> None:
    """Raise StateError for the first tag that is not what it must be."""
    for name in layout.tags:
        try:
            layout.kinds[name].check(values[name])
        except StateError as exc:
            raise StateError(f"{path}.{name} {exc}") from None


def _branch(context: Context, name: str, kind: Kind, path: str, unknown: list[str] | None) -> object:
    """Return the field that is a context or a blob, not a tagged value."""
    if kind.optional and name in context.values:
        if context.values[name] is None:
            return None
        raise StateError(f"{path}.{name} is {shown(context.values[name])}, not a context or blob of its own")
    if kind.blob and name in context.blobs:
        return context.blobs[name]
    if kind.nested is not None and name in context.contexts:
        return _nested(context.contexts[name], kind, f"{path}/{name}", unknown)
    raise StateError(f"{path}.{name} is missing")


def _nested(inner: Context, kind: Kind, path: str, unknown: list[str] | None) -> object:
    cls = kind.nested
    assert cls is not None
    if kind.items is None:
        return from_context(inner, cls, path, unknown)
    least, greatest = kind.items
    count = len(inner.contexts)
    if not least <= count <= greatest:
        raise StateError(f"{path} has {count} contexts, not {least} to {greatest}")
    missing = next((i for i in range(count) if str(i) not in inner.contexts), None)
    if missing is not None:
        raise StateError(f"{path}/{missing} is missing")
    if unknown is not None and (inner.values or inner.blobs):
        unknown += [f"{path}.{printable(tag)}" for tag in (*inner.values, *inner.blobs)]
    return tuple(from_context(inner.contexts[str(i)], cls, f"{path}/{i}", unknown) for i in range(count))


def _upgraded(context: Context, cls: type, version: int, path: str) -> Context:
    if context.version == _PRESENT:
        return context
    if context.version > version:
        raise VersionError(
            f"{path} is version {context.version} of its state; this chkpt knows version {version} "
            "and older: load it with a newer chkpt or a newer device"
        )
    upgrades: Mapping[int, Upgrade] = getattr(cls, "UPGRADES", {})
    plain: Plain = _plain(context)
    for step in range(context.version, version):
        if step not in upgrades:
            raise VersionError(f"{path} is version {context.version} of its state, from which there is no upgrade")
        try:
            plain = upgrades[step](plain)
        except Exception as exc:
            raise StateError(f"{path} cannot be upgraded from version {step}: {exc!r}") from exc
    return _from_plain(plain)


class _Part(dict[str, "Value | Blob"]):
    """The plain dict of a context, which remembers the version of what is in it."""

    __slots__ = ("version",)

    version: int


def _plain(context: Context) -> _Part:
    children = {name: cast("Value", _plain(child)) for name, child in context.contexts.items()}
    part = _Part({**context.values, **context.blobs, **children})
    part.version = context.version
    return part


def _from_plain(plain: Mapping[str, "Value | Blob"]) -> Context:
    context = Context()
    contexts: dict[str, Context] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping):
            contexts[name] = part = _from_plain(value)
            part.version = value.version if isinstance(value, _Part) else _PRESENT
        elif value is None or isinstance(value, bool | int | float | str | bytes | Sequence):
            context.values[name] = value
        else:
            context.blobs[name] = value
    context.contexts = contexts
    return context


# -- times, schema ----------------------------------------------------------------------------------------------------


def shift_times(state: S, delta: int) -> S:
    """Return `state` with `delta` nanoseconds added to every field that is a time of the machine's clock.

    Raises:
        StateError: a time would leave its range.
    """
    layout = layout_of(type(state))
    changes: dict[str, object] = {}
    for name, shift in layout.times:
        try:
            changes[name] = shift(getattr(state, name), delta)
        except StateError as exc:
            raise StateError(f"{name}, moved by {delta} ns, {exc}") from None
    for _, name, kind in layout.branches:
        inner = getattr(state, name)
        if inner is None or kind.blob:
            continue
        changes[name] = shift_times(inner, delta) if kind.items is None else tuple(shift_times(i, delta) for i in inner)
    if not changes:
        return state
    return cast("S", dataclasses.replace(cast("typing.Any", state), **changes))


def schema(cls: type) -> dict[str, object]:
    """Return what `cls` declares: `{"version": n, "fields": {name: kind or nested schema}}`."""
    layout = layout_of(cls)
    fields: dict[str, object] = {}
    for name, kind in layout.kinds.items():
        fields[name] = kind.name if kind.nested is None else {"of": kind.name, **schema(kind.nested)}
    return {"version": layout.version, "fields": fields}
