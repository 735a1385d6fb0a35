"""Attacks on what the values say: the index, the names, the sections, the blobs, the pieces."""

from collections.abc import Callable
from typing import Final, cast

from chkpt.errors import LimitError
from tests.attacks.parts import (
    CLOCK,
    GOOD,
    NAMES,
    Attack,
    blobs,
    child,
    clock,
    clock_map,
    columns,
    entry,
    good,
    index,
    ram,
    sections,
)  # fmt: skip
from tests.support.handmade import Blob, Index, Piece, pack, section


def dropped(key: str) -> Callable[[Index], Index]:
    def edit(index: Index) -> Index:
        return {each: value for each, value in index.items() if each != key}

    return edit


def without_section(index: Index) -> Index:
    return {**index, "sections": index["sections"][:-1], "blobs": [], "pieces": [b"", b"", b""]}


def swapped(index: Index) -> Index:
    """Let the section `clock` be stored where `lines` is, and the other way round."""
    rows = cast("list[list[object]]", [*map(list, cast("list[list[object]]", index["sections"]))])
    rows[0][3:], rows[3][3:] = rows[3][3:], rows[0][3:]
    return {**index, "sections": [*rows]}


def external(index: Index) -> Index:
    """Say of the last piece that it is stored elsewhere."""
    sizes, checksums, digests = cast("list[bytes]", index["pieces"])
    return {**index, "pieces": [sizes[:-4] + bytes(4), checksums, digests]}


def rows(**changes: list[object]) -> Callable[[Index], Index]:
    return lambda index: {**index, **changes}


INDEX: Final = (
    Attack(12, "a section in nothing", entry("sections", 0, 3, 0), "clock of 46 bytes cannot be stored in 0"),
    Attack(12, "a section in less", entry("sections", 0, 3, -1), "clock of 46 bytes cannot be stored in -1"),
    Attack(12, "a section in more", entry("sections", 0, 3, 111), "clock of 46 bytes cannot be stored in 111"),
    Attack(12, "the header in nothing", index(rows(header=[0, 9, bytes(32)])), "the header of 9 bytes cannot be"),
    Attack(12, "a piece in more", index(rows(pieces=[b"\0\0\0\xff" * 2, bytes(8), bytes(64)])), "in 4278190080"),
    Attack(12, "an external piece that is nowhere", index(external), "piece 1 of 96 bytes cannot be stored in 0"),
    Attack(10, "content stated", entry("sections", 0, 4, 1 << 62), "4611686018427387904 bytes of", LimitError),
    Attack(25, "a list", index(lambda _: [1]), "the index is not a map of header, sections, blobs, pieces"),
    Attack(25, "one more key", index(rows(x=[])), "the index is not a map of header, sections, blobs, pieces"),
    Attack(25, "another order", index(lambda index: dict(reversed(index.items()))), "the index is not a map of"),
    Attack(25, "no blobs", index(dropped("blobs")), "the index is not a map of header, sections, blobs, pieces"),
    Attack(26, "header", index(rows(header=[1, 2])), "header entry is not an array of int, int, bytes"),
    Attack(26, "sections", index(lambda i: {**i, "sections": {}}), "the index's sections are not an array"),
    Attack(26, "a section", index(rows(sections=[5])), "section entry is not an array of list, str, int"),
    Attack(26, "a version that is true", entry("sections", 0, 2, True), "section entry is not an array of list, str"),
    Attack(26, "a size that is a float", entry("sections", 0, 3, 59.0), "section entry is not an array of list, str"),
    Attack(26, "blobs", index(lambda i: {**i, "blobs": 5}), "the index's blobs are not an array"),
    Attack(26, "a blob", entry("blobs", 0, 2, "5"), "blob entry is not an array of list, str, int, int, bytes, bytes"),
    Attack(26, "pieces", index(rows(pieces=[b""])), "pieces entry is not an array of bytes, bytes, bytes"),
    Attack(27, "of a section", entry("sections", 0, 5, bytes(31)), "the digest of clock has 31 bytes"),
    Attack(27, "of the header", index(rows(header=[9, 9, b""])), "the digest of the header has 0 bytes"),
    Attack(28, "a hole", good(gap=b"hole"), "the frames listed do not fill the file up to the index at offset"),
    Attack(28, "a section missing", index(without_section), "the frames listed do not fill the file up to the index"),
    Attack(28, "a section moved", entry("sections", 0, 3, 61), "the frames listed do not fill the file up to"),
    Attack(
        28, "an overlap", index(rows(pieces=[b"\xff\0\0\0\x64\0\0\0", bytes(8), bytes(64)])), "do not fill the file"
    ),
    Attack(
        29,
        "negative",
        entry("sections", 0, 2, -1),
        "section clock: a context cannot have the type",
    ),
    Attack(29, "2 ** 32", entry("sections", 0, 2, 1 << 32), "and the version 4294967296"),
    Attack(
        29,
        "in the section",
        clock_map(type="clock", version=1 << 32),
        "'clock' and the version 4294967296",
    ),
    Attack(
        29,
        "negative in a context",
        child("a", {"version": -1}),
        "clock/a: a context cannot have the type",
    ),
    Attack(31, "two sections swapped", index(swapped), "the stored bytes do not match their digest"),
)

