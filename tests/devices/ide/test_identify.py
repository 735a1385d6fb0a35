"""The words of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE."""

import pytest

from chkpt.manager import BackendTypes
from chkpt_devices.backends.block import SCRATCH
from chkpt_devices.ide import DriveConfig, Media
from chkpt_devices.ide.address import default_geometry
from chkpt_devices.ide.identify import identify_disk
from tests.devices.ide.bench import DEVICE, IDLE, SECTORS, STATUS, Bench, words
from tests.support.rig import rig

# A 16 MiB disk of QEMU 7.2.22 with -M isapc
QEMU = {
    0: 0x0040, 1: 32, 3: 16, 6: 63, 47: 0x8010, 49: 0x0B00, 53: 7, 59: 0x0110, 60: 0x8000, 61: 0, 63: 7, 80: 0x00F0,
    82: 0x4021, 83: 0x7400, 84: 0x4000, 85: 0x4021, 86: 0x3400, 87: 0x4000, 88: 0x203F,
    100: 0x8000, 101: 0, 102: 0, 103: 0,
}  # fmt: skip


def identify(bench: Bench, code: int = 0xEC) -> list[int]:
    bench.command(code)
    answer = list(words(bench.read_block(512)))
    assert bench.inb(STATUS) == IDLE
    return answer


def text(answer: list[int], first: int, length: int) -> str:
    return b"".join(word.to_bytes(2, "big") for word in answer[first : first + length // 2]).decode()


def test_a_16_mib_disk_says_what_qemus_says() -> None:
    drive = {"unit": 0, "model": "CHKPT TEST DISK", "serial": "testdisk", "firmware": "version", "size": "16M"}
    machine = rig({"type": "ide", "drive": [drive]}, backends=BackendTypes([SCRATCH]))
    machine.ports.outb(0x1F7, 0xEC)
    answer = [machine.ports.inw(0x1F0) for _ in range(256)]
    assert {number: answer[number] for number in QEMU} == QEMU
    assert text(answer, 10, 20) == "testdisk".ljust(20)
    assert text(answer, 23, 8) == "version "
    assert text(answer, 27, 40) == "CHKPT TEST DISK".ljust(40)


def test_identify_interrupts_when_its_block_is_ready() -> None:
    bench = Bench()
    bench.command(0xEC)
    assert bench.since() == ["raise"]


def test_the_current_translation_shows() -> None:
    bench = Bench()
    assert identify(bench)[54:59] == [3, 16, 63, 3 * 16 * 63, 0]
    bench.outb(DEVICE, 0xA3)
    bench.command(0x91, count=8)
    answer = identify(bench)
    assert answer[54:59] == [SECTORS // 32, 4, 8, SECTORS, 0]
    assert (answer[1], answer[3], answer[6]) == (3, 16, 63)


@pytest.mark.parametrize(("count", "word"), [(0, 0), (4, 0x0104), (16, 0x0110)])
def test_the_multiple_setting_shows(count: int, word: int) -> None:
    bench = Bench()
    bench.command(0xC6, count=count)
    assert identify(bench)[59] == word


@pytest.mark.parametrize(("feature", "word"), [(0x02, 0x4021), (0x82, 0x4001)])
def test_the_write_cache_shows(feature: int, word: int) -> None:
    bench = Bench()
    bench.command(0xEF, feature=feature)
    assert identify(bench)[85] == word


def test_smart_shows_when_it_is_off() -> None:
    bench = Bench()
    bench.command(0xB0, feature=0xD9, lcyl=0x4F, hcyl=0xC2)
    assert identify(bench)[85] == 0x4020


@pytest.mark.parametrize("code", [0xEC, 0xA1])
@pytest.mark.parametrize(
    ("mode", "selected"),
    [(0x0C, (7, 7, 0x3F)), (0x11, (0x0207, 7, 0x3F)), (0x22, (7, 0x0407, 0x3F)), (0x40, (7, 7, 0x013F))],
)
def test_the_transfer_mode_shows(mode: int, selected: tuple[int, ...], code: int) -> None:
    bench = Bench("disk" if code == 0xEC else "cdrom")
    bench.command(0xEF, feature=0x03, count=mode)
    answer = identify(bench, code)
    assert (answer[62], answer[63], answer[88]) == selected


@pytest.mark.parametrize(
    ("sectors", "geometry"),
    [(1, (1, 1, 1)), (62, (1, 1, 62)), (1007, (15, 1, 63)), (1008, (1, 16, 63)), (1 << 30, (16383, 16, 63))],
)
def test_the_translation_at_power_on_never_has_more_sectors_than_the_disk(
    sectors: int, geometry: tuple[int, int, int]
) -> None:
    found = default_geometry(sectors)
    assert (found.cylinders, found.heads, found.sectors) == geometry
    assert found.capacity <= sectors


@pytest.mark.parametrize(
    ("sectors", "lba28", "lba48"),
    [(0x0FFF_FFFF, (0xFFFF, 0x0FFF), (0xFFFF, 0x0FFF, 0, 0)), (1 << 48, (0xFFFF, 0x0FFF), (0, 0, 0, 1))],
)
def test_large_disks_fill_the_words_of_both_sizes(sectors: int, lba28: tuple[int, ...], lba48: tuple[int, ...]) -> None:
    geometry = default_geometry(sectors)
    block = identify_disk(
        DriveConfig(0), sectors, (geometry, geometry), multiple=0, transfer_mode=0, write_cache=True, smart=True
    )
    answer = words(block)
    assert tuple(answer[60:62]) == lba28
    assert tuple(answer[100:104]) == lba48


def test_a_cdrom_says_that_it_takes_packets_of_12_bytes() -> None:
    bench = Bench("cdrom")
    answer = identify(bench, 0xA1)
    assert answer[0] == 0x85C0
    assert text(answer, 27, 40) == "CHKPT CD-ROM".ljust(40)


def test_the_default_model_tells_the_media() -> None:
    assert text(identify(Bench()), 27, 40) == "CHKPT HARDDISK".ljust(40)
    assert Media("cdrom") is Media.CDROM
