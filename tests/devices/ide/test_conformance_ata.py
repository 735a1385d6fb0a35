"""The disk against ATA/ATAPI-6: each row of `ata_rows` step by step, with every way in which a host may watch it."""

from dataclasses import replace
from itertools import pairwise

import pytest

from chkpt.context import blob_bytes
from chkpt_devices.ide.registers import Command
from tests.devices.ide.bench import (
    COMMAND,
    CONTROL,
    COUNT,
    DATA,
    DATA_READY,
    DEVICE,
    ERROR,
    FAILED,
    FEATURE,
    HCYL,
    IDLE,
    LCYL,
    SECTOR,
    SECTORS,
    STATUS,
    Bench,
    content,
)
from tests.devices.ide.rows import ANY, ROWS, SMART, Disk, Protocol, Regs, Row, lba28, lba48

FEW = 3
"""Sectors up to which every word of a transfer is looked at."""

Moment = tuple[str, int, bool]
"""A step, the Status after it, and whether the drive interrupts for it."""


def moments(row: Row) -> list[Moment]:
    """Return the steps of the protocol (ATA/ATAPI-6 clause 9).

    PIO data-in interrupts when a block is ready, and not at the end. PIO data-out does not interrupt before the first
    block, but after each. A failure always interrupts.
    """
    steps = ["command", *(f"block {number + 1}" for number in range(len(row.blocks)))]
    inwards = row.protocol is Protocol.IN
    moments: list[Moment] = []
    for step, after in pairwise([*steps, None]):
        assert step is not None
        if after is not None:
            moments.append((step, DATA_READY, inwards or step != "command"))
        else:
            moments.append((step, row.status, row.status == FAILED or not inwards))
    return moments


class Watcher:
    """A host that looks after every step; `reads_status` and `nien` say how."""

    def __init__(self, bench: Bench, *, reads_status: bool, nien: bool) -> None:
        self.bench = bench
        self.reads_status = reads_status
        self.nien = nien
        self.pending = False

    def look(self, moment: Moment) -> None:
        """See Alternate Status and INTRQ as they must be, then read Status, or not."""
        step, status, interrupts = moment
        self.pending |= interrupts
        self.glance(status, step)
        if self.reads_status:
            assert self.bench.inb(STATUS) == status, step
            self.pending = False
            self.glance(status, step)

    def glance(self, status: int, where: str) -> None:
        """See Alternate Status, which changes nothing, and INTRQ."""
        assert self.bench.inb(CONTROL) == status, where
        assert self.bench.line == (self.pending and not self.nien), where

    def finish(self) -> None:
        """Clear nIEN: what is pending comes through. Then only Status takes it back."""
        self.bench.outb(CONTROL, 0)
        assert self.bench.line == self.pending
        self.bench.inb(STATUS)
        assert not self.bench.line


def block_of(row: Row, number: int) -> bytes:
    """Return what block `number` holds: the medium's sectors, or what the host writes."""
    at, length = 512 * sum(row.blocks[:number]), 512 * row.blocks[number]
    if row.protocol is Protocol.IN:
        return content(512 * row.regs.lba + at, length)
    return bytes((7 * (at + n) + (at >> 9)) & 0xFF for n in range(length))


def move(row: Row, number: int, watcher: Watcher) -> None:
    """Move a block word by word; until its last word nothing changes."""
    bench, block = watcher.bench, block_of(row, number)
    closely = sum(row.blocks) <= FEW
    for at in range(0, len(block), 2):
        if closely:
            watcher.glance(DATA_READY, f"block {number + 1}, byte {at}")
        word = int.from_bytes(block[at : at + 2], "little")
        if row.protocol is Protocol.OUT:
            bench.outw(DATA, word)
        elif row.data:
            assert bench.inw(DATA) == word, at
        else:
            bench.inw(DATA)


def registers(bench: Bench) -> tuple[int, ...]:
    """Return Error, count, address, Device, and the HOB bytes of count and address."""
    now = [bench.inb(port) for port in (ERROR, COUNT, SECTOR, LCYL, HCYL, DEVICE)]
    bench.outb(CONTROL, 0x80)
    hob = [bench.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)]
    bench.outb(CONTROL, 0x00)
    return (*now, *hob)


def play(row: Row, *, reads_status: bool, nien: bool) -> Bench:
    bench = row.disk.bench()
    row.before(bench)
    row.regs.write(bench)
    bench.outb(FEATURE, row.feature)
    bench.outb(CONTROL, 0x02 if nien else 0x00)
    watcher = Watcher(bench, reads_status=reads_status, nien=nien)
    bench.outb(COMMAND, row.code)
    first, *rest = moments(row)
    watcher.look(first)
    for number, moment in enumerate(rest):
        move(row, number, watcher)
        watcher.look(moment)
    assert bench.inw(DATA) == 0  # no block is there any more
    watcher.glance(row.status, "the end")
    watcher.finish()
    return bench


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_command_goes_through_its_protocol_and_leaves_its_registers(row: Row) -> None:
    bench = play(row, reads_status=True, nien=False)
    after = row.after or row.regs
    answer = (row.error, after.count, after.low, after.mid, after.high, after.device, *after.hob)
    assert registers(bench) == answer
    if row.protocol is Protocol.OUT:
        lba, sent = row.regs.lba, b"".join(block_of(row, number) for number in range(len(row.blocks)))
        disk = bench.media[0].disk
        assert any(blob_bytes(disk.save().changed)) == (row.landed > 0)
        if row.landed:
            assert disk.read(512 * lba, 512 * row.landed) == sent[: 512 * row.landed]
        if row.status == FAILED and lba + row.landed < SECTORS:
            behind = 512 * (lba + row.landed)
            assert disk.read(behind, 512) == content(behind, 512)


