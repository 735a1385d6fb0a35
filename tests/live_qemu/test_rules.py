"""Each rule excuses its own example, and not a near miss."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.oracle.phrases import LINE_0_AT_REST
from tests.lab.oracle.rules import RULES
from tests.live_qemu.twins import ALL, Answer, hold

IN_PIC0 = "irq_intercept_in pic0"
READY = "await_ready 0x3f6"
IDENTIFY = ["outb 0x1f7 0xec", READY, "insw 0x1f0 256", READY, "inb 0x1f7"]
FLIPPED = -3
"""The place of IDENTIFY's words from the end."""

RATE = [IN_PIC0, *LINE_0_AT_REST, "outb 0x43 0x14", "outb 0x40 0x64", "clock_step 83810", "clock_step 838"]
"""Counter 0 in mode 2 with a count of 100: to the nanosecond at which its period ends, and a clock on."""

AGAIN = [IN_PIC0, *LINE_0_AT_REST, "outb 0x43 0x10", "outb 0x40 0x64"]
"""Mode 0 once more, when line 0 is high."""


def with_word(number: int, value: int) -> Callable[[str], str]:
    """Return what gives an answer of words another word."""
    at = len("OK 0x") + 4 * number
    return lambda answer: answer[:at] + value.to_bytes(2, "little").hex() + answer[at + 4 :]


def with_trim(word_69: int) -> Callable[[str], str]:
    """Return what gives IDENTIFY the words that tell of a trim, the first of them with this value."""

    def change(answer: str) -> str:
        for number, value in ((69, word_69), (106, 0x6000), (169, 0x0001)):
            answer = with_word(number, value)(answer)
        return answer

    return change


@dataclass(frozen=True)
class Example:
    """A conversation, what QEMU answers otherwise, and what it does not answer."""

    rule: str
    commands: list[str]
    answers: dict[int, Answer]
    near_miss: dict[int, Answer]
    devices: tuple[str, ...] = field(default=ALL)


