"""Model-specific registers: routed by number; one that no device has is not found."""

import pytest

from chkpt.errors import NotFoundError
from chkpt.machine.board.msrs import MsrBus


def test_an_access_reaches_the_owner_with_the_number() -> None:
    bus = MsrBus()
    written: list[tuple[int, int]] = []
    bus.map(0x10, 2, lambda msr: msr * 2, lambda msr, value: written.append((msr, value)))
    bus.map(0xFFFF_FFFF, 1, lambda msr: 5, lambda msr, value: None)
    assert (bus.rdmsr(0x10), bus.rdmsr(0x11), bus.rdmsr(0xFFFF_FFFF)) == (0x20, 0x22, 5)
    bus.wrmsr(0x11, 7)
    assert written == [(0x11, 7)]


def test_a_written_value_is_cut_to_64_bits() -> None:
    bus = MsrBus()
    written: list[int] = []
    bus.map(0x10, 1, lambda msr: 0, lambda msr, value: written.append(value))
    bus.wrmsr(0x10, (1 << 64) + 3)
    bus.wrmsr(0x10, -1)
    assert written == [3, (1 << 64) - 1]


def test_a_register_that_no_device_has_is_not_found() -> None:
    bus = MsrBus()
    unmap = bus.map(0x10, 2, lambda msr: 0, lambda msr, value: None)
    with pytest.raises(NotFoundError, match="no device has MSR 0x12"):
        bus.rdmsr(0x12)
    unmap()
    with pytest.raises(NotFoundError, match="no device has MSR 0x10"):
        bus.wrmsr(0x10, 1)


def test_to_unmap_one_range_leaves_the_others() -> None:
    bus = MsrBus()
    unmap = bus.map(0x10, 2, lambda msr: 1, lambda msr, value: None)
    bus.map(0x12, 1, lambda msr: 2, lambda msr, value: None)
    unmap()
    assert bus.rdmsr(0x12) == 2
