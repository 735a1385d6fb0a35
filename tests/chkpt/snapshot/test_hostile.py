"""Files that no honest writer makes: each rule of docs/FORMAT.md broken once, and refused with its own message."""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Checkpoint
from chkpt.errors import ChkptError, CorruptError, LimitError, VersionError
from chkpt.snapshot import Reader, dumps, loads
from tests.chkpt.snapshot import handmade
from tests.chkpt.snapshot.checkpoints import plain, plain_value
from tests.chkpt.snapshot.handmade import Blob, File, Index, Piece, Section, frame, pack, section

SECTION_A = pack({"path": ["a"]})
PAGE = bytes(range(250)) * 4

GOOD = File(
    header={"chkpt": 1, "generator": "hand", "created": "2026-11-23T00:00:00Z", "machine": "m"},
    sections=[
        section("clock", type="clock", version=1, values={"now": 5, "list": [None, 1.5, {"k": b"v"}]}),
        section("devices", values={"num_devs": 1}),
        section(
            "devices", "ide0", type="ide", version=2, contexts={"0": {"version": 3, "values": {"x": "y"}}, "1": {}}
        ),
    ],
    blobs=[
        Blob(["clock"], "a", 2500, 1000, [0, 2], [0, 1]),
        Blob(["devices", "ide0", "1"], "b", 1000, 1000, [0], [0]),
    ],
    pieces=[Piece(PAGE), Piece(b"z" * 500)],
)


def test_a_file_made_by_hand_after_the_description_is_read() -> None:
    reader = Reader(GOOD.build())
    reader.verify()
    contexts = reader.checkpoint().contexts
    blob = (2500, 1000, PAGE + bytes(1000) + b"z" * 500)
    assert plain(contexts)["clock"] == ("clock", 1, {"now": 5, "list": [None, 1.5, {"k": b"v"}]}, {"a": blob}, {})
    assert plain(contexts)["devices"][4]["ide0"][4] == {
        "0": ("", 3, {"x": "y"}, {}, {}),
        "1": ("", 0, {}, {"b": (1000, 1000, PAGE)}, {}),
    }


def test_what_the_writer_writes_is_what_the_description_says() -> None:
    data = GOOD.build()
    written, made = Reader(dumps(loads(data))), Reader(data)
    assert written.header == made.header
    assert [(entry.path, entry.content_size) for entry in written.sections] == [
        (entry.path, entry.content_size) for entry in made.sections
    ]
    assert [(blob.entry, list(blob.digests())) for blob in written.blobs] == [
        (blob.entry, list(blob.digests())) for blob in made.blobs
    ]


# -- each rule broken -------------------------------------------------------------------------------------------------


def header(**changes: object) -> Callable[[], bytes]:
    value = {"chkpt": 1, "generator": "hand", "created": "2026-11-23T00:00:00Z"} | changes
    return File(header=value).build


def in_section(content: bytes, **changes: object) -> Callable[[], bytes]:
    """A file with one section `a` of this content."""
    return File(sections=[Section(["a"], content, **changes)]).build  # type: ignore[arg-type]  # the fields of Section


def in_value(value: bytes) -> Callable[[], bytes]:
    """A file with one section `a` and in it one tag `x` whose value has this encoding."""
    return in_section(b"\x82" + pack("path") + pack(["a"]) + pack("values") + b"\x81" + pack("x") + value)


def stored(frame: bytes, size: int = len(SECTION_A)) -> Callable[[], bytes]:
    """A file with one section `a` that is stored as this frame."""
    return File(sections=[Section(["a"], b"", stored=frame, content_size=size)]).build


def index(edit: Callable[[Index], object]) -> Callable[[], bytes]:
    """The good file with a change in its index."""
    return replace(GOOD, edit=edit).build


def entry(key: str, row: int, column: int, value: object) -> Callable[[], bytes]:
    """The good file with one field in its index replaced."""

    def edit(index: Index) -> Index:
        cast("list[object]", index[key][row])[column] = value
        return index

    return index(edit)


def sections(*paths: list[object]) -> Callable[[], bytes]:
    return File(sections=[Section(path, pack({"path": path})) for path in paths]).build


