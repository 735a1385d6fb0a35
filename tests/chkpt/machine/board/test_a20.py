"""Address line 20: enabled while any driver is high, and where there is none; told to who watches; frozen in a load."""

import pytest

from chkpt.machine.board.a20 import A20Gate
from tests.support.rig import rig, saved

PORT92 = {"type": "port92"}
KEYBOARD = {"type": "i8042"}


@pytest.fixture
def gate() -> A20Gate:
    return A20Gate()


def test_it_is_enabled_where_nothing_drives_it(gate: A20Gate) -> None:
    assert gate.level


def test_a_driver_is_low_until_it_is_set(gate: A20Gate) -> None:
    driver, _ = gate.drive()
    assert not gate.level
    driver.set(True)
    assert gate.level


def test_it_is_enabled_while_one_of_two_drivers_is_high(gate: A20Gate) -> None:
    (first, _), (second, _) = gate.drive(), gate.drive()
    first.set(True)
    second.set(True)
    first.set(False)
    assert gate.level
    second.set(False)
    assert not gate.level


def test_the_last_driver_that_goes_leaves_it_enabled_without_a_glitch(gate: A20Gate) -> None:
    driver, undo = gate.drive()
    driver.set(True)
    told: list[bool] = []
    gate.watch(told.append)
    undo()
    assert (gate.level, told) == (True, [])


def test_a_driver_that_goes_leaves_the_others(gate: A20Gate) -> None:
    (first, undo), (second, _) = gate.drive(), gate.drive()
    first.set(True)
    undo()
    assert not gate.level
    second.set(True)
    assert gate.level


def test_a_watcher_is_told_changes_alone_until_it_is_undone(gate: A20Gate) -> None:
    driver, _ = gate.drive()
    driver.set(True)
    told: list[bool] = []
    unwatch = gate.watch(told.append)
    for level in (True, False, False, True):
        driver.set(level)
    unwatch()
    driver.set(False)
    assert told == [False, True]


def test_a_frozen_gate_tells_its_level_once_at_the_outermost_end(gate: A20Gate) -> None:
    driver, _ = gate.drive()
    driver.set(True)
    told: list[bool] = []
    gate.watch(told.append)
    with gate.freeze():
        with gate.freeze():
            driver.set(False)
            driver.set(True)
        assert told == []
    assert told == [True]


def test_a_load_tells_a_processor_the_level_and_no_change_on_the_way() -> None:
    machine, twin = rig(PORT92, KEYBOARD), rig(PORT92, KEYBOARD)
    for board in (machine, twin):
        board.ports.outb(0x92, 0)
    twin.ports.outb(0x64, 0xDD)  # the keyboard controller's half, too
    twin.ports.outb(0x92, 2)
    told: list[bool] = []
    twin.a20.watch(told.append)
    twin.load(saved(machine), strict=True)  # port92 falls, then the keyboard controller's rises
    assert (twin.a20.level, told) == (True, [True])


def test_a_device_that_is_added_is_seen_at_its_own_level() -> None:
    machine = rig(PORT92)
    told: list[bool] = []
    machine.a20.watch(told.append)
    machine.devices.remove("port92")
    machine.devices.create("port92")
    assert told == [True]
