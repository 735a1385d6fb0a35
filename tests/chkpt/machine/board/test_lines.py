"""Interrupt lines: wires with many drivers, one controller, the processor's pin, and a freeze for loads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ConfigError, ConflictError
from chkpt.machine.board.lines import INTR, LINES, IrqLines


class Changes(list[tuple[int, bool]]):
    """The changes that a controller or a watcher gets."""

    def __call__(self, number: int, level: bool) -> None:
        self.append((number, level))


@pytest.fixture
def lines() -> IrqLines:
    return IrqLines()


@pytest.fixture
def changes(lines: IrqLines) -> Changes:
    changes = Changes()
    lines.receive("pic", changes, lambda: 0x42)
    return changes


def test_a_line_is_low_until_it_is_set(lines: IrqLines) -> None:
    lines.drive(3)
    assert not any(lines.level(number) for number in range(LINES))
    assert not lines.intr


def test_the_controller_gets_each_change_once(lines: IrqLines, changes: Changes) -> None:
    driver, _ = lines.drive(3)
    for level in (True, True, False, False, True):
        driver.set(level)
    assert changes == [(3, True), (3, False), (3, True)]


def test_a_shared_line_is_high_while_one_driver_is(lines: IrqLines, changes: Changes) -> None:
    (first, _), (second, _) = lines.drive(3), lines.drive(3)
    first.set(True)
    second.set(True)
    first.set(False)
    assert lines.level(3)
    second.set(False)
    assert not lines.level(3)
    assert changes == [(3, True), (3, False)]


def test_lines_do_not_touch_each_other(lines: IrqLines) -> None:
    driver, _ = lines.drive(3)
    driver.set(True)
    assert [number for number in range(LINES) if lines.level(number)] == [3]


def test_a_removed_driver_drives_its_line_low(lines: IrqLines, changes: Changes) -> None:
    (first, undo), (second, _) = lines.drive(3), lines.drive(3)
    first.set(True)
    second.set(True)
    undo()
    assert lines.level(3)
    second.set(False)
    assert changes == [(3, True), (3, False)]


@pytest.mark.parametrize("number", [-1, 17, 100])
def test_there_are_sixteen_lines_and_the_pin(lines: IrqLines, number: int) -> None:
    with pytest.raises(ConfigError, match=f"^there is no interrupt line {number}: they are 0 to 15$"):
        lines.drive(number)
    with pytest.raises(ConfigError):
        lines.force(number, True)


def test_the_pin_is_reported_to_watchers_and_not_to_the_controller(lines: IrqLines, changes: Changes) -> None:
    watched = Changes()
    lines.watch(watched)
    driver, _ = lines.drive(INTR)
    driver.set(True)
    assert lines.intr
    assert (changes, watched) == ([], [(INTR, True)])


def test_the_pin_cannot_be_forced(lines: IrqLines) -> None:
    with pytest.raises(ConfigError):
        lines.force(INTR, True)
    assert (lines.intr, lines.outside) == (False, 0)


# -- the controller ---------------------------------------------------------------------------------------------------


def test_a_second_controller_is_refused_and_both_are_named(lines: IrqLines, changes: Changes) -> None:
    with pytest.raises(ConflictError, match=r"^apic cannot receive the interrupt lines: pic does$"):
        lines.receive("apic", Changes(), lambda: 0)
    lines.force(1, True)
    assert changes == [(1, True)]


def test_a_controller_that_goes_makes_room_for_another(lines: IrqLines) -> None:
    first, second = Changes(), Changes()
    release = lines.receive("pic", first, lambda: 1)
    release()
    lines.force(1, True)
    lines.receive("apic", second, lambda: 2)
    lines.force(1, False)
    assert (first, second) == ([], [(1, False)])
    assert lines.acknowledge() == 2


def test_an_acknowledge_asks_the_controller(lines: IrqLines, changes: Changes) -> None:
    assert lines.acknowledge() == 0x42


def test_without_a_controller_there_is_nothing_to_acknowledge(lines: IrqLines) -> None:
    with pytest.raises(ConfigError, match="no interrupt controller to acknowledge"):
        lines.acknowledge()


# -- watchers ---------------------------------------------------------------------------------------------------------


def test_a_watcher_is_called_until_it_is_removed(lines: IrqLines) -> None:
    watched = Changes()
    unwatch = lines.watch(watched)
    lines.force(4, True)
    unwatch()
    lines.force(4, False)
    assert watched == [(4, True)]


def test_the_controller_is_called_before_the_watchers(lines: IrqLines) -> None:
    order: list[str] = []
    lines.watch(lambda number, level: order.append("watcher"))
    lines.receive("pic", lambda number, level: order.append("controller"), lambda: 0)
    lines.force(4, True)
    assert order == ["controller", "watcher"]


def test_a_watcher_may_go_while_all_are_called(lines: IrqLines) -> None:
    watched = Changes()

    def leave(number: int, level: bool) -> None:
        unwatch()

    unwatch = lines.watch(leave)
    lines.watch(watched)
    lines.force(4, True)
    lines.force(4, False)
    assert watched == [(4, True), (4, False)]


def test_one_watcher_may_watch_twice_and_go_once(lines: IrqLines) -> None:
    watched = Changes()
    lines.watch(watched)
    lines.watch(watched)()
    lines.force(4, True)
    assert watched == [(4, True)]


# -- from outside -----------------------------------------------------------------------------------------------------


def test_a_forced_line_is_driven_like_any_other(lines: IrqLines, changes: Changes) -> None:
    driver, _ = lines.drive(7)
    lines.force(7, True)
    driver.set(True)
    lines.force(7, False)
    assert lines.level(7)
    assert changes == [(7, True)]


def test_the_levels_from_outside_are_read_and_set_as_bits(lines: IrqLines, changes: Changes) -> None:
    lines.force(0, True)
    lines.force(15, True)
    assert lines.outside == 0x8001
    lines.outside = 0x8002
    assert [number for number in range(LINES) if lines.level(number)] == [1, 15]
    assert changes == [(0, True), (15, True), (0, False), (1, True)]
    lines.force(15, True)
    lines.force(15, False)
    assert lines.outside == 0x0002


def test_the_levels_from_outside_do_not_count_those_of_devices(lines: IrqLines) -> None:
    driver, _ = lines.drive(7)
    driver.set(True)
    assert lines.outside == 0


# -- the freeze -------------------------------------------------------------------------------------------------------


def test_frozen_lines_report_every_level_once_at_the_end(lines: IrqLines, changes: Changes) -> None:
    watched = Changes()
    lines.watch(watched)
    lines.force(1, True)
    changes.clear()
    watched.clear()
    with lines.freeze():
        lines.force(1, False)
        lines.force(1, True)
        lines.force(2, True)
        assert (changes, lines.level(2)) == ([], True)
    levels = [(number, number in {1, 2}) for number in range(LINES)]
    assert changes == levels
    assert watched == [*levels, (INTR, False)]


def test_freezes_nest_and_only_the_outermost_reports(lines: IrqLines, changes: Changes) -> None:
    with lines.freeze():
        with lines.freeze():
            lines.force(2, True)
        assert changes == []
    assert len(changes) == LINES


def test_a_freeze_that_ends_by_an_error_reports_the_levels_all_the_same(lines: IrqLines, changes: Changes) -> None:
    def fail() -> None:
        with lines.freeze():
            lines.force(2, True)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert (2, True) in changes
    changes.clear()
    lines.force(2, False)
    assert changes == [(2, False)]


def test_a_controller_may_drive_lines_while_it_is_called(lines: IrqLines) -> None:
    pin, _ = lines.drive(INTR)
    lines.receive("pic", lambda number, level: pin.set(lines.level(5)), lambda: 0)
    with lines.freeze():
        lines.force(5, True)
    assert lines.intr


drives = st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans())


@given(st.lists(drives, max_size=40))
def test_a_line_is_the_or_of_its_drivers_and_every_change_is_reported(plan: list[tuple[int, int, bool]]) -> None:
    lines, changes = IrqLines(), Changes()
    lines.receive("pic", changes, lambda: 0)
    drivers = [[lines.drive(number)[0] for _ in range(3)] for number in range(4)]
    model = [[False] * 3 for _ in range(4)]
    expected: list[tuple[int, bool]] = []
    for number, which, level in plan:
        before = any(model[number])
        model[number][which] = level
        drivers[number][which].set(level)
        if any(model[number]) != before:
            expected.append((number, not before))
        assert lines.level(number) == any(model[number])
    assert changes == expected
