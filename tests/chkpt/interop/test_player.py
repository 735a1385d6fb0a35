"""A trace is parsed as it is written, and a player finds every answer that differs from the recorded one."""

from collections.abc import Iterator

import pytest

from chkpt.interop.trace import DEMO, Difference, Exchange, Player, Send, disk, parse_trace, perform


def trace_of(text: str, kind: str = "mixed", intercept: str = "pic0-out") -> str:
    return f"# kind: {kind}\n# intercept: {intercept}\n{text}"


class Answers:
    """Sends back prepared answers, and remembers the commands."""

    def __init__(self, *answers: str) -> None:
        self.commands: list[str] = []
        self.answers = iter([["OK"], *([line.strip() for line in each.split("|")] for each in answers)])

    def __call__(self, command: str) -> list[str]:
        self.commands.append(command)
        return next(self.answers)


def play(text: str, *answers: str) -> list[Difference]:
    """Play a whole trace against prepared answers, and return what differs."""
    trace = parse_trace(text)
    player = Player(trace, Answers(*answers))
    return list(differences(player, range(len(trace.exchanges))))


def differences(player: Player, numbers: range) -> Iterator[Difference]:
    for number in numbers:
        found = player.play(number)
        if found is not None:
            yield found


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_trace_has_facts_comments_exchanges_and_cuts() -> None:
    trace = parse_trace(
        "# kind: demo\n# PIT: a comment\n> a\n< IRQ raise 0\n< OK\n# cut\n# one\n# two\n> b\n< OK 1\n# end\n"
    )
    assert trace.facts == {"kind": "demo"}
    assert trace.exchanges == (
        Exchange("a", ("IRQ raise 0", "OK"), "PIT: a comment"),
        Exchange("b", ("OK 1",), "one\ntwo"),
    )
    assert trace.cuts == (1,)


@pytest.mark.parametrize("text", ["< OK\n", "nonsense\n", "> a\n< OK\nOK\n"])
def test_a_text_that_is_not_a_trace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a line of a trace"):
        parse_trace(text)


@pytest.mark.parametrize(
    ("fact", "command"),
    [("pic0-in", "irq_intercept_in pic0"), ("pic1-out", "irq_intercept_out pic1"), ("none", None), ("pic0-up", None)],
)
def test_the_intercept_becomes_a_command(fact: str, command: str | None) -> None:
    assert parse_trace(trace_of("", intercept=fact)).intercept == command


def test_the_demo_is_cut_once_and_has_comments() -> None:
    trace = parse_trace(DEMO.read_text())
    assert len(trace.cuts) == 1
    assert trace.facts["kind"] == "demo"
    assert trace.exchanges[0].comment.startswith("PIT: ")
    assert trace.exchanges[trace.cuts[0]].comment.startswith("the rest of the sector")


def test_the_disk_has_the_content_of_the_formula() -> None:
    content = disk()
    assert len(content) == 16 << 20
    for sector, byte in ((0, 0), (1, 1), (255, 511), (256, 0), (32767, 300)):
        assert content[512 * sector + byte] == (sector * 7 + byte * 13 + (sector >> 8)) & 0xFF


# -- comparing --------------------------------------------------------------------------------------------------------


def test_equal_answers_are_no_difference() -> None:
    assert play(trace_of("> a\n< IRQ raise 0\n< OK\n> b\n< OK 0x1\n"), "IRQ raise 0|OK", "OK 0x1") == []


@pytest.mark.parametrize(
    ("recorded", "answer"),
    [
        ("OK 0x1", "OK 0x2"),
        ("OK", "FAIL"),
        ("OK *", "FAIL no"),
        ("IRQ raise 0\n< OK", "OK"),
        ("OK", "IRQ raise 0|OK"),
        ("IRQ raise 0\n< OK", "IRQ lower 0|OK"),
        ("IRQ raise 0\n< IRQ lower 0\n< OK", "IRQ lower 0|IRQ raise 0|OK"),
        ("IRQ raise 0\n< OK *", "IRQ raise 1|OK 0x5"),
    ],
)
def test_another_answer_is_a_difference(recorded: str, answer: str) -> None:
    expected = tuple(recorded.split("\n< "))
    assert play(trace_of(f"> a\n< {recorded}\n"), answer) == [Difference(0, "a", expected, tuple(answer.split("|")))]


def test_an_open_value_is_any() -> None:
    assert play(trace_of("> a\n< IRQ raise 0\n< OK *\n"), "IRQ raise 0|OK 0x77") == []


def test_lines_of_a_command_may_come_with_the_await_ready_after_it() -> None:
    text = trace_of("> a\n< OK\n> await_ready 0x3f6\n< IRQ raise 0\n< OK 0x0050\n> b\n< OK\n")
    assert play(text, "IRQ raise 0|OK", "OK 0x50", "OK") == []
    assert play(text, "OK", "OK 0x80", "IRQ raise 0|OK 0x50", "OK") == []
    (found,) = play(text, "OK", "OK 0x50", "OK")
    assert found == Difference(1, "await_ready 0x3f6", ("IRQ raise 0", "OK 0x0050"), ("OK 0x0050",))


def test_lines_of_another_command_may_not_come_later() -> None:
    text = trace_of("> a\n< IRQ raise 0\n< OK\n> b\n< OK\n")
    assert [found.number for found in play(text, "OK", "IRQ raise 0|OK")] == [0, 1]


def test_in_pit_traces_only_rising_edges_count() -> None:
    text = trace_of("> a\n< IRQ raise 0\n< OK\n", kind="pit")
    assert play(text, "IRQ lower 0|IRQ raise 0|IRQ lower 0|OK") == []
    assert len(play(text, "IRQ lower 0|OK")) == 1


