"""Phrases for the two 8259A and the ELCR."""

from random import Random
from typing import Final

PORTS: Final = (0x20, 0xA0)
FREE: Final = (1, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15)
"""Lines that no device drives."""


def initialize(rng: Random) -> list[str]:
    """Initialize one chip, now and then with words left out, and set its mask."""
    return _initialize(rng, rng.randrange(2))


def _initialize(rng: Random, chip: int) -> list[str]:
    port = PORTS[chip]
    single, icw4 = rng.random() < 0.15, rng.random() < 0.8
    words = [f"outb {port:#x} {0x10 | single << 1 | icw4 | rng.choice((0, 0, 4, 0xE0)):#x}"]
    words.append(f"outb {port | 1:#x} {rng.randrange(0x100):#x}")
    if not single:
        words.append(f"outb {port | 1:#x} {(2 if chip else 4) if rng.random() < 0.8 else rng.randrange(0x100):#x}")
    if icw4:
        words.append(f"outb {port | 1:#x} {rng.choice((0x01, 0x01, 0x03, 0x0D, 0x0F, 0x11, 0x13, 0x00)):#x}")
    if rng.random() < 0.1:
        words.pop(rng.randrange(1, len(words)))
    return words + mask(rng) if rng.random() < 0.5 else words


def both(rng: Random) -> list[str]:
    """Initialize both chips as a PC does."""
    commands: list[str] = []
    for chip, port in enumerate(PORTS):
        words = (0x20 + 0x50 * chip, 2 if chip else 4, rng.choice((1, 1, 3)), rng.choice((0, 0, rng.randrange(0x100))))
        commands += [f"outb {port:#x} 0x11", *(f"outb {port | 1:#x} {word:#x}" for word in words)]
    return commands


def mask(rng: Random) -> list[str]:
    """Write a mask, and perhaps read it."""
    port = rng.choice(PORTS) | 1
    value = rng.choice((0x00, 0x00, 0xFF, rng.randrange(0x100), 1 << rng.randrange(8), 0xFF ^ 1 << rng.randrange(8)))
    return [f"outb {port:#x} {value:#x}", *([f"inb {port:#x}"] if rng.random() < 0.5 else [])]


def _drive(rng: Random, lines: tuple[int, ...]) -> list[str]:
    commands: list[str] = []
    for _ in range(rng.randrange(1, 4)):
        chip, pin = divmod(rng.choice(lines), 8)
        levels = rng.choice(("1", "0", "10", "01", "101"))
        commands += [f"set_irq_in pic{chip} unnamed-gpio-in {pin} {level}" for level in levels]
    return commands


def drive(rng: Random) -> list[str]:
    """Move a few inputs."""
    return _drive(rng, tuple(line for line in range(16) if line != 2))


def drive_free(rng: Random) -> list[str]:
    """Move a few inputs that no device drives."""
    return _drive(rng, FREE)


def end(rng: Random) -> list[str]:
    """Write any OCW2: an end of interrupt, a rotation, a priority."""
    return [
        f"outb {rng.choice(PORTS):#x} {rng.choice((0x20, 0x20, 0xA0, rng.randrange(8) << 5 | rng.randrange(8))):#x}"
    ]


def look(rng: Random) -> list[str]:
    """Read IRR, ISR or IMR."""
    port = rng.choice(PORTS)
    return rng.choice(
        (
            [f"outb {port:#x} 0xa", f"inb {port:#x}"],
            [f"outb {port:#x} 0xb", f"inb {port:#x}"],
            [f"inb {port:#x}", f"inb {port | 1:#x}"],
        )
    )


def poll(rng: Random) -> list[str]:
    """Acknowledge by polling one chip; the byte may be read at either port."""
    port = rng.choice(PORTS)
    return [f"outb {port:#x} {rng.choice((0x0C, 0x0C, 0x0E, 0x0F)):#x}", f"inb {port | (rng.random() < 0.2):#x}"]


def service(_rng: Random) -> list[str]:
    """Acknowledge by polling the master, then the slave, and end both."""
    return ["outb 0x20 0xc", "inb 0x20", "outb 0xa0 0xc", "inb 0xa0", "outb 0xa0 0x20", "outb 0x20 0x20"]


def ocw3(rng: Random) -> list[str]:
    """Write any OCW3."""
    return [f"outb {rng.choice(PORTS):#x} {0x08 | rng.randrange(0x80) & 0x67:#x}"]


def special_mask(rng: Random) -> list[str]:
    """Change the special mask mode while everything is masked, so that INT does not move."""
    port = rng.choice(PORTS)
    masks = (0xFF, rng.choice((0, rng.randrange(0x100))))
    command = rng.choice((0x68, 0x48))
    return [f"outb {port | 1:#x} {masks[0]:#x}", f"outb {port:#x} {command:#x}", f"outb {port | 1:#x} {masks[1]:#x}"]


def mask_in_service(rng: Random) -> list[str]:
    """Mask a level in service, and change the special mask mode with a lower level waiting."""
    chip = rng.randrange(2)
    port, pins = PORTS[chip], rng.sample((0, 1, 2, 3, 4, 5, 7) if chip else (1, 3, 5, 6, 7), 2)
    high, low = sorted(pins)
    return [
        *(f"set_irq_in pic{chip} unnamed-gpio-in {high} {level}" for level in (1, 0)),
        *(f"outb {port:#x} 0xc", f"inb {port:#x}", f"outb {port | 1:#x} {1 << high:#x}"),
        *(f"set_irq_in pic{chip} unnamed-gpio-in {low} {level}" for level in (1, 0)),
        *(f"outb {port:#x} {rng.choice((0x68, 0x48)):#x}", f"outb {port:#x} 0xc", f"inb {port:#x}"),
    ]


def elcr(rng: Random) -> list[str]:
    """Write an ELCR, and read it."""
    port = rng.choice((0x4D0, 0x4D1))
    return [f"outb {port:#x} {rng.choice((0, rng.randrange(0x100))):#x}", f"inb {port:#x}"]


PHRASES: Final = (
    initialize, both, mask, mask, drive, drive, drive, drive, drive, end, end, end, look, look, look, poll, poll,
    service, ocw3, special_mask, mask_in_service, elcr,
)  # fmt: skip

BESIDE_DEVICES: Final = tuple(drive_free if phrase is drive else phrase for phrase in PHRASES)
"""The same beside the devices, whose lines are left to them: QEMU's lines are not wired-or."""
