"""What other systems lose or lost of a UART or a disk when they save it: kept here, through a real snapshot file.

Each test names the system and its fault. The machine is saved, written as a file, read back and loaded into a new one.
"""

import pytest

from chkpt.errors import StateError
from chkpt.snapshot import dumps, loads
from tests.devices.ide.bench import (
    BUSY,
    CD_SECTORS,
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
    LCYL,
    SECTOR,
    STATUS,
    Bench,
    Medium,
    content,
)
from tests.devices.serial.model import (
    BI,
    DR,
    ERBFI,
    ETBEI,
    FCR,
    FE,
    FIFO_ERROR,
    IER,
    IIR,
    LSR,
    PE,
    RBR,
    TEMT,
    THR,
    THRE,
)
from tests.devices.serial.uart import Uart
from tests.support.rig import saved

IDLE_LINE = THRE | TEMT
FOUR = 347_220
"""The receive time-out at 115200 baud, 8N1."""


def through_a_file(bench: Bench) -> Bench:
    """Return a new machine with the same drives and the same media that goes on from a snapshot of this one."""
    twin = Bench(*bench.kinds, read_only=bench.read_only, on_error=bench.options["on_error"])
    twin.machine.load(loads(dumps(saved(bench.machine))), strict=True)
    twin.edges.clear()
    return twin


# -- UART -------------------------------------------------------------------------------------------------------------


def uart(fcr: int = 0, ier: int = 0, capacity: int | None = None) -> Uart:
    made = Uart(capacity)
    made.set_line(0x03, 1)
    made.write(FCR, fcr)
    made.write(IER, ier)
    return made


def test_unread_bytes_are_read_after_a_load() -> None:
    """v86: "HELLO" becomes one NUL, while LSR says that data is ready."""
    port = uart(fcr=0x01)
    port.receive(b"HELLO")
    twin = port.through_a_file()
    got = bytearray()
    while twin.read(LSR) & DR:
        got.append(twin.read(RBR))
    assert got == b"HELLO"


def test_each_byte_keeps_its_error_flags() -> None:
    """QEMU, OpenVMM, Bochs, v86 and vm-superio have no flags by byte; MAME alone has."""
    arrivals = [(b"a", 0), (b"b", PE), (b"c", 0), (b"d", FE), (b"\0", BI | FE), (b"f", 0)]
    port = uart(fcr=0x01)
    for byte, flags in arrivals:
        port.receive(byte, flags)
    for number, (byte, flags) in enumerate(arrivals):
        port = port.through_a_file()
        more = FIFO_ERROR if any(later for _, later in arrivals[number:]) else 0
        assert port.read(LSR) == IDLE_LINE | DR | flags | more
        assert port.read(RBR) == byte[0]


def test_the_thr_empty_interrupt_is_pending_after_a_load() -> None:
    """Firecracker saved no UART at all for six years: a console of a clone waited for this interrupt for ever."""
    port = uart(ier=ETBEI)
    port.write(THR, 0x41)
    twin = port.through_a_file()
    assert (twin.irq, twin.read(IIR), twin.irq) == (True, 0x02, False)


def test_a_thr_empty_interrupt_that_was_told_stays_told() -> None:
    """QEMU needs a subsection of its own for this: LSR says empty, and no interrupt is pending."""
    port = uart(ier=ETBEI)
    port.read(IIR)
    twin = port.through_a_file()
    assert (twin.irq, twin.read(IIR), twin.read(LSR)) == (False, 0x01, IDLE_LINE)
    twin.write(THR, 0x41)
    assert twin.irq


