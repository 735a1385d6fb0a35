"""A load of some devices: what it shifts, what it leaves alone, and that it is undone like a whole one."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import LoadError, StateError
from chkpt.machine import Machine
from chkpt.snapshot import dumps
from chkpt.state import shift_times
from chkpt.state.layout import layout_of
from tests.support.rig import saved
from tests.support.small import cell, machine

NAMES = ("pic", "pit", "com1", "ide0")


def states(board: Machine) -> dict[str, Any]:
    return {entry.name: entry.save() for entry in board.devices}


def busy() -> Machine:
    """The default machine with every time of its devices set."""
    board = Machine()
    ports = board.ports
    board.step(123_456_789)
    for port, value in ((0x43, 0x34), (0x40, 0x10), (0x40, 0x27), (0x61, 1), (0x3FB, 3), (0x3FC, 0x0B)):
        ports.outb(port, value)
    ports.outb(0x3F8, 0x55)
    board.step(1_000)
    return board


def whole(board: Machine) -> bytes:
    checkpoint = saved(board)
    checkpoint.header["created"] = "1970-01-01T00:00:00Z"
    return dumps(checkpoint)


def times(state: Any) -> Iterator[int | None]:
    layout = layout_of(type(state))
    yield from (getattr(state, name) for name, _ in layout.times)
    for name, kind in layout.kinds.items():
        inner = getattr(state, name)
        if kind.nested is not None and inner is not None:
            for each in inner if kind.items is not None else (inner,):
                yield from times(each)


@pytest.mark.parametrize("later", [0, 1, 999_999_937])
def test_every_time_of_a_loaded_device_is_shifted_by_the_difference_of_the_clocks(later: int) -> None:
    board = busy()
    assert sum(isinstance(each, int) for state in states(board).values() for each in times(state)) > 3
    twin = Machine()
    twin.step(board.clock.now + later)
    twin.load(saved(board), only=NAMES)
    assert twin.clock.now == board.clock.now + later
    assert states(twin) == {name: shift_times(state, later) for name, state in states(board).items()}


def test_clock_lines_ram_and_the_other_devices_stay_as_they_are() -> None:
    board, twin = busy(), Machine()
    board.irq.force(5, True)
    twin.step(77)
    twin.memory.write(0, b"mine")
    twin.irq.force(9, True)
    before = states(twin)
    report = twin.load(saved(board), only=["com1"])
    assert report.loaded == ("com1",)
    assert (twin.clock.now, twin.memory.read(0, 4), twin.irq.outside) == (77, b"mine", 1 << 9)
    after = states(twin)
    assert {name: after[name] for name in ("pit", "ide0")} == {name: before[name] for name in ("pit", "ide0")}
    assert after["com1"] != before["com1"]


def test_a_device_of_another_name_takes_the_shifted_state() -> None:
    board = machine("controller", "cell:old")
    cell(board, "old").timer.arm(500)
    twin = machine("controller", "cell:new")
    twin.step(10_000)
    assert twin.load(saved(board), only=["new"], rename={"old": "new"}).loaded == ("new",)
    assert cell(twin, "new").timer.deadline == 10_500


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 40))
def test_a_time_that_no_clock_can_show_is_refused_and_nothing_has_changed(deadline: int, later: int) -> None:
    board = machine("controller", "cell:a", "cell:b")
    cell(board, "a").timer.arm(deadline)
    cell(board, "b").value = 7
    twin = machine("controller", "cell:a", "cell:b")
    twin.step(later)
    checkpoint = saved(board)
    twin.load(checkpoint, only=["a", "b"])
    assert cell(twin, "a").timer.deadline == deadline + later
    limit = (1 << 63) - 1
    cell(board, "a").timer.arm(limit)
    twin.step(1)
    before = whole(twin)
    with pytest.raises(StateError, match=r"devices/a deadline, moved by \d+ ns"):
        twin.load(saved(board), only=["a", "b"])
    assert whole(twin) == before


@pytest.mark.parametrize("fails", ["a", "b", "c"])
@pytest.mark.parametrize("after_its_own_work", [False, True])
def test_one_that_fails_is_taken_back_with_all_before_it(
    fails: str, after_its_own_work: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def board_of(value: int) -> Machine:
        board = machine("controller", "cell:a", "cell:b", "cell:c", "cell:d", memory=8192)
        for number in range(4):
            board.ports.outb(0x110 + 16 * number, value + number)
            board.ports.outb(0x111 + 16 * number, value + number)
        return board

    twin = board_of(0x40)
    twin.step(5000)
    before = whole(twin)
    load = cell(twin, fails).load
    left = [True]

    def fail(state: Any) -> None:
        if left and not after_its_own_work:
            left.pop()
            raise RuntimeError("no")
        load(state)
        if left:
            left.pop()
            raise RuntimeError("no")

    monkeypatch.setattr(cell(twin, fails), "load", fail)
    with pytest.raises(LoadError):
        twin.load(saved(board_of(0x10)), only=["a", "b", "c"])
    assert not twin.half_loaded
    assert whole(twin) == before
    assert twin.load(saved(board_of(0x10)), only=["a", "b", "c"]).loaded == ("a", "b", "c")


def test_states_have_no_time_that_is_not_marked_as_one() -> None:
    """A field with the name of a time is a `Time`; otherwise a partial load would not shift it."""
    for state in states(Machine()).values():
        marked = {name for name, _ in layout_of(type(state)).times}
        names = {field.name for field in dataclasses.fields(state)}
        assert {name for name in names if name.endswith(("_deadline", "_start"))} <= marked
