"""An image's identity: computed beside the machine, remembered, and without reading what is a hole."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3

from chkpt.errors import StateError, StorageError
from chkpt_devices.backends.block import ImageConfig, open_image
from chkpt_devices.backends.identity import IDENTITY_PIECE, Kind
from chkpt_devices.backends.image import Image
from tests.support.slow import Gate, sparse


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "chkpt" / "images"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files that were just made be taken for old ones."""
    monkeypatch.setattr("chkpt_devices.backends.identity_cache._SETTLED", -1 << 62)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all that is read of images from now on, by any thread."""
    found: list[int] = []
    pread = os.pread

    def counted(file: int, length: int, offset: int) -> bytes:
        found.append(length)
        return pread(file, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    return found


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_holes_are_not_read(tmp_path: Path, reads: list[int]) -> None:
    disk = open_image(ImageConfig(str(sparse(tmp_path / "disk.img"))))
    disk.save()
    disk.close()
    assert sum(reads) <= 2 * IDENTITY_PIECE  # of 64 GiB: a piece, and what is looked at when it is opened


def test_an_image_and_its_copy_without_holes_have_one_identity(tmp_path: Path) -> None:
    size = 6 * IDENTITY_PIECE + 512
    one = sparse(tmp_path / "one", size, 3 * IDENTITY_PIECE - 100)
    other = tmp_path / "other"
    other.write_bytes(one.read_bytes())
    assert one.stat().st_blocks < other.stat().st_blocks
    found = []
    for path in (one, other):
        image = Image(str(path))
        found.append([image.identity(kind) for kind in Kind])
        image.close()
    assert found[0] == found[1]
    assert found[0][Kind.WHOLE] == blake3(one.read_bytes()).digest()


def test_a_byte_anywhere_and_a_size_make_another_identity(tmp_path: Path) -> None:
    found = set()
    for at in (0, IDENTITY_PIECE - 1, 3 * IDENTITY_PIECE, 5 * IDENTITY_PIECE + 511):
        content = bytearray(5 * IDENTITY_PIECE + 512)
        content[at] = 1
        (tmp_path / "disk").write_bytes(content)
        image = Image(str(tmp_path / "disk"))
        found.add(image.identity(Kind.PIECES))
        image.close()
    image = Image(str(sparse(tmp_path / "longer", 6 * IDENTITY_PIECE, 0, b"\1")))
    found.add(image.identity(Kind.PIECES))
    image.close()
    assert len(found) == 5


@pytest.mark.usefixtures("settled")
def test_an_identity_is_remembered_from_one_opening_to_the_next(tmp_path: Path, reads: list[int]) -> None:
    path = tmp_path / "disk"
    path.write_bytes(os.urandom(8 << 20))
    first = open_image(ImageConfig(str(path)))
    state = first.save()
    first.close()
    del reads[:]
    again = open_image(ImageConfig(str(path)))
    assert again.is_identified(b"")
    assert again.save() == state
    again.close()
    assert sum(reads) <= 1024  # its first and last sector, for its format


def test_an_image_that_has_just_been_written_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    disk = open_image(ImageConfig(str(sparse(tmp_path / "disk"))))
    disk.save()
    disk.close()
    assert not cache.exists()


@pytest.mark.usefixtures("settled")
def test_a_change_that_hides_by_its_mtime_is_found(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(8 << 20))
    before = path.stat()
    disk = open_image(ImageConfig(str(path)))
    state = disk.save()
    with path.open("r+b") as file:
        file.write(b"\1")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not disk.is_identified(b"")
    assert disk.save().identity != state.identity
    disk.close()
    again = open_image(ImageConfig(str(path)))
    with pytest.raises(StateError, match="give the image that was there"):
        again.check(state)
    again.close()


def moved(path: Path) -> Path:
    """Put a file out of the way, and return where it was."""
    path.rename(path.with_suffix(".moved"))
    return path


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped digit": lambda path: path.write_bytes(
        path.read_bytes()[:-8] + (b"0" if path.read_bytes()[-8:-7] != b"0" else b"1") + path.read_bytes()[-7:]
    ),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:70]),
    "empty": lambda path: path.write_bytes(b""),
    "no JSON": lambda path: path.write_bytes(blake3(b"[[").hexdigest().encode() + b"\n[["),
    "another JSON": lambda path: path.write_bytes(blake3(b"[]").hexdigest().encode() + b"\n[]"),
    "open to others": lambda path: path.chmod(0o644),
    "a link": lambda path: moved(path).symlink_to(path.with_suffix(".moved")),
    "a FIFO": lambda path: os.mkfifo(moved(path), 0o600),
    "a directory": lambda path: moved(path).mkdir(),
}


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_as_good_as_none(damage: Callable[[Path], object], tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(8 << 20) + b"\1" * 512)
    disk = open_image(ImageConfig(str(path)))
    state = disk.save()
    disk.close()
    (entry,) = cache.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o600
    damage(entry)
    again = open_image(ImageConfig(str(path)))
    assert again.save() == state
    again.close()


@pytest.mark.usefixtures("settled")
def test_the_cache_is_bounded(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chkpt_devices.backends.identity_cache.MAX_FILES", 3)
    for number in range(5):
        disk = open_image(ImageConfig(str(sparse(tmp_path / f"{number}"))))
        disk.save()
        disk.close()
    assert len(list(cache.iterdir())) == 3


@pytest.mark.usefixtures("settled")
def test_without_a_place_for_the_cache_an_image_is_identified_anyhow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for base in (str(tmp_path / "file"), "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        monkeypatch.setenv("HOME", "")
        disk = open_image(ImageConfig(str(sparse(tmp_path / "disk"))))
        assert disk.save().identity
        disk.close()
    assert not Path("relative").exists()


def test_opening_does_not_wait_and_a_save_does(tmp_path: Path, gate: Gate) -> None:
    disk = open_image(ImageConfig(str(sparse(tmp_path / "disk", 8 << 20, 0))))
    assert gate.entered.wait(60)
    assert not disk.is_identified(b"")
    gate.opened.set()
    disk.identify(b"")
    assert disk.is_identified(b"")
    assert not disk.is_identified(bytes(32))  # that of a snapshot of version 1
    disk.identify(bytes(32))
    assert disk.is_identified(bytes(32))
    disk.close()


@pytest.mark.parametrize("end", ["end_identifying", "close"])
def test_who_waits_for_an_identity_is_freed_when_the_machine_ends(end: str, tmp_path: Path, gate: Gate) -> None:
    disk = open_image(ImageConfig(str(sparse(tmp_path / "disk"))))
    failed: list[Exception] = []

    def save() -> None:
        try:
            disk.save()
        except StorageError as exc:
            failed.append(exc)

    waits = threading.Thread(target=save)
    waits.start()
    assert gate.entered.wait(60)
    getattr(disk, end)()
    waits.join(60)
    assert len(failed) == 1
    disk.close()


def test_an_image_that_changes_while_it_is_read_is_read_again(tmp_path: Path, gate: Gate) -> None:
    path = sparse(tmp_path / "disk")
    disk = open_image(ImageConfig(str(path)))
    assert gate.entered.wait(60)
    with path.open("r+b") as file:
        file.write(b"\1")
    gate.opened.set()
    identity = disk.save().identity
    disk.close()
    fresh = open_image(ImageConfig(str(path)))
    assert fresh.save().identity == identity
    fresh.close()