@pytest.mark.parametrize("elapsed", [0, 1, FOUR // 2, FOUR - 1])
def test_an_armed_time_out_comes_at_its_nanosecond(elapsed: int) -> None:
    """OpenVMM and vm-superio have no time-out; a guest below the trigger level waits for ever."""
    port = uart(fcr=0xC1, ier=ERBFI)
    port.receive(b"abc")
    port.step(elapsed)
    twin = port.through_a_file()
    twin.step(FOUR - elapsed - 1)
    assert (twin.irq, twin.read(IIR)) == (False, 0xC1)
    twin.step(1)
    assert (twin.irq, twin.read(IIR)) == (True, 0xCC)


def test_a_pending_time_out_is_pending_after_a_load() -> None:
    """As above: with three of fourteen bytes only the time-out reports them."""
    port = uart(fcr=0xC1, ier=ERBFI)
    port.receive(b"abc")
    port.step(FOUR)
    twin = port.through_a_file()
    assert (twin.irq, twin.read(IIR)) == (True, 0xCC)
    twin.read(RBR)
    assert (twin.irq, twin.read(IIR)) == (False, 0xC1)
    twin.step(FOUR)
    assert twin.irq


@pytest.mark.parametrize(("fcr", "waiting"), [(0x00, 1), (0x00, 2), (0x01, 1), (0x01, 2), (0x01, 17)])
def test_what_a_blocked_transmitter_holds_is_sent_once(fcr: int, waiting: int) -> None:
    """vm-superio writes through, OpenVMM and v86 save no shift register, QEMU drops the character after four tries."""
    port = uart(fcr=fcr, ier=ETBEI, capacity=3)
    message = bytes(range(0x41, 0x41 + 3 + waiting))
    for byte in message:
        port.write(THR, byte)
    lsr = port.read(LSR)
    assert lsr == (THRE if waiting == 1 else 0)
    twin = port.through_a_file()
    assert twin.read(LSR) == lsr
    assert twin.irq == (waiting == 1)
    got = bytearray()
    twin.step(0)
    while data := twin.take(2):
        got += data
    assert (bytes(got), twin.read(LSR), twin.irq) == (message, IDLE_LINE, True)


# -- the disk: addresses and settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [1, 3])
def test_the_translation_of_0x91_outlives_the_file(again: int) -> None:
    """QEMU: with 4 heads and 8 sectors, CHS 1/0/1 is LBA 0x20 before the save, and 0x3F0 after the load."""
    bench = Bench()
    bench.outb(DEVICE, 0xA3)
    bench.command(0x91, count=8)
    for _ in range(again):
        bench = through_a_file(bench)
    bench.chs(1, 0, 1, 1)
    bench.command(0x20)
    got = bench.read_block(512)
    assert got == content(0x20 * 512, 512)
    assert got != content(0x3F0 * 512, 512)


def test_hob_bytes_outlive_the_file() -> None:
    """MAME has none: a 48-bit command that comes after the load would go elsewhere."""
    bench = Bench()
    first, second = (0x12, 0x34, 0x56, 0x78), (0x9A, 0xBC, 0xDE, 0xF0)
    for values in (first, second):
        for port, value in zip((COUNT, SECTOR, LCYL, HCYL), values, strict=True):
            bench.outb(port, value)
    twin = through_a_file(bench)
    twin.outb(CONTROL, 0x80)
    assert tuple(twin.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)) == first
    again = through_a_file(twin)  # with the bit itself set
    assert tuple(again.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)) == first
    again.outb(CONTROL, 0x00)
    assert tuple(again.inb(port) for port in (COUNT, SECTOR, LCYL, HCYL)) == second


def test_a_48_bit_address_half_written_is_finished_after_the_load() -> None:
    """As above, as a driver does it: the high bytes, then the file, then the low bytes and the command."""
    bench = Bench()
    bench.outb(DEVICE, 0xE0)
    for port, value in zip((COUNT, SECTOR, LCYL, HCYL), (1, 0, 0, 0), strict=True):
        bench.outb(port, value)
    twin = through_a_file(bench)
    for port, value in zip((COUNT, SECTOR, LCYL, HCYL), (1, 0x23, 0x01, 0), strict=True):
        twin.outb(port, value)
    twin.command(0x24)
    assert twin.read_block(512) == content(0x123 * 512, 512)
    twin.outb(CONTROL, 0x80)
    assert twin.inb(COUNT) == 0  # of 257 sectors the second is offered: 255 are left
    twin.outb(CONTROL, 0x00)
    assert (twin.inb(COUNT), twin.inb(CONTROL)) == (0xFF, DATA_READY)


@pytest.mark.parametrize("size", [0, 1, 2, 4, 8, 16])
def test_the_multiple_count_outlives_the_file(size: int) -> None:
    """gem5 has none."""
    bench = Bench()
    bench.command(0xC6, count=size)
    twin = through_a_file(bench)
    twin.address(5, 20)
    twin.command(0xC4)
    if not size:
        assert twin.inb(STATUS) == FAILED
        return
    twin.since()
    for at in range(0, 20, size):
        count = min(size, 20 - at)
        assert twin.read_block(512 * count) == content((5 + at) * 512, 512 * count)
    assert twin.inb(STATUS) == IDLE