PATHS: Final = (
    Attack(32, "empty", sections([""]), "a context cannot be named '': the name is empty, has a /"),
    Attack(32, "a number", sections([5]), "a context cannot be named 5: the name is not text"),
    Attack(32, "bytes", sections([b"a"]), "a context cannot be named b'a': the name is not text"),
    Attack(32, "a slash", sections(["a/b"]), "a context cannot be named 'a/b': the name is empty, has a /, or would"),
    Attack(32, "a way up", sections(["..", "x"]), "a context cannot be named '..': the name is empty, has a /, or wo"),
    Attack(32, "an absolute path", child("/etc/passwd"), "a context cannot be named '/etc/passwd'"),
    Attack(32, "here", child("."), "a context cannot be named '.': the name is empty, has a /, or would be a step"),
    Attack(32, "a child of nothing", child(""), "a context cannot be named '': the name is empty, has a /"),
    Attack(32, "bytes below", child(b"b"), "a context cannot be named b'b': the name is not text"),
    Attack(33, "the end of a text", child("pic\0"), "'pic\\x00': the name has characters that do not show"),
    Attack(33, "right to left", child("a\u202ecip"), "'a\\u202ecip': the name has characters that do not show"),
    Attack(33, "nothing to see", child("pic\u200b"), "'pic\\u200b': the name has characters that do not show"),
    Attack(33, "an escape", sections(["\x1b[2J"]), "'\\x1b[2J': the name has characters that do not show"),
    Attack(33, "decomposed", child("e\u0301"), "'e\\u0301': the name has another spelling that looks the same (NFKC)"),
    Attack(33, "wide letters", sections(["\uff50\uff49\uff43"]), "the name has another spelling that looks the same"),
    Attack(33, "a Kelvin sign", child("\u212a"), "the name has another spelling that looks the same"),
    Attack(33, "a Cyrillic er", child("\u0440ic"), "'\\u0440ic': the name mixes letters of Cyrillic and Latin"),
    Attack(33, "a Greek omicron", child("c\u03bfm1"), "'c\\u03bfm1': the name mixes letters of Greek and Latin"),
    Attack(34, "a name", child("x" * 256), "the name has more than 255 characters"),
    Attack(34, "a name of 1 MB", sections(["x" * 1_000_000]), "the name has more than 255 characters"),
    Attack(34, "a blob's tag", blobs(Blob(["memory"], "t" * 256, 0, 1, [], []), pieces=()), "a tag of 256", LimitError),
    Attack(34, "a section's type", entry("sections", 0, 1, "t" * 256), "a type of 256 characters", LimitError),
    Attack(35, "none", sections([]), "the index has an empty path"),
    Attack(35, "too deep", sections(["devices"], ["devices", "a", "b"]), "devices/a/b cannot be a section of its own"),
    Attack(35, "not a device", sections(["a"], ["a", "b"]), "a/b cannot be a section of its own"),
    Attack(36, "twice", sections(["a"], ["a"]), "section a is listed twice, or after a"),
    Attack(36, "another order", sections(["b"], ["a"]), "section a is listed twice, or after b"),
    Attack(36, "a device twice", sections(["devices"], ["devices", "a"], ["devices", "a"]), "is listed twice, or"),
    Attack(37, "no devices", sections(["clock"], ["devices", "a"]), "devices/a is listed without a section devices"),
)

