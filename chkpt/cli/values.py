"""How the values in a snapshot are shown on one line, and sizes; what comes from a file cannot move the cursor."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from chkpt.cli.output import plain
from chkpt.context import Value

MAX_BYTES: Final = 16
"""So many bytes of a longer run are shown."""
MAX_ITEMS: Final = 16
"""So many items of a longer list or map are shown."""
MAX_TEXT: Final = 256
"""So many characters of a longer text are shown."""


def shown(value: Value) -> str:
    """Return a value on one line, long ones cut short.

    Integers above 9 are also given in hexadecimal, as registers are read; bytes are pairs of hexadecimal digits, with
    their length where there are more than fit; text stands in quotes.
    """
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return _bytes(value)
    if isinstance(value, Mapping):
        items = [f"{plain(key)}: {_item(item)}" for key, item in islice(value.items(), MAX_ITEMS)]
        return f"{{{_joined(items, len(value))}}}"
    if isinstance(value, Sequence):
        return f"[{_joined([_item(item) for item in value[:MAX_ITEMS]], len(value))}]"
    return _scalar(value)


def _scalar(value: float | None) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value} ({value:#x})" if isinstance(value, int) and value > 9 else str(value)


def _item(value: Value) -> str:
    return str(value) if type(value) is int else shown(value)


def _joined(items: list[str], count: int) -> str:
    return ", ".join(items if len(items) == count else [*items, f"... {count} items"])


def _quoted(text: str) -> str:
    inside = plain(text[:MAX_TEXT]).replace('"', '\\"')
    return f'"{inside}"' if len(text) <= MAX_TEXT else f'"{inside}"... {len(text)} characters'


def _bytes(data: bytes) -> str:
    """Return bytes as a hexadecimal dump has them; what is printable ASCII once more as such."""
    if not data:
        return "0 bytes"
    part = data[:MAX_BYTES]
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
    if len(part) < len(data):
        return f"{part.hex(' ')} |{text}| {len(part)} of {len(data)} bytes"
    return f"{part.hex(' ')} |{text}|"


def flat(name: str, value: Value) -> Iterator[tuple[str, Value]]:
    """Yield the values inside of maps and of lists of maps, each with the way to it: `config.device[0].type`."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flat(f"{name}.{key}", item)
    elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from flat(f"{name}[{index}]", item)
    else:
        yield name, value


def size(count: int) -> str:
    """Return a number of bytes for reading: `16 MiB`, `1.4 KiB`, `12 bytes`."""
    if count < 1024:
        return f"{count} byte" if count == 1 else f"{count} bytes"
    amount, units = count / 1024, ["EiB", "PiB", "TiB", "GiB", "MiB", "KiB"]
    while amount >= 1023.95 and len(units) > 1:
        amount /= 1024
        units.pop()
    return f"{amount:.1f}".removesuffix(".0") + f" {units[-1]}"