def test_what_identify_shows_of_the_settings_outlives_the_file() -> None:
    """QEMU stores the words of IDENTIFY, but neither the geometry nor SMART's switch."""
    bench = Bench()
    bench.outb(DEVICE, 0xA3)
    bench.command(0x91, count=8)
    bench.command(0xEF, feature=0x82)
    bench.command(0xEF, feature=0x03, count=0x0C)
    bench.command(0xB0, feature=0xD9, lcyl=0x4F, hcyl=0xC2)
    twin = through_a_file(bench)
    for each in (bench, twin):
        each.command(0xEC)
    assert twin.read_block(512) == bench.read_block(512)


def test_the_error_of_a_failed_command_outlives_the_file() -> None:
    bench = Bench()
    bench.command(0xFF)
    twin = through_a_file(bench)
    assert (twin.line, twin.inb(ERROR), twin.inb(STATUS)) == (True, 0x04, FAILED)


# -- the disk: in mid-transfer ----------------------------------------------------------------------------------------


def test_a_sector_read_is_cut_at_every_word() -> None:
    """Palacios restores no IDE at all, and its users cannot have tried every word."""
    for word in range(256):
        bench = Bench()
        bench.address(10, 2)
        bench.command(0x20)
        bench.inb(STATUS)
        head = bench.read_bytes(2 * word)
        twin = through_a_file(bench)
        assert (twin.inb(CONTROL), twin.line) == (DATA_READY, False)
        assert head + twin.read_bytes(512 - 2 * word) == content(5120, 512), word
        assert twin.since() == ["raise"]
        assert twin.read_block(512) == content(5632, 512)
        assert twin.inb(STATUS) == IDLE


def test_a_sector_written_is_cut_at_every_word() -> None:
    """The same outwards; the sector is on the medium only when its last word has come."""
    sector = bytes((3 * n + 1) & 0xFF for n in range(512))
    for word in range(256):
        bench = Bench()
        bench.address(10, 2)
        bench.command(0x30)
        bench.write_bytes(sector[: 2 * word])
        twin = through_a_file(bench)
        assert (twin.inb(CONTROL), twin.line) == (DATA_READY, False)
        twin.write_bytes(sector[2 * word : 510])
        assert twin.media[0].disk.read(5120, 512) == content(5120, 512)
        twin.write_bytes(sector[max(2 * word, 510) :])
        assert twin.since() == ["raise"]
        assert twin.media[0].disk.read(5120, 512) == sector, word
        assert twin.inb(STATUS) == DATA_READY
        twin.write_bytes(sector)
        assert twin.inb(STATUS) == IDLE


def test_a_cut_before_every_word_and_status_of_a_multiple_read() -> None:
    """The same through a file every 37 words, in blocks of four sectors and a last one of one."""
    bench = Bench()
    bench.command(0xC6, count=4)
    bench.address(100, 9)
    bench.command(0xC4)
    got = b""
    for block in (4, 4, 1):
        bench = through_a_file(bench)
        assert (bench.line, bench.inb(STATUS)) == (True, DATA_READY)
        words = 256 * block
        while words:
            bench = through_a_file(bench)
            step = min(words, 37)
            got += bench.read_bytes(2 * step)
            words -= step
    assert got == content(51200, 9 * 512)
    bench = through_a_file(bench)
    assert (bench.line, bench.inb(STATUS), bench.inb(COUNT)) == (False, IDLE, 0)


def test_a_failed_write_waits_through_the_file_and_is_tried_again() -> None:
    """QEMU alone keeps a command to retry."""
    sector = b"keep" * 128
    bench = Bench(on_error="wait")
    bench.address(10, 2)
    bench.command(0x30)
    bench.media[0].failing = True
    bench.write_bytes(sector)
    assert bench.inb(STATUS) == BUSY
    for _ in range(2):
        bench = through_a_file(bench)
        bench.media[0].failing = True
        bench.machine.retry()
        assert (bench.inb(CONTROL), bench.line) == (BUSY, False)
    bench.media[0].failing = False
    bench.machine.retry()
    assert (bench.inb(STATUS), bench.since()) == (DATA_READY, ["raise", "lower"])
    bench.write_bytes(sector)
    assert bench.inb(STATUS) == IDLE
    assert bench.media[0].disk.read(5120, 1024) == sector * 2


@pytest.mark.parametrize("code", [0x20, 0x40, 0xE7], ids=["read", "verify", "flush"])
def test_other_commands_that_wait_go_on_after_the_file(code: int) -> None:
    """As above; VERIFY is kept too, which QEMU does not carry out."""
    bench = Bench(on_error="wait")
    bench.media[0].failing = True
    bench.address(10, 1)
    bench.command(code)
    twin = through_a_file(bench)
    assert (twin.inb(CONTROL), twin.line) == (BUSY, False)
    twin.machine.retry()
    assert twin.since() == ["raise"]
    if code == 0x20:
        assert twin.read_block(512) == content(5120, 512)
    assert twin.inb(STATUS) == IDLE


