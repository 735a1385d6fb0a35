"""What the writer puts where, what it leaves out, and what it refuses."""

import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import cast

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
import zstandard

import chkpt
from chkpt.context import Blob, Checkpoint, Context, SparseBlob, Value
from chkpt.errors import LimitError, StateError, StorageError
from chkpt.snapshot import Reader, Summary, dump, dumps, loads
from chkpt.snapshot.outline import GENERATOR
from tests.support.checkpoints import small


class Ram:
    """A blob that yields views of one buffer, zero pieces too, and tells what else it is asked to."""

    def __init__(self, data: bytes, piece_size: int) -> None:
        self.size = len(data)
        self.piece_size = piece_size
        self._data = memoryview(bytearray(data))

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        for index, start in enumerate(range(0, self.size, self.piece_size)):
            yield index, self._data[start : start + self.piece_size]


class Pieces:
    """A blob of 100 bytes in pieces of 40 that yields what it is given."""

    size = 100
    piece_size = 40

    def __init__(self, *pieces: tuple[int, bytes]) -> None:
        self._pieces = pieces

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        yield from self._pieces


def one(context: Context) -> Checkpoint:
    return Checkpoint({}, {"a": context})


# -- what is in a file ------------------------------------------------------------------------------------------------


def test_sections_are_the_contexts_under_the_root_and_under_devices() -> None:
    reader = Reader(dumps(small()))
    assert [entry.path for entry in reader.sections] == [
        ("clock",),
        ("devices",),
        ("devices", "ide0"),
        ("devices", "pit"),
        ("memory",),
    ]
    assert [(entry.type, entry.version) for entry in reader.sections][2:4] == [("ide", 2), ("pit", 1)]


def test_blobs_are_listed_by_path_and_tag() -> None:
    blobs = Reader(dumps(small())).blobs
    assert [(blob.path, blob.tag) for blob in blobs] == [(("devices", "ide0", "drive"), "blocks"), (("memory",), "ram")]
    assert [(blob.size, blob.piece_size, blob.held) for blob in blobs] == [(2500, 1024, 2), (4096, 1024, 2)]


def test_content_is_a_stream_of_msgpack_values() -> None:
    data = dumps(small())
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
        values = list(msgpack.Unpacker(stream))
    assert values[0]["machine"] == "small"
    assert values[1] == {"path": ["clock"], "type": "clock", "version": 1, "values": {"now": 27462701}}
    assert values[4]["contexts"] == {"counter": {"version": 1, "values": {"mode": 3, "held": b""}}}
    assert values[7] == b"x" * 452
    assert list(values[-1]) == ["header", "sections", "blobs", "pieces"]
    assert len(values) == 1 + 5 + 3 + 1


def test_what_is_empty_is_left_out() -> None:
    data = dumps(Checkpoint({}, {"a": Context(contexts={"b": Context()})}))
    entry = Reader(data).sections[0]
    frame = data[entry.offset : entry.offset + entry.stored_size]
    content = zstandard.ZstdDecompressor().decompress(frame)
    assert msgpack.unpackb(content) == {"path": ["a"], "contexts": {"b": {}}}


