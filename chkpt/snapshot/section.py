"""Encode a context as the value of a section frame, and decode it.

A section is the map `path`, `type`, `version`, `values`, `contexts`, in this order. A key with an empty value is left
out. The contexts inside it are such maps without `path`. Blobs are in the index, not here.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final

from chkpt.context import Blob, Context
from chkpt.errors import CorruptError
from chkpt.snapshot.check import blob_name, check_context
from chkpt.snapshot.codec import Plain
from chkpt.snapshot.frames import DEVICES, Path, SectionEntry

_KEYS: Final[dict[str, type]] = {"type": str, "version": int, "values": dict, "contexts": dict}
_SHAPES: Final = {keys: tuple(_KEYS[key] for key in keys) for count in range(5) for keys in combinations(_KEYS, count)}
"""The keys that a context's map may have, in their order, and the types of their values."""


def encode_section(path: Path, context: Context) -> dict[str, object]:
    """Return the value of the section at `path`. The caller has checked the context (`check_context`)."""
    return _encode({"path": [*path]}, path, context)


def _encode(value: dict[str, object], path: Path, context: Context) -> dict[str, object]:
    if context.type:
        value["type"] = context.type
    if context.version:
        value["version"] = context.version
    if context.values:
        value["values"] = context.values
    if context.contexts and path != (DEVICES,):
        value["contexts"] = {name: _encode({}, (*path, name), child) for name, child in context.contexts.items()}
    return value


def decode_section(value: Plain, entry: SectionEntry, blobs: Mapping[Path, Mapping[str, Blob]]) -> Context:
    """Decode the section that the index calls `entry`. `blobs` are all blobs that belong in it, by context.

    Raises:
        CorruptError: it is not a section, or not the one that the index says.
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
    children = get("contexts", {})
    contexts: dict[str, Context] = {}
    own = {**blobs.pop(path)} if path in blobs else {}
    context = Context(get("type", ""), get("version", 0), get("values", {}), own, contexts)
    check_context(context, path, depth, children, CorruptError)
    for name, child in children.items():
        contexts[name] = _decode(child, (*path, name), depth + 2, blobs)
    return context