def blobs(*entries: Blob, pieces: int = 2) -> Callable[[], bytes]:
    """A file with these blobs and with some pieces of 10 bytes."""
    return File(
        sections=[section("a")], blobs=[*entries], pieces=[Piece(bytes([n + 1]) * 10) for n in range(pieces)]
    ).build


def columns(indexes: bytes, numbers: bytes) -> Callable[[], bytes]:
    return entry_of(["clock"], "a", 2500, 1000, indexes, numbers)


def entry_of(*row: object) -> Callable[[], bytes]:
    return index(lambda index: {**index, "blobs": [[*row]]})


def piece(stored: bytes, digest: bytes | None = None) -> Callable[[], bytes]:
    """A file with one blob whose only piece, 10 bytes, is stored like this."""
    return File(
        sections=[section("a")], blobs=[Blob(["a"], "b", 10, 10, [0], [0])], pieces=[Piece(b"p" * 10, stored, digest)]
    ).build


def swapped_header() -> bytes:
    return File(header={"generator": "", "chkpt": 1, "created": ""}).build()


def with_dictionary() -> bytes:
    """A frame that says it needs the dictionary 7: a bit in the descriptor, and one more byte after it."""
    plain = frame(SECTION_A)
    return plain[:4] + bytes([plain[4] | 1]) + b"\x07" + plain[5:]


def with_window(log: int) -> bytes:
    """A frame with one raw block that asks for a window of 2 ** log bytes (RFC 8878, 3.1.1)."""
    plain = frame(SECTION_A)
    descriptor = 0b1000_0100  # content size in 4 bytes, no single segment, checksum
    block = (len(SECTION_A) << 3 | 1).to_bytes(3, "little") + SECTION_A
    head = plain[:4] + bytes([descriptor, (log - 10) << 3]) + len(SECTION_A).to_bytes(4, "little")
    return head + block + plain[-4:]


TEN = frame(pack(b"p" * 10))
SKIPPABLE = struct.pack("<II", 0x184D2A50, 20) + bytes(20)