def test_the_header_is_filled_in() -> None:
    header = loads(dumps(Checkpoint({"machine": "m"}))).header
    assert list(header) == ["chkpt", "generator", "created", "machine"]
    assert header["chkpt"] == 1
    assert header["generator"] == GENERATOR
    created = str(header["created"])
    assert created.endswith("Z")
    assert abs(datetime.fromisoformat(created) - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_format_in_a_given_header_is_the_one_written() -> None:
    assert loads(dumps(Checkpoint({"machine": "m", "chkpt": 99}))).header["chkpt"] == 1


def test_the_generator_is_this_version() -> None:
    assert f"chkpt {chkpt.__version__}" == GENERATOR


def test_the_summary_tells_what_was_written() -> None:
    file = io.BytesIO()
    summary = dump(small(), file)
    reader = Reader(file.getvalue())
    assert summary == Summary(len(file.getvalue()), reader.root_digest, sections=5, pieces=3)


def test_values_of_other_kinds_are_written_as_the_plain_ones() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Level(IntEnum):
        HIGH = 1

    given: dict[str, Value] = {
        "tuple": (1, (2,)),
        "proxy": MappingProxyType({"a": MappingProxyType({})}),
        "range": range(3),
        "enum": Colour.RED,
        "level": [Level.HIGH],
        "array": {"deep": bytearray(b"ab")},  # more than is promised, and harmless
    }
    values = loads(dumps(one(Context(values=given)))).contexts["a"].values
    assert values == {
        "tuple": [1, [2]],
        "proxy": {"a": {}},
        "range": [0, 1, 2],
        "enum": "red",
        "level": [1],
        "array": {"deep": b"ab"},
    }


# -- pieces -----------------------------------------------------------------------------------------------------------


def test_zero_pieces_are_not_stored() -> None:
    ram = Ram(bytes(1000) + b"\0" * 999 + b"x" + bytes(500), 1000)
    blob = Reader(dumps(one(Context(blobs={"ram": ram})))).blobs[0]
    assert [index for index, _ in blob.pieces()] == [1]


def test_a_large_zero_memory_takes_no_room() -> None:
    summary = dump(one(Context(blobs={"ram": Ram(bytes(64 << 20), 1 << 20)})), io.BytesIO())
    assert summary.pieces == 0
    assert summary.size < 500


def test_equal_pieces_are_stored_once_whatever_blob_they_are_of() -> None:
    page = os.urandom(1000)
    first = Context(blobs={"ram": SparseBlob(5000, 1000, {0: page, 4: page})})
    second = Context(blobs={"ram": SparseBlob(1000, 1000, {0: page}), "rom": SparseBlob(1500, 1500, {0: b"r" * 1500})})
    file = io.BytesIO()
    assert dump(Checkpoint({}, {"a": first, "b": second}), file).pieces == 2
    blobs = Reader(file.getvalue()).blobs
    assert [list(blob.digests()) for blob in blobs[:2]] == [[(0, d := next(blobs[0].digests())[1]), (4, d)], [(0, d)]]
    assert len(file.getvalue()) < 2000


def test_pieces_of_every_length_of_msgpack_head_come_back() -> None:
    blobs = {str(n): SparseBlob(n, n, {0: b"\x07" * n}) for n in (1, 255, 256, 65535, 65536, 1 << 20)}
    reader = Reader(dumps(one(Context(blobs=dict(blobs)))))
    reader.verify()
    assert {blob.tag: bytes(next(blob.pieces())[1]) for blob in reader.blobs} == {
        tag: blob.held[0] for tag, blob in blobs.items()
    }


def test_an_empty_blob_and_a_huge_one_are_kept() -> None:
    blobs = {"empty": SparseBlob(0, 1), "huge": SparseBlob((1 << 63) - 1, 1 << 20, {(1 << 43) - 2: b"e" * (1 << 20)})}
    reader = Reader(dumps(one(Context(blobs=dict(blobs)))))
    reader.verify()
    assert [(blob.size, [index for index, _ in blob.pieces()]) for blob in reader.blobs] == [
        (0, []),
        ((1 << 63) - 1, [(1 << 43) - 2]),
    ]


@pytest.mark.parametrize(
    "blob",
    [
        Pieces((1, b"a" * 40), (0, b"a" * 40)),
        Pieces((0, b"a" * 40), (0, b"a" * 40)),
        Pieces((3, b"a" * 20)),
        Pieces((-1, b"a" * 40)),
        Pieces((0, b"a" * 41)),
        Pieces((2, b"a" * 40)),
        Pieces((0, b"")),
        SparseBlob(80, 40, {2: b""}),
        SparseBlob(-1, 40),
        SparseBlob(1 << 63, 40),
        SparseBlob(1, 0),
        SparseBlob(1, (1 << 20) + 1),
    ],
)
def test_a_blob_that_breaks_its_contract_is_refused(blob: Pieces | SparseBlob) -> None:
    with pytest.raises(StateError, match=r"^a\.ram: "):
        dumps(one(Context(blobs={"ram": blob})))


# -- what cannot be written -------------------------------------------------------------------------------------------

SURROGATE = "text with half a surrogate pair has no UTF-8"

VALUES_REFUSED: dict[str, tuple[object, str]] = {
    "an integer too great": (1 << 64, "a.x: an integer is wider than 64 bits"),
    "an integer too small": (-(1 << 63) - 1, "a.x: an integer is wider than 64 bits"),
    "half a surrogate pair": ("\ud800", f"a.x: {SURROGATE}"),
    "an object": ([object()], "a.x: a value of type object cannot be saved"),
    "a set": ({1}, "a.x: a value of type set cannot be saved"),
    "a key that is a number": ({1: 2}, "a.x: the key 1 is not text"),
    "a key that is bytes": ([{b"k": 2}], "a.x: the key b'k' is not text"),
}


@pytest.mark.parametrize("name", VALUES_REFUSED)
def test_a_value_that_msgpack_cannot_hold_is_refused_by_tag(name: str) -> None:
    value, message = VALUES_REFUSED[name]
    with pytest.raises(StateError) as caught:
        dumps(one(Context(values={"x": cast("Value", value)})))
    assert str(caught.value) == message


CONTEXTS_REFUSED: dict[str, tuple[Context, str]] = {
    "a tag that is bytes": (Context(values=cast("dict[str, Value]", {b"x": 2})), "a: the tag b'x' is not text"),
    "half a surrogate pair in a tag": (Context(values={"\ud800": 1}), rf"a.\ud800: {SURROGATE}"),
    "a value deep inside": (
        Context(contexts={"b": Context(values={"x": 1 << 70})}),
        "a/b.x: an integer is wider than 64 bits",
    ),
    "an empty name": (
        Context(contexts={"": Context()}),
        "a: a context cannot be named '': the name is empty, has a /, or would be a step of a path",
    ),
    "a name with a slash": (
        Context(contexts={"b/c": Context()}),
        "a: a context cannot be named 'b/c': the name is empty, has a /, or would be a step of a path",
    ),
    "half a surrogate pair in a name": (
        Context(contexts={"\ud800": Context()}),
        r"a: a context cannot be named '\ud800': the name has characters that do not show",
    ),
    "a name that is a number": (
        Context(contexts=cast("dict[str, Context]", {3: Context()})),
        "a: a context cannot be named 3: the name is not text",
    ),
    "a negative version": (Context("t", -1), "a: a context cannot have the type 't' and the version -1"),
    "a version too great": (
        Context("t", 1 << 32),
        "a: a context cannot have the type 't' and the version 4294967296",
    ),
    "a version that is a bool": (Context("t", True), "a: a context cannot have the type 't' and the version True"),
    "a type that is no text": (Context(cast("str", 5)), "a: a context cannot have the type 5 and the version 0"),
    "a tag used twice": (
        Context("", 0, {"x": 1}, {"x": SparseBlob(1, 1)}),
        "a: the tag 'x' has a value and a blob",
    ),
    "a blob's tag that is a number": (
        Context(blobs=cast("dict[str, Blob]", {1: SparseBlob(1, 1)})),
        "a: the tag 1 is not text",
    ),
    "half a surrogate pair in a blob's tag": (
        Context(blobs={"\ud800": SparseBlob(1, 1)}),
        rf"a.\ud800: {SURROGATE}",
    ),
}


@pytest.mark.parametrize("name", CONTEXTS_REFUSED)
def test_a_context_that_the_format_cannot_hold_is_refused_by_path(name: str) -> None:
    context, message = CONTEXTS_REFUSED[name]
    with pytest.raises(StateError) as caught:
        dumps(one(context))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("contexts", "where"),
    [({"": Context()}, ""), ({"devices": Context(contexts={"a/b": Context()})}, "devices")],
    ids=["root", "devices"],
)
def test_a_section_needs_a_name(contexts: dict[str, Context], where: str) -> None:
    with pytest.raises(StateError, match=r"a context cannot be named") as caught:
        dumps(Checkpoint({}, contexts))
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"x": 1 << 64}, "the header: an integer is wider than 64 bits"),
        ({"x": object()}, "the header: a value of type object cannot be saved"),
        ({"created": 5}, "the header: `generator` and `created` must be text"),
        ({"generator": None}, "the header: `generator` and `created` must be text"),
    ],
    ids=["wide", "object", "created", "generator"],
)
def test_a_header_that_the_format_cannot_hold_is_refused(header: dict[str, Value], message: str) -> None:
    with pytest.raises(StateError) as caught:
        dumps(Checkpoint(header))
    assert str(caught.value) == message


