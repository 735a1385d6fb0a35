"""What is said is the seed's, what differs is found and told, and a long conversation is made short."""

from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from chkpt.interop.trace import Difference, Player, parse_trace
from tests.lab.oracle import ours
from tests.lab.oracle.command import parsed
from tests.lab.oracle.lines import Lines, edges
from tests.lab.oracle.phrases import DEVICES, INTERCEPTS, KINDS, speech
from tests.lab.oracle.qemu import plain_commands
from tests.lab.oracle.run import as_trace, commands_of
from tests.lab.oracle.shrink import shortest
from tests.live_qemu.twins import hold

READY = "await_ready 0x3f6"
SENT = ["irq_intercept_in pic0", "outb 0x3fc 0x10", "inb 0x3fe", "outb 0x3f9 0x2", "outb 0x3f8 0x1"]
"""Loopback with the interrupt of the empty transmitter, and a character: line 4 falls and rises."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_says_the_same_each_time_and_another_one_something_else(kind: str) -> None:
    said = commands_of("one", kind, 7)
    assert said == commands_of("one", kind, 7)
    assert said != commands_of("two", kind, 7)
    assert said != commands_of("one", kind, 8)
    assert said[0] in INTERCEPTS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_command_can_be_read(kind: str) -> None:
    verbs = Counter(parsed(command).verb for command in islice(speech(Random(kind), kind), 5000))
    assert {"inb", "outb"} <= verbs.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_twin_answers_the_same(kind: str, image: Path) -> None:
    outcome = hold(image, commands_of("twins", kind, 0), devices=DEVICES[kind], most=400)
    assert outcome.difference is None
    assert len(outcome.exchanges) == 400
    assert not outcome.excused.keys() - {"control-word-edge", "rate-edge"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_answer_is_found_where_it_stands(kind: str, image: Path) -> None:
    commands = commands_of("planted", kind, 0)
    right = hold(image, commands, devices=DEVICES[kind], most=200).exchanges
    number = max(at for at, each in enumerate(right) if each.command.startswith("inb 0x") and "43" not in each.command)
    outcome = hold(image, [each.command for each in right], {number: "OK 0x1234"}, DEVICES[kind])
    assert outcome.difference is not None
    assert outcome.difference.number == number
    assert outcome.difference.expected[-1] == "OK 0x1234"
    assert outcome.difference.actual == right[number].answer


@pytest.mark.parametrize(
    "answer",
    ["OK", "IRQ lower 4 | OK", "IRQ lower 4 | IRQ raise 4 | IRQ lower 4 | OK", "IRQ raise 4 | IRQ lower 4 | OK"],
)
def test_wrong_edges_are_found(answer: str, image: Path) -> None:
    right = ("IRQ lower 4", "IRQ raise 4", "OK")
    assert hold(image, SENT).exchanges[-1].answer == right
    outcome = hold(image, SENT, {-1: answer}, ("serial",))
    assert outcome.difference == Difference(4, "outb 0x3f8 0x1", tuple(answer.split(" | ")), right)


def test_an_answer_that_fails_is_a_difference(image: Path) -> None:
    outcome = hold(image, ["inb 0x3ff"], {0: "FAIL Unknown command 'inb'"})
    assert outcome.difference is not None


def test_a_disk_that_stays_busy_is_a_difference(image: Path) -> None:
    with ours.running(image) as machine:
        machine.send("outb 0x3f6 0x4")
        with pytest.raises(ValueError, match="still busy"):
            machine.send(READY)


def test_no_more_than_asked_for_is_sent(image: Path) -> None:
    assert len(hold(image, ["inb 0x3ff"] * 100, most=70).exchanges) == 70


# -- lines ------------------------------------------------------------------------------------------------------------


def test_edges_are_read_from_the_lines_of_an_answer() -> None:
    assert edges(["IRQ raise 4", "IRQ lower 12", "OK 0x0001"]) == [(4, "raise"), (12, "lower")]


def test_an_edge_waits_until_the_other_side_tells_it() -> None:
    lines = Lines()
    assert lines.match([(0, "raise"), (4, "raise")], [(4, "raise")])
    assert lines.waiting == {0: (("raise",), ())}
    assert lines.match([], [(0, "raise")])
    assert lines.waiting == {}
    assert lines.match([], [(4, "lower")])
    assert lines.waiting == {4: ((), ("lower",))}


def test_two_edges_in_one_place_never_match() -> None:
    assert not Lines().match([(0, "raise")], [(0, "lower")])


def test_edges_of_different_lines_come_in_the_same_order() -> None:
    ours_, theirs = [(0, "raise"), (4, "raise")], [(4, "raise"), (0, "raise")]
    assert not Lines().match(ours_, theirs)
    assert Lines().match(ours_, theirs, in_order=False)


# -- what is made of a difference -------------------------------------------------------------------------------------


def test_the_shortest_conversation_keeps_what_the_difference_needs() -> None:
    commands = ["first", *(f"command {number}" for number in range(100)), "last"]
    needed = {"command 17", "command 60", "last"}
    trials = 0

    def still_differs(left: list[str]) -> list[str] | None:
        nonlocal trials
        trials += 1
        return left if needed <= set(left) else None

    assert shortest(commands, still_differs) == ["first", "command 17", "command 60", "last"]
    assert trials < 100


def test_what_comes_after_an_earlier_difference_is_left_out() -> None:
    commands = ["first", "a", "b", "c", "d"]
    assert shortest(commands, lambda left: left[: left.index("b") + 1] if "b" in left else None) == ["first", "b"]


def test_after_the_last_trial_what_was_reached_is_given() -> None:
    commands = ["first", *"abcdefgh"]
    assert shortest(commands, lambda left: left if "h" in left else None, trials=1) == ["first", *"efgh"]


def test_a_difference_is_told_as_a_trace_that_can_be_played(image: Path) -> None:
    commands = ["irq_intercept_in pic1", "outb 0x1f7 0xe1", READY, "inb 0x1f2"]
    outcome = hold(image, commands, {-1: "OK 0x0007"})
    text = as_trace("ide", outcome)
    assert text.endswith("> inb 0x1f2\n< OK 0x0007\n# chkpt: OK 0x0001\n")
    trace = parse_trace(text)
    assert trace.intercept == "irq_intercept_in pic1"
    with ours.running(image) as machine:
        player = Player(trace, machine.send)
        found = [player.play(number) for number in range(len(trace.exchanges))]
    assert found == [None, None, Difference(2, "inb 0x1f2", ("OK 0x0007",), ("OK 0x0001",))]


def test_a_shorthand_is_many_plain_commands() -> None:
    assert plain_commands("outsw 0x1f0 2 0x01020304") == ["outw 0x1f0 0x201", "outw 0x1f0 0x403"]
    assert plain_commands("insw 0x1f0 3") == ["inw 0x1f0"] * 3
    assert plain_commands(READY) == ["inb 0x3f6"]
