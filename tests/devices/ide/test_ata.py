"""The commands of a disk: status, error, registers and interrupts of each, and of each failure."""

from dataclasses import dataclass, field

import pytest

from chkpt.context import blob_bytes
from chkpt_devices.ide import MaxQuery, PowerMode
from tests.devices.ide.bench import (
    BUSY,
    COMMAND,
    CONTROL,
    COUNT,
    DATA,
    DATA_READY,
    DEVICE,
    ERROR,
    FAILED,
    HCYL,
    IDLE,
    LBA,
    LCYL,
    SECTOR,
    SECTORS,
    STATUS,
    Bench,
    content,
    words,
)

RAISED = ["raise"]


@dataclass
class Case:
    """A command without data: what is in the registers, and what comes of it."""

    name: str
    code: int
    registers: dict[str, int] = field(default_factory=dict)
    status: int = IDLE
    error: int = 0
    after: tuple[int, int, int, int] | None = None  # count, LBA low, mid, high where they change
    device: int = LBA


WRITTEN = {"count": 3, "sector": 5, "lcyl": 0, "hcyl": 0}
DONE = [
    Case("recalibrate", 0x10),
    Case("verify", 0x40),
    Case("verify, obsolete code", 0x41),
    Case("verify the last sectors", 0x40, {"sector": (SECTORS - 3) & 0xFF, "lcyl": SECTORS - 3 >> 8}),
    Case("seek", 0x70),
    Case("seek to the last sector", 0x70, {"sector": (SECTORS - 1) & 0xFF, "lcyl": SECTORS - 1 >> 8}),
    Case("initialize device parameters", 0x91),
    Case("flush", 0xE7),
    Case("flush ext", 0xEA),
    Case("idle immediate", 0xE1, status=0x40),
    Case("idle immediate, obsolete code", 0x95, status=0x40),
    Case("idle", 0xE3, status=0x40),
    Case("idle, obsolete code", 0x97, status=0x40),
    Case("standby immediate", 0xE0, status=0x40),
    Case("standby immediate, obsolete code", 0x94, status=0x40),
    Case("standby", 0xE2, status=0x40),
    Case("standby, obsolete code", 0x96, status=0x40),
    Case("sleep", 0xE6, status=0x40),
    Case("sleep, obsolete code", 0x99, status=0x40),
    Case("check power mode", 0xE5, after=(0xFF, 5, 0, 0)),
    Case("check power mode, obsolete code", 0x98, after=(0xFF, 5, 0, 0)),
    *(Case(f"set multiple {count}", 0xC6, {"count": count}) for count in (0, 1, 2, 4, 8, 16)),
    *(
        Case(f"set features {feature:02x}", 0xEF, {"feature": feature})
        for feature in (0x02, 0x82, 0x55, 0xAA, 0x66, 0xCC)
    ),
    *(
        Case(f"transfer mode {mode:02x}", 0xEF, {"feature": 0x03, "count": mode})
        for mode in (0x00, 0x01, 0x08, 0x0C, 0x10, 0x12, 0x20, 0x22, 0x40, 0x45)
    ),
    Case("read native max", 0xF8, after=(3, (SECTORS - 1) & 0xFF, SECTORS - 1 >> 8, 0)),
    Case("read native max, chs", 0xF8, after=(3, SECTORS - 1 - 63 * 63 + 1, 3, 0), device=0xA0),
    Case("smart enable", 0xB0, {"feature": 0xD8, "lcyl": 0x4F, "hcyl": 0xC2}),
    Case("smart status", 0xB0, {"feature": 0xDA, "lcyl": 0x4F, "hcyl": 0xC2}),
    Case("smart autosave on", 0xB0, {"feature": 0xD2, "count": 0xF1, "lcyl": 0x4F, "hcyl": 0xC2}),
]
ABORTED = [
    Case("nop", 0x00),
    Case("device reset", 0x08),
    Case("packet", 0xA0),
    Case("identify packet device", 0xA1),
    Case("read dma", 0xC8),
    Case("unknown", 0xFF),
    Case("read past the end", 0x20, {"sector": SECTORS & 0xFF, "lcyl": SECTORS >> 8}),
    Case("verify past the end", 0x40, {"sector": (SECTORS - 2) & 0xFF, "lcyl": SECTORS >> 8}),
    Case("seek past the end", 0x70, {"sector": SECTORS & 0xFF, "lcyl": SECTORS >> 8}),
    Case("read of sector 0", 0x20, {"sector": 0}, device=0xA0),
    Case("read of sector 64 of 63", 0x20, {"sector": 64}, device=0xA0),
    Case("seek to sector 0", 0x70, {"sector": 0}, device=0xA0),
    Case("read ext in chs", 0x24, device=0xA0),
    Case("initialize with no sectors", 0x91, {"count": 0}),
    *(Case(f"set multiple {count}", 0xC6, {"count": count}) for count in (3, 17, 32, 255)),
    *(Case(f"set features {feature:02x}", 0xEF, {"feature": feature}) for feature in (0x00, 0x99, 0x05)),
    *(
        Case(f"transfer mode {mode:02x}", 0xEF, {"feature": 0x03, "count": mode})
        for mode in (0x02, 0x0D, 0x13, 0x23, 0x30, 0x46, 0xFF)
    ),
    Case("set max without its query", 0xF9),
    Case("smart without its key", 0xB0, {"feature": 0xD8}),
    Case("smart read data", 0xB0, {"feature": 0xD0, "lcyl": 0x4F, "hcyl": 0xC2}),
    Case("smart autosave of what", 0xB0, {"feature": 0xD2, "count": 2, "lcyl": 0x4F, "hcyl": 0xC2}),
]