# -- the disk: interrupt and reset ------------------------------------------------------------------------------------


def test_an_interrupt_behind_nien_comes_when_it_is_let_through() -> None:
    """QEMU leaves the interrupt to the 8259A, which never saw it. OpenVMM keeps it."""
    bench = Bench()
    bench.outb(CONTROL, 0x02)
    bench.command(0xE7)
    twin = through_a_file(bench)
    assert not twin.line
    twin.outb(CONTROL, 0x00)
    assert (twin.line, twin.inb(STATUS), twin.line) == (True, IDLE, False)


def test_an_interrupt_that_was_taken_behind_nien_does_not_come() -> None:
    bench = Bench()
    bench.outb(CONTROL, 0x02)
    bench.command(0xE7)
    bench.inb(STATUS)
    twin = through_a_file(bench)
    twin.outb(CONTROL, 0x00)
    assert not twin.line


def test_the_pending_interrupt_of_the_drive_that_is_not_selected_waits() -> None:
    """Two drives, one line: QEMU has one level a bus."""
    bench = Bench("disk", "disk")
    bench.command(0xE7)
    bench.outb(DEVICE, 0xF0)
    assert not bench.line
    twin = through_a_file(bench)
    assert not twin.line
    twin.outb(DEVICE, 0xE0)
    assert (twin.line, twin.inb(STATUS), twin.line) == (True, IDLE, False)


@pytest.mark.parametrize("media", ["disk", "cdrom"])
def test_a_software_reset_under_way_goes_on(media: str) -> None:
    """QEMU keeps no reset in progress; OpenVMM, Bochs and MAME do."""
    bench = Bench(media)
    bench.address(10, 1)
    bench.command(0x20 if media == "disk" else 0xA1)
    bench.outb(CONTROL, 0x04)
    twin = through_a_file(bench)
    assert (twin.inb(STATUS), twin.inb(CONTROL), twin.line) == (0x80, 0x80, False)
    twin.outb(COMMAND, 0xEC)  # not heard
    assert twin.inb(CONTROL) == 0x80
    twin = through_a_file(twin)
    twin.outb(CONTROL, 0x00)
    signature = (1, 1, 1, 0, 0, 0xA0, IDLE) if media == "disk" else (1, 1, 1, 0x14, 0xEB, 0xA0, 0x00)
    assert (*twin.registers()[:6], twin.inb(STATUS)) == signature
    assert not twin.line


def test_sleep_and_standby_outlive_the_file() -> None:
    bench = Bench()
    bench.command(0xE0)
    twin = through_a_file(bench)
    twin.command(0xE5)
    assert twin.inb(COUNT) == 0x00
    bench.command(0xE6)
    bench.inb(STATUS)
    twin = through_a_file(bench)
    twin.command(0xEC)
    assert (twin.inb(CONTROL), twin.line) == (0x40, False)


# -- the CD-ROM drive -------------------------------------------------------------------------------------------------

READ_3 = bytes((0x28, 0, 0, 0, 0, 7, 0, 0, 3, 0, 0, 0))
INQUIRY = (0x12, 0, 0, 0, 36)
EJECT, LOAD, LOCK = (0x1B, 0, 0, 0, 2), (0x1B, 0, 0, 0, 3), (0x1E, 0, 0, 0, 1)
EVENT = (0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8)


def cdrom(kind: str = "cdrom") -> Bench:
    bench = Bench(kind)
    bench.settle()
    return bench


@pytest.mark.parametrize("word", range(7))
def test_a_packet_is_cut_before_it_within_it_and_after_it(word: int) -> None:
    """MAME saves no packet phase, Palacios and v86 the command alone. Six words: a cut before each, and after all."""
    bench = cdrom()
    bench.command(0xA0, feature=0, lcyl=0x00, hcyl=0x10)
    bench.write_bytes(READ_3[: 2 * word])
    twin = through_a_file(bench)
    if word < 6:
        assert (twin.inb(CONTROL), twin.inb(COUNT), twin.line) == (DATA_READY, 1, False)
        twin.write_bytes(READ_3[2 * word :])
    assert (twin.inb(COUNT), twin.byte_count(), twin.line) == (2, 4096, True)
    assert twin.reply() == content(7 * 2048, 3 * 2048)
    assert (twin.inb(COUNT), twin.inb(CONTROL)) == (3, IDLE)


