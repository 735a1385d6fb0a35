"""Values of a snapshot on one line, and sizes. Control characters from a file are escaped."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from chkpt.cli.output import escape
from chkpt.context import Value

MAX_BYTES: Final = 16
"""How many bytes of a longer run are shown."""
MAX_ITEMS: Final = 16
"""How many items of a longer list or map are shown."""
MAX_TEXT: Final = 256
"""How many characters of a longer text are shown."""


def format_value(value: Value) -> str:
    """Return a value on one line; cut a long one.

    Integers above 9 are also shown in hexadecimal, as one reads registers. Bytes are pairs of hexadecimal digits, with
    their length if not all are shown. Text is in quotes.
    """
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, bytes):
        return _format_bytes(value)
    if isinstance(value, Mapping):
        items = [f"{escape(key)}: {_format_item(item)}" for key, item in islice(value.items(), MAX_ITEMS)]
        return f"{{{_join(items, len(value))}}}"
    if isinstance(value, Sequence):
        return f"[{_join([_format_item(item) for item in value[:MAX_ITEMS]], len(value))}]"
    return _format_scalar(value)


def _format_scalar(value: float | None) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value} ({value:#x})" if isinstance(value, int) and value > 9 else str(value)


def _format_item(value: Value) -> str:
    return str(value) if type(value) is int else format_value(value)


def _join(items: list[str], count: int) -> str:
    return ", ".join(items if len(items) == count else [*items, f"... {count} items"])


def _quote(text: str) -> str:
    inside = escape(text[:MAX_TEXT]).replace('"', '\\"')
    return f'"{inside}"' if len(text) <= MAX_TEXT else f'"{inside}"... {len(text)} characters'


def _format_bytes(data: bytes) -> str:
    """Return bytes as a hexadecimal dump shows them: in hexadecimal, and in ASCII."""
    if not data:
        return "0 bytes"
    part = data[:MAX_BYTES]
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
    if len(part) < len(data):
        return f"{part.hex(' ')} |{text}| {len(part)} of {len(data)} bytes"
    return f"{part.hex(' ')} |{text}|"


def flatten(name: str, value: Value) -> Iterator[tuple[str, Value]]:
    """Yield the values inside maps and lists of maps, each with its path: `config.device[0].type`."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(f"{name}.{key}", item)
    elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from flatten(f"{name}[{index}]", item)
    else:
        yield name, value


def format_size(count: int) -> str:
    """Return a number of bytes for people: `16 MiB`, `1.4 KiB`, `12 bytes`."""
    if count < 1024:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    amount, units = count / 1024, ["EiB", "PiB", "TiB", "GiB", "MiB", "KiB"]
    while amount >= 1023.95 and len(units) > 1:
        amount /= 1024
        units.pop()
    return f"{amount:.1f}".removesuffix(".0") + f" {units[-1]}"