CORRUPT: dict[str, tuple[Callable[[], bytes], str]] = {
    # the header
    "header: no map": (File(header=[1]).build, "the header is no map with the format's number"),
    "header: no number": (File(header={"generator": "", "created": ""}).build, "the header is no map with the format"),
    "header: format 0": (header(chkpt=0), "there is no format 0"),
    "header: format true": (header(chkpt=True), "there is no format True"),
    "header: order": (swapped_header, "the header does not begin with chkpt, generator, created"),
    "header: incomplete": (File(header={"chkpt": 1}).build, "the header does not begin with chkpt, generator, created"),
    "header: generator": (header(generator=5), "`generator` and `created` are not text"),
    "header: created": (header(created=None), "`generator` and `created` are not text"),
    "header: key": (
        File(header={"chkpt": 1, "generator": "", "created": "", b"x": 1}).build,
        "the key b'x' is not text",
    ),
    # encodings
    "msgpack: garbage": (in_section(b"\xc1"), "not one msgpack value"),
    "msgpack: cut short": (in_section(SECTION_A[:-1]), "not one msgpack value"),
    "msgpack: two values": (in_section(SECTION_A + b"\xc0"), "not one msgpack value"),
    "msgpack: not UTF-8": (in_value(b"\xa1\xff"), "not one msgpack value"),
    "msgpack: surrogate": (in_value(b"\xa3\xed\xa0\x80"), "not one msgpack value"),
    "msgpack: a key that is a number": (in_value(b"\x81\x01\x02"), "not one msgpack value"),
    "msgpack: a key that is an array": (in_value(b"\x81\x90\x02"), "not one msgpack value"),
    "msgpack: a key that is bytes": (in_value(b"\x81\xc4\x01k\x02"), "a: the key b'k' is not text"),
    "msgpack: a key twice": (in_value(b"\x82\xa1k\x01\xa1k\x02"), "the key 'k' stands twice in one map"),
    "msgpack: path twice": (
        in_section(b"\x82" + (pack("path") + pack(["a"])) * 2),
        "the key 'path' stands twice in one map",
    ),
    "msgpack: a long integer": (in_value(b"\xcc\x01"), "not in the shortest msgpack encoding"),
    "msgpack: a long text": (in_value(b"\xd9\x01k"), "not in the shortest msgpack encoding"),
    "msgpack: a long map": (in_value(b"\xde\x00\x00"), "not in the shortest msgpack encoding"),
    "msgpack: a short float": (in_value(b"\xca\x3f\x80\x00\x00"), "not in the shortest msgpack encoding"),
    "msgpack: an extension": (in_value(b"\xd4\x05\x00"), "not one msgpack value"),
    "msgpack: an empty extension": (in_value(b"\xc7\x00\x05"), "a msgpack extension type (5)"),
    "msgpack: a time": (in_value(b"\xd6\xff\x00\x00\x00\x00"), "not one msgpack value"),
    "msgpack: an empty time": (in_value(b"\xc7\x00\xff"), "not one msgpack value"),
    # frames
    "frame: none": (stored(b"\0" * 20, 20), "not a zstd frame"),
    "frame: skippable": (stored(SKIPPABLE, 20), "not a zstd frame"),
    "frame: skippable before": (stored(SKIPPABLE + frame(SECTION_A)), "not a zstd frame"),
    "frame: bytes after": (stored(frame(SECTION_A) + b"x"), "cannot be decompressed"),
    "frame: two": (stored(frame(SECTION_A) * 2), "cannot be decompressed"),
    "frame: cut short": (stored(frame(SECTION_A)[:-1]), "cannot be decompressed"),
    "frame: header only": (stored(frame(SECTION_A)[:5]), "header cannot be read"),
    "frame: no checksum": (stored(frame(SECTION_A, checksum=False)), "must state its size, have a checksum"),
    "frame: no size": (stored(frame(SECTION_A, content_size=False)), "must state its size, have a checksum"),
    "frame: dictionary": (stored(with_dictionary()), "must state its size, have a checksum"),
    "frame: another size": (stored(frame(SECTION_A), 10), "states 9 bytes of content, and the index 10"),
    "frame: bomb": (stored(frame(bytes(64 << 20)), 4 << 20), "states 67108864 bytes of content, and the index 4194304"),
    "frame: checksum": (stored(frame(SECTION_A)[:-1] + b"?"), "cannot be decompressed"),
    # the index
    "index: no map": (index(lambda _: [1]), "the index is not a map of header, sections, blobs, pieces"),
    "index: another key": (index(lambda index: {**index, "x": []}), "the index is not a map of header, sections"),
    "index: order": (index(lambda index: dict(reversed(index.items()))), "the index is not a map of header, sections"),
    "index: a key missing": (index(lambda index: index.pop("blobs") and index), "the index is not a map of header"),
    "index: a key twice": (File(index_content=b"\x82" + pack("a") * 4).build, "the key 'a' stands twice in one map"),
    "index: header": (index(lambda index: {**index, "header": [1, 2]}), "header entry is not an array of int, int, b"),
    "index: header's content": (index(lambda i: {**i, "header": [1, 0, bytes(32)]}), "a frame without content"),
    "index: header's size": (
        index(lambda i: {**i, "header": [0, 9, bytes(32)]}),
        "the header of 9 bytes cannot be stored in 0",
    ),
    "index: header's digest": (
        index(lambda i: {**i, "header": [9, 9, b""]}),
        "the digest of the header has 0 bytes",
    ),
    "index: sections": (index(lambda index: {**index, "sections": {}}), "the index's sections are not an array"),
    "index: section": (index(lambda i: {**i, "sections": [5]}), "section entry is not an array of list, str, int"),
    "index: version true": (entry("sections", 0, 2, True), "section entry is not an array of list, str, int"),
    "index: version": (entry("sections", 0, 2, -1), "section clock has version -1"),
    "index: version too great": (entry("sections", 0, 2, 1 << 32), "section clock has version 4294967296"),
    "index: no content": (entry("sections", 0, 4, 0), "a frame without content"),
    "index: stored in nothing": (entry("sections", 0, 3, 0), "clock of 68 bytes cannot be stored in 0"),
    "index: stored in less": (entry("sections", 0, 3, -1), "clock of 68 bytes cannot be stored in -1"),
    "index: stored in more": (entry("sections", 0, 3, 133), "clock of 68 bytes cannot be stored in 133"),
    "index: digest": (entry("sections", 0, 5, bytes(31)), "the digest of clock has 31 bytes"),
    "index: another digest": (entry("sections", 0, 5, bytes(32)), "the stored bytes do not match their digest"),
    "index: section moved": (entry("sections", 0, 3, 63), "the frames listed do not fill the file up to the index"),
    "index: a section less": (
        replace(GOOD, blobs=[], pieces=[], edit=lambda i: i["sections"].pop() and i).build,
        "the frames listed do not fill the file up to the index at offset",
    ),
    "index: a hole": (File(gap=b"hole").build, "the frames listed do not fill the file up to the index at offset"),
    "index: an overlap": (
        index(lambda i: {**i, "pieces": [b"\xff\0\0\0" * 2, bytes(8), bytes(64)]}),
        "the frames listed do not fill the file up to the index at offset",
    ),
    # paths
    "path: empty": (sections([]), "the index has an empty path"),
    "path: a number": (sections([5]), "the name 5 of a context is not text"),
    "path: bytes": (sections([b"a"]), "the name b'a' of a context is not text"),
    "path: an empty name": (sections([""]), "a context cannot be named ''"),
    "path: a slash": (sections(["a/b"]), "a context cannot be named 'a/b'"),
    "path: too deep": (sections(["devices"], ["devices", "a", "b"]), "devices/a/b cannot be a section of its own"),
    "path: not a device": (sections(["a"], ["a", "b"]), "a/b cannot be a section of its own"),
    "path: twice": (sections(["a"], ["a"]), "section a is listed twice, or after a"),
    "path: order": (sections(["b"], ["a"]), "section a is listed twice, or after b"),
    "path: a device twice": (
        sections(["devices"], ["devices", "a"], ["devices", "a"]),
        "section devices/a is listed twice",
    ),
    "path: no devices": (sections(["clock"], ["devices", "a"]), "devices/a is listed without a section devices"),
    # sections
    "section: no map": (in_section(b"\xc0"), "not a map that begins with `path`"),
    "section: an empty map": (in_section(b"\x80"), "not a map that begins with `path`"),
    "section: path not first": (in_section(pack({"type": "t", "path": ["a"]}), type="t"), "not a map that begins with"),
    "section: another path": (in_section(pack({"path": ["b"]})), "the section has the path of another one"),
    "section: another key": (in_section(pack({"path": ["a"], "x": 1})), "a is not a map of type, version, values, con"),
    "section: order": (in_section(pack({"path": ["a"], "version": 1, "type": "t"})), "a is not a map of type, version"),
    "section: empty type": (in_section(pack({"path": ["a"], "type": ""})), "a is not a map of type, version, values"),
    "section: version 0": (in_section(pack({"path": ["a"], "version": 0})), "a is not a map of type, version, values"),
    "section: no values": (in_section(pack({"path": ["a"], "values": {}})), "a is not a map of type, version, values"),
    "section: type": (in_section(pack({"path": ["a"], "type": 5})), "a has a type, version, values or contexts of the"),
    "section: version": (in_section(pack({"path": ["a"], "version": True})), "a has a type, version, values or conte"),
    "section: values": (in_section(pack({"path": ["a"], "values": [1]})), "a has a type, version, values or contexts"),
    "section: contexts": (in_section(pack({"path": ["a"], "contexts": [1]})), "a has a type, version, values or con"),
    "section: version too great": (in_section(pack({"path": ["a"], "version": 1 << 32})), "a has version 4294967296"),
    "section: version negative": (in_section(pack({"path": ["a"], "version": -1})), "a has version -1"),
    "section: a tag that is bytes": (
        in_section(pack({"path": ["a"], "values": {b"x": 1}})),
        "the key b'x' is not text",
    ),
    "section: child": (in_section(pack({"path": ["a"], "contexts": {"b": 5}})), "a/b is not a map of type, version"),
    "section: child's path": (
        in_section(pack({"path": ["a"], "contexts": {"b": {"path": ["a", "b"]}}})),
        "a/b is not a map of type, version, values, contexts",
    ),
    "section: child's name": (in_section(pack({"path": ["a"], "contexts": {"": {}}})), "a context cannot be named ''"),
    "section: child's slash": (in_section(pack({"path": ["a"], "contexts": {"b/c": {}}})), "cannot be named 'b/c'"),
    "section: child's bytes": (
        in_section(pack({"path": ["a"], "contexts": {b"b": {}}})),
        "name b'b' of a context is no",
    ),
    "section: devices": (
        File(sections=[section("devices", contexts={"a": {}})]).build,
        "the contexts of devices must be sections of their own",
    ),
    "section: another type": (in_section(SECTION_A, type="t"), "the index says 't' version 0, the section '' 0"),
    "section: another version": (in_section(SECTION_A, version=3), "the index says '' version 3, the section '' 0"),
    # blobs
    "blob: entry": (entry("blobs", 0, 2, "5"), "blob entry is not an array of list, str, int, int, bytes, bytes"),
    "blob: blobs": (index(lambda index: {**index, "blobs": 5}), "the index's blobs are not an array"),
    "blob: empty path": (entry("blobs", 0, 0, []), "the index has an empty path"),
    "blob: no section": (entry("blobs", 0, 0, ["a"]), "blob a.a is in no section"),
    "blob: no device": (entry("blobs", 1, 0, ["devices", "x"]), "blob devices/x.b is in no section"),
    "blob: no context": (
        blobs(Blob(["a", "b"], "c", 20, 10, [0, 1], [0, 1])),
        "there is no context for the blob a/b.c",
    ),
    "blob: a value of the same tag": (
        File(sections=[section("a", values={"x": 1})], blobs=[Blob(["a"], "x", 0, 1, [], [])]).build,
        "a has a tag with a value and a blob",
    ),
    "blob: twice": (
        blobs(*[Blob(["a"], "b", 0, 1, [], [])] * 2, pieces=0),
        "blob a.b is listed after a.b: not in rising order, or twice",
    ),
    "blob: order": (
        blobs(*[Blob(["a"], tag, 0, 1, [], []) for tag in "cb"], pieces=0),
        "blob a.b is listed after a.c: not in rising order, or twice",
    ),
    "blob: size": (entry("blobs", 0, 2, -1), "blob clock.a has -1 bytes in pieces of 1000"),
    "blob: huge": (entry("blobs", 0, 2, 1 << 63), "blob clock.a has 9223372036854775808 bytes in pieces of 1000"),
    "blob: piece size": (entry("blobs", 0, 3, 0), "blob clock.a has 2500 bytes in pieces of 0"),
    "blob: long pieces": (entry("blobs", 0, 3, (1 << 20) + 1), "blob clock.a has 2500 bytes in pieces of 1048577"),
    "blob: half a number": (columns(bytes(7), b""), "a column of 7 bytes does not hold numbers of 8"),
    "blob: unequal columns": (columns(bytes(8), b""), "the two columns of blob clock.a are not equally long"),
    "blob: order of pieces": (blobs(Blob(["a"], "b", 20, 10, [1, 0], [0, 1])), "a.b has no place for piece 0 after 1"),
    "blob: a piece twice": (blobs(Blob(["a"], "b", 20, 10, [1, 1], [0, 1])), "a.b has no place for piece 1 after 1"),
    "blob: a piece too many": (blobs(Blob(["a"], "b", 20, 10, [0, 2], [0, 1])), "a.b has no place for piece 2 after 0"),
    "blob: a piece far off": (
        blobs(Blob(["a"], "b", 20, 10, [0, (1 << 64) - 1], [0, 1])),
        "a.b has no place for piece 18446744073709551615 after 0",
    ),
    "blob: a piece of another length": (
        blobs(Blob(["a"], "b", 15, 10, [0, 1], [0, 0]), pieces=1),
        "piece 0 is 10 bytes long, and also 5",
    ),
    "blob: a piece not listed": (
        blobs(Blob(["a"], "b", 20, 10, [0, 1], [0, 1]), pieces=1),
        "piece 1 is not listed, or not in the order of its first use",
    ),
    "blob: pieces out of order": (
        blobs(Blob(["a"], "b", 20, 10, [0, 1], [1, 0])),
        "piece 1 is not listed, or not in the order of its first use",
    ),
    "blob: a piece of nobody": (blobs(Blob(["a"], "b", 20, 10, [0], [0])), "piece 1 belongs to no blob"),
    # pieces
    "pieces: entry": (
        index(lambda index: {**index, "pieces": [b""]}),
        "pieces entry is not an array of bytes, bytes, b",
    ),
    "pieces: half a size": (
        index(lambda i: {**i, "pieces": [b"123", b"", b""]}),
        "a column of 3 bytes does not hold n",
    ),
    "pieces: columns": (index(lambda i: {**i, "pieces": [bytes(8)] * 3}), "columns of the pieces are not equally long"),
    "pieces: stored in nothing": (
        index(lambda i: {**i, "pieces": [bytes(8), bytes(8), bytes(64)]}),
        "piece 0 of 1000 bytes cannot be stored in 0",
    ),
    "pieces: stored in more": (
        index(lambda i: {**i, "pieces": [b"\0\0\0\xff" * 2, bytes(8), bytes(64)]}),
        "piece 0 of 1000 bytes cannot be stored in 4278190080",
    ),
    "piece: digest": (piece(TEN, bytes(32)), "the content does not match its digest"),
    "piece: text": (piece(frame(b"\xd9\x0a" + b"p" * 10)), "not a byte string of 10 bytes in the shortest"),
    "piece: another length": (piece(frame(pack(b"p" * 11))), "states 13 bytes of content, and the index 12"),
    "piece: a long head": (piece(frame(b"\xc5\x00\x0a" + b"p" * 9)), "not a byte string of 10 bytes in the shortest"),
    "piece: zero": (piece(frame(pack(bytes(10))), handmade.digest(bytes(10))), "an all-zero piece is stored"),
    "piece: two frames": (piece(TEN + frame(b"x")), "cannot be decompressed"),
    "piece: no checksum": (piece(frame(pack(b"p" * 10), checksum=False)), "must state its size, have a checksum"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_broken_rule_is_corruption(name: str) -> None:
    make, message = CORRUPT[name]
    with pytest.raises(ChkptError) as caught:
        Reader(make()).verify()
    assert message in str(caught.value)
    assert type(caught.value) is CorruptError
    assert str(caught.value).endswith("; restore it from a copy")


def test_a_newer_format_in_the_header_is_told() -> None:
    with pytest.raises(VersionError, match=r"the header at offset 0: the file is in format 2, .*; upgrade chkpt$"):
        Reader(header(chkpt=2)())


def test_no_memory_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise MemoryError

    reader = Reader(GOOD.build())
    monkeypatch.setattr(msgpack, "unpackb", fail)
    with pytest.raises(LimitError, match=r"section clock at offset .*: not enough memory"):
        reader.section("clock")


# -- any msgpack at all -----------------------------------------------------------------------------------------------

anything: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    | st.sampled_from(
        ["path", "type", "version", "values", "contexts", "header", "sections", "blobs", "pieces", "chkpt"]
    )
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["path", "type", "version", "values", "contexts", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(anything, anything, st.binary(max_size=60))
def test_any_content_is_refused_or_comes_back(value: object, other: object, garbage: bytes) -> None:
    for content in (
        pack({"path": ["a"], "values": {"x": value}}),
        pack(value),
        pack({"path": ["a"], "contexts": value}),
    ):
        try:
            context = Reader(in_section(content)()).section("a")
        except ChkptError:
            continue
        assert dumps(Checkpoint({"created": "x", "generator": "y"}, {"a": context})) == dumps(
            loads(
                File(header={"chkpt": 1, "generator": "y", "created": "x"}, sections=[Section(["a"], content)]).build()
            )
        )
    for build in (
        File(header=other).build,
        File(index_content=pack(other)).build,
        File(index_content=garbage or b"\xc1").build,
        index(lambda i: {**i, "sections": other}),
        index(lambda i: {**i, "blobs": other}),
        index(lambda i: {**i, "pieces": other}),
        in_section(garbage or b"\xc1"),
    ):
        try:
            Reader(build()).verify()
        except ChkptError:
            continue


@given(st.floats())
def test_every_float_keeps_its_bits(value: float) -> None:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    loaded = loads(in_value(pack(value))()).contexts["a"].values["x"]
    assert struct.unpack("<Q", struct.pack("<d", cast("float", loaded))) == (bits,)
    assert plain_value([1]) == [1]
