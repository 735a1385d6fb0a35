"""Address line 20: enabled while any driver is high, or if there is none; reported to watchers; frozen in a load."""

import pytest

from chkpt.machine.board.a20 import A20Gate
from tests.support.rig import rig, saved

PORT92 = {"type": "port92"}
KEYBOARD = {"type": "i8042"}


@pytest.fixture
def gate() -> A20Gate:
    return A20Gate()


def test_it_is_enabled_without_a_driver(gate: A20Gate) -> None:
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
    levels: list[bool] = []
    gate.watch(levels.append)
    undo()
    assert (gate.level, levels) == (True, [])


def test_a_driver_that_goes_leaves_the_others(gate: A20Gate) -> None:
    (first, undo), (second, _) = gate.drive(), gate.drive()
    first.set(True)
    undo()
    assert not gate.level
    second.set(True)
    assert gate.level


def test_a_watcher_gets_changes_alone_until_it_is_removed(gate: A20Gate) -> None:
    driver, _ = gate.drive()
    driver.set(True)
    levels: list[bool] = []
    unwatch = gate.watch(levels.append)
    for level in (True, False, False, True):
        driver.set(level)
    unwatch()
    driver.set(False)
    assert levels == [False, True]


def test_a_frozen_gate_reports_its_level_once_at_the_outermost_end(gate: A20Gate) -> None:
    driver, _ = gate.drive()
    driver.set(True)
    levels: list[bool] = []
    gate.watch(levels.append)
    with gate.freeze():
        with gate.freeze():
            driver.set(False)
            driver.set(True)
        assert levels == []
    assert levels == [True]


def test_a_load_reports_the_level_to_a_processor_and_no_change_on_the_way() -> None:
    machine, twin = rig(PORT92, KEYBOARD), rig(PORT92, KEYBOARD)
    for board in (machine, twin):
        board.ports.outb(0x92, 0)
    twin.ports.outb(0x64, 0xDD)  # the keyboard controller's half, too
    twin.ports.outb(0x92, 2)
    levels: list[bool] = []
    twin.a20.watch(levels.append)
    twin.load(saved(machine), strict=True)  # port92 falls, then the keyboard controller's rises
    assert (twin.a20.level, levels) == (True, [True])


def test_a_device_that_is_added_is_seen_at_its_own_level() -> None:
    machine = rig(PORT92)
    levels: list[bool] = []
    machine.a20.watch(levels.append)
    machine.devices.remove("port92")
    machine.devices.create("port92")
    assert levels == [True]