def carry_out(case: Case) -> Bench:
    bench = Bench()
    bench.outb(DEVICE, case.device)
    bench.command(case.code, **(WRITTEN | case.registers))
    return bench


@pytest.mark.parametrize("case", DONE, ids=lambda case: case.name)
def test_a_command_without_data_ends_with_its_status_and_one_interrupt(case: Case) -> None:
    bench = carry_out(case)
    written = WRITTEN | case.registers
    after = case.after or (written["count"], written["sector"], written["lcyl"], written["hcyl"])
    assert bench.since() == RAISED
    assert (bench.inb(ERROR), bench.inb(COUNT), bench.inb(SECTOR), bench.inb(LCYL), bench.inb(HCYL)) == (0, *after)
    assert bench.inb(DEVICE) & 0xF0 == case.device & 0xF0
    assert bench.inb(STATUS) == case.status
    assert bench.since() == ["lower"]


@pytest.mark.parametrize("case", ABORTED, ids=lambda case: case.name)
def test_a_failure_is_abrt_with_count_and_address_as_written_and_one_interrupt(case: Case) -> None:
    bench = carry_out(case)
    written = WRITTEN | case.registers
    assert bench.since() == RAISED
    assert [bench.inb(port) for port in (ERROR, COUNT, SECTOR, LCYL, HCYL)] == [
        4, written["count"], written["sector"], written["lcyl"], written["hcyl"]
    ]  # fmt: skip
    assert bench.inb(STATUS) == FAILED
    assert bench.since() == ["lower"]
    assert bench.kind() is None


@pytest.mark.parametrize("code", [0x20, 0x21])
def test_read_interrupts_when_each_sector_is_ready_and_not_at_the_end(code: int) -> None:
    bench = Bench()
    bench.address(8, 3)
    bench.outb(COMMAND, code)
    for sector in (8, 9, 10):
        assert bench.since() == RAISED
        assert bench.inb(STATUS) == DATA_READY
        assert bench.since() == ["lower"]
        assert bench.read_bytes(512) == content(512 * sector, 512)
    assert bench.since() == []
    assert bench.registers() == (0, 0, 11, 0, 0, LBA, IDLE)