@pytest.mark.parametrize("cut", range(0, 6144, 512))
def test_a_packet_read_is_cut_in_its_data(cut: int) -> None:
    """Blocks of 2,000 bytes, which end within sectors: the place on the disc and the rest of the block are state."""
    bench = cdrom()
    bench.packet(*READ_3, limit=2000)
    got = b""
    while len(got) < 6144:
        assert bench.inb(STATUS) == DATA_READY
        size = bench.byte_count()
        if len(got) <= cut < len(got) + size:
            part = bench.read_bytes(cut - len(got))
            bench = through_a_file(bench)
            assert (bench.inb(CONTROL), bench.byte_count(), bench.line) == (DATA_READY, size, False)
            got += part + bench.read_bytes(size - len(part))
        else:
            got += bench.read_bytes(size)
    assert got == content(7 * 2048, 6144)
    assert (bench.inb(COUNT), bench.inb(STATUS), bench.line) == (3, IDLE, False)


@pytest.mark.parametrize("cut", range(0, 36, 2))
def test_a_reply_is_cut_at_every_word(cut: int) -> None:
    """What follows a reply's block is made of nothing that is on a medium."""
    bench = cdrom()
    bench.packet(*INQUIRY, limit=10)
    whole, got = cdrom(), b""
    whole.packet(*INQUIRY)
    while bench.inb(STATUS) == DATA_READY:
        for _ in range(0, bench.byte_count(), 2):
            if len(got) == cut:
                bench = through_a_file(bench)
            got += bench.inw(DATA).to_bytes(2, "little")
    assert got == whole.reply()


@pytest.mark.parametrize("taken", ["", "sense", "attention"])
def test_sense_and_unit_attention_outlive_the_file(taken: str) -> None:
    """Bochs does not register its sense data; QEMU keeps key and code, and no qualifier."""
    bench = Bench("cdrom") if taken == "attention" else cdrom()
    if taken != "attention":
        bench.packet(*LOCK)
        bench.packet(*EJECT)
    if taken == "sense":
        bench.sense()
    twin = through_a_file(bench)
    expected = {"": (5, 0x53, 2), "sense": (0, 0, 0), "attention": (6, 0x29, 0)}[taken]
    assert twin.sense() == expected
    assert twin.sense() == (0, 0, 0)


def test_an_open_tray_and_its_event_outlive_the_file() -> None:
    """v86 resets both."""
    bench = cdrom()
    bench.packet(*EJECT)
    twin = through_a_file(bench)
    twin.packet(*EVENT)
    assert twin.reply() == bytes((0, 6, 4, 0x10, 3, 1, 0, 0))
    twin = through_a_file(twin)
    twin.packet(*EVENT)
    assert twin.reply() == bytes((0, 6, 4, 0x10, 0, 1, 0, 0))
    assert twin.packet(0x00) == FAILED
    assert twin.sense() == (2, 0x3A, 0)
    twin.packet(*LOAD)
    twin = through_a_file(twin)
    assert twin.packet(0x00) == FAILED
    assert (twin.inb(ERROR), twin.sense()) == (0x60, (6, 0x28, 0))


def test_a_locked_tray_outlives_the_file() -> None:
    """Bochs keeps it, v86 resets it."""
    bench = cdrom()
    bench.packet(*LOCK)
    twin = through_a_file(bench)
    assert twin.packet(*EJECT) == FAILED
    assert twin.sense() == (5, 0x53, 2)


def test_a_read_that_waits_for_its_disc_goes_on_after_the_file() -> None:
    """QEMU alone keeps this one as well."""
    bench = Bench("cdrom", on_error="wait")
    bench.settle()
    bench.packet(*READ_3, limit=2000)
    got = bench.read_block(2000)
    bench.media[0].failing = True
    got += bench.read_block(2000)  # the third block cannot be read
    assert bench.inb(CONTROL) == BUSY
    twin = through_a_file(bench)
    assert (twin.inb(CONTROL), twin.line) == (BUSY, False)
    twin.machine.retry()
    assert twin.line
    got += twin.reply()
    assert got == content(7 * 2048, 6144)


def test_a_disc_of_another_size_is_refused_and_nothing_changes() -> None:
    """A read that is cut would go on from another disc."""
    bench = cdrom()
    bench.packet(*READ_3, limit=2000)
    other = Bench("empty")
    other.machine.devices.connect_block("ide0.0", Medium(4 * CD_SECTORS, read_only=True, digest=b"other"))
    before = other.state()
    with pytest.raises(StateError, match="bench"):
        other.machine.load(loads(dumps(saved(bench.machine))), strict=True)
    assert other.state() == before
