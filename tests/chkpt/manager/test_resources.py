"""Claims of ports, MSRs and memory: one owner each, both named in a conflict, given back on removal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.device import DeviceType, Host, Port
from chkpt.errors import ConfigError, ConflictError, NotFoundError
from chkpt.machine import Machine
from chkpt.manager import Claim, Resource
from chkpt.manager.resources import LIMITS, Resources
from tests.support.small import ControllerConfig, machine

KINDS = list(Resource)


class Claimer:
    """A device that claims what the test asks for, and answers with its name's length."""

    def __init__(self, host: Host, config: ControllerConfig) -> None:
        self.host = host
        self.written: list[tuple[int, int]] = []

    def reset(self) -> None:
        pass

    def claim(self, kind: Resource, first: int, count: int) -> None:
        if kind is Resource.PORT:
            self.host.claim_ports(first, [Port(read=lambda: len(self.host.name))] * count)
        elif kind is Resource.MSR:
            self.host.claim_msrs(
                first, count, lambda _: len(self.host.name), lambda msr, v: self.written.append((msr, v))
            )
        else:
            self.host.claim_memory(first, count, lambda *_: len(self.host.name), lambda *_: None)


CLAIMER: DeviceType[ControllerConfig, object] = DeviceType("claimer", Claimer, ControllerConfig, None)


def add(to: Machine, name: str) -> Claimer:
    device = to.devices.add(CLAIMER, name, ControllerConfig())
    assert isinstance(device, Claimer)
    return device


def answers(of: Machine, kind: Resource, number: int) -> bool:
    """Return whether a device answers for this number."""
    if kind is Resource.PORT:
        return of.ports.inb(number) != 0xFF
    if kind is Resource.MEMORY:
        return of.memory.load(number, 1) != 0xFF
    try:
        of.msrs.rdmsr(number)
    except NotFoundError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_claim_routes_accesses_and_removal_ends_that(kind: Resource) -> None:
    board = machine()
    add(board, "a").claim(kind, 0x200, 4)
    assert [answers(board, kind, 0x1FF + at) for at in range(6)] == [False, True, True, True, True, False]
    board.devices.remove("a")
    assert not any(answers(board, kind, 0x1FF + at) for at in range(6))


@pytest.mark.parametrize("kind", KINDS)
def test_a_conflict_names_both_owners_and_what_they_want(kind: Resource) -> None:
    board = machine()
    add(board, "a").claim(kind, 0x200, 4)
    with pytest.raises(ConflictError, match=f"^b .*: a has {kind} 0x200-0x203$"):
        add(board, "b").claim(kind, 0x203, 4)
    with pytest.raises(ConflictError, match=f"^c cannot have {kind} 0x201: a has {kind} 0x200-0x203$"):
        add(board, "c").claim(kind, 0x201, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_conflicts_with_itself(kind: Resource) -> None:
    board = machine()
    device = add(board, "a")
    device.claim(kind, 0x200, 4)
    with pytest.raises(ConflictError, match=r"^a cannot have .*: a has "):
        device.claim(kind, 0x200, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_claim_leaves_the_owner_s_and_nothing_of_the_other_s(kind: Resource) -> None:
    board = machine()
    add(board, "a").claim(kind, 0x202, 1)
    other = add(board, "longer")
    with pytest.raises(ConflictError):
        other.claim(kind, 0x200, 4)
    assert [answers(board, kind, 0x200 + at) for at in range(4)] == [False, False, True, False]
    assert board.devices.claims("longer") == ()
    board.devices.remove("longer")
    assert answers(board, kind, 0x202)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_do_not_conflict(kind: Resource) -> None:
    board = machine()
    add(board, "a").claim(kind, 0x200, 4)
    add(board, "b").claim(kind, 0x204, 4)
    add(board, "c").claim(kind, 0x1FC, 4)
    assert board.devices.claims("b") == (Claim(kind, 0x204, 4, "b"),)


def test_the_three_kinds_do_not_conflict_with_each_other() -> None:
    board = machine()
    for number, kind in enumerate(KINDS):
        add(board, f"d{number}").claim(kind, 0x200, 4)
    assert all(answers(board, kind, 0x203) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_removed_device_had_can_be_claimed_again(kind: Resource) -> None:
    board = machine()
    add(board, "a").claim(kind, 0x200, 4)
    board.devices.remove("a")
    add(board, "b").claim(kind, 0x200, 4)
    assert answers(board, kind, 0x200)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "count"), [(0, 0), (-1, 1), (5, -1), (-4, 8)])
def test_numbers_that_there_are_not_are_refused(kind: Resource, first: int, count: int) -> None:
    with pytest.raises(ConfigError, match=r"^a: there is no "):
        Resources().claim(kind, first, count, "a")


def test_there_are_as_many_of_each_kind_as_x86_has() -> None:
    assert {str(kind): limit for kind, limit in LIMITS.items()} == {
        "port": 0x1_0000,
        "MSR": 0x1_0000_0000,
        "memory": 0x10_0000_0000_0000,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_number_can_be_had_and_the_one_after_it_not(kind: Resource) -> None:
    last = LIMITS[kind] - 1
    Resources().claim(kind, last, 1, "a")
    with pytest.raises(ConfigError):
        Resources().claim(kind, last, 2, "a")
    with pytest.raises(ConfigError):
        Resources().claim(kind, last + 1, 1, "a")


def test_claims_are_listed_in_order() -> None:
    board = machine()
    device = add(board, "a")
    device.claim(Resource.MSR, 0x10, 1)
    device.claim(Resource.PORT, 0x300, 2)
    device.claim(Resource.PORT, 0x100, 1)
    assert [str(claim) for claim in board.devices.claims("a")] == ["MSR 0x10", "port 0x300-0x301", "port 0x100"]


def test_the_claims_of_nobody_are_not_found() -> None:
    with pytest.raises(NotFoundError, match="no device a in this machine; there are: none"):
        machine().devices.claims("a")


def test_msrs_reach_the_device_with_their_number() -> None:
    board = machine()
    device = add(board, "a")
    device.claim(Resource.MSR, 0xC000_0080, 2)
    board.msrs.wrmsr(0xC000_0081, 5)
    assert device.written == [(0xC000_0081, 5)]
    assert board.msrs.rdmsr(0xC000_0080) == 1


spans = st.tuples(st.integers(0, 30), st.integers(1, 8))


@given(st.lists(st.tuples(st.sampled_from(KINDS), spans, st.booleans()), max_size=30))
def test_no_number_ever_has_two_owners(wanted: list[tuple[Resource, tuple[int, int], bool]]) -> None:
    resources = Resources()
    owned: dict[tuple[Resource, int], Claim] = {}
    for number, (kind, (first, count), release) in enumerate(wanted):
        numbers = [(kind, first + at) for at in range(count)]
        taken = [each for each in numbers if each in owned]
        if taken:
            with pytest.raises(ConflictError, match="|".join(owned[each].owner for each in taken)):
                resources.claim(kind, first, count, f"d{number}")
            continue
        claim = resources.claim(kind, first, count, f"d{number}")
        if release:
            resources.release(claim)
        else:
            owned |= dict.fromkeys(numbers, claim)
