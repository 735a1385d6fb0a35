"""What a disk does, as rows: a command as the registers are written, and the protocol, status and registers after it.

`clause` is the title of the clause of ATA/ATAPI-6 (T13/1410D revision 3b) that the row is from; clauses that it calls
obsolete are ATA-3's (X3T10/2008D). The bus protocols are "Non-data", "PIO data-in" and "PIO data-out" of its clause 9.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from tests.devices.ide.bench import (
    CONTROL,
    COUNT,
    DEVICE,
    FAILED,
    HCYL,
    IDLE,
    LCYL,
    SECTOR,
    SECTORS,
    Bench,
    Medium,
)

BIG: Final = 70_000
"""Sectors of the disk on which 65,536 sectors fit."""

HUGE: Final = (1 << 28) + 5
"""Sectors of a disk that 28 bits cannot address whole."""

ENORMOUS: Final = (1 << 40) + 5
"""Sectors of a disk with an address in every register of 48 bits."""

BEFORE: Final = (0x11, 0x22, 0x33, 0x44)
"""What the guest wrote to count and address before the command's values: the HOB bytes of a 28-bit command."""


class Protocol(Enum):
    NON_DATA = "non-data"
    IN = "PIO data-in"
    OUT = "PIO data-out"


@dataclass(frozen=True)
class Regs:
    """Count, LBA low, mid, high and Device, and the HOB bytes of the first four. `lba` is the sector they mean."""

    count: int
    low: int
    mid: int
    high: int
    device: int
    hob: tuple[int, int, int, int] = BEFORE
    lba: int = 0

    def write(self, bench: Bench) -> None:
        """Write them as a driver does: the HOB bytes first."""
        bench.outb(DEVICE, self.device)
        for values in (self.hob, (self.count, self.low, self.mid, self.high)):
            for port, value in zip((COUNT, SECTOR, LCYL, HCYL), values, strict=True):
                bench.outb(port, value)


def lba28(lba: int, count: int) -> Regs:
    return Regs(count & 0xFF, lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF, 0xE0 | lba >> 24 & 0xF, lba=lba)


def lba48(lba: int, count: int) -> Regs:
    high = (count >> 8 & 0xFF, lba >> 24 & 0xFF, lba >> 32 & 0xFF, lba >> 40 & 0xFF)
    return Regs(count & 0xFF, lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF, 0xE0, high, lba)


def chs(lba: int, count: int, heads: int = 16, sectors: int = 63) -> Regs:
    """ATA-3, "CHS addressing": sectors from 1, then heads, then cylinders."""
    cylinder, rest = divmod(lba, heads * sectors)
    head, sector = divmod(rest, sectors)
    return Regs(count & 0xFF, sector + 1, cylinder & 0xFF, cylinder >> 8, 0xA0 | head, lba=lba)


Form = Callable[[int, int], Regs]


@dataclass(frozen=True)
class Disk:
    """The disk of a row: its size, whether it is read-only, the sectors on which it fails, whether a flush fails."""

    sectors: int = SECTORS
    read_only: bool = False
    bad: frozenset[int] = frozenset()
    bad_flush: bool = False

    def bench(self) -> Bench:
        """Return a machine with this disk as drive 0."""
        bench = Bench("absent")
        bench.media[0] = Spotty(self)
        bench.machine.devices.connect_block("ide0.0", bench.media[0])
        bench.since()
        return bench


