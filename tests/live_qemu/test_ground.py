"""Each limit holds its own command back, and lets another one pass."""

from pathlib import Path

import pytest

from tests.lab.oracle.ground import LIMITS
from tests.lab.oracle.phrases import LINE_0_AT_REST
from tests.live_qemu.twins import ALL, hold

READY = "await_ready 0x3f6"
IDLE = ["outb 0x1f7 0xe1", READY]
PIN = "set_irq_in pic{} unnamed-gpio-in {} 1".format

Example = tuple[str, str, list[str], str, str | list[str]]
"""The limit, the kind of device spoken to, what comes before, the command held back, and one that is sent in its place.

In place of the last, a list is a whole conversation of which every command is sent.
"""

EXAMPLES: tuple[Example, ...] = (
    ("counter-0-modes", "pit", [], "outb 0x43 0x32", "outb 0x43 0x30"),
    ("counter-0-level", "pit", [], "outb 0x43 0x34", "outb 0x43 0x36"),
    ("counter-0-half-programmed", "pit", ["outb 0x43 0x30"], "clock_step 1", "outb 0x61 0x1"),
    (
        "counter-0-new-count",
        "pit",
        ["outb 0x43 0x16", "outb 0x40 0x10"],
        "outb 0x40 0x20",
        ["outb 0x43 0x10", "outb 0x40 0x10", "outb 0x40 0x20"],
    ),
    (
        "counter-0-at-its-edge",
        "pit",
        [*LINE_0_AT_REST, "outb 0x43 0x14", "outb 0x40 0x64", "clock_step 83810"],
        "outb 0x43 0x30",
        "outb 0x43 0x70",
    ),
    (
        "counter-0-exact-clock",
        "pit",
        [*LINE_0_AT_REST, "outb 0x43 0x34", "outb 0x40 0x0", "outb 0x40 0x80"],
        "clock_step 500000000",
        "clock_step 499000000",
    ),
    ("counts-apart", "pit", [], "inb 0x42", "inb 0x41"),
    ("statuses-apart", "pit", [], "outb 0x43 0xe8", "outb 0x43 0xe4"),
    (
        "control-word-over-a-latch",
        "pit",
        ["outb 0x43 0x56", "outb 0x41 0x10", "outb 0x43 0x40"],
        "outb 0x43 0x76",
        "outb 0x43 0xb6",
    ),
    ("input-raised-again", "pic", [PIN(0, 5), "outb 0x20 0x11"], PIN(0, 5), PIN(0, 6)),
    ("initialized-under-a-high-input", "pic", [PIN(1, 3)], "outb 0x20 0x11", "outb 0xa0 0x11"),
    (
        "poll-before-icw4",
        "pic",
        ["outb 0x20 0x11", "outb 0x21 0x20", "outb 0x21 0x4", "outb 0x21 0x3", "outb 0x20 0x11", "outb 0x20 0xc"],
        "inb 0x20",
        "inb 0xa0",
    ),
    (
        "end-under-special-mask",
        "pic",
        [PIN(0, 1), "outb 0x20 0xc", "inb 0x20", "outb 0x20 0x68", "outb 0x21 0x2"],
        "outb 0x20 0x20",
        "outb 0x20 0x61",
    ),
    (
        "int-after-ocw3",
        "pic",
        [PIN(0, 1), "outb 0x20 0xc", "inb 0x20", "outb 0x21 0x2", PIN(0, 5)],
        "outb 0x20 0x68",
        "outb 0x20 0x48",
    ),
    (
        "special-fully-nested",
        "pic",
        ["outb 0x20 0x11", "outb 0x21 0x20", "outb 0x21 0x4", "outb 0x21 0x11"],
        PIN(0, 5),
        PIN(1, 5),
    ),
    ("level-without-a-change", "pic", [PIN(0, 5), "outb 0x20 0xc", "inb 0x20"], "outb 0x4d0 0x20", "outb 0x4d0 0x40"),
    ("reset-without-fifos", "serial", [], "outb 0x3fa 0x2", "outb 0x3fa 0x3"),
    ("modem-interrupt-in-loopback", "serial", ["outb 0x3fc 0x10"], "outb 0x3f9 0x8", "outb 0x3f9 0x7"),
    ("break-in-loopback", "serial", ["outb 0x3fc 0x10"], "outb 0x3fb 0x43", "outb 0x3fb 0x3"),
    (
        "rounded-time-out",
        "serial",
        ["outb 0x3fb 0x4", "outb 0x3fa 0x1", "outb 0x3fc 0x10", "outb 0x3f8 0x1"],
        "clock_step 3200000",  # after 4 * 7.5 bits at 9600 baud, before 4 * 8
        "clock_step 3400000",
    ),
    ("disk-at-work", "ide", ["outb 0x1f7 0xe1"], "inb 0x1f7", READY),
    ("held-in-reset", "ide", ["outb 0x3f6 0x2", "outb 0x3f6 0x6"], READY, "outb 0x3f6 0x2"),
    ("over-a-block", "ide", ["outb 0x1f7 0xec", READY], "insw 0x1f0 257", "insw 0x1f0 256"),
    ("control-under-interrupt", "ide", IDLE, "outb 0x3f6 0x2", "outb 0x3f6 0x80"),
    ("reset-of-an-absent-drive", "ide", ["outb 0x3f6 0x2", "outb 0x1f6 0xb0"], "outb 0x3f6 0x6", "outb 0x3f6 0x0"),
    ("selected-under-interrupt", "ide", IDLE, "outb 0x1f6 0xb0", "outb 0x1f6 0xe0"),
    ("no-such-address", "ide", ["outb 0x1f6 0xa0", "outb 0x1f3 0x40"], "outb 0x1f7 0x20", "outb 0x1f7 0x10"),
    ("unread-past-the-end", "ide", ["outb 0x1f6 0xe0", "outb 0x1f4 0x80"], "outb 0x1f7 0x40", "outb 0x1f7 0x20"),
    ("refused-multiple", "ide", ["outb 0x1f2 0x3"], "outb 0x1f7 0xc6", ["outb 0x1f2 0x4", "outb 0x1f7 0xc6"]),
    ("translation-of-nothing", "ide", ["outb 0x1f2 0x0"], "outb 0x1f7 0x91", ["outb 0x1f2 0x3f", "outb 0x1f7 0x91"]),
    ("standby-checked", "ide", ["outb 0x1f7 0xe0", READY, "inb 0x1f7"], "outb 0x1f7 0xe5", [*IDLE, "outb 0x1f7 0xe5"]),
    ("absent-drive-diagnosed", "ide", ["outb 0x1f6 0xb0"], "outb 0x1f7 0x90", "outb 0x1f7 0xec"),
)


def test_every_limit_has_an_example() -> None:
    assert [(name, device) for name, device, *_ in EXAMPLES] == [(limit.name, limit.device) for limit in LIMITS]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example[0])
def test_a_limit_holds_its_command_back_and_no_other(example: Example, image: Path) -> None:
    name, device, before, held, sent = example
    outcome = hold(image, [*before, held], devices=(device,))
    assert outcome.held_back == {name: 1}
    assert [exchange.command for exchange in outcome.exchanges] == before
    near = [*before, sent] if isinstance(sent, str) else sent
    outcome = hold(image, near, devices=(device,))
    assert not outcome.held_back
    assert [exchange.command for exchange in outcome.exchanges] == near


def test_beside_the_timer_there_is_no_special_fully_nested_mode(image: Path) -> None:
    outcome = hold(image, ["outb 0x20 0x11", "outb 0x21 0x20", "outb 0x21 0x4", "outb 0x21 0x11"], devices=ALL)
    assert outcome.held_back == {"special-fully-nested": 1}
