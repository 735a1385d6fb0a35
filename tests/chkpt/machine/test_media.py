"""Media that are changed under a running guest, and media that come with a load, or go back if it fails."""

from pathlib import Path
from typing import Any

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import ConflictError, HalfLoadedError, LoadError, NotFoundError, RefusedError, StateError, UsageError
from chkpt.machine import Machine
from chkpt.machine import media as machine_media
from chkpt.machine.config import parse
from chkpt.machine.drives import change, leave_out_discs, open_image
from chkpt.machine.media import Medium
from chkpt.snapshot.describe import json_context
from tests.support.descriptors import open_descriptors

HD, CD = "ide0.0", "ide0.1"
EJECTED, NEW_MEDIA = (3, True, False), (2, False, True)
NOT_READY, MEDIUM_CHANGED, NO_SENSE = (0x2, 0x3A), (0x6, 0x28), (0x0, 0x00)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in "abcd":
        (tmp_path / name).write_bytes(name.encode() * 8192)
    return tmp_path


def made(images: Path, *, cd: str | None = "a", hd: str = "c") -> Machine:
    """Return a machine with a disk and a CD-ROM drive, which says no more that it was just powered on."""
    second: dict[str, object] = {"unit": 1, "media": "cdrom"}
    if cd is not None:
        second["image"] = cd
    ide = {"type": "ide", "name": "ide0", "drive": [{"unit": 0, "image": hd}, second]}
    machine = Machine(parse({"memory": 4096, "device": [{"type": "pic"}, {"type": "pit"}, ide]}, images))
    sense(machine)
    event(machine)
    return machine


def packet(machine: Machine, *content: int, limit: int = 0xFFFE) -> bytes:
    """Send a packet to the CD-ROM drive and return the first block of its answer."""
    ports = machine.ports
    ports.outb(0x1F6, 0xB0)
    ports.outb(0x1F4, limit & 0xFF)
    ports.outb(0x1F5, limit >> 8)
    ports.outb(0x1F7, 0xA0)
    for at in range(0, 12, 2):
        pair = bytes(content).ljust(12, b"\0")[at : at + 2]
        ports.outw(0x1F0, int.from_bytes(pair, "little"))
    return block(machine)