def test_a_refused_command_of_a_shorthand_is_a_difference() -> None:
    (found,) = play(trace_of("> insw 0x1f0 2\n< OK 0x00010203\n"), "OK 0x0100", "FAIL no port")
    assert found == Difference(0, "insw 0x1f0 2", ("OK 0x00010203",), ("inw 0x1f0: FAIL no port",))
    assert str(found) == "exchange 0, insw 0x1f0 2: OK 0x00010203 expected, inw 0x1f0: FAIL no port"


# -- shorthands -------------------------------------------------------------------------------------------------------


class Ports:
    """Answers `inb` and `inw` from a list of values, and `outw` with OK; an `IRQ` line comes with the first answer."""

    def __init__(self, *values: int) -> None:
        self.values = list(values)
        self.commands: list[str] = []

    def __call__(self, command: str) -> list[str]:
        self.commands.append(command)
        answer = "OK" if command.startswith("out") else f"OK 0x{self.values.pop(0):04x}"
        return ["IRQ raise 0", answer] if len(self.commands) == 1 else [answer]


def test_await_ready_reads_until_the_drive_is_not_busy() -> None:
    ports = Ports(0x80, 0xD0, 0x58, 0x99)
    assert perform("await_ready 0x3f6", ports) == ["IRQ raise 0", "OK 0x0058"]
    assert ports.commands == ["inb 0x3f6"] * 3


def test_insw_gives_the_words_as_bytes() -> None:
    assert perform("insw 0x1f0 2", Ports(0x0201, 0x0403)) == ["IRQ raise 0", "OK 0x01020304"]


def test_outsw_writes_the_bytes_as_words() -> None:
    ports = Ports()
    assert perform("outsw 0x1f0 2 0x01020304", ports) == ["IRQ raise 0", "OK"]
    assert ports.commands == ["outw 0x1f0 0x201", "outw 0x1f0 0x403"]


def test_identify_words_reads_all_and_gives_those_in_the_list() -> None:
    ports = Ports(*range(256))
    assert perform("identify_words 0x1f0 0,2-4,255", ports) == ["IRQ raise 0", "OK 0x0000020003000400ff00"]
    assert ports.commands == ["inw 0x1f0"] * 256


def test_a_plain_command_is_sent_as_it_is() -> None:
    assert perform("inb 0x20", Ports(5)) == ["IRQ raise 0", "OK 0x0005"]


# -- several connections ----------------------------------------------------------------------------------------------


def over_two(text: str, before: Send, after: Send) -> list[Difference]:
    """Play the first exchange over one connection and the others over another."""
    trace = parse_trace(text)
    player = Player(trace, before)
    found = list(differences(player, range(1)))
    player.connect(after)
    return found + list(differences(player, range(1, len(trace.exchanges))))


def test_each_connection_asks_for_the_lines() -> None:
    before, after = Answers("OK"), Answers("OK")
    assert over_two(trace_of("> a\n< OK\n> b\n< OK\n"), before, after) == []
    assert before.commands == ["irq_intercept_out pic0", "a"]
    assert after.commands == ["irq_intercept_out pic0", "b"]


def test_a_trace_without_lines_asks_for_none() -> None:
    commands: list[str] = []

    def send(command: str) -> list[str]:
        commands.append(command)
        return ["OK"]

    assert Player(parse_trace("# kind: x\n> a\n< OK\n"), send).play(0) is None
    assert commands == ["a"]


def test_a_machine_that_does_not_report_its_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="irq_intercept_out pic0: FAIL"):
        Player(parse_trace(trace_of("> a\n< OK\n")), lambda _: ["FAIL Unknown device"])


def test_a_line_that_was_high_shows_no_fall_to_a_new_connection() -> None:
    text = trace_of("> a\n< IRQ raise 0\n< OK\n> b\n< IRQ lower 0\n< IRQ raise 0\n< IRQ lower 0\n< OK\n")
    after = "IRQ raise 0|IRQ lower 0|OK"
    assert over_two(text, Answers("IRQ raise 0|OK"), Answers(after)) == []
    assert len(over_two(text, Answers("IRQ raise 0|OK"), Answers(f"IRQ lower 0|{after}"))) == 1


def test_a_line_that_was_low_shows_all_to_a_new_connection() -> None:
    text = trace_of("> a\n< IRQ raise 0\n< IRQ lower 0\n< OK\n> b\n< IRQ raise 0\n< IRQ lower 0\n< OK\n")
    before = Answers("IRQ raise 0|IRQ lower 0|OK")
    assert over_two(text, before, Answers("IRQ raise 0|IRQ lower 0|OK")) == []


def test_a_high_line_is_remembered_over_connections_that_report_nothing() -> None:
    trace = parse_trace(trace_of("> a\n< IRQ raise 3\n< OK\n> b\n< OK\n> c\n< IRQ lower 3\n< OK\n"))
    player = Player(trace, Answers("IRQ raise 3|OK"))
    found = [player.play(0)]
    for number in (1, 2):
        player.connect(Answers("OK"))
        found.append(player.play(number))
    assert found == [None, None, None]


def test_lines_of_a_disk_command_may_come_before_a_cut_that_parts_it_from_its_await_ready() -> None:
    text = trace_of("> a\n< OK\n> await_ready 0x3f6\n< IRQ raise 0\n< OK 0x0058\n> b\n< IRQ lower 0\n< OK\n")
    assert over_two(text, Answers("IRQ raise 0|OK"), Answers("OK 0x58", "OK")) == []
    assert over_two(text, Answers("OK"), Answers("IRQ raise 0|OK 0x58", "IRQ lower 0|OK")) == []
