"""JSON text made in parts, so that a long document is never in memory as a whole.

The text is what `json.dumps(value, indent=2)` returns. An object may be any mapping, and an array any sequence or
iterator. If it makes each item only on request, no two items are in memory at once. JSON has no bytes, no NaN and no
infinity: bytes become `{"hex": "00ff"}`, such floats `{"float": "nan"}`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

_INDENT: Final = "  "

_HEX: Final = 1 << 16
"""Bytes that are turned into text at a time."""

_BLOCK: Final = 1 << 16
"""Characters in a block of text; a block may have a few more."""


def json_text(value: object) -> Iterator[str]:
    """Yield the text of `value` in blocks of about 64 KiB. A block is longer only if it holds one long text.

    Raises:
        TypeError: `value` holds something that JSON cannot hold.
    """
    block: list[str] = []
    length = 0
    for part in _yield_value(value, "\n"):
        block.append(part)
        length += len(part)
        if length >= _BLOCK:
            yield "".join(block)
            block.clear()
            length = 0
    if block:
        yield "".join(block)


def _yield_value(value: object, line: str) -> Iterator[str]:
    """Yield the text of a value; `line` is a line break and the indent of the line that the value begins on."""
    if isinstance(value, bytes):
        yield f'{{{line}{_INDENT}"hex": "'
        for at in range(0, len(value), _HEX):
            yield value[at : at + _HEX].hex()
        yield f'"{line}}}'
    elif isinstance(value, float) and not math.isfinite(value):
        yield from _yield_object([("float", str(value))], line)
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield json.dumps(value)
    elif isinstance(value, Mapping):
        yield from _yield_object(value.items(), line)
    elif isinstance(value, (Sequence, Iterator)):
        yield from _yield_array(value, line)
    else:
        raise TypeError(f"JSON cannot hold a {type(value).__name__}")


def _yield_object(pairs: Iterable[tuple[str, object]], line: str) -> Iterator[str]:
    inner, before = line + _INDENT, "{"
    for key, value in pairs:
        yield f"{before}{inner}{json.dumps(key)}: "
        yield from _yield_value(value, inner)
        del value  # a long value must not stay in memory beside the next one
        before = ","
    yield "{}" if before == "{" else line + "}"


def _yield_array(items: Iterable[object], line: str) -> Iterator[str]:
    inner, before = line + _INDENT, "["
    for item in items:
        yield before + inner
        yield from _yield_value(item, inner)
        del item
        before = ","
    yield "[]" if before == "[" else line + "]"
