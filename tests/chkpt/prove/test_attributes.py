"""Live devices are compared attribute by attribute, and what is the host's is left out."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest

from chkpt.machine.board.clock import MachineClock
from chkpt.prove.attributes import differences, own_objects


class Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@dataclass(slots=True)
class Slotted:
    value: int


class Private:
    __slots__ = ("__hidden",)

    def __init__(self, value: int) -> None:
        self.__hidden = value


def paths(one: object, other: object) -> list[str]:
    return [each.path for each in differences("d", one, other)]


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (1, 2, "a"),
        (True, 1, "a"),
        (b"x", b"y", "a"),
        ([1, 2], [1, 3], "a[1]"),
        ([1], [1, 2], "a"),
        (deque([1]), deque([2]), "a[0]"),
        ({"k": 1}, {"k": 2}, "a['k']"),
        ({"k": 1}, {"l": 1}, "a"),
        ({1}, {2}, "a"),
        (Slotted(1), Slotted(2), "a.value"),
        (Private(1), Private(2), "a._Private__hidden"),
        (None, Slotted(1), "a"),
        (Thing(b=Thing(c=1)), Thing(b=Thing(c=2)), "a.b.c"),
    ],
)
def test_what_differs_is_named_by_its_path(one: object, other: object, path: str) -> None:
    assert paths(Thing(a=one), Thing(a=other)) == [path]
    assert paths(Thing(a=one), Thing(a=one)) == []


def test_an_attribute_that_only_one_has_differs() -> None:
    assert [(each.path, each.twin) for each in differences("d", Thing(a=1), Thing())] == [
        ("a", "<Absent.ABSENT: 'absent'>")
    ]


def test_the_nearest_difference_comes_first() -> None:
    assert paths(Thing(far=Thing(x=1), near=1), Thing(far=Thing(x=2), near=2)) == ["near", "far.x"]


def test_a_ring_of_objects_ends() -> None:
    one, other = Thing(), Thing()
    one.__dict__["me"], other.__dict__["me"] = one, other
    assert paths(one, other) == []


def test_of_the_host_only_a_timers_deadline_is_compared() -> None:
    clock, later = MachineClock(), MachineClock()
    later.now = 5
    armed = clock.timer(lambda: None)
    armed.arm(3)
    assert paths(Thing(clock=clock), Thing(clock=later)) == []
    assert paths(Thing(timer=armed), Thing(timer=later.timer(lambda: None))) == ["timer.deadline"]


def test_code_is_not_compared() -> None:
    assert paths(Thing(call=lambda: 1, kind=int), Thing(call=lambda: 2, kind=str)) == []


def test_own_objects_are_those_a_device_is_made_of() -> None:
    inner = Slotted(1)
    device = Thing(parts=[inner], clock=MachineClock(), number=7)
    assert list(own_objects(device)) == [device, inner]