@pytest.mark.parametrize("code", [0x30, 0x31])
def test_write_interrupts_after_each_sector_and_not_before_the_first(code: int) -> None:
    bench = Bench()
    data = bytes(range(256)) * 6
    bench.address(8, 3)
    assert bench.command(code) == DATA_READY
    assert bench.since() == []
    for at in range(0, 1536, 512):
        bench.write_bytes(data[at : at + 512])
        assert bench.since() == RAISED
        assert bench.inb(STATUS) == (DATA_READY if at < 1024 else IDLE)
        assert bench.since() == ["lower"]
    assert bench.registers() == (0, 0, 11, 0, 0, LBA, IDLE)
    assert bench.media[0].disk.read(512 * 8, 1536) == data


@pytest.mark.parametrize(
    ("multiple", "count", "blocks"), [(16, 20, [16, 4]), (4, 8, [4, 4]), (8, 3, [3]), (1, 2, [1, 1])]
)
def test_read_multiple_interrupts_once_a_block(multiple: int, count: int, blocks: list[int]) -> None:
    bench = Bench()
    bench.command(0xC6, count=multiple)
    bench.inb(STATUS)
    bench.since()
    bench.address(100, count)
    bench.command(0xC4)
    lba = 100
    for block in blocks:
        assert bench.since() == RAISED
        assert bench.inb(STATUS) == DATA_READY
        assert bench.since() == ["lower"]
        assert bench.read_bytes(512 * block) == content(512 * lba, 512 * block)
        lba += block
    assert bench.since() == []
    assert bench.inb(STATUS) == IDLE


@pytest.mark.parametrize(("multiple", "count", "blocks"), [(16, 20, [16, 4]), (2, 5, [2, 2, 1])])
def test_write_multiple_interrupts_once_a_block(multiple: int, count: int, blocks: list[int]) -> None:
    bench = Bench()
    bench.command(0xC6, count=multiple)
    bench.inb(STATUS)
    bench.since()
    data = content(0, 512 * count)
    bench.address(100, count)
    bench.command(0xC5)
    at = 0
    for block in blocks:
        assert bench.since() == []
        assert bench.inb(STATUS) == DATA_READY
        bench.write_bytes(data[at : at + 512 * block])
        assert bench.since() == RAISED
        bench.inb(STATUS)
        bench.since()
        at += 512 * block
    assert bench.media[0].disk.read(51200, len(data)) == data


@pytest.mark.parametrize("code", [0xC4, 0xC5, 0x29, 0x39])
def test_multiple_commands_abort_when_they_are_off(code: int) -> None:
    bench = Bench()
    bench.command(0xC6, count=0)
    bench.address48(0, 1)
    assert bench.command(code) == FAILED


def test_a_refused_set_multiple_switches_the_multiple_commands_off() -> None:
    bench = Bench()
    assert bench.command(0xC6, count=5) == FAILED
    bench.address(0, 1)
    assert bench.command(0xC4) == FAILED


def test_count_zero_means_256_sectors() -> None:
    bench = Bench()
    bench.address(0, 0)
    bench.command(0xC4)
    assert len([bench.read_block(16 * 512) for _ in range(16)]) == 16
    assert bench.registers() == (0, 0, 0, 1, 0, LBA, IDLE)


def test_extended_count_zero_means_65536_sectors() -> None:
    bench = Bench()
    bench.address48(0, 0)
    bench.command(0x24)
    assert bench.transfer().left == 0xFFFF


def test_extended_read_advances_the_bytes_written_first_too() -> None:
    bench = Bench()
    bench.address48(0x0FF, 0x0102)
    bench.command(0x24)
    assert bench.read_block(512) == content(512 * 0xFF, 512)
    bench.outb(CONTROL, 0x80)
    high = [bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)]
    bench.outb(CONTROL, 0x00)
    low = [bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)]
    assert (high, low) == ([1, 0, 0, 0], [0, 1, 1, 0])  # two sectors given out, the third not yet


@pytest.mark.parametrize("lba", [1 << 24, 1 << 32, 1 << 40])
@pytest.mark.parametrize("code", [0x24, 0x29, 0x42])
def test_all_48_address_bits_count(code: int, lba: int) -> None:
    bench = Bench()
    bench.address48(lba, 1)
    assert bench.command(code) == FAILED


