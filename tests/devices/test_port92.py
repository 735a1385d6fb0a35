"""Port 0x92: a way to address line 20 and to a reset."""

import pytest

from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from tests.support.rig import rig

TABLE = {"type": "port92"}


class TestPort92(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        machine.ports.outb(0x92, 0)


def test_address_line_20_is_enabled_after_a_reset() -> None:
    machine = rig(TABLE)
    assert machine.a20.level
    assert machine.ports.inb(0x92) == 0x02
    machine.ports.outb(0x92, 0)
    machine.reset()
    assert machine.a20.level


@pytest.mark.parametrize(("value", "level", "read"), [(0x00, False, 0x00), (0x02, True, 0x02), (0xFC, False, 0x00)])
def test_bit_1_is_address_line_20_and_the_reserved_bits_read_0(value: int, level: bool, read: int) -> None:
    machine = rig(TABLE)
    machine.ports.outb(0x92, value)
    assert (machine.a20.level, machine.ports.inb(0x92)) == (level, read)


def test_bit_0_resets_the_machine() -> None:
    machine = rig(TABLE, {"type": "dma_page"})
    machine.ports.outb(0x80, 0x55)
    machine.ports.outb(0x92, 0x01)
    assert (machine.ports.inb(0x80), machine.ports.inb(0x92)) == (0, 0x02)


def test_the_other_bits_do_not_reset() -> None:
    machine = rig(TABLE, {"type": "dma_page"})
    machine.ports.outb(0x80, 0x55)
    machine.ports.outb(0x92, 0xFE)
    assert machine.ports.inb(0x80) == 0x55


def test_it_answers_where_it_is_put() -> None:
    machine = rig({**TABLE, "port": 0x192})
    assert (machine.ports.inb(0x192), machine.ports.inb(0x92)) == (0x02, 0xFF)
