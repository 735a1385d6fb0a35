"""A context as the value of a section frame, and back.

A section is the map `path`, `type`, `version`, `values`, `contexts`, in this order, where a key that would be empty is
left out; the contexts inside it are such maps without `path`. Blobs are in the index, not here.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final, NamedTuple, NoReturn

from chkpt.context import Blob, Context
from chkpt.errors import CorruptError, LimitError, StateError
from chkpt.snapshot.codec import MAX_DEPTH, Plain, check_map
from chkpt.snapshot.frames import DEVICES, MAX_VERSION, Path, SectionEntry, blob_name, check_name, check_text

_KEYS: Final[dict[str, type]] = {"type": str, "version": int, "values": dict, "contexts": dict}
_SHAPES: Final = {keys: tuple(_KEYS[key] for key in keys) for count in range(5) for keys in combinations(_KEYS, count)}
"""The keys that a context's map may have, in their order, and of what type the value of each is."""


class HeldBlob(NamedTuple):
    """A blob of a context that is being written."""

    path: Path
    tag: str
    blob: Blob


def encode_section(path: Path, context: Context, blobs: list[HeldBlob]) -> dict[str, object]:
    """Return the value of the section at `path`, and append the blobs in it to `blobs`.

    Raises:
        StateError: a name, a tag or a value that cannot be written; the message begins with the path.
        LimitError: the contexts or the values nest too deep.
    """
    return _encode({"path": [*path]}, path, context, 1, blobs)


def _encode(
    value: dict[str, object], path: Path, context: Context, depth: int, blobs: list[HeldBlob]
) -> dict[str, object]:
    """Fill `value`, the `depth`-th map around what is in it."""
    kind, version, values = context.type, context.version, context.values
    contexts = context.contexts if path != (DEVICES,) else {}
    try:
        if type(kind) is not str or type(version) is not int or not 0 <= version <= MAX_VERSION:
            _refuse_kind(context)
        check_text(kind, "a type")
        if kind:
            value["type"] = kind
        if version:
            value["version"] = version
        if values:
            check_map(values, depth + 1)
            value["values"] = values
        if context.blobs:
            _check_tags(context)
            blobs.extend(HeldBlob(path, tag, blob) for tag, blob in context.blobs.items())
        if contexts:
            _check_depth(depth + 2)
            for name in contexts:
                check_name(name)
    except (TypeError, ValueError) as exc:
        raise StateError(str(exc), where="/".join(path)) from exc
    except LimitError as exc:
        raise LimitError(str(exc), where="/".join(path)) from exc
    if contexts:
        value["contexts"] = {
            name: _encode({}, (*path, name), child, depth + 2, blobs) for name, child in contexts.items()
        }
    return value


def _refuse_kind(context: Context) -> NoReturn:
    raise ValueError(f"a context cannot have the type {context.type!r} and the version {context.version!r}")


def _check_tags(context: Context) -> None:
    for tag in context.blobs:
        if not isinstance(tag, str):
            raise TypeError(f"the tag {tag!r} is not text")
        check_text(tag, "a tag")
        if tag in context.values:
            raise ValueError(f"the tag {tag!r} has a value and a blob")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LimitError(f"contexts nest deeper than {MAX_DEPTH} maps")


def decode_section(value: Plain, entry: SectionEntry, blobs: Mapping[Path, Mapping[str, Blob]]) -> Context:
    """Read the value of the section that the index calls `entry`; `blobs` are all that belong in it, by context.

    Raises:
        CorruptError: it is not a section, or another one than the index says.
        LimitError: it nests too deep.
    """
    path = entry.path
    if not isinstance(value, dict) or next(iter(value), None) != "path":
        raise CorruptError("not a map that begins with `path`")
    if value.pop("path") != [*path]:
        raise CorruptError("the section has the path of another one")
    if "contexts" in value and path == (DEVICES,):
        raise CorruptError(f"the contexts of {DEVICES} must be sections of their own")
    waiting = {**blobs}
    context = _decode(value, path, 1, waiting)
    if waiting:
        missing, tags = waiting.popitem()
        raise CorruptError(f"there is no context for the blob {blob_name(missing, next(iter(tags)))}")
    if context.type != entry.type or context.version != entry.version:
        raise CorruptError(
            f"the index says {entry.type!r} version {entry.version}, the section {context.type!r} {context.version}"
        )
    return context


def _decode(value: Any, path: Path, depth: int, blobs: dict[Path, Mapping[str, Blob]]) -> Context:
    types = _SHAPES.get((*value,)) if isinstance(value, dict) else None
    if types is None or not all(value.values()):
        raise CorruptError(f"is not a map of {', '.join(_KEYS)} without empty ones", subject="/".join(path))
    if (*map(type, value.values()),) != types:
        raise CorruptError("has a type, version, values or contexts of the wrong kind", subject="/".join(path))
    get = value.get
    kind, version, values, children = get("type", ""), get("version", 0), get("values"), get("contexts")
    if not 0 <= version <= MAX_VERSION:
        raise CorruptError(f"has version {version}", subject="/".join(path))
    check_text(kind, "a type")
    contexts: dict[str, Context] = {}
    context = Context(kind, version, values or {}, {}, contexts)
    try:
        if values is not None:
            check_map(values, depth + 1)
        if children is not None:
            _check_depth(depth + 2)
            for name, child in children.items():
                check_name(name)
                contexts[name] = _decode(child, (*path, name), depth + 2, blobs)
    except (TypeError, ValueError) as exc:
        raise CorruptError(str(exc), where="/".join(path)) from exc
    if blobs and path in blobs:
        context.blobs = {**blobs.pop(path)}
        if not context.blobs.keys().isdisjoint(context.values):
            raise CorruptError("has a tag with a value and a blob", subject="/".join(path))
    return context