def test_a_read_across_the_end_fails_at_the_first_sector_that_is_not_there() -> None:
    bench = Bench()
    bench.address(SECTORS - 2, 4)
    bench.command(0x20)
    for _ in range(2):
        bench.read_block(512)
    assert bench.registers() == (4, 2, SECTORS & 0xFF, SECTORS >> 8, 0, LBA, FAILED)
    assert bench.since()[-1] == "raise"


def test_a_write_past_the_end_fails_after_its_block() -> None:
    bench = Bench()
    bench.address(SECTORS, 1)
    assert bench.command(0x30) == DATA_READY
    bench.write_bytes(bytes(512))
    assert bench.inb(STATUS) == FAILED
    assert not any(blob_bytes(bench.media[0].disk.save().changed))


def test_a_write_to_a_read_only_disk_aborts_even_where_errors_wait() -> None:
    bench = Bench(read_only=True, on_error="wait")
    bench.address(0, 1)
    bench.command(0x30)
    bench.write_bytes(bytes(512))
    assert bench.inb(STATUS) == FAILED
    assert bench.inb(ERROR) == 4


# -- CHS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cylinder", "head", "sector", "lba"), [(0, 0, 1, 0), (0, 1, 1, 63), (1, 0, 1, 1008), (2, 15, 63, 3023)]
)
def test_chs_uses_16_heads_and_63_sectors_at_power_on(cylinder: int, head: int, sector: int, lba: int) -> None:
    bench = Bench()
    bench.chs(cylinder, head, sector, 1)
    bench.command(0x20)
    assert bench.read_block(512) == content(512 * lba, 512)


def test_the_translation_of_0x91_is_used_and_carried() -> None:
    bench = Bench()
    bench.outb(DEVICE, 0xA3)  # 4 heads
    assert bench.command(0x91, count=8) == IDLE
    bench.chs(1, 3, 8, 2)  # the last sector of cylinder 1
    bench.command(0x20)
    assert bench.read_block(512) == content(512 * 63, 512)
    assert bench.read_block(512) == content(512 * 64, 512)
    assert bench.registers() == (0, 0, 2, 2, 0, 0xA0, IDLE)


@pytest.mark.parametrize(("head", "sector"), [(4, 1), (0, 9), (0, 0)])
def test_an_address_outside_the_translation_aborts(head: int, sector: int) -> None:
    bench = Bench()
    bench.outb(DEVICE, 0xA3)
    bench.command(0x91, count=8)
    bench.chs(0, head, sector, 1)
    assert bench.command(0x20) == FAILED


def test_the_translation_survives_a_software_reset_but_not_a_power_cycle() -> None:
    bench = Bench()
    bench.outb(DEVICE, 0xA3)
    bench.command(0x91, count=8)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    bench.chs(1, 0, 1, 1)
    bench.command(0x20)
    assert bench.read_block(512) == content(512 * 32, 512)
    bench.machine.reset()
    bench.chs(1, 0, 1, 1)
    bench.command(0x20)
    assert bench.read_block(512) == content(512 * 1008, 512)


# -- settings ---------------------------------------------------------------------------------------------------------


def test_check_power_mode_tells_standby_until_the_medium_is_used() -> None:
    bench = Bench()
    bench.command(0xE0)
    bench.command(0xE5)
    assert bench.inb(COUNT) == 0x00
    bench.read_sectors(0)
    bench.command(0xE5)
    assert bench.inb(COUNT) == 0xFF


def test_a_sleeping_disk_takes_no_command_until_it_is_reset() -> None:
    bench = Bench()
    bench.command(0xE6)
    bench.inb(STATUS)
    bench.since()
    for code in (0xEC, 0x20, 0x90, 0xE1):
        assert bench.command(code) == 0x40
    assert bench.since() == []
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    assert bench.command(0xEC) == DATA_READY


@pytest.mark.parametrize(("feature", "multiple", "cached"), [(0xCC, 16, True), (0x66, 4, False)])
def test_features_66_and_cc_say_whether_a_software_reset_undoes_settings(
    feature: int, multiple: int, cached: bool
) -> None:
    bench = Bench()
    bench.command(0xEF, feature=feature)
    bench.command(0xEF, feature=0x82)
    bench.command(0xC6, count=4)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    ata = bench.drive().ata
    assert ata is not None
    assert (ata.multiple, ata.write_cache) == (multiple, cached)


