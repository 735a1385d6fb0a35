"""The block backends: reads and writes over a base that is never written, saved and loaded."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.context import Checkpoint, SparseBlob, blob_bytes
from chkpt.device import DiskState, FrontendKind
from chkpt.errors import ConfigError, StateError, StorageError
from chkpt.snapshot import dumps, loads
from chkpt.state import from_context, from_table, to_context
from chkpt_devices.backends.block import (
    BLOCK_SIZE,
    IMAGE,
    MAX_SIZE,
    PIECE_SIZE,
    SCRATCH,
    CowDisk,
    ImageConfig,
    ScratchConfig,
    open_image,
    open_scratch,
)
from chkpt_devices.backends.block_map import MAP_PIECE
from tests.support.descriptors import none_left

SIZE = 3 * PIECE_SIZE + BLOCK_SIZE + 512
"""Neither whole pieces nor whole blocks."""

CONTENT = bytes(at * 7 & 0xFF for at in range(SIZE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def image(path: Path) -> CowDisk:
    return open_image(ImageConfig(str(path)))


def scratch(size: int = SIZE) -> CowDisk:
    return open_scratch(ScratchConfig(size))


def identity(content: bytes) -> bytes:
    """Return the identity of an image, by its definition."""
    hasher = blake3(len(content).to_bytes(8, "little"), derive_key_context="chkpt image identity 1")
    for number in range(-(-len(content) >> 20)):
        piece = content[number << 20 : (number + 1) << 20]
        if any(piece):
            hasher.update(number.to_bytes(8, "little") + blake3(piece).digest())
    return b"\1" + hasher.digest()


def bits(changed: bytes) -> SparseBlob:
    """Return the map of changed blocks of a state."""
    return SparseBlob(len(changed), MAP_PIECE, {0: changed})


def copy(state: DiskState) -> DiskState:
    """Return a state as it comes out of a snapshot."""
    return from_context(to_context(state), DiskState, "disk")


# -- reads and writes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 512), (BLOCK_SIZE - 512, 1024), (SIZE - 512, 512), (0, SIZE), (0, 0)]
)
def test_an_image_reads_as_its_file(image: CowDisk, offset: int, length: int) -> None:
    assert image.read(offset, length) == CONTENT[offset : offset + length]


def test_a_scratch_disk_reads_as_zeros() -> None:
    assert scratch().read(512, 1024) == bytes(1024)


@pytest.mark.parametrize("offset", [0, 512, BLOCK_SIZE - 512, BLOCK_SIZE, SIZE - 1024])
@pytest.mark.parametrize("length", [512, 1024])
def test_what_is_written_is_read_and_nothing_beside_it_changes(image: CowDisk, offset: int, length: int) -> None:
    data = b"\xa5" * length
    image.write(offset, data)
    assert image.read(0, SIZE) == CONTENT[:offset] + data + CONTENT[offset + length :]


def test_the_image_is_never_written(path: Path, image: CowDisk) -> None:
    image.write(0, bytes(SIZE))
    image.flush()
    image.close()
    assert path.read_bytes() == CONTENT


def test_an_image_needs_no_permission_to_write(path: Path) -> None:
    path.chmod(0o400)
    disk = open_image(ImageConfig(str(path)))
    disk.write(0, bytes(512))
    assert disk.read(0, 512) == bytes(512)


def test_a_read_only_image_refuses_writes(path: Path) -> None:
    disk = open_image(ImageConfig(str(path), read_only=True))
    assert disk.read_only
    with pytest.raises(OSError, match="read-only") as caught:
        disk.write(0, bytes(512))
    assert caught.value.errno == errno.EROFS
    assert disk.read(0, 512) == CONTENT[:512]


@pytest.mark.parametrize(("offset", "length"), [(SIZE, 512), (SIZE - 512, 1024), (-512, 512)])
def test_what_is_past_the_end_is_an_error(image: CowDisk, offset: int, length: int) -> None:
    with pytest.raises(OSError, match="not within"):
        image.read(offset, length)
    with pytest.raises(OSError, match="not within"):
        image.write(offset, bytes(length))


def test_an_image_that_becomes_shorter_is_an_error(path: Path, image: CowDisk) -> None:
    os.truncate(path, 512)
    assert image.read(0, 512) == CONTENT[:512]
    with pytest.raises(OSError, match="shorter"):
        image.read(0, 1024)


def test_a_write_that_fails_half_way_changes_nothing() -> None:
    def read_base(offset: int, length: int) -> bytes:
        if offset >= BLOCK_SIZE:
            raise OSError(errno.EIO, "no")
        return bytes(length)

    disk = CowDisk("half", 2 * BLOCK_SIZE, read_base, lambda _: b"", lambda: None)
    with pytest.raises(OSError, match="no"):
        disk.write(BLOCK_SIZE - 512, b"\xff" * 1024)
    assert disk.read(0, BLOCK_SIZE) == bytes(BLOCK_SIZE)
    assert not any(blob_bytes(disk.save().changed))


def test_closing_twice_is_no_error(image: CowDisk) -> None:
    image.close()
    image.close()


# -- opening ----------------------------------------------------------------------------------------------------------


def test_the_types_have_the_names_of_the_configuration() -> None:
    assert (IMAGE.kind, IMAGE.name, SCRATCH.kind, SCRATCH.name) == (
        FrontendKind.BLOCK, "image", FrontendKind.BLOCK, "scratch"
    )  # fmt: skip


def test_the_types_open_what_their_configuration_says(path: Path) -> None:
    image = IMAGE.open(from_table({"path": str(path), "read_only": True}, IMAGE.config, "test"))
    disk = SCRATCH.open(from_table({"size": 1 << 20}, SCRATCH.config, "test"))
    assert isinstance(image, CowDisk)
    assert isinstance(disk, CowDisk)
    assert (image.size, image.read_only, disk.size, disk.read_only) == (SIZE, True, 1 << 20, False)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.img"
    with pytest.raises(StorageError, match=f"{path}.*check the path"):
        open_image(ImageConfig(str(path)))


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="neither a file nor a block device"):
        open_image(ImageConfig(str(tmp_path)))


@pytest.mark.timeout(10)
def test_a_fifo_is_no_image_and_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(StorageError, match="neither a file nor a block device"):
        open_image(ImageConfig(str(path)))


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1023])
def test_an_image_without_whole_sectors_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.img"
    path.write_bytes(bytes(size))
    with pytest.raises(ConfigError, match=f"{size} bytes.*truncate"):
        open_image(ImageConfig(str(path)))


def test_a_refused_image_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "cut.img"
    path.write_bytes(b"x")
    with none_left(), pytest.raises(ConfigError):
        open_image(ImageConfig(str(path)))


def test_an_image_larger_than_the_bitmap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.img"
    path.touch()
    os.truncate(path, MAX_SIZE + 512)
    with pytest.raises(ConfigError, match="largest"):
        open_image(ImageConfig(str(path)))


def test_a_scratch_disk_has_whole_sectors() -> None:
    with pytest.raises(ConfigError, match="sectors"):
        scratch(1000)


@pytest.mark.parametrize("size", [0, 511, MAX_SIZE + 1])
def test_a_scratch_disk_has_a_size_within_its_range(size: int) -> None:
    with pytest.raises(ConfigError, match="size"):
        from_table({"size": size}, ScratchConfig, "test")


# -- save -------------------------------------------------------------------------------------------------------------


def test_an_unchanged_image_saves_its_identity_and_nothing_else(image: CowDisk) -> None:
    assert image.save() == DiskState(
        SIZE, identity(CONTENT), BLOCK_SIZE, SparseBlob(7, MAP_PIECE), SparseBlob(SIZE, PIECE_SIZE, {})
    )


def test_a_scratch_disk_has_no_identity() -> None:
    assert scratch().save().identity == b""


def test_changed_blocks_are_saved_at_their_places(image: CowDisk) -> None:
    image.write(PIECE_SIZE + 512, b"\x11" * 512)
    image.write(SIZE - 512, b"\x22" * 512)
    state = image.save()
    expected = bytearray(SIZE)
    expected[PIECE_SIZE : PIECE_SIZE + BLOCK_SIZE] = image.read(PIECE_SIZE, BLOCK_SIZE)
    expected[SIZE - 512 :] = b"\x22" * 512
    assert blob_bytes(state.blocks) == expected
    changed = blob_bytes(state.changed)
    assert [at for at in range(56) if changed[at >> 3] >> (at & 7) & 1] == [16, 49]
    assert [index for index, _ in state.blocks.pieces()] == [1, 3]


def test_blocks_written_with_zeros_are_changed_and_not_held(image: CowDisk) -> None:
    image.write(0, bytes(PIECE_SIZE))
    state = image.save()
    assert blob_bytes(state.changed)[:2] == b"\xff\xff"
    assert list(state.blocks.pieces()) == []


def test_an_unchanged_disk_saves_the_same_object_again(image: CowDisk) -> None:
    image.write(0, bytes(512))
    assert image.save() is image.save()


def test_a_write_after_a_save_is_in_the_next_one_and_not_in_the_last() -> None:
    disk = scratch()
    disk.write(0, b"\x01" * 512)
    first = disk.save()
    held = blob_bytes(first.blocks)
    disk.write(0, b"\x02" * 512)
    disk.write(PIECE_SIZE, b"\x03" * 512)
    second = disk.save()
    assert blob_bytes(first.blocks) == held
    assert blob_bytes(first.changed)[:3] == b"\x01\x00\x00"
    assert blob_bytes(second.blocks)[:512] == b"\x02" * 512
    assert blob_bytes(second.changed)[:3] == b"\x01\x00\x01"


def test_pieces_not_written_since_the_last_save_are_the_same_objects() -> None:
    disk = scratch()
    disk.write(0, b"\x01" * 512)
    disk.write(PIECE_SIZE, b"\x01" * 512)
    first = dict(disk.save().blocks.pieces())
    disk.write(0, b"\x02" * 512)
    second = dict(disk.save().blocks.pieces())
    assert second[1] is first[1]
    assert second[0] != first[0]


def test_the_identity_is_computed_at_the_first_save_and_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = open_image(ImageConfig(str(path)))
    reads: list[int] = []
    pread = os.pread

    def counted(file: int, length: int, offset: int) -> bytes:
        reads.append(offset)
        return pread(file, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert reads == []
    image.save()
    assert reads == [0]
    image.write(0, bytes(BLOCK_SIZE))
    image.save()
    assert reads == [0]


def test_the_identity_of_a_file_that_has_changed_is_another_one(path: Path, image: CowDisk) -> None:
    before = image.save()
    path.write_bytes(bytes(SIZE))
    os.utime(path, ns=(1, 1))
    after = image.save()
    assert after.identity == identity(bytes(SIZE)) != before.identity
    with pytest.raises(StateError):
        image.check(before)


def test_an_image_that_cannot_be_read_for_its_identity_is_named(path: Path, image: CowDisk) -> None:
    image.close()
    with pytest.raises(StorageError, match=str(path)):
        image.save()


def test_a_disk_beyond_512_gib_is_saved_and_loaded(tmp_path: Path) -> None:
    disk = scratch(MAX_SIZE)
    disk.write(0, b"\1" * 512)
    disk.write(MAX_SIZE - 512, b"\2" * 512)
    checkpoint = Checkpoint({}, {"disk": to_context(disk.save())})
    again = scratch(MAX_SIZE)
    again.load(from_context(loads(dumps(checkpoint)).contexts["disk"], DiskState, "disk"))
    assert again.read(0, 1024) == b"\1" * 512 + bytes(512)
    assert again.read(MAX_SIZE - 1024, 1024) == bytes(512) + b"\2" * 512


def test_zeros_that_a_guest_writes_hide_the_image_and_take_no_memory(path: Path, image: CowDisk) -> None:
    image.write(0, bytes(SIZE))
    assert image.read(0, SIZE) == bytes(SIZE)
    twin = open_image(ImageConfig(str(path)))
    twin.load(copy(image.save()))
    twin.write(512, b"\1" * 512)
    assert twin.read(0, SIZE) == bytes(512) + b"\1" * 512 + bytes(SIZE - 1024)


def test_a_state_of_version_1_is_loaded_by_the_digest_of_the_whole_image(path: Path, image: CowDisk) -> None:
    image.write(512, b"\5" * BLOCK_SIZE)
    context = to_context(image.save())
    changed = blob_bytes(context.blobs.pop("changed"))
    context.version = 1
    del context.values["identity"]
    context.values.update(changed=changed, digest=blake3(CONTENT).digest())
    twin = open_image(ImageConfig(str(path)))
    twin.load(from_context(context, DiskState, "disk"))
    assert twin.save() == image.save()
    context.values["digest"] = blake3(bytes(SIZE)).digest()
    with pytest.raises(StateError, match=blake3(CONTENT).hexdigest()):
        twin.load(from_context(context, DiskState, "disk"))


# -- load -------------------------------------------------------------------------------------------------------------


def test_load_brings_the_changes_back(path: Path, image: CowDisk) -> None:
    image.write(512, b"\x55" * BLOCK_SIZE)
    image.write(PIECE_SIZE, bytes(BLOCK_SIZE))
    twin = open_image(ImageConfig(str(path)))
    twin.load(copy(image.save()))
    assert twin.read(0, SIZE) == image.read(0, SIZE)
    assert twin.save() == image.save()


def test_load_takes_the_place_of_the_changes_there_were() -> None:
    disk = scratch()
    fresh = disk.save()
    disk.write(0, b"\x01" * SIZE)
    disk.save()
    disk.write(512, b"\x02" * 512)
    disk.load(fresh)
    assert disk.read(0, SIZE) == bytes(SIZE)
    assert disk.save() == fresh


def test_a_loaded_state_is_not_altered_by_writes() -> None:
    disk = scratch()
    disk.write(0, b"\x01" * 512)
    state = disk.save()
    held = blob_bytes(state.blocks)
    disk.load(state)
    disk.write(0, b"\x02" * 512)
    disk.save()
    assert blob_bytes(state.blocks) == held


@pytest.mark.parametrize("piece_size", [BLOCK_SIZE, 8 * BLOCK_SIZE, 1 << 20])
def test_pieces_of_any_number_of_blocks_are_taken(piece_size: int) -> None:
    content = bytes(at * 3 & 0xFF for at in range(SIZE))
    held = {at // piece_size: content[at : at + piece_size] for at in range(0, SIZE, piece_size)}
    state = DiskState(SIZE, b"", BLOCK_SIZE, bits(b"\xff" * 6 + b"\x03"), SparseBlob(SIZE, piece_size, held))
    disk = scratch()
    disk.load(state)
    assert disk.read(0, SIZE) == content
    assert blob_bytes(disk.save().blocks) == content


def test_what_a_blob_holds_of_blocks_that_have_not_changed_is_passed_over() -> None:
    held = {0: b"\xff" * PIECE_SIZE}
    disk = scratch()
    disk.load(DiskState(SIZE, b"", BLOCK_SIZE, bits(b"\x02" + bytes(6)), SparseBlob(SIZE, PIECE_SIZE, held)))
    assert disk.read(0, 3 * BLOCK_SIZE) == bytes(BLOCK_SIZE) + b"\xff" * BLOCK_SIZE + bytes(BLOCK_SIZE)


def test_another_size_is_refused_and_both_are_named(image: CowDisk) -> None:
    with pytest.raises(StateError, match=f"{SIZE + 512}.*{SIZE}"):
        image.check(replace(image.save(), size=SIZE + 512))


def test_another_image_is_refused_and_both_are_named(tmp_path: Path, path: Path, image: CowDisk) -> None:
    other = tmp_path / "other.img"
    other.write_bytes(bytes(SIZE))
    with pytest.raises(StateError, match=f"(?s){identity(CONTENT).hex()}.*{other}.*{identity(bytes(SIZE)).hex()}"):
        open_image(ImageConfig(str(other))).load(image.save())


def test_an_image_is_not_a_scratch_disk(image: CowDisk) -> None:
    with pytest.raises(StateError, match="zeros"):
        image.load(scratch().save())
    with pytest.raises(StateError, match="zeros"):
        scratch().load(image.save())


BROKEN: dict[str, Callable[[DiskState], DiskState]] = {
    "block_size": lambda state: replace(state, block_size=512),
    "changed too short": lambda state: replace(state, changed=bits(bytes(6))),
    "changed too long": lambda state: replace(state, changed=bits(bytes(8))),
    "changed beyond the end": lambda state: replace(state, changed=bits(bytes(6) + b"\x04")),
    "changed in pieces of nothing": lambda state: replace(state, changed=SparseBlob(7, 0)),
    "short piece of changed": lambda state: replace(state, changed=SparseBlob(7, MAP_PIECE, {0: b"\1"})),
    "changed past the end": lambda state: replace(state, changed=SparseBlob(7, MAP_PIECE, {1: bytes(MAP_PIECE)})),
    "identity of no kind": lambda state: replace(state, identity=b"\7" * 33),
    "blob of another size": lambda state: replace(state, blocks=SparseBlob(SIZE - 512, PIECE_SIZE)),
    "pieces of half blocks": lambda state: replace(state, blocks=SparseBlob(SIZE, 512)),
    "pieces of nothing": lambda state: replace(state, blocks=SparseBlob(SIZE, 0)),
    "short piece": lambda state: replace(state, blocks=SparseBlob(SIZE, PIECE_SIZE, {0: bytes(512)})),
    "piece past the end": lambda state: replace(state, blocks=SparseBlob(SIZE, PIECE_SIZE, {9: bytes(PIECE_SIZE)})),
}


@pytest.mark.parametrize("breaks", BROKEN.values(), ids=BROKEN)
def test_a_state_whose_parts_do_not_fit_is_refused_and_nothing_changes(
    breaks: Callable[[DiskState], DiskState],
) -> None:
    disk = scratch()
    disk.write(0, b"\x01" * 512)
    before = disk.save()
    with pytest.raises(StateError):
        disk.load(breaks(before))
    assert disk.save() == before
    assert disk.read(0, 512) == b"\x01" * 512


# -- a model ----------------------------------------------------------------------------------------------------------

action = st.one_of(
    st.tuples(st.just("write"), st.integers(0, SIZE // 512 - 1), st.integers(1, 40), st.integers(0, 2)),
    st.tuples(st.just("save"), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just("load"), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just("twin"), st.just(0), st.just(0), st.just(0)),
)


@settings(deadline=None)
@given(actions=st.lists(action, max_size=20))
def test_a_disk_is_a_run_of_bytes_that_can_be_saved(actions: list[tuple[str, int, int, int]]) -> None:
    def base(offset: int, length: int) -> bytes:
        return CONTENT[offset : offset + length]

    def make() -> CowDisk:
        return CowDisk("model", SIZE, base, lambda _: b"d", lambda: None)

    disk, model = make(), bytearray(CONTENT)
    saved, remembered = disk.save(), bytes(model)
    for name, sector, count, value in actions:
        if name == "write":
            offset = 512 * sector
            data = bytes([value]) * min(512 * count, SIZE - offset)
            disk.write(offset, data)
            model[offset : offset + len(data)] = data
        elif name == "save":
            saved, remembered = disk.save(), bytes(model)
        elif name == "load":
            disk.load(saved)
            model[:] = remembered
        else:
            twin = make()
            twin.load(copy(disk.save()))
            disk = twin
        assert disk.read(0, SIZE) == model
    state = disk.save()
    for index, piece in state.blocks.pieces():
        assert any(piece)
        assert len(piece) == min(PIECE_SIZE, SIZE - index * PIECE_SIZE)
