"""What to say: phrases of a few commands, made by chance and without a look at any device.

One phrase programs something, or looks at something, or lets time pass, as a driver would, or nearly so. What must not
be sent in the state that the devices are in is held back later, command by command (`tests.lab.oracle.ground`).
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from tests.lab.oracle.phrases import ide, pic, pit, serial

Phrase = Callable[[Random], list[str]]

KINDS: Final = ("pit", "pic", "serial", "ide", "mixed")
"""The kinds of conversation: one for each device, and one with all of them."""

DEVICES: Final = {
    "pit": ("pit",),
    "pic": ("pic",),
    "serial": ("serial",),
    "ide": ("ide",),
    "mixed": ("pit", "pic", "serial", "ide"),
}
"""The devices that a kind speaks to."""

INTERCEPTS: Final = {
    "pit": ("irq_intercept_in pic0",),
    "pic": ("irq_intercept_in pic0", "irq_intercept_in pic1", "irq_intercept_out pic0", "irq_intercept_out pic1"),
    "serial": ("irq_intercept_in pic0",),
    "ide": ("irq_intercept_in pic1", "irq_intercept_in pic1", "irq_intercept_in pic0"),
    "mixed": ("irq_intercept_in pic0", "irq_intercept_in pic1", "irq_intercept_out pic0"),
}
"""The lines that may be listened to, by kind: one group a conversation."""

LINE_0_AT_REST: Final = ["outb 0x43 0x30", "outb 0x40 0xd0", "outb 0x40 0x7", "clock_step 2000000"]
"""QEMU's counter 0 runs from power-on: this gives line 0 a level that is known."""

OPENINGS: Final[dict[str, Phrase]] = {
    "pit": pit.opening,
    "pic": lambda _: [],
    "serial": lambda rng: [*LINE_0_AT_REST, *serial.opening(rng)],
    "ide": lambda _: [],
    "mixed": lambda rng: [*LINE_0_AT_REST, *pic.both(rng), *serial.opening(rng)],
}

PHRASES: Final[dict[str, tuple[Phrase, ...]]] = {
    "pit": pit.PHRASES,
    "pic": pic.PHRASES,
    "serial": serial.PHRASES,
    "ide": ide.PHRASES,
}


def speech(rng: Random, kind: str) -> Iterator[str]:
    """Yield the commands of a conversation of this kind, without end, its intercept first."""
    yield rng.choice(INTERCEPTS[kind])
    yield from OPENINGS[kind](rng)
    devices = DEVICES[kind]
    while True:
        device = rng.choice(devices)
        if kind == "mixed" and device == "pic" and rng.random() < 0.5:
            yield from pic.service(rng)
        else:
            phrases = pic.BESIDE_DEVICES if kind == "mixed" and device == "pic" else PHRASES[device]
            yield from rng.choice(phrases)(rng)
        if device == "pit" and rng.random() < 0.3:
            yield from pit.restart(rng)  # all else is held back while counter 0 waits for a count