@pytest.mark.parametrize(("feature", "flushes"), [(0x02, 0), (0x82, 2)])
def test_without_write_cache_every_block_is_flushed(feature: int, flushes: int) -> None:
    bench = Bench()
    bench.command(0xEF, feature=feature)
    bench.address(0, 2)
    bench.command(0x30)
    for _ in range(2):
        bench.write_bytes(bytes(512))
        bench.inb(STATUS)
    assert bench.media[0].flushes == flushes


def test_flush_flushes() -> None:
    bench = Bench()
    bench.command(0xE7)
    bench.command(0xEA)
    assert bench.media[0].flushes == 2


def test_smart_commands_abort_while_smart_is_off() -> None:
    bench = Bench()
    key = {"lcyl": 0x4F, "hcyl": 0xC2}
    assert bench.command(0xB0, feature=0xD9, **key) == IDLE
    assert bench.command(0xB0, feature=0xDA, **key) == FAILED
    assert bench.command(0xB0, feature=0xD8, **key) == IDLE
    assert bench.command(0xB0, feature=0xDA, **key) == IDLE


# -- SET MAX ----------------------------------------------------------------------------------------------------------


def set_max(bench: Bench, last: int, *, keep: bool = False, extended: bool = False) -> int:
    bench.outb(DEVICE, LBA)
    bench.command(0x27 if extended else 0xF8)
    if extended:
        bench.address48(last, int(keep))
        return bench.command(0x37, feature=0)
    bench.address(last, int(keep))
    return bench.command(0xF9, feature=0)


def sectors_told(bench: Bench) -> tuple[int, int]:
    bench.command(0xEC)
    answer = words(bench.read_block(512))
    return answer[60] | answer[61] << 16, answer[100] | answer[101] << 16


@pytest.mark.parametrize("extended", [False, True])
def test_set_max_shortens_the_disk(extended: bool) -> None:
    bench = Bench()
    assert set_max(bench, 999, extended=extended) == IDLE
    assert sectors_told(bench) == (1000, 1000)
    bench.address(1000, 1)
    assert bench.command(0x20) == FAILED
    bench.address(999, 1)
    assert bench.command(0x20) == DATA_READY


def test_read_native_max_tells_the_whole_disk_whatever_set_max_said() -> None:
    bench = Bench()
    set_max(bench, 999)
    bench.command(0xF8)
    assert bench.inb(SECTOR) | bench.inb(LCYL) << 8 == SECTORS - 1


@pytest.mark.parametrize(("keep", "after"), [(False, SECTORS), (True, 1000)])
def test_set_max_outlives_a_power_cycle_only_if_asked_to(keep: bool, after: int) -> None:
    bench = Bench()
    set_max(bench, 999, keep=keep)
    bench.machine.reset()
    assert sectors_told(bench) == (after, after)


def test_set_max_is_kept_once_a_power_cycle() -> None:
    bench = Bench()
    assert set_max(bench, 999, keep=True) == IDLE
    assert set_max(bench, 899, keep=True) == FAILED
    assert set_max(bench, 899) == IDLE


def test_set_max_beyond_the_native_size_aborts() -> None:
    assert set_max(Bench(), SECTORS) == FAILED


def test_set_max_must_follow_its_own_query_at_once() -> None:
    bench = Bench()
    bench.command(0xF8)
    bench.command(0xE1)
    bench.address(999, 0)
    assert bench.command(0xF9, feature=0) == FAILED
    bench.command(0x27)
    bench.address(999, 0)
    assert bench.command(0xF9, feature=0) == FAILED
    bench.command(0xF8)
    bench.command(0xF8)
    bench.address(999, 0)
    assert bench.command(0xF9, feature=0) == IDLE
    ata = bench.drive().ata
    assert ata is not None
    assert ata.max_query is MaxQuery.NONE


