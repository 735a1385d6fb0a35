"""Encode values as bytes and decode them. Only this module imports zstandard and msgpack.

What the two libraries accept by default, and what this module does about it:

* zstandard writes no content checksum, ignores bytes after a frame, and applies no limit if the frame states its size.
  This module asks for the checksum, refuses such bytes, and compares the size before it allocates a byte. The checksum
  of a frame does not cover its header, so the reader compares a digest of the stored bytes first.
* msgpack accepts a key twice (the last one wins), longer encodings than needed, and extension types. This module packs
  what it has read, and the bytes must be the same. That costs half of a hook per map and makes the encoding unique.
* msgpack reserves an array before it sees the items, at every level. So this module walks a long content first.

The errors say only what is wrong. The caller adds the file and the place.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from threading import local
from typing import Final, NoReturn, TypeAlias

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import zstandard

from chkpt.context import MAX_KEY, Value
from chkpt.errors import CorruptError, LimitError

Plain: TypeAlias = "bool | int | float | str | bytes | list[Plain] | dict[str, Plain] | None"
"""What a msgpack value becomes."""

MAX_CONTENT: Final = 16 << 20
"""Bytes of content in the longest frame."""
MAX_ITEMS: Final = 1 << 17
"""Values in one content, a key counted as one."""
MAX_VALUES: Final = 1 << 18
"""Values in the contents of all sections together: a caller that reads all sections holds them all."""
MAX_TEXT: Final = 1 << 20
"""Bytes of text in one content. Text may take four times its length in memory, bytes do not."""
MAX_DEPTH: Final = 64
"""Levels of maps and arrays in one content."""

VALUE_LEVEL: Final = -1
"""zstd's level for values. At 700 bytes -1 gives the same size as 1 to 3 in less than half of the time."""

PIECE_LEVEL: Final = 1
"""zstd's level for pieces. Shared libraries by the MiB: -1 gives 2.8 times at 510 MB/s, 1 3.3 at 475, 3 3.8 at 325."""

FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""How every zstd frame begins that is not skippable (RFC 8878, 3.1.1)."""

_SHORT: Final = 4096
"""Bytes of a content without a walk. It costs at most 32 MiB: 1024 arrays (msgpack's depth) that claim 4096 items."""

_LONG: Final = 1 << 20
"""A longer content is packed again in parts, so that memory does not hold a second copy of it beside its value."""

_TOO_DEEP: Final = f"values nest deeper than {MAX_DEPTH} maps and arrays"

_SCALARS: Final[frozenset[type]] = frozenset({type(None), bool, int, float, str, bytes})
_PLAIN: Final[frozenset[type]] = frozenset({list, dict})  # tested first: most values are these, and many are empty
_LEAVES: Final = (type(None), bool, int, float, str, bytes, bytearray, memoryview)
_MAPS: Final = (dict, Mapping)  # the concrete class first: a test for the abstract one is four times as slow
_ARRAYS: Final = (list, Sequence)


class _Zstd(local):
    """zstd's working memory, one set a thread. It keeps no state between calls, and takes 10 to 20 us to make."""

    def __init__(self) -> None:
        self.compress_value = zstandard.ZstdCompressor(level=VALUE_LEVEL, write_checksum=True).compress
        self.compress_piece = zstandard.ZstdCompressor(level=PIECE_LEVEL, write_checksum=True).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_ZSTD: Final = _Zstd()

# -- to bytes ---------------------------------------------------------------------------------------------------------


def encode_value(value: object) -> tuple[bytes, int]:
    """Return the frame of a value whose maps have passed `check_map`, and how long its content is.

    Raises:
        ValueError: an integer is wider than 64 bits, or text is not Unicode.
        LimitError: it is more than a reader accepts.
    """
    try:
        content: bytes = msgpack.Packer(default=_make_plain).pack(value)
    except UnicodeEncodeError as exc:
        raise ValueError("text with half a surrogate pair has no UTF-8") from exc
    size = len(content)
    if size > _SHORT:
        check_length(size)
        _walk(content)
    return _ZSTD.compress_value(content), size


def encode_piece(content: bytes) -> bytes:
    """Return the frame of a piece; `content` is the piece after its `byte_string_head`."""
    return _ZSTD.compress_piece(content)


def byte_string_head(length: int) -> bytes:
    """Return the head that makes the `length` bytes after it a msgpack value (`bin 8`, `bin 16`, `bin 32`)."""
    if length < 1 << 8:
        return b"\xc4" + length.to_bytes(1, "big")
    if length < 1 << 16:
        return b"\xc5" + length.to_bytes(2, "big")
    return b"\xc6" + length.to_bytes(4, "big")


# -- from bytes -------------------------------------------------------------------------------------------------------


def frame_content(frame: bytes | memoryview, size: int | None = None) -> bytes:
    """Return the content of `frame`, which is `size` bytes long (None: as long as the frame says).

    Raises:
        CorruptError: not one whole frame with a size and a checksum, or another size.
        LimitError: the content or the window is longer than `MAX_CONTENT`.
    """
    if frame[:4] != FRAME_MAGIC:
        raise CorruptError("not a zstd frame")
    try:
        stated = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as exc:
        raise CorruptError(f"the zstd frame's header cannot be read ({exc})") from exc
    length = stated.content_size
    if length == zstandard.CONTENTSIZE_UNKNOWN or not stated.has_checksum or stated.dict_id:
        raise CorruptError("the zstd frame must state its size, have a checksum and need no dictionary")
    if size is not None and length != size:
        raise CorruptError(f"the zstd frame states {length} bytes of content, and the index {size}")
    check_length(length)
    if stated.window_size > MAX_CONTENT:
        raise LimitError(f"the zstd frame asks for a window of {stated.window_size} bytes; the limit is {MAX_CONTENT}")
    try:
        # max_output_size, read_across_frames, allow_extra_data: to pass them by name takes as long as a short frame.
        content = _ZSTD.decompress(frame, 0, False, False)
    except zstandard.ZstdError as exc:
        raise CorruptError(f"the zstd frame cannot be decompressed ({exc})") from exc
    if len(content) != length:
        raise CorruptError(f"the zstd frame states {length} bytes of content, and gives {len(content)}")
    return content


def frame_beginning(data: bytes | memoryview, size: int) -> bytes:
    """Return at most `size` bytes of the content of the frame that `data` begins with. Check nothing.

    The result is empty if the frame cannot be read, or asks for a window longer than `MAX_CONTENT`.
    """
    try:
        return zstandard.ZstdDecompressor(max_window_size=MAX_CONTENT).stream_reader(data).read(size)
    except zstandard.ZstdError:
        return b""


def foreign_content(packed: bytes, most: int, window: int) -> bytes:
    """Return at most `most` bytes of the content of a zstd frame that another program has made.

    The frame need not state its size or have a checksum. Of a frame that is cut off, this returns
    the part that is there: the caller knows how many bytes it needs.

    Args:
        packed: the frame.
        most: how many bytes to return at most.
        window: the longest window that the frame may ask for, in bytes of memory beside the content.

    Raises:
        CorruptError: not a zstd frame, a damaged one, or one with a longer window.
    """
    parts: list[bytes] = []
    left = most
    try:
        with zstandard.ZstdDecompressor(max_window_size=window).stream_reader(packed) as reader:
            while left and (part := reader.read(left)):
                parts.append(part)
                left -= len(part)
    except zstandard.ZstdError as exc:
        raise CorruptError(str(exc)) from exc
    return b"".join(parts)


def decode_value(content: bytes) -> Plain:
    """Return the one value in `content`.

    Raises:
        CorruptError: not one msgpack value, a key twice, an extension type, or not the shortest encoding.
        LimitError: more values, text or depth than allowed.
    """
    if len(content) > _SHORT:
        _walk(content)
    return _decode_walked(content)


def _decode_walked(content: bytes) -> Plain:
    value = _unpack(content)
    if not _is_shortest(value, content):
        _unpack(content, _refuse_double_keys)
        raise CorruptError("a value is not in the shortest msgpack encoding")
    return value


class ValueCount:
    """The number of values in the sections of one file. The caller adds each section that it reads or writes."""

    __slots__ = ("_is_needed", "_paths", "_total")

    def __init__(self, content_size: int) -> None:
        """Count nothing if all contents together, of `content_size` bytes, are too short for too many values."""
        self._is_needed = content_size > MAX_VALUES
        self._paths: set[tuple[str, ...]] = set()
        self._total = 0

    def add(self, path: tuple[str, ...], content: bytes) -> None:
        """Count a section the first time that it is read. Raise LimitError if there are more than `MAX_VALUES`."""
        if self._is_needed:
            self._count(path, _walk(content))

    def decode(self, path: tuple[str, ...], content: bytes) -> Plain:
        """Count a section, and return the one value in it. One walk serves both.

        Raises:
            CorruptError, LimitError: see `decode_value`; LimitError also if there are more than `MAX_VALUES`.
        """
        if not self._is_needed:
            return decode_value(content)
        self._count(path, _walk(content))
        return _decode_walked(content)

    def _count(self, path: tuple[str, ...], values: int) -> None:
        if path in self._paths:
            return
        self._paths.add(path)
        self._total += values
        if self._total > MAX_VALUES:
            raise LimitError(f"more than {MAX_VALUES} values in the sections together")


# -- what both sides check --------------------------------------------------------------------------------------------


def check_length(size: int) -> None:
    """Raise if a content is empty or too long.

    Raises:
        CorruptError: `size` is 0; a msgpack value has at least one byte.
        LimitError: `size` is greater than `MAX_CONTENT`.
    """
    if size > MAX_CONTENT:
        raise LimitError(f"{size} bytes of content in one frame; the limit is {MAX_CONTENT}")
    if size < 1:
        raise CorruptError("a frame without content")


def frame_bound(size: int) -> int:
    """Return how long a frame with `size` bytes of content may be. zstd never exceeds this."""
    return size + (size >> 8) + 64


def check_map(values: Mapping[str, Value], depth: int) -> None:
    """Raise if `values`, the `depth`-th map or array around its items, is not a map of text to values.

    Raises:
        TypeError: a key is not text, or a value is of another kind; the message says which.
        LimitError: the values nest deeper than `MAX_DEPTH`, or a key is longer than `MAX_KEY`.
    """
    try:
        if len("".join(values)) > MAX_KEY:  # the quickest way to see that every key is text
            _check_keys(values)
    except TypeError:
        keys: Collection[object] = values
        key = next(key for key in keys if not isinstance(key, str))
        raise TypeError(f"the key {key!r} is not text") from None
    _check_items(values.values(), depth)


def _check_keys(values: Mapping[str, Value]) -> None:
    longest = max(map(len, values))
    if longest > MAX_KEY:
        raise LimitError(f"a key of {longest} characters; the limit is {MAX_KEY}")


def _check_items(items: Collection[Value], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise LimitError(_TOO_DEEP)
    if _SCALARS.issuperset(map(type, items)):
        return
    for item in items:
        kind = type(item)
        if kind in _SCALARS or (kind in _PLAIN and not item and depth < MAX_DEPTH):
            continue
        if isinstance(item, list):
            _check_items(item, depth + 1)
        elif isinstance(item, _LEAVES):
            continue
        elif isinstance(item, _MAPS):
            check_map(item, depth + 1)
        elif isinstance(item, _ARRAYS):
            _check_items(item, depth + 1)
        else:
            raise TypeError(f"a value of type {type(item).__name__} cannot be saved")


def _make_plain(value: object) -> object:
    """Make a dict or a list for msgpack of the other mappings and sequences that `Value` allows."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise ValueError("an integer is wider than 64 bits")  # `check_map` has refused all other kinds


# -- unpacking --------------------------------------------------------------------------------------------------------


def _unpack(content: bytes, pairs_hook: Callable[[list[tuple[str, Plain]]], Plain] | None = None) -> Plain:
    try:
        value: Plain = msgpack.unpackb(content, object_pairs_hook=pairs_hook, ext_hook=_refuse_extension, max_ext_len=0)
    except msgpack.StackError as exc:  # its own limit of depth, beyond ours
        raise LimitError(_TOO_DEEP) from exc
    except (ValueError, TypeError) as exc:
        raise CorruptError(f"not one msgpack value ({exc})") from exc
    return value


def _is_shortest(value: Plain, content: bytes) -> bool:
    """Return whether `value`, packed again, gives `content`."""
    if len(content) <= _LONG:
        packed: bytes = msgpack.Packer(buf_size=len(content) + 1).pack(value)
        return packed == content
    at = 0
    for part in _pack_parts(value, msgpack.Packer()):
        if not content.startswith(part, at):
            return False
        at += len(part)
    return at == len(content)


def _pack_parts(value: Plain, packer: msgpack.Packer) -> Iterator[bytes]:
    """Yield the encoding of a value in parts. A byte string of any length is one part."""
    if isinstance(value, dict):
        yield packer.pack_map_header(len(value))
        for key, item in value.items():
            yield packer.pack(key)
            yield from _pack_parts(item, packer)
    elif isinstance(value, list):
        yield packer.pack_array_header(len(value))
        for item in value:
            yield from _pack_parts(item, packer)
    elif isinstance(value, bytes):
        yield byte_string_head(len(value))
        yield value
    else:
        yield packer.pack(value)


def _refuse_double_keys(pairs: list[tuple[str, Plain]]) -> Plain:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise CorruptError(f"the key {twice!r} stands twice in one map")
    return found


def _refuse_extension(code: int, _: bytes) -> NoReturn:
    raise CorruptError(f"a msgpack extension type ({code})")


_SKIP, _ARRAY, _MAP, _TEXT, _OTHER = range(5)  # _ARRAY and _MAP are the values that an item takes: 1 and 2


def _make_first_bytes() -> list[tuple[int, int, int]]:
    """Return for each first byte of a msgpack value its kind, how many bytes of length follow, and else the length."""
    table = [(_OTHER, 0, 0)] * 256
    table[0x00:0x80] = [(_SKIP, 0, 0)] * 128
    table[0xE0:] = [(_SKIP, 0, 0)] * 32
    table[0x80:0x90] = [(_MAP, 0, length) for length in range(16)]
    table[0x90:0xA0] = [(_ARRAY, 0, length) for length in range(16)]
    table[0xA0:0xC0] = [(_TEXT, 0, length) for length in range(32)]
    for first in (0xC0, 0xC2, 0xC3):  # nil, false, true
        table[first] = (_SKIP, 0, 0)
    table[0xC4:0xC7] = [(_SKIP, width, 0) for width in (1, 2, 4)]  # bin
    table[0xCA:0xCC] = [(_SKIP, 0, width) for width in (4, 8)]  # float
    table[0xCC:0xD4] = [(_SKIP, 0, width) for width in (1, 2, 4, 8)] * 2  # uint, int
    table[0xD9:0xDC] = [(_TEXT, width, 0) for width in (1, 2, 4)]
    table[0xDC:0xDE] = [(_ARRAY, width, 0) for width in (2, 4)]
    table[0xDE:0xE0] = [(_MAP, width, 0) for width in (2, 4)]
    return table


_FIRST_BYTES: Final = _make_first_bytes()


def _walk(content: bytes) -> int:
    """Return how many values `content` has. Raise LimitError if it has too many values, too much text or depth.

    The walk ends at a byte that is not msgpack: msgpack will fail at the same place.
    """
    at, end, text = 0, len(content), 0
    claimed = 1  # values, also those that are yet to come: msgpack reserves room for them
    left = 1  # how many values the innermost open map or array still lacks
    outer: list[int] = []  # the same for those around it
    while True:
        while not left:
            if not outer:
                return claimed
            left = outer.pop()
        left -= 1
        if at >= end:
            return claimed
        kind, width, length = _FIRST_BYTES[content[at]]
        at += 1
        if width:
            length = int.from_bytes(content[at : at + width], "big")
            at += width
        if kind == _SKIP:
            at += length
        elif kind == _TEXT:
            at += length
            text += length
        elif kind == _OTHER:
            return claimed
        else:
            if len(outer) >= MAX_DEPTH:
                raise LimitError(_TOO_DEEP)
            if length:
                length *= kind  # an item of a map is two values, its key and its value; an item of an array is one
                claimed += length
                outer.append(left)
                left = length
        if claimed > MAX_ITEMS or text > MAX_TEXT:
            raise LimitError(f"more than {MAX_ITEMS} values or {MAX_TEXT} bytes of text in one frame")