def block(machine: Machine) -> bytes:
    """Read the block that the CD-ROM drive offers, nothing if it offers none."""
    ports = machine.ports
    if not ports.inb(0x1F7) & 8:
        return b""
    count = ports.inb(0x1F4) | ports.inb(0x1F5) << 8
    return b"".join(ports.inw(0x1F0).to_bytes(2, "little") for _ in range((count + 1) // 2))


def sense(machine: Machine) -> tuple[int, int]:
    """Return sense key and additional code."""
    data = packet(machine, 0x03, 0, 0, 0, 18)
    return data[2], data[12]


def ready(machine: Machine) -> tuple[int, int]:
    """Ask whether the drive is ready, and return why not."""
    packet(machine, 0x00)
    return sense(machine)


def event(machine: Machine) -> tuple[int, bool, bool]:
    """Return the media event, whether the tray is open, and whether there is a disc."""
    data = packet(machine, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)
    return data[4] & 0xF, bool(data[5] & 1), bool(data[5] & 2)


def read(machine: Machine) -> bytes:
    """Return the first sector of the disc."""
    return packet(machine, 0x28, 0, 0, 0, 0, 0, 0, 0, 1)


def lock(machine: Machine) -> None:
    packet(machine, 0x1E, 0, 0, 0, 1)


def first_sector_of_disk(machine: Machine) -> bytes:
    for port, value in ((0x1F6, 0xE0), (0x1F2, 1), (0x1F3, 0), (0x1F4, 0), (0x1F5, 0), (0x1F7, 0x20)):
        machine.ports.outb(port, value)
    return b"".join(machine.ports.inw(0x1F0).to_bytes(2, "little") for _ in range(256))


def saved(machine: Machine) -> Checkpoint:
    checkpoint = Checkpoint()
    machine.save(checkpoint, copy=True)
    return checkpoint


def shown(machine: Machine) -> tuple[object, object]:
    """Return what a save of the machine holds, but for the bytes of its blobs."""
    checkpoint = saved(machine)
    return checkpoint.header, {name: json_context(context) for name, context in checkpoint.contexts.items()}


def image(machine: Machine, drive: str, path: Path) -> dict[str, Medium | None]:
    return {drive: open_image(machine, drive, str(path))}


def open_images(images: Path) -> list[str]:
    """Return the images that this process has open; those of machines that are garbage are open, too."""
    return sorted(each for each in open_descriptors().values() if each.startswith(f"{images}/"))


def configured(machine: Machine) -> dict[str, object]:
    return {each.frontend: each.options.get("path") for device in machine.config.devices for each in device.backends}


# -- under a running guest --------------------------------------------------------------------------------------------


def test_an_ejected_disc_is_gone_and_the_tray_open(images: Path) -> None:
    """MMC-2, GET EVENT STATUS NOTIFICATION: MediaRemoval, then nothing new; SFF-8020i: not ready, no medium."""
    machine = made(images)
    change(machine, CD, None)
    assert event(machine) == EJECTED
    assert event(machine) == (0, True, False)
    assert ready(machine) == NOT_READY
    assert configured(machine) == {HD: str(images / "c")}


def test_another_disc_is_reported_as_new(images: Path) -> None:
    """MMC-2, GET EVENT STATUS NOTIFICATION: NewMedia; SFF-8020i, "Unit Attention Condition": 28 00, once."""
    machine = made(images)
    change(machine, CD, open_image(machine, CD, str(images / "b")))
    assert event(machine) == NEW_MEDIA
    assert ready(machine) == MEDIUM_CHANGED
    assert ready(machine) == NO_SENSE
    assert read(machine) == b"b" * 2048
    assert configured(machine) == {HD: str(images / "c"), CD: str(images / "b")}


def test_a_disc_in_an_open_tray_closes_it(images: Path) -> None:
    machine = made(images, cd=None)
    change(machine, CD, None)
    assert event(machine) == (0, True, False)
    change(machine, CD, open_image(machine, CD, str(images / "b")))
    assert event(machine) == NEW_MEDIA


def test_a_read_that_is_under_way_fails_when_its_disc_is_ejected(images: Path) -> None:
    machine = made(images)
    packet(machine, 0x28, 0, 0, 0, 0, 0, 0, 0, 3, limit=2048)
    change(machine, CD, None)
    assert block(machine) == b"a" * 2048  # which the drive had read
    assert machine.ports.inb(0x1F7) & 1
    assert sense(machine) == NOT_READY


def test_a_locked_tray_stays_closed_unless_forced(images: Path) -> None:
    """As QEMU's `eject` and `change`."""
    machine = made(images)
    lock(machine)
    new = open_image(machine, CD, str(images / "b"))
    for medium in (None, new):
        with pytest.raises(ConflictError, match=r"^drive ide0\.1: .*locked.*--force$"):
            change(machine, CD, medium)
    assert event(machine) == (1, False, True)  # MMC-2, GET EVENT STATUS NOTIFICATION: EjectRequest, once
    assert event(machine) == (0, False, True)
    assert read(machine) == b"a" * 2048
    change(machine, CD, new, force=True)
    assert event(machine) == NEW_MEDIA
    assert saved(machine).contexts["devices"].contexts["ide0"].contexts["drive1"].contexts["atapi"].values["locked"]


def test_a_guest_that_hears_of_the_button_opens_the_tray_also_after_a_load(images: Path) -> None:
    machine = made(images)
    lock(machine)
    with pytest.raises(ConflictError):
        change(machine, CD, None)
    twin = made(images)
    twin.load(saved(machine))
    assert event(twin) == (1, False, True)
    packet(twin, 0x1E)
    packet(twin, 0x1B, 0, 0, 0, 2)
    assert event(twin) == EJECTED
    change(twin, CD, None)


def test_a_guest_hears_of_a_new_disc_before_it_hears_of_the_button(images: Path) -> None:
    machine = made(images)
    change(machine, CD, open_image(machine, CD, str(images / "b")))
    ready(machine)
    lock(machine)
    with pytest.raises(ConflictError):
        change(machine, CD, None)
    assert event(machine) == NEW_MEDIA


def test_a_tray_that_the_guest_has_opened_before_it_locked_it_is_not_locked(images: Path) -> None:
    machine = made(images)
    packet(machine, 0x1B, 0, 0, 0, 2)
    lock(machine)
    change(machine, CD, None)
    assert configured(machine) == {HD: str(images / "c")}


def test_a_hard_disk_stays(images: Path) -> None:
    machine = made(images)
    with pytest.raises(UsageError, match=r"^drive ide0\.0 is a hard disk, .* --drive ide0\.0=PATH"):
        change(machine, HD, None, force=True)
    assert first_sector_of_disk(machine) == b"c" * 512


def test_a_drive_that_is_not_there_is_named(images: Path) -> None:
    with pytest.raises(NotFoundError, match=r"ide1\.0; there are: ide0\.0, ide0\.1"):
        change(made(images), "ide1.0", None)


def test_a_changed_disc_is_that_of_the_snapshot(images: Path) -> None:
    """A machine made by the snapshot's own configuration can load it; one with the first disc cannot."""
    machine = made(images)
    change(machine, CD, open_image(machine, CD, str(images / "b")))
    checkpoint = saved(machine)
    table: Any = checkpoint.header["config"]
    twin = Machine(parse(table))
    twin.load(checkpoint)
    assert read(twin) == b""  # the unit attention that was not reported before the save
    assert sense(twin) == MEDIUM_CHANGED
    assert read(twin) == b"b" * 2048
    with pytest.raises(RefusedError, match="give the image that was there when the machine was saved"):
        made(images).load(checkpoint)


def test_no_image_stays_open_after_changes(images: Path) -> None:
    machine = made(images)
    for name in "baba":
        old = change(machine, CD, open_image(machine, CD, str(images / name)))
        assert old is not None
        old.close()
    assert open_images(images) == [str(images / name) for name in "ac"]
    last = change(machine, CD, None)
    assert last is not None
    last.close()
    assert open_images(images) == [str(images / "c")]


# -- with a load ------------------------------------------------------------------------------------------------------


def test_a_load_brings_the_disc_and_the_disk_of_its_snapshot(images: Path) -> None:
    source = made(images, cd="b", hd="d")
    checkpoint = saved(source)
    source.close()
    machine = made(images)
    with pytest.raises(StateError):
        machine.load(checkpoint)
    machine.load(checkpoint, media={**image(machine, CD, images / "b"), **image(machine, HD, images / "d")})
    assert (read(machine), first_sector_of_disk(machine)) == (b"b" * 2048, b"d" * 512)
    assert configured(machine) == {HD: str(images / "d"), CD: str(images / "b")}
    assert open_images(images) == [str(images / name) for name in "bd"]
    twin = made(images, cd="b", hd="d")
    again = saved(made(images, cd="b", hd="d"))
    twin.load(again)
    machine.load(again)
    assert shown(machine)[1] == shown(twin)[1]


@pytest.mark.parametrize("there", ["b", None])
def test_a_load_leaves_a_disc_out_which_was_taken_out_for_its_guest(images: Path, there: str | None) -> None:
    checkpoint = saved(made(images, cd=there))
    machine = made(images)
    machine.load(checkpoint, media={CD: None})
    assert event(machine) == ((0, False, False) if there is None else EJECTED)
    assert ready(machine) == NOT_READY
    assert CD not in configured(machine)


def test_a_read_of_a_disc_that_a_load_leaves_out_fails(images: Path) -> None:
    source = made(images, cd="b")
    packet(source, 0x28, 0, 0, 0, 0, 0, 0, 0, 2, limit=1024)
    machine = made(images)
    machine.load(saved(source), media={CD: None})
    assert sense(machine)[0] or ready(machine) == NOT_READY


def test_a_disc_is_left_out_only_on_request(images: Path) -> None:
    checkpoint = saved(made(images, cd="b"))
    machine = made(images, cd=None)
    with leave_out_discs(machine, [CD]):
        machine.load(checkpoint)
    assert event(machine) == EJECTED
    with pytest.raises(StateError, match="has a disc, but this drive has none"):
        machine.load(checkpoint)


WRONG = pytest.mark.parametrize(
    "media", [{CD: "c"}, {CD: "b", HD: "a"}, {HD: "d"}, {CD: None, HD: "d"}, {HD: None}], ids=str
)


@WRONG
@pytest.mark.parametrize("only", [(), ("ide0",)], ids=["whole", "partial"])
def test_a_refused_load_exchanges_nothing(images: Path, media: dict[str, str | None], only: tuple[str, ...]) -> None:
    checkpoint = saved(made(images, cd="b"))
    machine = made(images)
    packet(machine, 0x28, 0, 0, 0, 0, 0, 0, 0, 3, limit=1024)  # a read in flight, and its interrupt
    before, open_before = shown(machine), open_images(images)
    found = {
        drive: None if name is None else open_image(machine, drive, str(images / name)) for drive, name in media.items()
    }
    with pytest.raises(RefusedError):
        machine.load(checkpoint, media=found, only=only)
    for medium in found.values():
        if medium is not None:
            medium.backend.close()
    assert shown(machine) == before
    assert open_images(images) == open_before
    with pytest.raises(StateError):  # nothing is left out later, either
        machine.load(saved(made(images, cd="b")))
    assert block(machine) == b"a" * 1024
    assert not machine.half_loaded


def test_a_load_that_fails_after_the_exchange_puts_the_media_back(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = saved(made(images, cd="b"))
    machine = made(images)
    before = shown(machine)

    pit: Any = machine.devices.find("pit")
    load = pit.load

    def fail(state: object) -> None:
        monkeypatch.setattr(pit, "load", load)
        raise RuntimeError("broken")

    monkeypatch.setattr(pit, "load", fail)
    with pytest.raises(LoadError) as failed:
        machine.load(checkpoint, media=image(machine, CD, images / "b"))
    assert "pit" in str(failed.value)
    assert shown(machine) == before
    assert read(machine) == b"a" * 2048


def test_media_that_cannot_be_put_back_leave_a_machine_half_loaded(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = saved(made(images, cd="b"))
    machine = made(images)
    media = image(machine, CD, images / "c")

    def fail(self: machine_media.Exchange) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(machine_media.Exchange, "_undo", fail)
    with pytest.raises(HalfLoadedError, match="not put back: media"):
        machine.load(checkpoint, media=media)
    assert machine.half_loaded


@pytest.mark.parametrize(
    ("only", "skip", "rename"), [(("pic",), (), {}), ((), ("ide0",), {}), ((), (), {"ide0": "pic"})], ids=str
)
def test_media_of_a_device_that_is_not_loaded_are_refused(
    images: Path, only: tuple[str, ...], skip: tuple[str, ...], rename: dict[str, str]
) -> None:
    checkpoint = saved(made(images, cd="b"))
    machine = made(images)
    before = shown(machine)
    with pytest.raises((UsageError, StateError)):
        machine.load(checkpoint, media=image(machine, CD, images / "b"), only=only, skip=skip, rename=rename)
    assert shown(machine) == before