LONG: dict[str, tuple[Callable[[], Checkpoint], str]] = {
    "a section": (
        lambda: one(Context(values={"x": bytes(16 << 20)})),
        "a: 16777240 bytes of content in one frame; the limit is 16777216; put long bytes into a blob",
    ),
    "text": (
        lambda: one(Context(values={"x": "x" * ((1 << 20) + 1)})),
        "a: more than 131072 values or 1048576 bytes of text in one frame; put long bytes into a blob",
    ),
    "values": (
        lambda: one(Context(values={"x": [0] * (1 << 17)})),
        "a: more than 131072 values or 1048576 bytes of text in one frame; put long bytes into a blob",
    ),
    "the header": (
        lambda: Checkpoint({"x": [0] * (1 << 17)}),
        "the header: more than 131072 values or 1048576 bytes of text in one frame",
    ),
    "all sections": (
        lambda: Checkpoint({}, {f"a{n}": Context(values={"x": bytes((16 << 20) - 99)}) for n in range(5)}),
        "a4: 83885710 bytes of content in the sections up to here; the limit is 67108864; put long bytes into a blob",
    ),
    "the index": (
        lambda: one(Context(blobs={"x": SparseBlob(1 << 21, 1, dict.fromkeys(range(1400000), b"x"))})),
        "the index: 16800180 bytes of content in one frame; the limit is 16777216; give the blobs larger pieces",
    ),
}


