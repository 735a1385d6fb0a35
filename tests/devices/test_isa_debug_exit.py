"""The port that ends the machine."""

import pytest

from chkpt.machine import Machine
from chkpt.testing import DeviceContract, plain_checkpoint
from tests.support.rig import rig, saved

TABLE = {"type": "isa_debug_exit"}


class TestIsaDebugExit(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        machine.ports.outb(0x501, 0x10)

    def test_a_stirred_device_saves_other_values_than_a_new_one(self) -> None:
        """It has no state: it saves nothing, stirred or not."""
        machine = self.machine()
        self.stir(machine)
        assert plain_checkpoint(saved(machine))["devices"]["isa_debug_exit/"] == {}


@pytest.mark.parametrize(
    ("width", "port", "value", "status"),
    [(1, 0x501, 0x00, 1), (1, 0x502, 0x10, 0x21), (2, 0x501, 0x1234, 0x2469), (4, 0x501, 0x7_0010, 0x21)],
)
def test_a_write_asks_for_twice_its_value_and_one(width: int, port: int, value: int, status: int) -> None:
    machine = rig(TABLE)
    {1: machine.ports.outb, 2: machine.ports.outw, 4: machine.ports.outl}[width](port, value)
    assert machine.requests.exit_status == status


def test_a_read_gives_0_and_ends_nothing() -> None:
    machine = rig(TABLE)
    assert [machine.ports.inb(port) for port in range(0x500, 0x504)] == [0xFF, 0, 0, 0xFF]
    assert machine.requests.exit_status is None


def test_it_answers_where_it_is_put() -> None:
    machine = rig({**TABLE, "port": 0xF4, "size": 4})
    assert [machine.ports.inb(port) for port in range(0xF3, 0xF9)] == [0xFF, 0, 0, 0, 0, 0xFF]