class Spotty(Medium):
    """A medium that fails on some sectors. One of another size than the bench's holds zeros and takes no writes."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(read_only=disk.read_only)
        self.spec = disk

    @property
    def size(self) -> int:
        return 512 * self.spec.sectors

    def read(self, offset: int, length: int, /) -> bytes:
        self._touch(offset, length)
        return super().read(offset, length) if self.spec.sectors == SECTORS else bytes(length)

    def write(self, offset: int, data: bytes, /) -> None:
        self._touch(offset, len(data))
        super().write(offset, data)

    def flush(self) -> None:
        if self.spec.bad_flush:
            raise OSError
        super().flush()

    def _touch(self, offset: int, length: int) -> None:
        if not self.spec.bad.isdisjoint(range(offset // 512, (offset + length) // 512)):
            raise OSError


def nothing(_bench: Bench) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Row:
    """One command. `blocks` are the sectors of each data block that moves; a failure is at the last step.

    `after` are the registers when it is done, None for those written. `landed` is how many sectors reached the medium.
    """

    clause: str
    name: str
    code: int
    regs: Regs
    protocol: Protocol = Protocol.NON_DATA
    blocks: tuple[int, ...] = ()
    status: int = IDLE
    error: int = 0
    after: Regs | None = None
    feature: int = 0
    disk: Disk = Disk()
    before: Callable[[Bench], None] = nothing
    landed: int = 0
    data: bool = True  # whether the blocks are the medium's sectors

    @property
    def id(self) -> str:
        return f"{self.clause} {self.code:02x}: {self.name}"


def aborted(row: Row) -> Row:
    """Return the row as a failed one: ERR and ABRT, the only error that this disk reports."""
    return replace(row, status=FAILED, error=0x04)


def command(code: int, regs: Regs | None = None, feature: int = 0) -> Callable[[Bench], None]:
    """Return a preparation: carry out another command, and take its interrupt."""

    def prepare(bench: Bench) -> None:
        (regs or lba28(0, 0)).write(bench)
        bench.command(code, feature=feature)
        bench.inb(0x1F7)
        bench.since()

    return prepare


def reset(bench: Bench) -> None:
    """Give a software reset."""
    bench.outb(CONTROL, 0x04)
    bench.outb(CONTROL, 0x00)


translation_4_8 = command(0x91, Regs(8, 0, 0, 0, 0xA3))
"""Four heads, eight sectors a track."""

multiple_off = command(0xC6, lba28(0, 0))
multiple_refused = command(0xC6, lba28(0, 3))


def multiple(count: int) -> Callable[[Bench], None]:
    return command(0xC6, lba28(0, count))


def split(count: int, block: int) -> tuple[int, ...]:
    """Return the sectors of each block: the last may be partial (READ MULTIPLE)."""
    return tuple(min(block, count - at) for at in range(0, count, block))


# -- commands that move sectors ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mover:
    """A read or write command: its sectors a block at power-on, and the forms its address may have."""

    clause: str
    code: int
    protocol: Protocol
    block: int
    forms: tuple[Form, ...]

    @property
    def extended(self) -> bool:
        return lba48 in self.forms

    def rows(self) -> list[Row]:
        rows: list[Row] = []
        for form in self.forms:
            rows += [self._done(f"{form.__name__}, {count} from {lba}", form, lba, count) for lba, count in REACHES]
            rows += self._failures(form)
        most = 257 if self.extended else 256
        if self.block > 1:
            rows.append(self._done(f"count of {most}", self.forms[0], 10, most))
            rows += self._multiples()
        rows += self._wrong_addresses()
        if self.protocol is Protocol.OUT:
            rows += self._write_failures()
        else:
            rows += self._carries()
        return rows

    def _carries(self) -> list[Row]:
        """Return reads whose address is carried over the end of each register."""
        form = self.forms[0]
        disk, bits = (Disk(ENORMOUS), (8, 16, 24, 32, 40)) if self.extended else (Disk(HUGE), (8, 16, 24))
        return [
            replace(self._done(f"over 2^{bit}", form, (1 << bit) - 2, 3), disk=disk, data=False) for bit in bits
        ]  # fmt: skip

    def _done(self, name: str, form: Form, lba: int, count: int) -> Row:
        """Return a success: count 0, and the address of the sector after the last."""
        blocks = split(count, self.block)
        return Row(self.clause, name, self.code, form(lba, count), self.protocol, blocks, after=form(lba + count, 0),
                   landed=count)  # fmt: skip

    def _failed(self, name: str, form: Form, lba: int, count: int, moved: int, **more: object) -> Row:
        """Return a failure after `moved` blocks: count and address of the first sector of the block that failed.

        A write has its block from the host by then, a read has not given it.
        """
        sizes = split(count, self.block)
        blocks = sizes[: moved + 1] if self.protocol is Protocol.OUT else sizes[:moved]
        done = sum(sizes[:moved])
        row = Row(self.clause, f"{form.__name__}, {name}", self.code, form(lba, count), self.protocol, blocks,
                  after=form(lba + done, count - done), landed=done)  # fmt: skip
        return replace(aborted(row), **more)  # type: ignore[arg-type] # fields of several types

    def _failures(self, form: Form) -> list[Row]:
        one = self.block == 1
        return [
            self._failed("past the end", form, SECTORS, 1, 0),
            self._failed("far past the end", form, SECTORS + 1000, 20, 0),
            self._failed("across the end", form, SECTORS - 1, 3, 1 if one else 0),
            self._failed("across the end in the second block", form, SECTORS - 17, 20, 17 if one else 1),
            self._failed("medium fails at once", form, 40, 3, 0, disk=Disk(bad=frozenset([40]))),
            self._failed("medium fails within", form, 40, 33, 18 if one else 1, disk=Disk(bad=frozenset([58]))),
        ]

    def _multiples(self) -> list[Row]:
        """SET MULTIPLE MODE decides; a refused count and 0 switch the command off."""
        form = self.forms[0]
        rows = [
            replace(
                self._done(f"blocks of {size}", form, 5, 19), blocks=split(19, size), before=multiple(size)
            )
            for size in (1, 2, 4, 8, 16)
        ]  # fmt: skip
        for name, before in (("multiple off", multiple_off), ("multiple refused", multiple_refused)):
            row = Row(self.clause, name, self.code, form(5, 3), self.protocol, before=before)
            rows.append(aborted(row))
        after_reset = self._done("a reset enables it again", form, 5, 19)

        def off_and_reset(bench: Bench) -> None:
            multiple_off(bench)
            reset(bench)

        return [*rows, replace(after_reset, before=off_and_reset)]

    def _wrong_addresses(self) -> list[Row]:
        """An address that cannot be aborts before any data moves."""
        wrong: list[tuple[str, Regs, Callable[[Bench], None]]]
        if self.extended:
            wrong = [("CHS", Regs(1, 1, 0, 0, 0xA0, (0, 0, 0, 0)), nothing)]
            tops = [lba48(1 << shift, 1) for shift in (24, 28, 32, 40, 47)] + [lba48((1 << 48) - 1, 0)]
        else:
            wrong = [
                ("sector 0", Regs(1, 0, 0, 0, 0xA0), nothing),
                ("sector 64 of 63", Regs(1, 64, 0, 0, 0xA0), nothing),
                ("sector 9 of 8", Regs(1, 9, 0, 0, 0xA0), translation_4_8),
                ("head 4 of 4", Regs(1, 1, 0, 0, 0xA4), translation_4_8),
            ]
            tops = [lba28(1 << shift, 1) for shift in (16, 24, 27)] + [lba28((1 << 28) - 1, 0)]
            tops.append(Regs(1, 1, 0xFF, 0xFF, 0xAF))  # the last cylinder and head
        rows = [
            aborted(Row(self.clause, f"{name}", self.code, regs, self.protocol, before=before))
            for name, regs, before in wrong
        ]
        for regs in tops:
            most = (65536 if self.extended else 256) if not regs.count else regs.count
            blocks = split(min(self.block, most), self.block) if self.protocol is Protocol.OUT else ()
            rows.append(aborted(Row(self.clause, f"LBA {regs.lba:#x}", self.code, regs, self.protocol, blocks)))
        if not self.extended:
            row = self._done("translation 4 x 8", chs, 0, 0)
            regs, after = chs(30, 5, 4, 8), chs(35, 0, 4, 8)
            blocks = split(5, self.block)
            rows.append(replace(row, regs=regs, after=after, blocks=blocks, landed=5, before=translation_4_8))
        return rows

    def _write_failures(self) -> list[Row]:
        form = self.forms[0]
        cache_off = command(0xEF, lba28(0, 0), 0x82)
        return [
            self._failed("read-only", form, 5, 3, 0, disk=Disk(read_only=True)),
            self._failed("flush fails, cache off", form, 5, 3, 0, disk=Disk(bad_flush=True), before=cache_off,
                         landed=min(self.block, 3)),
            replace(self._done("flush would fail, cache on", form, 5, 3), disk=Disk(bad_flush=True)),
        ]  # fmt: skip


REACHES = ((0, 1), (5, 3), (61, 17), (1006, 4), (SECTORS - 3, 3))
"""First sector and count: one, some, over the end of a track, over the end of a cylinder, the last ones."""

IN, OUT = Protocol.IN, Protocol.OUT
MOVERS = (
    Mover("READ SECTOR(S)", 0x20, IN, 1, (lba28, chs)),
    Mover("READ SECTOR(S) without retries, obsolete", 0x21, IN, 1, (lba28, chs)),
    Mover("READ SECTOR(S) EXT", 0x24, IN, 1, (lba48,)),
    Mover("READ MULTIPLE", 0xC4, IN, 16, (lba28, chs)),
    Mover("READ MULTIPLE EXT", 0x29, IN, 16, (lba48,)),
    Mover("WRITE SECTOR(S)", 0x30, OUT, 1, (lba28, chs)),
    Mover("WRITE SECTOR(S) without retries, obsolete", 0x31, OUT, 1, (lba28, chs)),
    Mover("WRITE SECTOR(S) EXT", 0x34, OUT, 1, (lba48,)),
    Mover("WRITE MULTIPLE", 0xC5, OUT, 16, (lba28, chs)),
    Mover("WRITE MULTIPLE EXT", 0x39, OUT, 16, (lba48,)),
)


# -- commands without sectors -----------------------------------------------------------------------------------------


def verifies() -> list[Row]:
    """READ VERIFY leaves the registers alone here, whether it works or not; a range is verified whole or refused."""
    rows: list[Row] = []
    for clause, code, forms in (
        ("READ VERIFY SECTOR(S)", 0x40, (lba28, chs)),
        ("READ VERIFY SECTOR(S) without retries, obsolete", 0x41, (lba28, chs)),
        ("READ VERIFY SECTOR(S) EXT", 0x42, (lba48,)),
    ):
        for form in forms:
            rows += [Row(clause, f"{form.__name__}, {count} from {lba}", code, form(lba, count))
                     for lba, count in REACHES]  # fmt: skip
            rows += [
                aborted(Row(clause, f"{form.__name__}, {name}", code, form(lba, count), disk=disk))
                for name, lba, count, disk in (
                    ("past the end", SECTORS, 1, Disk()),
                    ("across the end", SECTORS - 2, 3, Disk()),
                    ("medium fails", 40, 3, Disk(bad=frozenset([42]))),
                )
            ]
        if lba48 in forms:
            rows += [
                Row(clause, "0 is 65,536", code, lba48(BIG - 65536, 0), disk=Disk(BIG)),
                aborted(Row(clause, "65,536 across the end", code, lba48(BIG - 65535, 0), disk=Disk(BIG))),
                Row(clause, "65,535", code, lba48(BIG - 65535, 0xFFFF), disk=Disk(BIG)),
                aborted(Row(clause, "CHS", code, Regs(1, 1, 0, 0, 0xA0, (0, 0, 0, 0)))),
            ]
        else:
            rows += [
                Row(clause, "0 is 256", code, lba28(SECTORS - 256, 0)),
                aborted(Row(clause, "256 across the end", code, lba28(SECTORS - 255, 0))),
                aborted(Row(clause, "sector 0", code, Regs(1, 0, 0, 0, 0xA0))),
                aborted(Row(clause, "head 4 of 4", code, Regs(1, 1, 0, 0, 0xA4), before=translation_4_8)),
            ]
    return rows


ANY = lba28(0x123, 7)
SMART = Regs(7, 5, 0x4F, 0xC2, 0xE0)
SIGNATURE = Regs(1, 1, 0, 0, 0xA0)


def power(clause: str, *codes: int, status: int = 0x40) -> list[Row]:
    return [Row(clause, "done", code, ANY, status=status) for code in codes]


def others() -> list[Row]:
    """The rest, in the order of the codes."""
    last = SECTORS - 1
    return [
        aborted(Row("NOP", "aborts always", 0x00, ANY)),
        aborted(Row("NOP", "also with a subcommand", 0x00, ANY, feature=0x01)),
        aborted(Row("DEVICE RESET", "for packet devices only", 0x08, ANY)),
        Row("RECALIBRATE, obsolete", "done", 0x10, ANY),
        *(Row("SEEK", f"{form.__name__}, to {lba}", 0x70, form(lba, 7)) for form in (lba28, chs) for lba in (0, last)),
        *(aborted(Row("SEEK", f"{form.__name__}, past the end", 0x70, form(SECTORS, 7))) for form in (lba28, chs)),
        aborted(Row("SEEK", "sector 0", 0x70, Regs(7, 0, 0, 0, 0xA0))),
        Row("EXECUTE DEVICE DIAGNOSTIC", "signature", 0x90, ANY, error=0x01, after=SIGNATURE),
        Row("EXECUTE DEVICE DIAGNOSTIC", "whichever DEV", 0x90, replace(ANY, device=0xF0), error=0x01,
            after=SIGNATURE),
        Row("INITIALIZE DEVICE PARAMETERS, obsolete", "4 x 8", 0x91, Regs(8, 1, 2, 3, 0xA3)),
        Row("INITIALIZE DEVICE PARAMETERS, obsolete", "16 x 255", 0x91, Regs(255, 1, 2, 3, 0xAF)),
        aborted(Row("INITIALIZE DEVICE PARAMETERS, obsolete", "0 sectors", 0x91, Regs(0, 1, 2, 3, 0xAF))),
        aborted(Row("PACKET", "for packet devices only", 0xA0, ANY)),
        aborted(Row("IDENTIFY PACKET DEVICE", "for packet devices only", 0xA1, ANY)),
        Row("IDENTIFY DEVICE", "one block", 0xEC, ANY, IN, (1,), data=False),
        *power("STANDBY IMMEDIATE", 0xE0, 0x94),
        *power("IDLE IMMEDIATE", 0xE1, 0x95),
        *power("STANDBY", 0xE2, 0x96),
        *power("IDLE", 0xE3, 0x97),
        *power("SLEEP", 0xE6, 0x99),
        *(Row("CHECK POWER MODE", "active", code, ANY, after=replace(ANY, count=0xFF)) for code in (0xE5, 0x98)),
        *(
            Row("CHECK POWER MODE", "standby", code, ANY, after=replace(ANY, count=0x00), before=command(0xE0))
            for code in (0xE5, 0x98)
        ),
        *(Row("FLUSH CACHE", "done", code, ANY) for code in (0xE7, 0xEA)),
        *(aborted(Row("FLUSH CACHE", "medium fails", code, ANY, disk=Disk(bad_flush=True))) for code in (0xE7, 0xEA)),
        *native_max(),
        *smart(),
    ]  # fmt: skip


def native_max() -> list[Row]:
    """READ NATIVE MAX ADDRESS (EXT), SET MAX ADDRESS (EXT)."""
    last, limit = SECTORS - 1, (1 << 28) - 2
    read, read_ext = "READ NATIVE MAX ADDRESS", "READ NATIVE MAX ADDRESS EXT"
    ask, ask_ext, ask_wrongly = command(0xF8), command(0x27), command(0x27, chs(5, 7))

    def ask_ext_then_wrongly(bench: Bench) -> None:
        ask_ext(bench)
        ask_wrongly(bench)

    shorter = Regs(0, 999 & 0xFF, 999 >> 8, 0, 0xE0)
    big = Disk(HUGE)
    return [
        Row(read, "LBA", 0xF8, lba28(5, 7), after=lba28(last, 7)),
        Row(read, "CHS", 0xF8, chs(5, 7), after=chs(last, 7)),
        Row(read, "no more than 268,435,454", 0xF8, lba28(5, 7), after=lba28(limit, 7), disk=big),
        Row(read_ext, "LBA", 0x27, lba48(5, 7), after=lba48(last, 7)),
        Row(read_ext, "beyond 28 bits", 0x27, lba48(5, 7), after=lba48(HUGE - 1, 7), disk=big),
        aborted(Row(read_ext, "CHS", 0x27, chs(5, 7))),
        Row("SET MAX ADDRESS", "after its query", 0xF9, shorter, before=ask),
        Row("SET MAX ADDRESS", "the native one", 0xF9, lba28(last, 0), before=ask),
        aborted(Row("SET MAX ADDRESS", "beyond", 0xF9, lba28(SECTORS, 0), before=ask)),
        aborted(Row("SET MAX ADDRESS", "no query", 0xF9, shorter)),
        aborted(Row("SET MAX ADDRESS", "the other query", 0xF9, shorter, before=ask_ext)),
        *(aborted(Row("SET MAX", f"security {feature}", 0xF9, shorter, before=ask, feature=feature))
          for feature in (1, 2, 3, 4)),
        Row("SET MAX ADDRESS EXT", "after its query", 0x37, lba48(999, 0), before=ask_ext),
        aborted(Row("SET MAX ADDRESS EXT", "beyond", 0x37, lba48(SECTORS, 0), before=ask_ext)),
        aborted(Row("SET MAX ADDRESS EXT", "no query", 0x37, lba48(999, 0))),
        aborted(Row("SET MAX ADDRESS EXT", "a refused query", 0x37, lba48(999, 0), before=ask_ext_then_wrongly)),
        aborted(Row("SET MAX ADDRESS EXT", "the other query", 0x37, lba48(999, 0), before=ask)),
        aborted(Row("SET MAX ADDRESS EXT", "CHS", 0x37, chs(99, 0), before=ask_ext)),
    ]  # fmt: skip


def smart() -> list[Row]:
    """The SMART feature set's switches."""
    off = command(0xB0, SMART, 0xD9)
    no_key = replace(SMART, mid=0x4E)
    autosave = replace(SMART, count=0xF1), replace(SMART, count=0x00)
    return [
        Row("SMART ENABLE OPERATIONS", "done", 0xB0, SMART, feature=0xD8),
        Row("SMART ENABLE OPERATIONS", "while off", 0xB0, SMART, feature=0xD8, before=off),
        Row("SMART DISABLE OPERATIONS", "done", 0xB0, SMART, feature=0xD9),
        Row("SMART RETURN STATUS", "no threshold exceeded", 0xB0, SMART, feature=0xDA),
        *(Row("SMART ENABLE/DISABLE ATTRIBUTE AUTOSAVE", f"count {regs.count:02x}", 0xB0, regs, feature=0xD2)
          for regs in autosave),
        aborted(Row("SMART ENABLE/DISABLE ATTRIBUTE AUTOSAVE", "other count", 0xB0, SMART, feature=0xD2)),
        *(aborted(Row("SMART", f"{feature:02x} while off", 0xB0, SMART, feature=feature, before=off))
          for feature in (0xD2, 0xD9, 0xDA)),
        *(aborted(Row("SMART", f"{feature:02x} without its key", 0xB0, no_key, feature=feature))
          for feature in (0xD2, 0xD8, 0xD9, 0xDA)),
    ]  # fmt: skip


ROWS: Final = [row for mover in MOVERS for row in mover.rows()] + verifies() + others()