@pytest.mark.parametrize("feature", [1, 2, 3, 4])
def test_set_max_has_no_security_extensions(feature: int) -> None:
    bench = Bench()
    bench.command(0xF8)
    bench.address(999, 0)
    assert bench.command(0xF9, feature=feature) == FAILED


def test_set_max_refuses_to_undo_an_extended_one() -> None:
    bench = Bench()
    set_max(bench, 999, extended=True)
    assert set_max(bench, SECTORS - 1) == FAILED
    assert set_max(bench, SECTORS - 1, extended=True) == IDLE
    assert set_max(bench, 999) == IDLE


# -- a medium that fails ----------------------------------------------------------------------------------------------


def begin_read(bench: Bench) -> None:
    bench.address(10, 2)
    bench.command(0x20)


def begin_write(bench: Bench) -> None:
    bench.address(10, 1)
    bench.command(0x30)
    bench.write_bytes(b"new " * 128)


def begin_verify(bench: Bench) -> None:
    bench.address(0, 0)
    bench.command(0x40)


def begin_flush(bench: Bench) -> None:
    bench.command(0xE7)


FAILING = {"read": begin_read, "write": begin_write, "verify": begin_verify, "flush": begin_flush}


@pytest.mark.parametrize("kind", FAILING)
def test_a_failed_medium_is_reported_as_abrt(kind: str) -> None:
    bench = Bench()
    bench.media[0].failing = True
    FAILING[kind](bench)
    assert bench.inb(CONTROL) == FAILED
    assert bench.inb(ERROR) == 4
    assert bench.since() == RAISED
    assert bench.kind() is None


@pytest.mark.parametrize("cut", [False, True], ids=["", "saved"])
@pytest.mark.parametrize("kind", FAILING)
def test_a_failed_medium_is_waited_for(kind: str, cut: bool) -> None:
    bench = Bench(on_error="wait")
    bench.media[0].failing = True
    FAILING[kind](bench)
    assert bench.inb(CONTROL) == bench.inb(STATUS) == BUSY
    assert bench.since() == []
    if cut:
        bench = bench.twin()
        bench.media[0].failing = True
    waiting = bench.state()
    bench.machine.retry()
    assert bench.state() == waiting
    for port in range(DATA + 1, STATUS + 1):  # the drive has the registers
        bench.outb(port, 0xEC)
    bench.outw(DATA, 0xFFFF)
    assert bench.inw(DATA) == 0
    assert bench.state() == waiting
    bench.media[0].failing = False
    bench.machine.retry()
    assert bench.since() == RAISED
    if kind == "read":
        assert bench.read_block(512) == content(5120, 512)
        assert bench.read_block(512) == content(5632, 512)
    assert bench.inb(STATUS) == IDLE
    if kind == "write":
        assert bench.media[0].disk.read(5120, 512) == b"new " * 128
    assert bench.kind() is None


def test_a_write_fails_in_the_middle_and_goes_on_there() -> None:
    bench = Bench(on_error="wait")
    bench.address(10, 3)
    bench.command(0x30)
    bench.write_bytes(b"1st " * 128)
    bench.media[0].failing = True
    bench.write_bytes(b"2nd " * 128)
    assert bench.inb(STATUS) == BUSY
    twin = bench.twin()
    twin.machine.retry()
    assert twin.inb(STATUS) == DATA_READY
    twin.write_bytes(b"3rd " * 128)
    assert twin.inb(STATUS) == IDLE
    assert twin.media[0].disk.read(5120, 1536) == b"1st " * 128 + b"2nd " * 128 + b"3rd " * 128


def test_reset_gives_up_what_waits() -> None:
    bench = Bench(on_error="wait")
    bench.media[0].failing = True
    begin_write(bench)
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)
    bench.media[0].failing = False
    bench.machine.retry()
    assert bench.inb(STATUS) == IDLE
    assert not any(blob_bytes(bench.media[0].disk.save().changed))


def test_power_mode_is_state() -> None:
    bench = Bench()
    bench.command(0xE0)
    assert bench.twin().drive().power is PowerMode.STANDBY