@pytest.mark.parametrize("name", LONG)
def test_what_is_longer_than_a_reader_takes_is_refused(name: str) -> None:
    make, message = LONG[name]
    with pytest.raises(LimitError) as caught:
        dumps(make())
    assert str(caught.value) == message


def nested_values(depth: int) -> Value:
    value: Value = 1
    for level in range(depth):
        value = [value] if level % 2 else {"x": value}
    return value


def nested_contexts(depth: int) -> Context:
    context = Context()
    for _ in range(depth):
        context = Context(contexts={"b": context})
    return context


def test_values_nest_as_deep_as_the_format_allows_and_no_deeper() -> None:
    checkpoint = one(Context(values={"x": nested_values(62)}))  # the section, its values, and these
    Reader(dumps(checkpoint)).verify()
    checkpoint.contexts["a"].values["x"] = nested_values(63)
    with pytest.raises(LimitError, match=r"^a\.x: values nest deeper than 64 maps and arrays"):
        dumps(checkpoint)
    Reader(dumps(Checkpoint({"x": nested_values(63)}))).verify()
    with pytest.raises(LimitError, match=r"^the header: values nest deeper"):
        dumps(Checkpoint({"x": nested_values(64)}))


def test_contexts_nest_as_deep_as_the_format_allows_and_no_deeper() -> None:
    Reader(dumps(one(nested_contexts(31)))).verify()
    with pytest.raises(LimitError, match=r"^a/b/b.*: contexts nest deeper than 64 maps"):
        dumps(one(nested_contexts(32)))


# -- the file it is written to ----------------------------------------------------------------------------------------


class Sink:
    """A file that can do nothing but take bytes, a few at a time."""

    name = "sink"

    def __init__(self, at_most: int) -> None:
        self.data = b""
        self._at_most = at_most

    def write(self, data: bytes, /) -> int:
        self.data += data[: self._at_most]
        return min(len(data), self._at_most)


def test_one_pass_is_enough_and_a_file_may_take_less_than_it_is_given() -> None:
    sink = Sink(7)
    dump(small(), sink)
    assert sink.data == dumps(small())


def test_a_file_that_takes_nothing_is_an_error() -> None:
    with pytest.raises(StorageError, match=r"^sink: the file takes no more$"):
        dump(small(), Sink(0))


def test_a_write_that_the_system_refuses_is_an_error_that_names_the_file() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as file,
        pytest.raises(StorageError, match=r"/dev/full: No space left"),
    ):
        dump(small(), file)


# -- other programs ---------------------------------------------------------------------------------------------------

ZSTD = shutil.which("zstd")


@pytest.mark.skipif(ZSTD is None, reason="the zstd tool is not installed")
@pytest.mark.parametrize("checkpoint", [Checkpoint(), small()], ids=["empty", "small"])
def test_the_zstd_tool_accepts_the_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(dumps(checkpoint))
    assert ZSTD is not None
    assert subprocess.run([ZSTD, "-q", "-t", path], check=False).returncode == 0
    content = subprocess.run([ZSTD, "-q", "-dc", path], check=True, capture_output=True).stdout
    unpacker = msgpack.Unpacker()
    unpacker.feed(content)
    values = list(unpacker)
    assert isinstance(values[0], Mapping)
    assert len(values) == (10 if checkpoint.contexts else 2)