SECTIONS: Final = (
    Attack(38, "nil", clock(b"\xc0"), "not a map that begins with `path`"),
    Attack(38, "an empty map", clock(b"\x80"), "not a map that begins with `path`"),
    Attack(38, "a path behind", clock(pack({"type": "clock", "path": ["clock"]})), "not a map that begins with `path`"),
    Attack(38, "another path", clock(pack({"path": ["lines"]})), "the section has the path of another one"),
    Attack(38, "a path of a device", clock(pack({"path": ["devices", "clock"]})), "the section has the path of anoth"),
    Attack(39, "another key", clock_map(x=1), "clock is not a map of type, version, values, contexts without empty"),
    Attack(39, "another order", clock_map(version=1, type="clock"), "clock is not a map of type, version, values"),
    Attack(39, "an empty type", clock_map(type="", version=1), "clock is not a map of type, version, values"),
    Attack(39, "version 0", clock_map(type="clock", version=0), "clock is not a map of type, version, values"),
    Attack(39, "no values", clock_map(type="clock", version=1, values={}), "clock is not a map of type, version"),
    Attack(39, "a type that is a number", clock_map(type=5, version=1), "clock has a type, version, values or contex"),
    Attack(39, "a version that is true", clock_map(type="clock", version=True), "clock has a type, version, values"),
    Attack(39, "values that are a list", clock_map(type="clock", version=1, values=[1]), "clock has a type, version"),
    Attack(39, "contexts that are a list", clock_map(type="clock", version=1, contexts=[1]), "clock has a type, versi"),
    Attack(39, "a context that is a number", child("b", 5), "clock/b is not a map of type, version, values"),
    Attack(39, "a context with a path", child("b", {"path": ["clock", "b"]}), "clock/b is not a map of type, version"),
    Attack(40, "another type", clock(CLOCK, type="lines"), "the index says 'lines' version 1, the section 'clock' 1"),
    Attack(40, "another version", clock(CLOCK, version=3), "the index says 'clock' version 3, the section 'clock' 1"),
    Attack(
        41,
        "a device inside devices",
        good(sections=[GOOD.sections[0], section("devices", contexts={"a": {}}), *GOOD.sections[3:]]),
        "the contexts of devices must be sections of their own",
    ),
)

TEN: Final = (Piece(b"p" * 10),)

