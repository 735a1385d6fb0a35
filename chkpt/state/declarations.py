"""What a dataclass declares about its fields, as data that stays readable when the class no longer exists.

It is `{"version": 1, "upgrades": [], "fields": {...}, "contexts": {...}}` in JSON. `version` is absent if it is 0.
`upgrades` are the versions that have an upgrade to the next. `fixed` are the fields in which a load accepts only the
machine's own value. `contexts` are the declarations of the dataclasses in this one, by their names. Each of these is
absent if it is empty. A field is an array:

| array | what the field holds |
|---|---|
| `["int", 0, 255]`, `["time", 0, 9]` | an integer from least to greatest; a time is on the machine's clock |
| `["bool"]` | true or false |
| `["bytes", 0, 16]`, `["str", 0, 16]` | so many bytes or characters |
| `["one of", ["a", "b"]]` | one of these |
| `["list", 0, 4, [field, ...]]` | so many items; these fields describe them in turn, again and again |
| `["blob"]` | a blob |
| `["context", "Name"]` | a child context as `contexts` says |
| `["contexts", 0, 4, "Name"]` | a child context with so many children, all alike |
| `["or nil", field]` | the same, or nil |
"""

import json
import zlib
from collections.abc import Collection, Mapping
from functools import cache
from typing import Final, cast

from chkpt.errors import StateError
from chkpt.state.kinds import Kind
from chkpt.state.layout import layout_of

MAX_SCHEMAS: Final = 1 << 20
"""Bytes of JSON in the longest schemas."""


def declared(cls: type) -> dict[str, object]:
    """Return what a state's dataclass declares."""
    return _whole(cls)


def pack_schemas(states: Mapping[str, type]) -> bytes:
    """Return what the states of these types declare, as the header of a snapshot has it: JSON, compressed by zlib.

    The result is cached, as a machine's types are the same at each save.
    """
    return _pack(tuple(states.items()))


@cache
def _pack(states: tuple[tuple[str, type], ...]) -> bytes:
    document = {name: declared(cls) for name, cls in states}
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 9)


def unpack_schemas(data: object) -> dict[str, dict[str, object]]:
    """Return the declarations in a header, by type; none where it has none.

    Raises:
        StateError: they are not what `pack_schemas` makes, or longer than `MAX_SCHEMAS`.
    """
    if data is None:
        return {}
    try:
        inflate = zlib.decompressobj()
        text = inflate.decompress(cast("bytes", data), MAX_SCHEMAS)
        document: object = json.loads(text)
    except (zlib.error, ValueError, TypeError, RecursionError) as exc:
        raise StateError(f"the header's schemas cannot be read ({exc})") from exc
    if not inflate.eof or inflate.unused_data:
        raise StateError(f"the header's schemas are cut short, or longer than {MAX_SCHEMAS} bytes")
    if not isinstance(document, dict) or not all(isinstance(each, dict) for each in document.values()):
        raise StateError("the header's schemas are not declarations by type")
    return document


def _whole(cls: type) -> dict[str, object]:
    contexts: dict[type, dict[str, object]] = {}
    declared = _declaration_of(cls, contexts)
    if contexts:
        declared["contexts"] = {_name(each, contexts): inner for each, inner in contexts.items()}
    return declared


def _name(cls: type, others: Collection[type]) -> str:
    """Return what a dataclass is called in a declaration: its name, and its module where two have one name."""
    twice = sum(each.__name__ == cls.__name__ for each in others) > 1
    return f"{cls.__module__}.{cls.__qualname__}" if twice else cls.__name__


def _declaration_of(cls: type, contexts: dict[type, dict[str, object]]) -> dict[str, object]:
    layout = layout_of(cls)
    declared: dict[str, object] = {}
    if layout.version:
        declared["version"] = layout.version
    if upgrades := sorted(getattr(cls, "UPGRADES", {})):
        declared["upgrades"] = upgrades
    if layout.fixed:
        declared["fixed"] = list(layout.fixed)
    for kind in layout.kinds.values():
        if kind.nested is not None and kind.nested not in contexts:
            contexts[kind.nested] = {}  # its place in the order; a dataclass cannot be inside itself
            contexts[kind.nested].update(_declaration_of(kind.nested, contexts))
    declared["fields"] = {name: _field(kind, contexts) for name, kind in layout.kinds.items()}
    return declared


def _field(kind: Kind, contexts: Collection[type]) -> object:
    if kind.nested is None:
        return kind.shape
    name = _name(kind.nested, contexts)
    shape = ["context", name] if kind.items is None else ["contexts", int(kind.items[0]), int(kind.items[1]), name]
    return ["or nil", shape] if kind.optional else shape
