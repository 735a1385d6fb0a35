"""Phrases for the ATA channel at 0x1f0 with its one disk."""

from collections.abc import Sequence
from random import Random
from typing import Final

READY: Final = "await_ready 0x3f6"
SECTORS: Final = 32768
READS: Final = (0x20, 0x20, 0x21, 0x24, 0xC4, 0x29)
WRITES: Final = (0x30, 0x30, 0x31, 0x34, 0xC5, 0x39)
EXTENDED: Final = frozenset((0x24, 0x29, 0x34, 0x39, 0x42, 0x27))
IN_BLOCKS: Final = frozenset((0xC4, 0x29, 0xC5, 0x39))
REFUSED: Final = (0x00, 0x08, 0x0F, 0x22, 0x38, 0x50, 0x71, 0x80, 0x9F, 0xA0, 0xA1, 0xA2, 0xF6, 0xFF)
OTHERS: Final = (0x10, 0xE0, 0xE1, 0xE2, 0xE3, 0xE5, 0xE7, 0xEA, 0x94, 0x95, 0x96, 0x97, 0x98, 0xF8, 0x27, 0x90)
FEATURES: Final = (0x02, 0x82, 0x55, 0xAA, 0x99)
MODES: Final = (0x00, 0x08, 0x0C, 0x11, 0x20, 0x22, 0x40, 0x45, 0x58, 0xFF)
SMART: Final = (0xD8, 0xD9, 0xDA)
BLOCK: Final = 16
"""Sectors of a block of READ and WRITE MULTIPLE at power-on."""


def _registers(rng: Random, lba: int, count: int, *, form: str) -> list[str]:
    """Write an address and a count."""
    commands: list[str] = []
    if form == "ext":
        upper = ((0x1F2, count >> 8), (0x1F3, lba >> 24), (0x1F4, lba >> 32), (0x1F5, lba >> 40))
        commands += [f"outb {port:#x} {value & 0xFF:#x}" for port, value in upper]
    if form == "chs":
        track, sector = divmod(lba, 63)
        low, middle, high, device = sector + 1, track // 16 & 0xFF, track // 16 >> 8 & 0xFF, 0xA0 | track % 16
    else:
        low, middle, high = lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF
        device = 0xE0 if form == "ext" else 0xE0 | lba >> 24 & 0x0F
    lower = [(0x1F2, count & 0xFF), (0x1F3, low), (0x1F4, middle), (0x1F5, high), (0x1F6, device)]
    rng.shuffle(lower)
    return commands + [f"outb {port:#x} {value:#x}" for port, value in lower]


def _where(rng: Random) -> int:
    """Return a sector, now and then near the end or beyond it."""
    return rng.choice(
        (rng.randrange(SECTORS), rng.randrange(SECTORS), rng.randrange(0x400), SECTORS - rng.randrange(6))
    )


def _look(rng: Random) -> list[str]:
    """Read some registers, and Status mostly."""
    ports = [rng.randrange(0x1F1, 0x1F7) for _ in range(rng.randrange(4))]
    return [*(f"inb {port:#x}" for port in ports), *(["inb 0x1f7"] if rng.random() < 0.7 else [])]


def _command(rng: Random, code: int, registers: Sequence[str]) -> list[str]:
    return [*registers, f"outb 0x1f7 {code:#x}", READY, *_look(rng)]


def _blocks(code: int, count: int) -> list[int]:
    """Return how many sectors each block of a transfer has, if the multiple count is as at power-on."""
    most = BLOCK if code in IN_BLOCKS else 1
    return [min(most, count - done) for done in range(0, count, most)]


def _words(rng: Random, words: int) -> str:
    """Return how to write so many words."""
    return f"outsw 0x1f0 {words} 0x{rng.randbytes(2 * words).hex()}"


