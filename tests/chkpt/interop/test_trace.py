"""The recorded traces are well-formed, and their replay finds every answer or IRQ line that differs from the record."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.interop.trace import Exchange, Trace, parse_trace
from chkpt.machine import Machine
from tests.support.recorded import KINDS, play, trace, traces
from tests.support.rig import rig, saved

NAME = "pic-000"


def board() -> Machine:
    return rig({"type": "pic"})


def with_answer(of: Trace, number: int, answer: tuple[str, ...]) -> Trace:
    exchanges = list(of.exchanges)
    exchanges[number] = replace(exchanges[number], answer=answer)
    return replace(of, exchanges=tuple(exchanges))


def chosen(data: st.DataObject, numbers: list[int]) -> int:
    return data.draw(st.sampled_from(numbers))


def irq_lines(exchange: Exchange) -> tuple[str, ...]:
    return exchange.answer[:-1]


# -- the traces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_trace_has_its_kind_its_source_and_its_lines(kind: str) -> None:
    found = traces(kind)
    assert len(found) == 30
    for each in found.values():
        assert each.facts["kind"] == kind
        assert each.facts["source"].startswith("QEMU 7.2.22")
        assert each.intercept in {"irq_intercept_in pic0", "irq_intercept_in pic1", "irq_intercept_out pic0"}
        assert each.cuts == ()


@pytest.mark.parametrize("kind", KINDS)
def test_every_exchange_has_an_answer_after_its_lines(kind: str) -> None:
    for each in traces(kind).values():
        assert each.exchanges
        for exchange in each.exchanges:
            assert exchange.answer[-1].startswith("OK")
            assert all(line.startswith(("IRQ raise ", "IRQ lower ")) for line in irq_lines(exchange))


@given(
    st.lists(st.sampled_from(["# a: b", "# cut", "# c", "> inb 1", "< OK", "< OK *", "", "x", "<", ">"]), max_size=12)
)
def test_any_text_is_a_trace_or_refused(lines: list[str]) -> None:
    try:
        found = parse_trace("\n".join(lines))
    except ValueError:
        return
    assert len(found.exchanges) == sum(line.startswith(">") for line in lines)
    assert len(found.cuts) == lines.count("# cut")


# -- playing ----------------------------------------------------------------------------------------------------------


def test_a_trace_is_answered_as_recorded() -> None:
    play(trace(NAME), board())


@settings(max_examples=30)
@given(st.data())
def test_a_wrong_answer_fails(data: st.DataObject) -> None:
    good = trace(NAME)
    number = chosen(data, [at for at, exchange in enumerate(good.exchanges) if exchange.answer[-1] != "OK *"])
    *lines, answer = good.exchanges[number].answer
    wrong = data.draw(st.sampled_from(["OK 0x9999", "OK", "FAIL", "OK *x"]).filter(lambda each: each != answer))
    with pytest.raises(AssertionError, match=rf"^exchange {number}, "):
        play(with_answer(good, number, (*lines, wrong)), board())


@settings(max_examples=30)
@given(st.data())
def test_an_irq_line_that_does_not_come_fails(data: st.DataObject) -> None:
    good = trace(NAME)
    number = chosen(data, list(range(len(good.exchanges))))
    exchange = good.exchanges[number]
    line = data.draw(st.sampled_from(["IRQ raise 0", "IRQ lower 0", "IRQ raise 7"]))
    with pytest.raises(AssertionError, match=rf"^exchange {number}, "):
        play(with_answer(good, number, (line, *exchange.answer)), board())


@settings(max_examples=30)
@given(st.data())
def test_an_irq_line_that_was_not_recorded_fails(data: st.DataObject) -> None:
    good = trace(NAME)
    number = chosen(data, [at for at, exchange in enumerate(good.exchanges) if irq_lines(exchange)])
    with pytest.raises(AssertionError, match=rf"^exchange {number}, "):
        play(with_answer(good, number, good.exchanges[number].answer[1:]), board())


def test_an_open_value_takes_any_answer_but_a_failure() -> None:
    good = trace(NAME)
    number = next(at for at, each in enumerate(good.exchanges) if each.command.startswith("inb"))
    play(with_answer(good, number, (*irq_lines(good.exchanges[number]), "OK *")), board())
    refused = replace(good.exchanges[number], command="inb nowhere", answer=("OK *",))
    with pytest.raises(AssertionError, match=rf"^exchange {number}, inb nowhere: OK \* expected, FAIL inb: "):
        play(replace(good, exchanges=(*good.exchanges[:number], refused)), board())


def test_a_cut_that_loses_the_state_fails() -> None:
    good = trace(NAME)
    with pytest.raises(AssertionError):
        play(good, board(), lambda _: board(), [len(good.exchanges) // 2])


def test_a_cut_that_keeps_the_state_goes_unnoticed() -> None:
    def cut(machine: Machine) -> Machine:
        twin = board()
        twin.load(saved(machine), strict=True)
        return twin

    good = trace(NAME)
    play(good, board(), cut, range(0, len(good.exchanges), 3))
