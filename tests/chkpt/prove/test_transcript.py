"""A transcript says what an experiment did, and the experiment can be made again from it."""

import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ConfigError, UsageError
from chkpt.grammar import (
    Acknowledge,
    Frame,
    In,
    Insw,
    Line,
    Medium,
    Modem,
    Out,
    Outsw,
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
)
from chkpt.prove import Experiment, prove, replay, setups_of
from chkpt.prove.lockstep import Way
from chkpt.prove.transcript import command, machine_of, parse_command, read, write
from chkpt_devices.serial import SERIAL
from tests.chkpt.prove.forgetful import setups

PORTS = st.integers(0, 0xFFFF)
QUADS = st.integers(0, (1 << 64) - 1)
NAMES = st.sampled_from(["com1", "ide0.1"])
STEPS: dict[type, st.SearchStrategy[Any]] = {
    In: st.builds(In, PORTS, st.sampled_from([1, 2, 4])),
    Out: st.builds(Out, PORTS, st.integers(0, 0xFFFF_FFFF), st.sampled_from([1, 2, 4])),
    Insw: st.builds(Insw, PORTS, st.integers(0, 300)),
    Outsw: st.builds(Outsw, PORTS, st.binary().map(lambda data: data * 2)),
    Read: st.builds(Read, QUADS, st.sampled_from([1, 2, 4, 8])),
    Write: st.builds(Write, QUADS, QUADS, st.sampled_from([1, 2, 4, 8])),
    Rdmsr: st.builds(Rdmsr, QUADS),
    Wrmsr: st.builds(Wrmsr, QUADS, QUADS),
    Wait: st.builds(Wait, st.none() | st.integers(0, 10**12)),
    Line: st.builds(Line, st.integers(0, 15), st.booleans()),
    Acknowledge: st.just(Acknowledge()),
    Receive: st.builds(Receive, NAMES, st.binary(), st.integers(0, 0x1C)),
    Modem: st.builds(Modem, NAMES, st.integers(0, 0xF0)),
    Room: st.builds(Room, NAMES, st.none() | st.integers(0, 99)),
    Medium: st.builds(Medium, NAMES, st.booleans()),
    Plug: st.builds(Plug, NAMES, st.booleans()),
    Retry: st.just(Retry()),
    Frame: st.builds(Frame, NAMES, st.binary()),
    Reset: st.just(Reset()),
}


def test_every_kind_of_step_is_tried_here() -> None:
    assert set(STEPS) == set(typing.get_args(Step))


@given(st.one_of(*STEPS.values()))
def test_a_step_survives_its_command(step: Step) -> None:
    assert parse_command(command(step)) == step


@pytest.mark.parametrize(
    "text", ["", "inb", "inb 0x20 1", "outb 0x20", "inb twenty", "set_irq_in pic2 unnamed-gpio-in 0 1"]
)
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a step"):
        parse_command(text)


def test_plain_steps_are_commands_of_qtest() -> None:
    steps: list[Step] = [
        In(0x20),
        Out(0x43, 0x34),
        Out(0x1F0, 0x1234, 2),
        Read(0x1000, 8),
        Wait(838),
        Wait(),
        Line(9, level=True),
    ]
    assert [command(step) for step in steps] == [
        "inb 0x20",
        "outb 0x43 0x34",
        "outw 0x1f0 0x1234",
        "readq 0x1000",
        "clock_step 838",
        "clock_step",
        "set_irq_in pic1 unnamed-gpio-in 1 1",
    ]


def experiment(*, used: tuple[Step, ...] = (), way: Way = Way.WHOLE, ahead: int = 0) -> Experiment:
    return Experiment((Out(0x3FF, 0x5A), Wait(7)), (In(0x3FF), Insw(0x3F8, 2)), used, way, ahead)


@pytest.mark.parametrize(
    "made",
    [
        experiment(),
        experiment(used=(Out(0x3FF, 1),)),
        experiment(way=Way.UNSAVED),
        experiment(way=Way.UNDONE),
        experiment(way=Way.PARTIAL, ahead=7),
    ],
)
def test_an_experiment_survives_its_transcript(made: Experiment) -> None:
    (setup,) = setups_of(SERIAL)
    assert read(write(setup, made, None)) == made


def test_a_transcript_tells_answers_and_what_the_restored_machine_did() -> None:
    (setup,) = setups(SERIAL, "scr")
    found = replay(setup, write(setup, experiment(), None))
    assert found is not None
    assert write(setup, experiment(), found).splitlines()[1:] == [
        "> outb 0x3ff 0x5a",
        "< OK",
        "> clock_step 7",
        "< OK 7",
        "# cut",
        "> inb 0x3ff",
        "< OK 0x005a",
        "> insw 0x3f8 2",
        "< OK 0x00000000",
        "# went on:  0x5a",
        "# restored: 0x0",
    ]


def test_a_finding_can_be_replayed_with_its_machine_and_ends_when_the_hole_is_closed() -> None:
    finding = prove(setups(SERIAL, "scr"), seed=3).finding
    assert finding is not None
    (broken,) = setups(SERIAL, "scr")
    (good,) = setups_of(SERIAL)
    again = replay(broken, finding.transcript)
    assert again is not None
    assert again.what is finding.divergence.what
    assert replay(good, finding.transcript) is None
    assert machine_of(finding.transcript) == good.config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("> inb 0x20\n", "it has no line '# cut'"),
        ("# cut\n> inb\n", "line 2: 'inb' is not a step"),
        ("# cut\nnonsense\n", "line 2: 'nonsense' is not a line"),
    ],
)
def test_what_is_no_transcript_is_refused_with_the_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"t.txt: {message}"):
        read(text, "t.txt")


@pytest.mark.parametrize("text", ["# cut\n", "# machine: {\n", "# machine: 3\n", '# machine: {"devise": []}\n'])
def test_a_transcript_without_its_machine_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="machine"):
        machine_of(text)


def test_a_frontend_that_the_machine_has_not_is_named() -> None:
    (setup,) = setups_of(SERIAL)
    with pytest.raises(UsageError, match="no frontend net0"):
        replay(setup, "# cut\n> room net0 3\n")