def _transfer(rng: Random, code: int, *, writes: bool) -> list[str]:
    count = rng.choice((1, 1, 2, 3, rng.randrange(1, 20) if code in IN_BLOCKS else 4))
    form = "ext" if code in EXTENDED else rng.choice(("lba", "lba", "chs"))
    commands = _command(rng, code, _registers(rng, _where(rng), count, form=form))
    for sectors in _blocks(code, count):
        words = 256 * sectors
        if rng.random() < 0.1:  # by and by
            first = rng.randrange(1, 200)
            parts = [_words(rng, first) if writes else f"insw 0x1f0 {first}", *_look(rng)]
            words -= first
        else:
            parts = []
        commands += [*parts, _words(rng, words) if writes else f"insw 0x1f0 {words}", READY, *_look(rng)]
        if rng.random() < 0.05:
            break
    return commands


def read(rng: Random) -> list[str]:
    """Read a few sectors."""
    return _transfer(rng, rng.choice(READS), writes=False)


def write(rng: Random) -> list[str]:
    """Write a few sectors."""
    return _transfer(rng, rng.choice(WRITES), writes=True)


def write_and_read(rng: Random) -> list[str]:
    """Write a sector, flush, and read it again."""
    registers = _registers(rng, rng.randrange(SECTORS), 1, form="lba")
    flush = [f"outb 0x1f7 {rng.choice((0xE7, 0xEA)):#x}", READY, "inb 0x1f7"]
    return [
        *(*registers, "outb 0x1f7 0x30", READY, _words(rng, 256), READY, "inb 0x1f7", *flush),
        *(*registers, "outb 0x1f7 0x20", READY, "insw 0x1f0 256", READY, "inb 0x1f7"),
    ]


def verify(rng: Random) -> list[str]:
    """Verify sectors, or seek one."""
    code = rng.choice((0x40, 0x41, 0x42, 0x70))
    form = "ext" if code in EXTENDED else rng.choice(("lba", "chs"))
    return _command(rng, code, _registers(rng, _where(rng), rng.randrange(1, 300), form=form))


def identify(_rng: Random) -> list[str]:
    """Read all of IDENTIFY DEVICE."""
    return ["outb 0x1f6 0xe0", "outb 0x1f7 0xec", READY, "insw 0x1f0 256", READY, "inb 0x1f7"]


def multiple(rng: Random) -> list[str]:
    """Set the multiple count, rightly or not."""
    return _command(rng, 0xC6, [f"outb 0x1f2 {rng.choice((0, 1, 2, 4, 8, 16, 16, 16, 3, 32)):#x}"])


def translation(rng: Random) -> list[str]:
    """Set the translation of CHS addresses, and back mostly; read a sector by it."""
    heads, sectors = rng.choice(((15, 63), (15, 63), (15, 63), (3, 17), (7, 32), (0, 1), (rng.randrange(16), 0)))
    set_it = _command(rng, 0x91, [f"outb 0x1f2 {sectors:#x}", f"outb 0x1f6 {0xA0 | heads:#x}"])
    return [*set_it, *_transfer(rng, 0x20, writes=False)]


def feature(rng: Random) -> list[str]:
    """Set a feature: the cache, the look-ahead, a transfer mode, one that is not there."""
    mode = [f"outb 0x1f2 {rng.choice(MODES):#x}", "outb 0x1f1 0x3"]
    return _command(rng, 0xEF, rng.choice((mode, [f"outb 0x1f1 {rng.choice(FEATURES):#x}"])))


def smart(rng: Random) -> list[str]:
    """Switch SMART, or ask how the drive is; now and then without the key."""
    key = (0x4F, 0xC2) if rng.random() < 0.8 else (rng.randrange(0x100), 0xC2)
    registers = [f"outb 0x1f1 {rng.choice(SMART):#x}", f"outb 0x1f4 {key[0]:#x}", f"outb 0x1f5 {key[1]:#x}"]
    return _command(rng, 0xB0, registers)


def without_data(rng: Random) -> list[str]:
    """Give a command that moves no data."""
    return _command(rng, rng.choice(OTHERS), ["outb 0x1f6 0xe0"] if rng.random() < 0.6 else [])