BLOBS: Final = (
    Attack(42, "twice", blobs(*[Blob(["memory"], "a", 0, 1, [], [])] * 2, pieces=()), "memory.a is listed after mem"),
    Attack(
        42,
        "another order",
        blobs(*[Blob(["memory"], tag, 0, 1, [], []) for tag in "cb"], pieces=()),
        "blob memory.b is listed after memory.c: not in rising order, or twice",
    ),
    Attack(43, "no section", entry("blobs", 0, 0, ["x"]), "blob x.ram is in no section"),
    Attack(43, "no device", entry("blobs", 0, 0, ["devices", "x"]), "blob devices/x.ram is in no section"),
    Attack(43, "no path", entry("blobs", 0, 0, []), "the index has an empty path"),
    Attack(43, "no context", blobs(Blob(["memory", "b"], "c", 10, 10, [0], [0]), pieces=TEN), "there is no context"),
    Attack(44, "a value and a blob", entry("blobs", 0, 1, "size"), "memory: the tag 'size' has a value and a blob"),
    Attack(45, "a size of -1", entry("blobs", 0, 2, -1), "blob memory.ram: -1 bytes in pieces of 1000"),
    Attack(45, "a size of 2 ** 63", entry("blobs", 0, 2, 1 << 63), "blob memory.ram: 9223372036854775808 bytes"),
    Attack(45, "pieces of 0", entry("blobs", 0, 3, 0), "blob memory.ram: 4096 bytes in pieces of 0"),
    Attack(45, "pieces of 1 MiB and 1", entry("blobs", 0, 3, (1 << 20) + 1), "4096 bytes in pieces of 1048577"),
    Attack(46, "half a number", columns(bytes(7), b""), "a column of 7 bytes does not hold numbers of 8"),
    Attack(46, "unequal", columns(bytes(8), b""), "the two columns of blob memory.ram are not equally long"),
    Attack(47, "another order", ram(20, 10, [1, 0], [0, 1]), "memory.ram has no place for piece 0 after 1"),
    Attack(47, "twice", ram(20, 10, [1, 1], [0, 1]), "memory.ram has no place for piece 1 after 1"),
    Attack(47, "one too many", ram(20, 10, [0, 2], [0, 1]), "memory.ram has no place for piece 2 after 0"),
    Attack(47, "far off", ram(20, 10, [0, (1 << 64) - 1], [0, 1]), "no place for piece 18446744073709551615 after 0"),
    Attack(48, "not listed", ram(20, 10, [0, 1], [0, 1], 1), "piece 1 is not listed, or not in the order of its"),
    Attack(48, "out of order", ram(20, 10, [0, 1], [1, 0]), "piece 1 is not listed, or not in the order of its first"),
    Attack(48, "of nobody", ram(20, 10, [0], [0]), "piece 1 belongs to no blob"),
    Attack(49, "of two lengths", ram(15, 10, [0, 1], [0, 0], 1), "piece 0 is 10 bytes long, and also 5"),
    Attack(50, "half a size", index(rows(pieces=[b"123", b"", b""])), "a column of 3 bytes does not hold numbers of 4"),
    Attack(50, "unequal", index(rows(pieces=[bytes(8)] * 3)), "the columns of the pieces are not equally long"),
)


def devices(**values: object) -> Callable[[], bytes]:
    """Return the good file with another table of names."""
    named = {"num_devs": 1, "names": NAMES} | values
    return good(sections=[GOOD.sections[0], section("devices", values=named), *GOOD.sections[2:]])


TWICE: Final = b"a".ljust(32, b"\0") * 2

LOADED: Final = (
    Attack(
        62, "left out", good(sections=[GOOD.sections[0], *GOOD.sections[3:]]), "the snapshot has no context devices"
    ),
    Attack(55, "no count", devices(num_devs=None), "context devices has no name table (tags num_devs and names)"),
    Attack(55, "more than there are", devices(num_devs=2), "num_devs is 2, but names has 32 bytes, not 32 a device"),
    Attack(55, "2 ** 63 of them", devices(num_devs=1 << 63), "num_devs is 9223372036854775808, but names has"),
    Attack(55, "no table", devices(num_devs=None, names=None), "context devices has no name table (tags num_devs and"),
    Attack(55, "a table that is text", devices(names="dma_page"), "context devices has no name table (tags num_devs"),
    Attack(56, "31 bytes and one more", devices(names=b"a" * 32), "context devices: entry 0 of names cannot be"),
    Attack(56, "twice", devices(num_devs=2, names=TWICE), "context devices: a stands twice in names"),
    Attack(56, "no name", devices(names=bytes(32)), "context devices: entry 0 of names cannot be"),
    Attack(56, "a path", devices(names=b"../../x".ljust(32, b"\0")), "entry 0 of names cannot be"),
    Attack(56, "a look-alike", devices(names="\u0440ic".encode().ljust(32, b"\0")), "entry 0 of names cannot be"),
    Attack(56, "behind a NUL", devices(names=b"a\0b".ljust(32, b"\0")), "entry 0 of names cannot be"),
)

INSIDE: Final = (*INDEX, *PATHS, *SECTIONS, *BLOBS, *LOADED)
