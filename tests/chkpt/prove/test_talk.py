"""Conversations are made of phrases and noise, cut short and interleaved, and follow from their seed."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

from chkpt.device import DeviceType
from chkpt.grammar import (
    Acknowledge,
    Grammar,
    In,
    Line,
    Medium,
    Modem,
    Out,
    Phrase,
    Plug,
    Rdmsr,
    Read,
    Receive,
    Reset,
    Retry,
    Room,
    Step,
    Wait,
    Write,
    Wrmsr,
    cut_short,
)
from chkpt.prove import setups_of
from chkpt.prove.bench import Bench
from chkpt.prove.talk import conversation
from chkpt_devices.ide import IDE
from tests.chkpt.prove import faulty
from tests.chkpt.prove.faulty import relay_type


def said(
    device_type: DeviceType[faulty.RelayConfig, faulty.RelayState], count: int = 4000, seed: int = 0
) -> list[Step]:
    (setup,) = setups_of(device_type)
    bench = Bench(setup)
    talk = conversation(bench.machine, Random(seed))
    steps = [next(talk)]
    while len(steps) < count:
        steps.append(talk.send(bench.do(steps[-1])))
    return steps


def phrases(_: str, config: faulty.RelayConfig) -> list[Callable[[Random], Phrase]]:
    def count_up(_: Random) -> Phrase:
        for value in range(20):
            yield Out(config.port, value, 2)
            assert (yield In(config.port, 1)) is not None

    return [count_up]


GRAMMAR: Grammar[faulty.RelayConfig] = Grammar(phrases)


def test_all_that_a_device_claims_is_tried_without_a_grammar() -> None:
    steps = said(relay_type(faulty.Relay))
    kinds = {type(step) for step in steps}
    assert kinds >= {In, Out, Read, Write, Rdmsr, Wrmsr, Receive, Modem, Room, Plug, Wait, Line, Acknowledge, Reset}
    assert {step.port for step in steps if isinstance(step, In)} >= {0x300, 0x301}
    assert {step.width for step in steps if isinstance(step, In)} == {1, 2, 4}


def test_media_fail_and_are_tried_again() -> None:
    bench = Bench(setups_of(IDE)[0])
    talk = conversation(bench.machine, Random(1), ["ide"])
    steps = [next(talk)]
    while len(steps) < 8000:
        steps.append(talk.send(bench.do(steps[-1])))
    assert {Medium("ide.0", works=False), Medium("ide.1", works=True), Retry(), Plug("ide.1", plugged=False)} <= {
        *steps
    }


def test_phrases_are_said_whole_and_cut_short_and_interrupted() -> None:
    steps = said(relay_type(faulty.Relay, grammar=GRAMMAR))
    values = [step.value for step in steps if isinstance(step, Out) and step.width == 2 and step.port == 0x300]
    assert any(values[at : at + 20] == list(range(20)) for at in range(len(values)))
    assert any(before not in {after - 1, 19} and after == 0 for before, after in pairwise(values))
    outs = [at for at, step in enumerate(steps) if isinstance(step, Out) and step.width == 2]
    assert any(after - before > 2 for before, after in pairwise(outs))


def test_equal_seeds_say_the_same() -> None:
    device_type = relay_type(faulty.Relay, grammar=GRAMMAR)
    assert said(device_type, 300, 7) == said(device_type, 300, 7)
    assert said(device_type, 300, 7) != said(device_type, 300, 8)


def test_a_wait_stops_before_a_deadline_and_reaches_it_and_never_fires_a_timer_too_often() -> None:
    (setup,) = setups_of(relay_type(faulty.Relay))
    bench = Bench(setup)
    clock = bench.machine.clock
    talk = conversation(bench.machine, Random(3))
    step = next(talk)
    before: set[int] = set()
    for _ in range(3000):
        if isinstance(step, Wait) and clock.next_deadline is not None:
            left = clock.next_deadline - clock.now
            assert step.ns is None or step.ns <= 200 * max(1, left)
            before.add(left - step.ns if step.ns is not None else 0)
        step = talk.send(bench.do(step))
    assert {0, 1} <= before


def test_a_phrase_cut_short_hears_its_answers() -> None:
    heard: list[int] = []

    def phrase() -> Phrase:
        heard.append((yield In(1)))
        heard.append((yield In(2)))
        yield In(3)

    short = cut_short(phrase(), 2)
    assert next(short) == In(1)
    assert short.send(7) == In(2)
    assert next(short, None) is None
    assert heard == [7]
    assert [*cut_short(phrase(), 0)] == []
