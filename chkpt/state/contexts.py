"""Turn states into contexts and back: ranges, versions, upgrades, unknown tags, times."""

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar, cast

from chkpt.context import Blob, Context, Value, owned_blob
from chkpt.device import StateDict, Upgrade
from chkpt.errors import StateError, VersionError
from chkpt.state.compile import functions_of
from chkpt.state.kinds import Kind, printable, shown
from chkpt.state.layout import layout_of

S = TypeVar("S")

_PRESENT = -1
"""The version of a context that an upgrade has made: the present version of its class."""


# -- state to context -------------------------------------------------------------------------------------------------


def to_context(state: object, type_name: str = "") -> Context:
    """Return the context of `state`, a dataclass that follows the rules of `chkpt.device.State`."""
    return functions_of(type(state)).write(state, type_name)


# -- context to state -------------------------------------------------------------------------------------------------


def from_context(context: Context, cls: type[S], path: str, unknown: list[str] | None = None) -> S:
    """Check every field of a context and return its state.

    Args:
        context: a context that `to_context` has made from this or an earlier version of `cls`.
        cls: the dataclass to make.
        path: the path of the context, for messages: `devices/pit`.
        unknown: receives the paths of the tags, blobs and contexts for which `cls` has no field. They are passed over.

    Raises:
        StateError: a field is missing, of the wrong kind, or out of range; the message gives `path.field`.
        VersionError: the context is of a newer version than `cls`, or of a version that `cls` cannot upgrade.
    """
    read: Callable[[Context], S] = functions_of(cls).read
    try:
        return read(context)
    except (KeyError, StateError):
        pass  # it needs an upgrade, has an unknown tag, or is refused with the path of the field
    return _check_context(context, cls, path, unknown)


def _check_context(context: Context, cls: type[S], path: str, unknown: list[str] | None) -> S:
    """Read a context field by field, so that an error has the path of the field."""
    layout = layout_of(cls)
    if context.version != layout.version:
        context = _upgrade(context, cls, layout.version, path)
    values = context.values
    fields: dict[str, object] = {}
    for name, kind in layout.kinds.items():
        if kind.is_branch:
            continue
        if name not in values:
            raise StateError("is missing", subject=f"{path}.{name}")
        try:
            fields[name] = kind.check(values[name])
        except StateError as exc:
            raise StateError(str(exc), subject=f"{path}.{name}") from None
    for name, kind in layout.kinds.items():
        if kind.is_branch:
            fields[name] = _read_branch(context, name, kind, path, unknown)
    if unknown is not None and len(values) + len(context.blobs) + len(context.contexts) > len(layout.kinds):
        unknown += _unknown_paths(context, layout.kinds, path)
    return cls(*(fields[name] for name in layout.kinds))


def _unknown_paths(context: Context, kinds: Mapping[str, Kind], path: str) -> Iterator[str]:
    """Yield the paths of what is directly in `context` and is not a field."""
    for tag in (*context.values, *context.blobs):
        if tag not in kinds:
            yield f"{path}.{printable(tag)}"
    for name in context.contexts:
        if name not in kinds or kinds[name].nested is None:
            yield f"{path}/{printable(name)}"


def _read_branch(context: Context, name: str, kind: Kind, path: str, unknown: list[str] | None) -> object:
    """Return the field that is a context or a blob, not a tagged value."""
    if kind.optional and name in context.values:
        if context.values[name] is None:
            return None
        raise StateError(
            f"is {shown(context.values[name])}, not a context or blob of its own", subject=f"{path}.{name}"
        )
    if kind.blob and name in context.blobs:
        return context.blobs[name]
    if kind.nested is not None and name in context.contexts:
        return _read_nested(context.contexts[name], kind, f"{path}/{name}", unknown)
    raise StateError("is missing", subject=f"{path}.{name}")


def _read_nested(inner: Context, kind: Kind, path: str, unknown: list[str] | None) -> object:
    cls = kind.nested
    assert cls is not None
    if kind.items is None:
        return _check_context(inner, cls, path, unknown)
    least, greatest = kind.items
    count = len(inner.contexts)
    if not least <= count <= greatest:
        raise StateError(f"has {count} contexts, not {least} to {greatest}", subject=path)
    missing = next((i for i in range(count) if str(i) not in inner.contexts), None)
    if missing is not None:
        raise StateError("is missing", subject=f"{path}/{missing}")
    if unknown is not None and (inner.values or inner.blobs):
        unknown += [f"{path}.{printable(tag)}" for tag in (*inner.values, *inner.blobs)]
    return tuple(_check_context(inner.contexts[str(i)], cls, f"{path}/{i}", unknown) for i in range(count))


def _upgrade(context: Context, cls: type, version: int, path: str) -> Context:
    if context.version == _PRESENT:
        return context
    if context.version > version:
        raise VersionError(
            f"is version {context.version} of its state; this chkpt knows version {version} "
            "and older: load it with a newer chkpt or a newer device",
            subject=path,
        )
    upgrades: Mapping[int, Upgrade] = getattr(cls, "UPGRADES", {})
    plain: StateDict = _plain(context)
    for step in range(context.version, version):
        if step not in upgrades:
            raise VersionError(
                f"is version {context.version} of its state, which this chkpt cannot upgrade", subject=path
            )
        try:
            plain = upgrades[step](plain)
        except Exception as exc:
            raise StateError(f"cannot be upgraded from version {step}: {exc!r}", subject=path) from exc
    return _from_plain(plain)


class _Part(dict[str, "Value | Blob"]):
    """The nested dict of a context, with the context's version."""

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
    for name, kind in layout.kinds.items():
        inner = getattr(state, name)
        if inner is None or kind.nested is None:
            continue
        changes[name] = shift_times(inner, delta) if kind.items is None else tuple(shift_times(i, delta) for i in inner)
    if not changes:
        return state
    return cast("S", dataclasses.replace(cast("typing.Any", state), **changes))


def owned(state: S) -> S:
    """Return `state` with its blobs copied from live memory; see `chkpt.context.owned_blob`."""
    layout = layout_of(type(state))
    changes: dict[str, object] = {}
    for name in layout.branches:
        inner = getattr(state, name)
        if inner is None:
            continue
        kind = layout.kinds[name]
        if kind.nested is None:
            changes[name] = owned_blob(inner)
        else:
            new = owned(inner) if kind.items is None else tuple(map(owned, inner))
            if new is not inner:
                changes[name] = new
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
