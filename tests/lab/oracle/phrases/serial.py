"""Phrases for the 16550A at 0x3f8."""

from random import Random
from typing import Final

from chkpt_devices.serial.registers import CRYSTAL_HZ, TIMEOUT_CHARACTERS

DIVISORS: Final = (1, 1, 2, 3, 6, 12, 12, 24, 48, 96, 384, 0x0901)


def opening(rng: Random) -> list[str]:
    """Look at the port at power-on, then set it up."""
    return [*rng.sample([f"inb {port:#x}" for port in range(0x3F8, 0x400)], 4), *set_up(rng)]


def set_up(rng: Random) -> list[str]:
    """Set the line, the divisor, the FIFOs, the interrupts and the modem lines, in loopback mostly."""
    divisor = rng.choice(DIVISORS)
    lcr = rng.randrange(0x40) if rng.random() < 0.4 else 0x03
    mcr = rng.randrange(0x20) | (0x10 if rng.random() < 0.8 else 0)
    return [
        f"outb 0x3fb {lcr | 0x80:#x}",
        f"outb 0x3f8 {divisor & 0xFF:#x}",
        f"outb 0x3f9 {divisor >> 8:#x}",
        *rng.choice(([], ["inb 0x3f8", "inb 0x3f9"])),
        f"outb 0x3fb {lcr:#x}",
        *fifos(rng),
        f"outb 0x3fc {mcr:#x}",
        *rng.choice(([], ["inb 0x3fe"])),
        f"outb 0x3f9 {rng.randrange(0x10):#x}",
    ]


def fifos(rng: Random) -> list[str]:
    """Write FCR: switch the FIFOs, reset them, set the trigger level."""
    return [
        f"outb 0x3fa {rng.choice((0, 1, 7, rng.randrange(4) << 6 | rng.randrange(1, 8, 2), rng.randrange(0x100))):#x}"
    ]


def interrupts(rng: Random) -> list[str]:
    """Write IER, and perhaps read it."""
    return [f"outb 0x3f9 {rng.randrange(0x10):#x}", *(["inb 0x3f9"] if rng.random() < 0.3 else [])]


def modem(rng: Random) -> list[str]:
    """Write MCR, and look at it or at MSR."""
    return [
        f"outb 0x3fc {rng.randrange(0x20) | rng.choice((0, 0x10, 0x10)):#x}",
        rng.choice(("inb 0x3fc", "inb 0x3fe")),
    ]


def send(rng: Random) -> list[str]:
    """Send a few characters, now and then more than a FIFO holds."""
    count = rng.choice((1, 2, rng.randrange(1, 8), rng.randrange(12, 20)))
    return [f"outb 0x3f8 {rng.randrange(0x100):#x}" for _ in range(count)]


def receive(rng: Random) -> list[str]:
    """Read a few characters, with LSR before some."""
    commands: list[str] = []
    for _ in range(rng.randrange(1, 18)):
        commands += ["inb 0x3fd", "inb 0x3f8"] if rng.random() < 0.3 else ["inb 0x3f8"]
    return commands


def look(rng: Random) -> list[str]:
    """Read IIR, LSR, MSR, or any register."""
    return [f"inb {rng.choice((0x3FA, 0x3FA, 0x3FD, 0x3FE, rng.randrange(0x3F8, 0x400))):#x}"]


def serve(_rng: Random) -> list[str]:
    """Do what an interrupt routine does."""
    return ["inb 0x3fa", "inb 0x3fd", "inb 0x3f8", "inb 0x3fa"]


def line(rng: Random) -> list[str]:
    """Write LCR, now and then with a break, and read it."""
    return [f"outb 0x3fb {rng.randrange(0x80) if rng.random() < 0.3 else rng.randrange(0x40):#x}", "inb 0x3fb"]


def scratch(rng: Random) -> list[str]:
    """Write and read the scratch register."""
    return [f"outb 0x3ff {rng.randrange(0x100):#x}", "inb 0x3ff"]


def wait(rng: Random) -> list[str]:
    """Let time pass: any, or about the time-out of some divisor and frame."""
    if rng.random() < 0.4:
        return [f"clock_step {rng.randrange(10 ** rng.randrange(1, 9))}"]
    bits = rng.choice((10, 10, 7, 8, 9, 11, 12))
    timeout = 1_000_000_000 * bits * 16 * rng.choice(DIVISORS) // CRYSTAL_HZ * TIMEOUT_CHARACTERS
    return [f"clock_step {max(0, timeout + rng.choice((-1, 0, 0, 1, rng.randrange(-9, 9), -timeout // 2)))}"]


def time_out(rng: Random) -> list[str]:
    """Receive a few characters of some frame in FIFO mode, and wait to about their time-out."""
    divisor, lcr = rng.choice(DIVISORS), rng.choice((rng.randrange(0x40), 0x04))
    half_bits = 2 * (1 + 5 + (lcr & 3) + bool(lcr & 8)) + ((3 if lcr & 3 == 0 else 4) if lcr & 4 else 2)
    timeout = 1_000_000_000 * half_bits * 8 * divisor // CRYSTAL_HZ * TIMEOUT_CHARACTERS
    steps = [timeout - rng.choice((0, 1, timeout // 3)), rng.choice((0, 1, 2, timeout))]
    return [
        *(f"outb 0x3fb {lcr | 0x80:#x}", f"outb 0x3f8 {divisor & 0xFF:#x}", f"outb 0x3f9 {divisor >> 8:#x}"),
        *(f"outb 0x3fb {lcr:#x}", f"outb 0x3fa {rng.choice((0x07, 0x47, 0xC7)):#x}", "outb 0x3fc 0x10"),
        *("inb 0x3fe", f"outb 0x3f9 {rng.randrange(1, 8):#x}", *send(rng), f"clock_step {steps[0]}", "inb 0x3fa"),
        *(f"clock_step {steps[1]}", "inb 0x3fa", *receive(rng)),
    ]


PHRASES: Final = (
    set_up, fifos, interrupts, interrupts, modem, send, send, send, send, receive, receive, receive, look, look, look,
    serve, serve, line, scratch, wait, wait, wait, time_out,
)  # fmt: skip
