"""Port 0xcf9: a way to a reset, which SeaBIOS takes."""

import pytest

from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from tests.support.rig import rig

TABLE = {"type": "reset_control"}


class TestResetControl(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        machine.ports.outb(0xCF9, 0x02)


@pytest.mark.parametrize(("value", "read"), [(0x00, 0x00), (0x02, 0x02), (0xFB, 0x02), (0xF9, 0x00)])
def test_bit_1_stays_and_the_reserved_bits_read_0(value: int, read: int) -> None:
    machine = rig(TABLE, {"type": "dma_page"})
    machine.ports.outb(0x80, 0x55)
    machine.ports.outb(0xCF9, value)
    assert machine.ports.inb(0xCF9) == read
    assert machine.ports.inb(0x80) == 0x55  # none of these resets


@pytest.mark.parametrize("value", [0x04, 0x06])
def test_bit_2_resets_the_machine(value: int) -> None:
    machine = rig(TABLE, {"type": "dma_page"})
    machine.ports.outb(0x80, 0x55)
    machine.ports.outb(0xCF9, 0x02)
    machine.ports.outb(0xCF9, value)
    assert (machine.ports.inb(0x80), machine.ports.inb(0xCF9)) == (0, 0)


@pytest.mark.parametrize("value", [0x80000C00, 0x00000400, 0xFFFFFFFF])
def test_an_address_of_pci_at_0xcf8_is_not_for_it(value: int) -> None:
    machine = rig(TABLE, {"type": "dma_page"})
    machine.ports.outb(0x80, 0x55)
    machine.ports.outb(0xCF9, 0x02)
    machine.ports.outl(0xCF8, value)
    machine.ports.outw(0xCF8, value)
    machine.ports.outl(0xCF9, value)
    assert (machine.ports.inl(0xCF8), machine.ports.inw(0xCF9)) == (0xFFFFFFFF, 0xFFFF)
    assert (machine.ports.inb(0x80), machine.ports.inb(0xCF9)) == (0x55, 0x02)


def test_it_answers_where_it_is_put() -> None:
    machine = rig({**TABLE, "port": 0xDF9})
    machine.ports.outb(0xDF9, 0x02)
    assert (machine.ports.inb(0xDF9), machine.ports.inb(0xCF9)) == (0x02, 0xFF)
