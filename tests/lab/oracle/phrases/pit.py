"""Phrases for the 8254 and port 0x61."""

from random import Random
from typing import Final

from chkpt_devices.pit.waveform import moment

CLOCK: Final = 838  # nanoseconds, and a little more


def _count(rng: Random) -> int:
    """Return a count: small, even, odd, a power of two, or the greatest."""
    return rng.choice(
        (
            rng.randrange(2, 20),
            rng.randrange(20, 2000),
            rng.randrange(2000, 0x10000) & ~1,
            rng.randrange(2000, 0x10000),
            1 << rng.randrange(1, 16),
            0,
        )
    )


def _bytes(count: int, access: int) -> list[int]:
    """Return the bytes by which a count is written."""
    return {1: [count & 0xFF], 2: [count >> 8], 3: [count & 0xFF, count >> 8]}[access]


def _program(number: int, mode: int, access: int, count: int, *, bcd: bool = False) -> list[str]:
    word = number << 6 | access << 4 | mode << 1 | bcd
    return [f"outb 0x43 {word:#x}", *(f"outb {0x40 + number:#x} {byte:#x}" for byte in _bytes(count, access))]


def opening(rng: Random) -> list[str]:
    """Look at the timer at power-on, then give counter 0 a mode, for QEMU's runs from there on."""
    looks = rng.sample(("outb 0x43 0x40", "outb 0x43 0x80", "outb 0x43 0xd4", "inb 0x41", "inb 0x61", "inb 0x43"), 3)
    first = _program(0, rng.choice((0, 3)), 3, rng.randrange(2, 4000))
    return [*looks, "clock_step 5000", "inb 0x41", "inb 0x41", *first, "clock_step 4000000"]


def program(rng: Random) -> list[str]:
    """Give counter 0 a mode and a count."""
    return _program(0, rng.choice((0, 2, 3)), rng.randrange(1, 4), _count(rng))


def restart(rng: Random) -> list[str]:
    """Give counter 0 mode 0 and a whole count, which it may wait for."""
    return _program(0, 0, 3, _count(rng))


def program_another(rng: Random) -> list[str]:
    """Give counter 1 or 2 a mode and a count; then counter 2 may have a rise of GATE."""
    number = rng.choice((1, 2, 2))
    mode, bcd = rng.choice((0, 1, 2, 3, 4, 5, 5, 6, 7)), rng.random() < 0.15
    commands = _program(number, mode, rng.randrange(1, 4), _count(rng), bcd=bcd)
    return commands + gate(rng) if number == 2 else commands


def control_word(rng: Random) -> list[str]:
    """Write any control word, and perhaps look at the status before a count is there."""
    word = rng.randrange(0x100)
    number = word >> 6
    if number == 3 or not word & 0x30:
        return [f"outb 0x43 {word:#x}"]
    status = [f"outb 0x43 {0xE0 | 2 << number:#x}", f"inb {0x40 + number:#x}"]
    counts = [f"outb {0x40 + number:#x} {byte:#x}" for byte in _bytes(_count(rng), word >> 4 & 3)]
    return [f"outb 0x43 {word:#x}", *(status if rng.random() < 0.5 else []), *counts]


def new_count(rng: Random) -> list[str]:
    """Write two bytes to a counter, which may be two counts, perhaps with a look between them."""
    number = rng.choice((0, 0, 1, 2))
    first, second = (f"outb {0x40 + number:#x} {rng.randrange(0x100):#x}" for _ in range(2))
    return [first, *rng.choice(([], [f"inb {0x40 + number:#x}"], ["inb 0x61"])), second]


def gate(rng: Random) -> list[str]:
    """Pulse GATE of counter 2, set it, or let it be low for a while."""
    speaker = rng.randrange(8) << 1
    pulse = [f"outb 0x61 {speaker:#x}", f"outb 0x61 {speaker | 1:#x}"]
    return rng.choice((pulse, pulse, pulse[1:], [pulse[0], f"clock_step {rng.randrange(5000)}", pulse[1]]))


def look(rng: Random) -> list[str]:
    """Read counts, latched or not."""
    number = rng.randrange(3)
    reads = [f"inb {0x40 + number:#x}"] * rng.randrange(1, 4)
    return reads if rng.random() < 0.4 else [f"outb 0x43 {number << 6:#x}", *reads]


def read_back(rng: Random) -> list[str]:
    """Latch counts and statuses, and read some of them."""
    word = 0xC0 | rng.randrange(0x40) & 0x3E
    reads = [f"inb {0x40 + rng.randrange(3):#x}" for _ in range(rng.randrange(1, 6))]
    return [f"outb 0x43 {word:#x}", *reads]


def look_at_port_61(_rng: Random) -> list[str]:
    """Read port 0x61."""
    return ["inb 0x61"]


def look_at_control(_rng: Random) -> list[str]:
    """Read the port that only takes words."""
    return ["inb 0x43"]


def wait(rng: Random) -> list[str]:
    """Let some time pass."""
    return [f"clock_step {rng.randrange(10 ** rng.choice((1, 2, 3, 4, 5, 6, 6, 7)))}"]


def walk(rng: Random) -> list[str]:
    """Program a counter, and go along its edges: to just before, to the nanosecond, and just after."""
    number, access = rng.choice((0, 0, 1, 2)), 3
    mode = rng.choice((0, 2, 2, 3, 3)) if number < 2 else rng.randrange(6)
    count = rng.choice((rng.randrange(2, 12), rng.randrange(12, 3000)))
    commands = _program(number, mode, access, count)
    if number == 2:
        commands += ["outb 0x61 0x0", "outb 0x61 0x1"]
    now = 0
    for step in range(1, rng.randrange(3, 8)):
        clock = step * count // (2 if mode == 3 and rng.random() < 0.5 else 1) + rng.choice((-1, 0, 0, 1))
        then = moment(0, clock) + rng.choice((-CLOCK, -2, -1, 0, 0, 1, 2, CLOCK))
        commands.append(f"clock_step {max(0, then - now)}")
        now = max(now, then)
        commands += rng.choice(([], [f"outb 0x43 {0xC0 | 2 << number:#x}", *[f"inb {0x40 + number:#x}"] * 3]))
    return commands


def wait_long(rng: Random) -> list[str]:
    """Let more than half a second pass in a mode with long periods."""
    return [*_program(0, rng.choice((0, 2, 3)), 3, rng.randrange(0x8000, 0x10000)), "clock_step 500500000"]


PHRASES: Final = (
    program, restart, program_another, program_another, control_word, new_count, gate, look, look, look, read_back,
    read_back, look_at_port_61, look_at_control, wait, wait, wait_long, walk, walk,
)  # fmt: skip
