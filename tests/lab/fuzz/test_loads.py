"""Whatever state a device's `load` takes, the device stands what a guest and the outside world do with it."""

from contextlib import closing
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chkpt.context import Context
from chkpt.machine.cpu.contract import CpuState
from chkpt.machine.parts import PARTS
from chkpt.manager import installed_device_types
from chkpt.state import from_context, to_context
from tests.lab.fuzz.draws import ByteDraws
from tests.lab.fuzz.loads import booted_machine, load_any, load_cpu, load_parts, setups
from tests.lab.fuzz.states import damaged, state_of
from tests.support.rig import saved

ACCESSES = 1000
DEVICES = sorted(each.name for each in installed_device_types())
STATES = {each.name: each.state for each in installed_device_types() if each.state is not None}


class Drawn:
    """Choices made by hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw

    def integer(self, least: int, greatest: int, /) -> int:
        return self._draw(st.integers(least, greatest))

    def data(self, size: int, /) -> bytes:
        return self._draw(st.binary(min_size=size, max_size=size))


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def survive(name: str, data: st.DataObject) -> None:
    draws = Drawn(data)
    choices = setups(name)
    load_any(choices[draws.integer(0, len(choices) - 1)], draws, ACCESSES, whole=True)


@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=8, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_a_device_stands_a_thousand_accesses_in_any_state(name: str, data: st.DataObject) -> None:
    survive(name, data)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=2000, deadline=None, suppress_health_check=SLOW)
@given(st.data())
def test_a_device_stands_a_thousand_accesses_in_many_states(name: str, data: st.DataObject) -> None:
    survive(name, data)


@pytest.mark.parametrize("name", DEVICES)
def test_of_the_states_drawn_many_are_accepted(name: str) -> None:
    """Else the tests above would show nothing."""
    choose = Random(name)
    taken = [load_any(setups(name)[-1], ByteDraws(choose.randbytes(900)), 3, whole=True) for _ in range(16)]
    assert taken.count(True) >= 2


@given(st.binary(max_size=300))
@settings(max_examples=20, deadline=None)
def test_a_machine_takes_or_refuses_any_parts(choices: bytes) -> None:
    load_parts(ByteDraws(choices))


def test_the_machines_that_are_loaded_have_every_part_that_there_is() -> None:
    with closing(booted_machine()) as machine:
        assert set(saved(machine).contexts) == {*PARTS, "devices"}


@given(st.binary(max_size=1200))
@settings(max_examples=20, deadline=None)
def test_a_machine_takes_or_refuses_any_processor(choices: bytes) -> None:
    load_cpu(ByteDraws(choices))


@pytest.mark.parametrize("name", [*STATES, *PARTS])
@given(st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
def test_a_state_that_is_drawn_is_within_its_ranges(name: str, data: st.DataObject) -> None:
    cls = {**STATES, **PARTS}[name]
    state = state_of(cls, Drawn(data))
    assert from_context(to_context(state), cls, "x") == state


def test_a_state_that_stays_near_to_another_shares_most_with_it() -> None:
    choose = Random(1)
    base = state_of(CpuState, ByteDraws(choose.randbytes(4000)))
    near = state_of(CpuState, ByteDraws(choose.randbytes(4000)), base, 5)
    far = state_of(CpuState, ByteDraws(choose.randbytes(4000)), base, 100)
    names = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13")
    assert sum(getattr(base, name) == getattr(near, name) for name in names) > 10
    assert sum(getattr(base, name) == getattr(far, name) for name in names) < 5


def test_a_damaged_context_leaves_the_one_it_was_made_of() -> None:
    choose = Random(1)
    context = Context("t", 1, {"a": 1, "b": b"x"}, {}, {"c": Context("", 1, {"d": 2})})
    others = [damaged(context, ByteDraws(choose.randbytes(60))) for _ in range(200)]
    assert context == Context("t", 1, {"a": 1, "b": b"x"}, {}, {"c": Context("", 1, {"d": 2})})
    assert sum(other != context for other in others) > 100
