"""The DMA page registers: latches."""

from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from tests.support.rig import rig

TABLE = {"type": "dma_page"}


class TestDmaPage(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        for port in range(0x80, 0x90):
            machine.ports.outb(port, port ^ 0x5A)


def test_each_of_the_sixteen_registers_keeps_its_own_byte() -> None:
    machine = rig(TABLE)
    for port in range(0x80, 0x90):
        machine.ports.outb(port, port ^ 0x5A)
    assert [machine.ports.inb(port) for port in range(0x7F, 0x91)] == [
        0xFF,
        *(port ^ 0x5A for port in range(0x80, 0x90)),
        0xFF,
    ]


def test_they_are_0_after_a_reset() -> None:
    machine = rig(TABLE)
    machine.ports.outb(0x80, 0x55)
    machine.reset()
    assert [machine.ports.inb(port) for port in range(0x80, 0x90)] == [0] * 16


def test_it_answers_where_it_is_put() -> None:
    machine = rig({**TABLE, "port": 0x180})
    assert (machine.ports.inb(0x18F), machine.ports.inb(0x80)) == (0, 0xFF)
