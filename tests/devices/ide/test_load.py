"""Saving and loading a channel: cut anywhere, refuse what cannot be, and never fail later on what was taken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.errors import CorruptError, StateError
from chkpt.machine import Machine
from chkpt.state import from_context, to_context
from chkpt.testing import DeviceContract
from chkpt_devices.backends.block import ScratchConfig, open_scratch
from chkpt_devices.ide import (
    AtapiState,
    AtaState,
    Attention,
    DriveState,
    IdeState,
    MaxQuery,
    MediaEvent,
    PowerMode,
    TransferKind,
)
from tests.devices.ide.bench import (
    CD_SECTORS,
    COMMAND,
    CONTROL,
    COUNT,
    DATA,
    DATA_READY,
    DEVICE,
    DRIVE1,
    ERROR,
    HCYL,
    IDLE,
    LBA,
    LCYL,
    PORT,
    SECTOR,
    SECTORS,
    STATUS,
    Bench,
    Medium,
    content,
    refused,
    with_drive,
    with_transfer,
)


class TestIde(DeviceContract):
    """A disk with another translation, stopped in the middle of a sector; an interrupt pending; a CD-ROM drive."""

    table = {
        "type": "ide",
        "name": "ide0",
        "drive": [{"unit": 0}, {"unit": 1, "media": "cdrom"}],
    }

    def machine(self) -> Machine:
        machine = super().machine()
        for name, size in (("ide0.0", 1 << 20), ("ide0.1", 1 << 16)):
            machine.devices.connect_block(name, open_scratch(ScratchConfig(size)))
        return machine

    def stir(self, machine: Machine) -> None:
        out = machine.ports.outb
        out(DEVICE, 0xB0)
        out(COMMAND, 0xA0)
        for _ in range(6):  # the packet: TEST UNIT READY, which fails for the unit attention
            machine.ports.outw(DATA, 0)
        for port, value in (
            (DEVICE, 0xA3), (COUNT, 8), (COMMAND, 0x91), (COUNT, 2), (SECTOR, 3), (LCYL, 1), (HCYL, 0), (COMMAND, 0x20)
        ):  # fmt: skip
            out(port, value)
        for _ in range(10):
            machine.ports.inw(DATA)


# -- cut at every word ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", range(0, 512, 5))
def test_a_read_cut_at_a_word_goes_on_there(word: int) -> None:
    bench = Bench()
    bench.address(70, 2)
    bench.command(0x20)
    data = bench.read_bytes(2 * word)
    twin = bench.twin()
    data += twin.read_bytes(1024 - 2 * word)
    assert data == content(70 * 512, 1024)
    assert twin.inb(STATUS) == IDLE


@pytest.mark.parametrize("word", range(0, 512, 5))
def test_a_write_cut_at_a_word_goes_on_there(word: int) -> None:
    data = content(0, 1024)
    bench = Bench()
    bench.address(70, 2)
    bench.command(0x30)
    bench.write_bytes(data[: 2 * word])
    twin = bench.twin()
    twin.write_bytes(data[2 * word :])
    assert twin.inb(STATUS) == IDLE
    assert twin.media[0].disk.read(70 * 512, 1024) == data


def test_every_word_of_a_sector_is_saved_once() -> None:
    bench = Bench()
    bench.address(70, 1)
    bench.command(0x20)
    data = bytearray()
    for _ in range(256):
        bench = bench.twin()
        data += bench.read_bytes(2)
    assert data == content(70 * 512, 512)


@pytest.mark.parametrize(("code", "blocks"), [(0xC4, (16, 16, 8)), (0xC5, (16, 16, 8))])
def test_multiple_commands_cut_in_each_block(code: int, blocks: tuple[int, ...]) -> None:
    data = content(40 * 512, 40 * 512)
    bench = Bench()
    bench.address(40, 40)
    bench.command(code)
    at = 0
    for size in (100, 512 * 16, 512 * 16 + 2, 512 * 39, 512 * 40):
        if code == 0xC4:
            assert bench.read_bytes(size - at) == data[at:size]
        else:
            bench.write_bytes(data[at:size])
        at = size
        bench = bench.twin()
    assert bench.inb(STATUS) == IDLE
    assert bench.media[0].disk.read(40 * 512, 40 * 512) == data


def test_the_translation_of_0x91_is_state() -> None:
    bench = Bench()
    bench.outb(DEVICE, 0xA3)
    bench.command(0x91, count=8)
    twin = bench.twin()
    twin.chs(1, 0, 1, 1)
    twin.command(0x20)
    assert twin.read_block(512) == content(512 * 32, 512)


def test_hob_bytes_are_state() -> None:
    bench = Bench()
    bench.address48(0x0ABC, 2)
    twin = bench.twin()
    twin.command(0x24)
    assert twin.read_block(512) == content(512 * 0xABC, 512)


def test_settings_are_state() -> None:
    bench = Bench()
    bench.command(0xC6, count=2)
    bench.command(0xEF, feature=0x82)
    bench.command(0xEF, feature=0x03, count=0x0C)
    bench.command(0xB0, feature=0xD9, lcyl=0x4F, hcyl=0xC2)
    bench.command(0xF8)
    bench.address(999, 0)
    twin = bench.twin()
    assert twin.command(0xF9, feature=0) == IDLE
    bench.command(0xF9, feature=0)
    for each in (bench, twin):
        each.command(0xEC)
    assert twin.read_block(512) == bench.read_block(512)


def test_what_was_written_is_state() -> None:
    bench = Bench()
    bench.address(8, 1)
    bench.command(0x30)
    bench.write_bytes(b"written " * 64)
    assert bench.twin().read_sectors(8) == b"written " * 64


def test_every_field_of_a_disks_state_is_loaded() -> None:
    bench = Bench()
    ata = AtaState(8, 7, 11, False, False, 1000, 2000, True, True, MaxQuery.ADDRESS_EXT)
    state = with_drive(
        reading().state(),
        **dict.fromkeys(("error", "feature"), 0x5A),
        **{name: at for at, name in enumerate(("nsector", "sector", "lcyl", "hcyl"), 10)},
        **{name: at for at, name in enumerate(("hob_nsector", "hob_sector", "hob_lcyl", "hob_hcyl"), 20)},
        interrupt=True,
        power=PowerMode.STANDBY,
        transfer_mode=0x22,
        keep_settings=True,
        ata=ata,
    )
    state = replace(with_transfer(state, extended=True), control=0x82)
    bench.channel.load(state)
    assert bench.state() == state


def test_every_field_of_a_cdrom_drives_state_is_loaded() -> None:
    bench = Bench("cdrom")
    atapi = AtapiState(5, 0x24, 1, Attention.MEDIUM_CHANGED, MediaEvent.REMOVAL, True, True)
    state = with_drive(reading_cd().state(), atapi=atapi, power=PowerMode.SLEEP)
    bench.channel.load(state)
    assert bench.state() == state


def test_an_idle_drive_saves_no_buffer() -> None:
    bench = Bench()
    bench.read_sectors(0)
    assert bench.drive().transfer is None


# -- what is refused --------------------------------------------------------------------------------------------------


def reading() -> Bench:
    bench = Bench()
    bench.address(10, 3)
    bench.command(0x20)
    bench.inw(DATA)
    return bench


def writing() -> Bench:
    bench = Bench()
    bench.address(10, 3)
    bench.command(0x30)
    bench.outw(DATA, 0x1234)
    return bench


def waiting() -> Bench:
    bench = Bench(on_error="wait")
    bench.media[0].failing = True
    bench.address(10, 3)
    bench.command(0x30)
    bench.write_bytes(bytes(512))
    return bench


def packet() -> Bench:
    bench = Bench("cdrom")
    bench.command(0xA0, lcyl=0, hcyl=8)
    bench.outw(DATA, 0x12)
    return bench


def reading_cd() -> Bench:
    bench = Bench("cdrom")
    bench.settle()
    bench.packet(0xA8, 0, 0, 0, 0, 9, 0, 0, 0, 5, limit=3000)
    return bench


def reply() -> Bench:
    bench = Bench("cdrom")
    bench.packet(0x12, 0, 0, 0, 36, limit=10)
    return bench


def identifying() -> Bench:
    bench = Bench()
    bench.command(0xEC)
    return bench


TRANSFERS = {
    "offset past the length": (reading, {"offset": 512}),
    "odd offset": (reading, {"offset": 3}),
    "buffer shorter than the block": (reading, {"buffer": bytes(100)}),
    "buffer longer than the block": (reading, {"buffer": bytes(514)}),
    "block of no whole sectors": (reading, {"buffer": bytes(500), "length": 500}),
    "block longer than a block": (reading, {"buffer": bytes(1024), "length": 1024}),
    "no sectors a block": (reading, {"block": 0}),
    "17 sectors a block": (reading, {"block": 17}),
    "sector beyond the disk": (reading, {"lba": SECTORS + 1}),
    "more sectors than a command has": (reading, {"left": 0x10001}),
    "skip on a disk": (reading, {"skip": 2}),
    "waiting without BSY": (reading, {"waiting": True, "buffer": b"", "offset": 0, "length": 0}),
    "packet on a disk": (writing, {"kind": TransferKind.PACKET, "length": 12}),
    "reply on a disk": (reading, {"kind": TransferKind.REPLY}),
    "verify that waits for nothing": (reading, {"kind": TransferKind.VERIFY}),
    "flush that waits for nothing": (reading, {"kind": TransferKind.FLUSH}),
    "identify of no whole block": (identifying, {"buffer": bytes(510), "length": 510}),
    "identify with sectors left": (identifying, {"left": 1}),
    "identify that waits": (identifying, {"waiting": True}),
    "write of another length": (writing, {"length": 1024}),
    "write with no sector left": (writing, {"left": 0}),
    "write with a whole block": (writing, {"buffer": bytes(512), "offset": 512}),
    "write with an offset of its own": (writing, {"offset": 4}),
    "write waiting for half a block": (waiting, {"buffer": bytes(256), "offset": 256, "length": 512}),
    "write waiting with nothing": (waiting, {"buffer": b"", "offset": 0, "length": 0}),
    "write not waiting with BSY": (waiting, {"waiting": False}),
    "read waiting with a block": (waiting, {"kind": TransferKind.READ}),
    "packet of 14 bytes": (packet, {"length": 14}),
    "read on a cdrom": (reading_cd, {"kind": TransferKind.READ}),
    "cd blocks of a byte": (reading_cd, {"block": 1}),
    "odd cd block before the last": (reading_cd, {"buffer": bytes(2999), "length": 2999}),
    "reply in blocks of nothing": (reply, {"block": 0}),
    "rest of a command that has none": (reading_cd, {"length": 2998}),
}


@pytest.mark.parametrize(("make", "changes"), TRANSFERS.values(), ids=TRANSFERS)
def test_a_transfer_that_cannot_be_is_refused(make: Callable[[], Bench], changes: dict[str, object]) -> None:
    bench = make()
    assert "drive0" in refused(bench, with_transfer(bench.state(), **changes))


@pytest.mark.parametrize("status", [0x50, 0xD8, 0x80])
def test_a_transfer_needs_its_status(status: int) -> None:
    bench = reading()
    assert "status" in refused(bench, with_drive(bench.state(), status=status))


@pytest.mark.parametrize("status", [0x58, 0x80, 0xD0])
def test_a_status_needs_its_transfer(status: int) -> None:
    bench = Bench()
    assert "status" in refused(bench, with_drive(bench.state(), status=status))


@pytest.mark.parametrize("status", [0x50, 0x58, 0xD0])
def test_a_reset_under_way_has_busy_drives(status: int) -> None:
    bench = Bench()
    state = replace(with_drive(bench.state(), status=status), control=0x04)
    assert "reset" in refused(bench, state)


@pytest.mark.parametrize("device", [0x00, 0xB0, 0x50])
def test_the_device_register_agrees_with_the_selection(device: int) -> None:
    bench = Bench()
    assert "device" in refused(bench, with_drive(bench.state(), device=device))


def test_device_control_has_three_bits() -> None:
    bench = Bench()
    assert "control" in refused(bench, replace(bench.state(), control=0x08))


@pytest.mark.parametrize(
    ("field", "value"),
    [("multiple", 3), ("multiple", 15), ("max_sectors", SECTORS + 1), ("power_on_sectors", SECTORS + 1)],
)
def test_settings_that_no_command_makes_are_refused(field: str, value: int) -> None:
    bench = Bench()
    ata = bench.drive().ata
    assert ata is not None
    changed = replace(ata, **{field: value})  # type: ignore[arg-type] # an integer field each
    assert "ata" in refused(bench, with_drive(bench.state(), ata=changed))


MEDIA = [
    (("disk",), ("disk", "disk"), "no drive 1"),
    (("disk", "disk"), ("disk",), "none there"),
    (("disk",), ("cdrom",), "cdrom"),
    (("cdrom",), ("disk",), "disk"),
    (("disk",), ("absent",), "none there"),
    (("absent",), ("disk",), "no drive 0"),
    (("cdrom",), ("empty",), "a disc"),
    (("empty",), ("cdrom",), "no disc"),
]


@pytest.mark.parametrize(("saved", "there", "message"), MEDIA)
def test_drives_on_one_side_only_are_refused(saved: tuple[str, ...], there: tuple[str, ...], message: str) -> None:
    assert message in refused(Bench(*there), Bench(*saved).state())


@pytest.mark.parametrize("unit", [0, 1])
@pytest.mark.parametrize("kind", ["disk", "cdrom"])
def test_another_medium_is_refused(kind: str, unit: int) -> None:
    saved, bench = Bench(kind, kind), Bench(kind, kind)
    saved.media[0].disk.write(0, bytes(512)) if kind == "disk" else None
    name = f"ide0.{unit}"
    bench.machine.devices.disconnect_block(name)
    bench.machine.devices.connect_block(
        name, Medium(SECTORS if kind == "disk" else 4 * CD_SECTORS, read_only=kind == "cdrom", digest=b"other")
    )
    message = refused(bench, saved.state())
    assert b"bench".hex() in message
    assert b"other".hex() in message


def test_a_drive_is_either_a_disk_or_a_cdrom_drive() -> None:
    disk, cdrom = Bench("disk"), Bench("cdrom")
    atapi = cdrom.drive().atapi
    assert "ata and atapi" in refused(disk, with_drive(disk.state(), atapi=atapi))
    assert "cdrom" in refused(disk, with_drive(disk.state(), ata=None, atapi=atapi))
    assert "ata and atapi" in refused(cdrom, with_drive(cdrom.state(), atapi=None))


def test_a_disk_state_without_its_disk_is_refused() -> None:
    bench = Bench()
    assert "medium" in refused(bench, with_drive(bench.state(), disk=None))


class CorruptBlob:
    """A blob in a file that turns out to be corrupt when it is read."""

    size = 512 * SECTORS
    piece_size = 0x10000

    def pieces(self) -> list[tuple[int, bytes]]:
        raise CorruptError("piece 0 is not what was written")


def test_a_medium_that_proves_corrupt_changes_neither_drive() -> None:
    bench = Bench("disk", "disk")
    for unit in (0, 1):
        bench.address(0, 1, device=LBA | unit << 4)
        bench.command(0x30)
        bench.write_bytes(b"%d" % unit * 512)
    state = bench.state()
    assert state.drive1 is not None
    assert state.drive1.disk is not None
    corrupt = replace(state, drive1=replace(state.drive1, disk=replace(state.drive1.disk, blocks=CorruptBlob())))
    there = Bench("disk", "disk")
    there.read_sectors(5)
    before = there.state()
    with pytest.raises(CorruptError):
        there.channel.load(corrupt)
    assert there.state() == before


# -- cut anywhere -----------------------------------------------------------------------------------------------------

DISK_CODES: Final = (
    0x00, 0x08, 0x10, 0x20, 0x24, 0x27, 0x29, 0x30, 0x34, 0x37, 0x39, 0x40, 0x42, 0x70, 0x90, 0x91, 0xA0, 0xA1, 0xB0,
    0xC4, 0xC5, 0xC6, 0xE0, 0xE1, 0xE3, 0xE5, 0xE6, 0xE7, 0xEA, 0xEC, 0xEF, 0xF8, 0xF9, 0xFF,
)  # fmt: skip
PACKET_CODES: Final = (0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x43, 0x46, 0x4A, 0x5A, 0xA8, 0xBB, 0xBD, 0xFF)

small = st.integers(0, 20)
value = small | st.sampled_from((0x40, 0x4F, 0xC2, 0xD2, 0xD8, 0xD9, 0xDA, 0x55, 0x66, 0x82, 0xAA, 0xCC, 0xFF))
step = st.one_of(
    st.tuples(st.just("out"), st.sampled_from((ERROR, COUNT, SECTOR, LCYL, HCYL)), value),
    st.tuples(st.just("out"), st.just(DEVICE), st.sampled_from((0xA0, 0xA1, 0xB0, 0xE0, 0xF0))),
    st.tuples(st.just("out"), st.just(COMMAND), st.sampled_from(DISK_CODES)),
    st.tuples(st.just("out"), st.just(CONTROL), st.sampled_from((0x00, 0x00, 0x02, 0x04, 0x80))),
    st.tuples(st.just("in"), st.sampled_from((*range(PORT, PORT + 8), CONTROL)), st.just(0)),
    st.tuples(st.just("inw"), st.sampled_from((1, 2, 255, 256, 300)), st.just(0)),
    st.tuples(st.just("outw"), st.sampled_from((1, 2, 255, 256, 300)), st.integers(0, 0xFFFF)),
    st.tuples(st.just("packet"), st.sampled_from(PACKET_CODES), small),
    st.tuples(st.just("cd"), st.sampled_from(PACKET_CODES), small),
    st.tuples(st.just("disk"), st.sampled_from((0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0x40, 0xC4, 0xC5)), small),
    st.tuples(st.just("fail"), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("retry"), st.just(0), st.just(0)),
)


def write_packet(bench: Bench, code: int, argument: int) -> None:
    for word in (code, 0, argument << 8, 0, argument, argument << 8):
        bench.outw(DATA, word)


def take(bench: Bench, name: str, first: int, second: int) -> object:
    """Do one step; return what a guest sees of it."""
    seen: object = None
    if name == "out":
        bench.outb(first, second)
    elif name == "in":
        seen = bench.inb(first)
    elif name == "inw":
        seen = [bench.inw(DATA) for _ in range(first)]
    elif name == "outw":
        for number in range(first):
            bench.outw(DATA, second ^ number)
    elif name == "packet":
        write_packet(bench, first, second)
    elif name == "cd":
        bench.outb(DEVICE, 0xB0)
        bench.command(0xA0, feature=0, lcyl=300 * second & 0xFF, hcyl=300 * second >> 8)
        write_packet(bench, first, second)
    elif name == "disk":
        bench.address48(second, second)
        bench.outb(COMMAND, first)
    elif name == "fail":
        if first in bench.media:
            bench.media[first].failing = bool(second)
    else:
        bench.machine.retry()
    return seen, bench.line, bench.registers()


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(step, max_size=60), cuts=st.sets(st.integers(0, 60), max_size=8))
def test_cut_anywhere_nothing_differs(steps: list[tuple[str, int, int]], cuts: set[int]) -> None:
    whole, parted = Bench("disk", "cdrom", on_error="wait"), Bench("disk", "cdrom", on_error="wait")
    for number, (name, first, second) in enumerate(steps):
        if number in cuts:
            failing = {unit: medium.failing for unit, medium in parted.media.items()}
            state = parted.state()
            parted = Bench("disk", "cdrom", on_error="wait")
            parted.channel.load(from_context(to_context(state, "ide"), IdeState, "ide0"))
            for unit, medium in parted.media.items():
                medium.failing = failing[unit]
        assert take(parted, name, first, second) == take(whole, name, first, second)
    assert parted.state() == whole.state()


# -- what was taken goes on -------------------------------------------------------------------------------------------

flag = st.booleans()
byte = st.integers(0, 0xFF)


@st.composite
def transfer_changes(draw: st.DrawFn) -> dict[str, object]:
    """Draw other values for some fields of a command in flight."""
    buffer = bytes(draw(st.sampled_from((0, 2, 6, 12, 36, 512, 1024, 2048, 8192))))
    changes: dict[str, object] = {
        "kind": draw(st.sampled_from(list(TransferKind))),
        "waiting": draw(flag),
        "lba": draw(st.sampled_from((0, 1, CD_SECTORS - 1, SECTORS - 1, SECTORS, SECTORS + 1, (1 << 48) - 1))),
        "left": draw(st.sampled_from((0, 1, 2, 20, 2048, 5000, 65536, (1 << 48) - 1))),
        "skip": draw(st.sampled_from((0, 1, 2, 2046, 2047))),
        "block": draw(st.sampled_from((0, 1, 2, 3, 16, 17, 256, 2048, 3001, 0xFFFF))),
        "extended": draw(flag),
        "buffer": buffer,
    }
    chosen = {name: changes[name] for name in draw(st.sets(st.sampled_from(list(changes))))}
    if "buffer" in chosen:
        chosen["offset"] = draw(st.sampled_from((0, 2, len(buffer))))
        chosen["length"] = draw(st.sampled_from((0, 1, 2, 12, 512, 1024, 8192, len(buffer))))
    return chosen


@st.composite
def drive_changes(draw: st.DrawFn) -> dict[str, object]:
    """Draw other values for the registers, the power mode and, sometimes, the status."""
    changes: dict[str, object] = {name: draw(byte) for name in ("nsector", "sector", "lcyl", "hcyl", "feature")}
    changes["power"] = draw(st.sampled_from(list(PowerMode)))
    status = draw(st.sampled_from((None, None, 0x50, 0x58, 0xD0)))
    return changes if status is None else changes | {"status": status}


@settings(max_examples=300, deadline=None)
@given(
    make=st.sampled_from((reading, waiting, packet, reading_cd, reply, identifying)),
    of_transfer=transfer_changes(),
    of_drive=drive_changes(),
    steps=st.lists(step, max_size=25),
)
def test_a_state_is_refused_or_never_fails_later(
    make: Callable[[], Bench],
    of_transfer: dict[str, object],
    of_drive: dict[str, object],
    steps: list[tuple[str, int, int]],
) -> None:
    bench = make()
    before = bench.state()
    state = with_drive(with_transfer(before, **of_transfer), **of_drive)
    try:
        bench.channel.load(state)
    except StateError:
        assert bench.state() == before
        return
    assert bench.state() == state
    bench.media[0].failing = False
    bench.machine.retry()
    for name, first, second in steps:
        take(bench, name, first, second)
    bench.twin()


def test_save_of_a_channel_is_what_load_took() -> None:
    bench = Bench("disk", "cdrom")
    state = bench.state()
    drives = [cast("DriveState", drive) for drive in (state.drive0, state.drive1)]
    assert [drive.disk for drive in drives] == [bench.media[unit].save() for unit in (0, 1)]
    other = Bench("disk", "cdrom")
    other.outb(DEVICE, DRIVE1)
    assert other.command(0xA1) == DATA_READY
    other.channel.load(state)
    assert other.state() == state