def power(rng: Random) -> list[str]:
    """Go to standby or idle, and ask for the power mode."""
    code, question = rng.choice((0xE0, 0xE1, 0xE2, 0xE3, 0x94, 0x95, 0x96, 0x97)), rng.choice((0xE5, 0x98))
    return [*_command(rng, code, []), *_command(rng, question, [])]


def refused(rng: Random) -> list[str]:
    """Give a command that no disk has."""
    return _command(rng, rng.choice(REFUSED), [])


def registers(rng: Random) -> list[str]:
    """Write registers and read them, with their earlier values."""
    commands = [f"outb {rng.randrange(0x1F1, 0x1F6):#x} {rng.randrange(0x100):#x}" for _ in range(rng.randrange(1, 5))]
    if rng.random() < 0.4:
        commands += ["outb 0x3f6 0x80", *(f"inb {rng.randrange(0x1F1, 0x1F7):#x}" for _ in range(2)), "outb 0x3f6 0x0"]
    return commands + _look(rng)


def other_drive(rng: Random) -> list[str]:
    """Select the drive that is absent, look, perhaps command it, and go back."""
    looks = [f"inb {port:#x}" for port in rng.sample((0x3F6, *range(0x1F1, 0x1F8)), 3)]
    code = [f"outb 0x1f7 {rng.choice((0xEC, 0x20, 0x90)):#x}", READY]
    command = rng.choice(([], [], [], code, code, ["outb 0x3f6 0x2", "outb 0x3f6 0x6", "outb 0x3f6 0x0"]))
    select = f"outb 0x1f6 {0xB0 | rng.randrange(16) | rng.choice((0, 0x40)):#x}"
    return [
        *rng.choice(([], ["inb 0x1f7"], ["inb 0x1f7"])),
        select,
        *looks,
        *command,
        "inw 0x1f0",
        f"outb 0x1f6 {rng.choice((0xA0, 0xE0)):#x}",
    ]


def without_interrupt(rng: Random) -> list[str]:
    """Switch INTRQ off for a command that is over at once."""
    return ["inb 0x1f7", "outb 0x3f6 0x2", *without_data(rng), "inb 0x1f7", "outb 0x3f6 0x0"]


def reset(rng: Random) -> list[str]:
    """Reset the channel by SRST, now and then in the middle of a sector."""
    middle = ["outb 0x1f6 0xe0", "outb 0x1f7 0x20", READY, f"insw 0x1f0 {rng.randrange(1, 255)}"]
    begin = [*(middle if rng.random() < 0.3 else []), "inb 0x1f7", "outb 0x3f6 0x2"]
    looks = [f"inb {port:#x}" for port in range(0x1F1, 0x1F8)]
    return [*begin, "outb 0x3f6 0x6", "outb 0x3f6 0x2", READY, *looks, "outb 0x3f6 0x0"]


def control(rng: Random) -> list[str]:
    """Write Device Control without care, and look."""
    anything = [rng.choice((0x00, 0x02, 0x04, 0x06, 0x80, 0x82)) for _ in range(rng.randrange(1, 4))]
    values = rng.choice(([0x02, 0x06], anything))
    return [
        *(f"outb 0x3f6 {value:#x}" for value in values),
        *_look(rng),
        "outb 0x3f6 0x2",
        READY,
        "inb 0x1f7",
        "outb 0x3f6 0x0",
    ]


def data(rng: Random) -> list[str]:
    """Move data that nobody asked for, or by other widths."""
    return [rng.choice(("inw 0x1f0", "inb 0x1f0", "inl 0x1f0", "outw 0x1f0 0x1234", "outl 0x1f0 0x12345678"))]


PHRASES: Final = (
    read, read, read, write, write, write_and_read, verify, identify, multiple, translation, feature, smart,
    without_data, without_data, power, refused, registers, registers, other_drive, without_interrupt,
    reset, control, data,
)  # fmt: skip