WATCHED = [row for row in ROWS if sum(row.blocks) <= FEW and row.disk.sectors == SECTORS]


@pytest.mark.parametrize("row", WATCHED, ids=lambda row: row.id)
def test_who_reads_only_alternate_status_keeps_the_interrupt(row: Row) -> None:
    play(row, reads_status=False, nien=False)


@pytest.mark.parametrize("reads_status", [True, False], ids=["status", "alternate"])
@pytest.mark.parametrize("row", WATCHED, ids=lambda row: row.id)
def test_under_nien_the_line_is_silent_and_the_interrupt_waits(row: Row, reads_status: bool) -> None:
    play(row, reads_status=reads_status, nien=True)


# -- whole ranges of codes --------------------------------------------------------------------------------------------


def outcome(code: int, feature: int = 0, count: int = 7, regs: Regs = ANY) -> tuple[int, int]:
    """Return Status and Error of a command on a new disk; nothing but a failure may leave an Error."""
    bench = Disk().bench()
    replace(regs, count=count).write(bench)
    bench.outb(FEATURE, feature)
    bench.outb(COMMAND, code)
    assert bench.line
    return bench.inb(STATUS), bench.inb(ERROR)


def test_every_command_has_a_row() -> None:
    by_count = {Command.SET_FEATURES, Command.SET_MULTIPLE}  # each value below
    assert {row.code for row in ROWS} == {code.value for code in Command} - by_count


def test_a_command_that_is_not_there_aborts_and_leaves_the_registers() -> None:
    """ATA/ATAPI-6, Error register, ABRT: the command is not supported. DMA, queued and security commands too."""
    for code in sorted(set(range(256)) - {code.value for code in Command}):
        regs = lba48(0x123456789ABC, 0x1234)
        bench = play(Row("not supported", "", code, regs, status=FAILED, error=4), reads_status=True, nien=False)
        answer = (4, regs.count, regs.low, regs.mid, regs.high, regs.device, *regs.hob)
        assert registers(bench) == answer, hex(code)


DONE, ABORTED = (IDLE, 0), (FAILED, 4)

FEATURES = {0x02, 0x82, 0x55, 0xAA, 0x66, 0xCC}
"""SET FEATURES: write cache, look-ahead, settings over a reset. 0x03 is below."""

MODES = {0x00, 0x01, *range(0x08, 0x0D), *range(0x10, 0x13), *range(0x20, 0x23), *range(0x40, 0x46)}
"""SET FEATURES, transfer mode values: PIO default, PIO, single and multiword DMA, Ultra DMA, as words 62-64, 88 say."""


def test_set_features_takes_what_is_there() -> None:
    taken = {feature for feature in range(256) if outcome(0xEF, feature) == DONE}
    assert taken == FEATURES  # 03 is refused with a count of 7, which is no transfer mode
    assert {outcome(0xEF, feature) for feature in set(range(256)) - taken} == {ABORTED}


def test_set_features_03_takes_the_modes_that_identify_tells() -> None:
    taken = {mode for mode in range(256) if outcome(0xEF, 0x03, mode) == DONE}
    assert taken == MODES
    assert {outcome(0xEF, 0x03, mode) for mode in set(range(256)) - taken} == {ABORTED}


def test_smart_takes_its_switches_and_no_data() -> None:
    """SMART; its autosave refuses a count of 7."""
    taken = {feature for feature in range(256) if outcome(0xB0, feature, regs=SMART) == DONE}
    assert taken == {0xD8, 0xD9, 0xDA}
    assert {outcome(0xB0, feature, regs=SMART) for feature in set(range(256)) - taken} == {ABORTED}


def test_set_multiple_mode_takes_powers_of_two_to_16_and_a_refusal_disables() -> None:
    """SET MULTIPLE MODE: an unsupported count aborts, and READ and WRITE MULTIPLE are disabled then; 0 disables."""
    for count in range(256):
        taken = count in {0, 1, 2, 4, 8, 16}
        bench = Disk().bench()
        lba28(0, count).write(bench)
        bench.outb(COMMAND, 0xC6)
        assert (bench.inb(STATUS), bench.inb(ERROR)) == (DONE if taken else ABORTED), count
        assert bench.inb(COUNT) == count
        lba28(0, 1).write(bench)
        bench.outb(COMMAND, 0xC4)
        assert bench.inb(STATUS) == (DATA_READY if taken and count else FAILED), count


# -- counts of zero ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0x20, 0xC4])
def test_a_read_with_count_0_is_256_sectors(code: int) -> None:
    """READ SECTOR(S), READ MULTIPLE: a value of 00h is 256."""
    bench = Disk().bench()
    lba28(0, 0).write(bench)
    bench.outb(COMMAND, code)
    taken = 0
    while bench.inb(STATUS) == DATA_READY:
        bench.read_bytes(512)
        taken += 1
    assert taken == 256
    assert registers(bench)[:5] == (0, 0, 0, 1, 0)


@pytest.mark.parametrize("code", [0x24, 0x29])
def test_an_extended_read_with_count_0_is_65536_sectors(code: int) -> None:
    """READ SECTOR(S) EXT, READ MULTIPLE EXT: a value of 0000h is 65,536: at the end of the disk 65,535 are left."""
    bench = Disk().bench()
    lba48(SECTORS - (1 if code == 0x24 else 16), 0).write(bench)
    bench.outb(COMMAND, code)
    for _ in range(1 if code == 0x24 else 16):
        assert bench.inb(STATUS) == DATA_READY
        bench.read_bytes(512)
    assert bench.inb(STATUS) == FAILED
    left = 65535 if code == 0x24 else 65520
    after = lba48(SECTORS, left)
    assert registers(bench) == (4, after.count, after.low, after.mid, after.high, 0xE0, *after.hob)