EXAMPLES = (
    Example("null-count", ["outb 0x43 0x76", "outb 0x43 0xe4", "inb 0x41"], {-1: "OK 0x00b6"}, {-1: "OK 0x00b4"}),
    Example(
        "inverted-out",
        ["outb 0x43 0x54", "outb 0x41 0x10", "clock_step 5000", "outb 0x43 0xe4", "inb 0x41"],
        {-1: "OK 0x0014"},
        {-1: "OK 0x00d4"},
    ),
    Example(
        "out-while-waiting", ["outb 0x43 0x74", "outb 0x43 0xe4", "inb 0x41"], {-1: "OK 0x0034"}, {-1: "OK 0x0030"}
    ),
    Example("odd-square-wave", ["outb 0x43 0x56", "outb 0x41 0x65", "inb 0x41"], {-1: "OK 0x0065"}, {-1: "OK 0x0063"}),
    Example(
        "bcd",
        ["outb 0x43 0x55", "outb 0x41 0x20", "clock_step 900", "inb 0x41"],
        {-1: "OK 0x001f"},
        {-1: "OK 0x001e"},
    ),
    Example(
        "modes-6-and-7",
        ["outb 0x43 0x5e", "outb 0x41 0x64", "clock_step 900", "inb 0x41"],
        {-1: "OK 0x0063"},
        {-1: "OK 0x0061"},
    ),
    Example("early-latch", ["outb 0x43 0x40", "clock_step 900", "inb 0x41"], {-1: "OK 0x00fe"}, {-1: "OK 0x00ff"}),
    Example("port-0x43-read", ["inb 0x43"], {-1: "OK 0x0000"}, {-1: "OK 0x0001"}),
    Example("refresh-toggle", ["outb 0x61 0x1", "inb 0x61"], {-1: "OK 0x0031"}, {-1: "OK 0x0071"}),
    Example("nmi-disables", ["outb 0x61 0xd", "inb 0x61"], {-1: "OK 0x0021"}, {-1: "OK 0x0025"}),
    Example(
        "rate-edge",
        RATE,
        {-3: "IRQ lower 0 | OK", -2: "OK 2083810", -1: "IRQ raise 0 | OK 2084648"},
        {-3: "IRQ lower 0 | OK", -2: "OK 2083810", -1: "OK 2084648"},
    ),
    Example(
        "rate-fall",
        RATE[:-1],
        {-1: "IRQ raise 0 | OK 2083810"},
        {-1: "IRQ lower 1 | IRQ raise 0 | OK 2083810"},
    ),
    Example("control-word-edge", AGAIN, {-2: "OK", -1: "IRQ lower 0 | OK"}, {-2: "OK", -1: "OK"}),
    Example("mcr-at-power-on", ["inb 0x3fc"], {-1: "OK 0x0008"}, {-1: "OK 0x000c"}),
    Example("no-deltas", ["outb 0x3fc 0x10", "inb 0x3fe"], {-1: "OK 0x0000"}, {-1: "OK 0x0001"}),
    Example("word-length", ["outb 0x3fc 0x10", "outb 0x3f8 0xff", "inb 0x3f8"], {-1: "OK 0x00ff"}, {-1: "OK 0x00fe"}),
    Example("error-at-power-on", ["inb 0x1f1"], {-1: "OK 0x0000"}, {-1: "OK 0x0002"}),
    Example(
        "hob-features",
        ["outb 0x1f1 0x12", "outb 0x1f1 0x34", "outb 0x1f7 0xff", READY, "inb 0x1f7", "outb 0x3f6 0x80", "inb 0x1f1"],
        {-1: "OK 0x0012"},
        {-1: "OK 0x0034"},
    ),
    Example("absent-drive", ["outb 0x1f6 0xb0", "inb 0x1f4"], {-1: "OK 0x00ff"}, {-1: "OK 0x00fe"}),
    Example(
        "kept-identity",
        [*IDENTIFY, "outb 0x1f2 0x8", "outb 0x1f7 0xc6", READY, "inb 0x1f7", *IDENTIFY],
        {FLIPPED: with_word(59, 0x0110)},
        {FLIPPED: with_word(59, 0x0104)},
    ),
    Example("trim-words", IDENTIFY, {FLIPPED: with_trim(0x4000)}, {FLIPPED: with_trim(0x8000)}),
    Example(
        "main-loop",
        ["irq_intercept_in pic1", "outb 0x1f7 0xe1", READY],
        {-2: "OK", -1: "IRQ raise 6 | OK 0x0040"},
        {-2: "OK", -1: "OK 0x0040"},
    ),
)


def test_every_rule_has_an_example() -> None:
    assert [example.rule for example in EXAMPLES] == [rule.name for rule in RULES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.rule)
def test_a_rule_excuses_its_example(example: Example, image: Path) -> None:
    outcome = hold(image, example.commands, example.answers, example.devices)
    assert outcome.difference is None
    assert outcome.excused[example.rule] == 1
    assert not outcome.held_back


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.rule)
def test_a_rule_does_not_excuse_a_near_miss(example: Example, image: Path) -> None:
    outcome = hold(image, example.commands, example.near_miss, example.devices)
    assert outcome.difference is not None
    assert outcome.difference.number == len(example.commands) + max(example.near_miss)


def test_no_rule_excuses_what_is_the_same(image: Path) -> None:
    for example in EXAMPLES:
        outcome = hold(image, example.commands, devices=example.devices)
        assert outcome.difference is None
        assert not outcome.excused.keys() - {"rate-fall", "control-word-edge"}


def test_identify_is_excused_when_it_is_read_in_parts_too(image: Path) -> None:
    parts = ["outb 0x1f7 0xec", READY, "insw 0x1f0 69", "inw 0x1f0", "inb 0x1f0", "insw 0x1f0 99", "inl 0x1f0"]
    outcome = hold(image, parts, {3: "OK 0x4000", -1: "OK 0x00000000", 5: with_word(106 - 71, 0x6000)})
    assert outcome.difference is None
    assert outcome.excused == {"trim-words": 2}
    outcome = hold(image, parts, {-1: "OK 0x00010001"})
    assert outcome.difference is not None
