"""Reading part by part: what is read when, from where, and what happens when the file goes away."""

import io
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from chkpt.context import Checkpoint, Context, SparseBlob
from chkpt.errors import CorruptError, NotFoundError, StorageError
from chkpt.snapshot import Reader, dumps, loads, open_reader
from chkpt.snapshot.source import MemorySource
from tests.support.checkpoints import plain, plain_blob, small
from tests.support.descriptors import none_left


class Watched(MemorySource):
    """A source that remembers which offsets were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data, "watched")
        self.offsets: list[int] = []

    def read(self, offset: int, size: int, /) -> memoryview:
        self.offsets.append(offset)
        return super().read(offset, size)

    def taken(self) -> list[int]:
        """The offsets that were read since this was last asked."""
        offsets, self.offsets = self.offsets, []
        return offsets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.zst"
    path.write_bytes(dumps(small()))
    return path


def offset_of(reader: Reader, *path: str) -> int:
    return next(entry.offset for entry in reader.sections if entry.path == path)


# -- what is read when ------------------------------------------------------------------------------------------------


def test_to_open_reads_trailer_index_and_header_only() -> None:
    data = dumps(small())
    source = Watched(data)
    reader = Reader(source)
    _, index_offset, header_offset = offsets = source.taken()
    assert offsets[0] == len(data) - 68
    assert index_offset > max(entry.offset for entry in reader.sections)
    assert header_offset == 0
    reader.checkpoint()
    assert [reader.header["machine"], reader.sections[0].type, reader.blobs[0].size] == ["small", "clock", 2500]
    assert source.taken() == []


def test_a_section_is_read_when_it_is_looked_up_and_once() -> None:
    source = Watched(dumps(small()))
    reader = Reader(source)
    contexts = reader.checkpoint().contexts
    source.taken()
    devices = contexts["devices"]
    assert source.taken() == [offset_of(reader, "devices")]
    assert list(devices.contexts) == ["ide0", "pit"]
    assert "pit" in devices.contexts
    assert "com1" not in devices.contexts
    assert len(devices.contexts) == 2
    assert source.taken() == []
    pit = devices.contexts["pit"]
    assert source.taken() == [offset_of(reader, "devices", "pit")]
    assert contexts["devices"].contexts["pit"] is pit
    assert source.taken() == []


def test_the_pieces_of_a_blob_are_read_one_by_one() -> None:
    source = Watched(dumps(small()))
    blob = Reader(source).checkpoint().contexts["memory"].blobs["ram"]
    source.taken()
    pieces = iter(blob.pieces())
    next(pieces)
    assert len(source.taken()) == 1
    next(pieces)
    assert len(source.taken()) == 1


def test_a_piece_that_is_used_twice_in_a_row_is_read_once() -> None:
    page = b"p" * 1000
    blob = SparseBlob(5000, 1000, {0: page, 1: page, 2: page, 4: b"q" * 1000})
    source = Watched(dumps(Checkpoint({}, {"a": Context(blobs={"b": blob})})))
    stored = Reader(source).section("a").blobs["b"]
    source.taken()
    assert plain_blob(stored) == plain_blob(blob)
    assert len(source.taken()) == 2


def test_the_digests_of_a_blob_are_known_without_reading_it() -> None:
    source = Watched(dumps(small()))
    first, second = Reader(source).blobs
    source.taken()
    assert [index for index, _ in first.digests()] == [1, 2]
    assert dict(first.digests())[1] == dict(second.digests())[0]
    assert first.stored_size > 0
    assert source.taken() == []


def test_to_verify_reads_every_section_and_piece() -> None:
    source = Watched(dumps(small()))
    reader = Reader(source)
    source.taken()
    reader.verify()
    assert len(set(source.taken())) == len(reader.sections) + 3


# -- sections and checkpoints -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["devices/pit", ("devices", "pit"), ["devices", "pit"]])
def test_a_section_is_named_by_its_path(path: str) -> None:
    context = Reader(dumps(small())).section(path)
    assert (context.type, context.contexts["counter"].values) == ("pit", {"mode": 3, "held": b""})


@pytest.mark.parametrize("path", ["pit", "devices/com1", "devices/pit/counter", "", ()])
def test_what_is_no_section_is_not_found(path: str) -> None:
    with pytest.raises(NotFoundError, match=r"^snapshot: there is no section"):
        Reader(dumps(small())).section(path)


def test_the_section_devices_leads_to_the_devices() -> None:
    devices = Reader(dumps(small())).section("devices")
    assert devices.values["num_devs"] == 2
    assert devices.contexts["ide0"].contexts["drive"].values == {"model": "DISK"}


def test_what_goes_through_a_file_once_keeps_no_section() -> None:
    """Else a file of few bytes, whose sections are long zeros, costs the memory of all of them."""
    reader = Reader(dumps(small()))
    contexts, devices = (
        reader.checkpoint(keep=False).contexts,
        reader.checkpoint(keep=False).contexts["devices"].contexts,
    )
    for each in (contexts, devices):
        name = next(iter(each))
        assert each[name] is not each[name]
    kept = reader.checkpoint().contexts
    assert kept["devices"] is kept["devices"]


def test_contexts_of_a_checkpoint_can_be_changed_and_written() -> None:
    data = dumps(small())
    checkpoint = loads(data)
    checkpoint.contexts["new"] = Context("new", 1)
    del checkpoint.contexts["clock"]
    devices = cast("dict[str, Context]", checkpoint.contexts["devices"].contexts)
    devices["pit"].values["irq"] = False
    del devices["ide0"]
    checkpoint.header["machine"] = "changed"
    again = loads(dumps(checkpoint))
    assert list(again.contexts) == ["devices", "memory", "new"]
    assert list(again.contexts["devices"].contexts) == ["pit"]
    assert again.contexts["devices"].contexts["pit"].values["irq"] is False
    assert again.header["machine"] == "changed"
    assert plain(loads(data).contexts) == plain(small().contexts)


def test_lazy_contexts_are_a_mapping_like_any_other() -> None:
    contexts = loads(dumps(small())).contexts
    assert isinstance(contexts, Mapping)
    assert repr(contexts) == "<contexts clock, devices, memory>"
    assert contexts.get("nothing") is None
    with pytest.raises(KeyError, match=r"nothing"):
        contexts["nothing"]
    assert {name: context.type for name, context in contexts.items()} == {
        "clock": "clock",
        "devices": "",
        "memory": "memory",
    }


def test_two_checkpoints_of_one_reader_share_nothing_that_changes() -> None:
    reader = Reader(dumps(small()))
    first = reader.checkpoint()
    first.header["machine"] = "other"
    first.contexts["clock"].values["now"] = 0
    second = reader.checkpoint()
    assert (second.header["machine"], second.contexts["clock"].values["now"]) == ("small", 27462701)


def test_many_threads_may_read_at_once() -> None:
    piece = os.urandom(1 << 16)
    blob = SparseBlob(32 << 16, 1 << 16, {index: bytes([index]) + piece[1:] for index in range(32)})
    reader = Reader(
        dumps(Checkpoint({}, {"a": Context(blobs={"b": blob}), "b": Context("", 0, {"x": list(range(99))})}))
    )
    faults: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                assert plain_blob(reader.section("a").blobs["b"])[2][: 1 << 16] == b"\0" + piece[1:]
                assert reader.section("b").values["x"] == list(range(99))
        except BaseException as exc:  # noqa: BLE001  it is reported below
            faults.append(exc)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


# -- where it is read from --------------------------------------------------------------------------------------------


def test_a_file_is_opened_by_path(path: Path) -> None:
    for given in (path, str(path)):
        with open_reader(given) as reader:
            assert reader.name == str(path)
            assert reader.size == path.stat().st_size
            assert plain(reader.checkpoint().contexts) == plain(small().contexts)


def test_a_file_object_is_read_to_its_end(path: Path) -> None:
    with path.open("rb") as file:
        reader = open_reader(file)
    assert reader.name == str(path)
    reader.verify()
    assert open_reader(io.BytesIO(path.read_bytes())).name == "snapshot"


def test_a_pipe_is_read_to_its_end(path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, path.read_bytes())
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        open_reader(file).verify()


def test_a_file_object_that_the_system_refuses_to_read_is_an_error(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with os.fdopen(os.open(tmp_path / "x", os.O_CREAT | os.O_RDONLY), "rb", buffering=0) as file:
            os.dup2(descriptor, file.fileno())
            with pytest.raises(StorageError, match=r"Is a directory"):
                open_reader(file)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("given", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_are_read(given: type[bytes]) -> None:
    reader = Reader(given(dumps(small())), "mine")
    reader.verify()
    assert reader.name == "mine"


@pytest.mark.parametrize("name", ["nothing", "small.zst/inside", "nul\0byte"])
def test_no_file_is_not_found(path: Path, name: str) -> None:
    with pytest.raises(NotFoundError):
        Reader.open(path.parent / name)
    assert [entry.name for entry in path.parent.iterdir()] == ["small.zst"]


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Is a directory$"):
        Reader.open(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StorageError, match=r"fifo: not a regular file$"):
        Reader.open(tmp_path / "fifo")


def test_a_closed_reader_says_so(path: Path) -> None:
    with Reader.open(path) as reader:
        checkpoint = reader.checkpoint()
        clock = checkpoint.contexts["clock"]
        blob = checkpoint.contexts["memory"].blobs["ram"]
    reader.close()
    assert checkpoint.contexts["clock"] is clock
    with pytest.raises(StorageError, match=r"small\.zst: the snapshot has been closed$"):
        checkpoint.contexts["devices"]
    with pytest.raises(StorageError, match=r"has been closed"):
        list(blob.pieces())


def test_a_reader_that_fails_to_open_closes_the_file(path: Path) -> None:
    path.write_bytes(b"no snapshot")
    with none_left(), pytest.raises(CorruptError):
        Reader.open(path)


def test_a_file_that_shrinks_while_it_is_read_is_corrupt(path: Path) -> None:
    with Reader.open(path) as reader:
        offset = offset_of(reader, "memory")
        os.truncate(path, offset + 5)
        reader.section("clock")
        with pytest.raises(CorruptError, match=rf"section memory at offset {offset}: the file no longer reaches to"):
            reader.section("memory")
        blob = reader.section("devices/ide0").contexts["drive"].blobs["blocks"]
        with pytest.raises(CorruptError, match=r"piece 0 \(devices/ide0/drive\.blocks\) .* the file no longer reaches"):
            list(blob.pieces())


def test_a_file_that_is_replaced_while_it_is_read_stays_as_it_was(path: Path) -> None:
    with Reader.open(path) as reader:
        other = path.with_name("other")
        other.write_bytes(dumps(Checkpoint()))
        other.replace(path)
        reader.verify()


def test_a_read_that_the_system_refuses_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    with Reader.open(path) as reader:
        monkeypatch.setattr(os, "pread", refuse)
        with pytest.raises(StorageError, match=r"small\.zst: Input/output error$"):
            reader.section("clock")


def test_a_blob_of_a_closed_reader_cannot_end_up_in_a_new_file(path: Path) -> None:
    with Reader.open(path) as reader:
        checkpoint = Checkpoint({}, {"a": Context(blobs={"b": reader.blobs[0]})})
        assert len(dumps(checkpoint)) > 0
    with pytest.raises(StorageError, match=r"has been closed"):
        dumps(checkpoint)


def test_a_damaged_piece_is_found_by_whoever_writes_it_elsewhere() -> None:
    data = bytearray(dumps(small()))
    reader = Reader(bytes(data))
    data[offset_of(reader, "memory") + reader.sections[-1].stored_size + 20] ^= 1
    with pytest.raises(CorruptError, match=r"piece 0 \(devices/ide0/drive\.blocks\)"):
        dumps(loads(bytes(data)))


def test_the_rest_of_a_damaged_file_can_be_read() -> None:
    data = bytearray(dumps(small()))
    data[offset_of(Reader(bytes(data)), "devices", "pit") + 9] ^= 0x40
    checkpoint = loads(bytes(data))
    assert checkpoint.contexts["devices"].contexts["ide0"].values == {"irq": False}
    with pytest.raises(CorruptError, match=r"section devices/pit at offset"):
        checkpoint.contexts["devices"].contexts["pit"]


def test_a_file_that_fails_to_close_has_been_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(dumps(small()))
    with Reader.open(path) as reader:
        reader.verify()
        os.close(reader._source._file.fileno())  # type: ignore[attr-defined]  # it is a FileSource
