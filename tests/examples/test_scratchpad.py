"""The guide's device keeps the contract of every device."""

from pathlib import Path

from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import DeviceTypes
from chkpt.testing import DeviceContract
from chkpt_devices.pic import PIC
from examples.scratchpad import SCRATCHPAD

ROOT = Path(__file__).parents[2]


class TestScratchpad(DeviceContract):
    table = {"type": "scratchpad", "port": 0x2E0, "irq": 5}

    def machine(self) -> Machine:
        types = DeviceTypes([PIC, SCRATCHPAD])
        return Machine(parse({"device": [{"type": "pic"}, self.table]}), device_types=types)

    def stir(self, machine: Machine) -> None:
        machine.ports.outb(0x2E0, 10)
        machine.step(10_000)
        machine.ports.outb(0x2E0, 77)

    def test_the_line_that_is_high_and_the_alarm_that_is_set_survive(self) -> None:
        machine, twin = self.machine(), self.machine()
        self.stir(machine)
        checkpoint = Checkpoint()
        machine.save(checkpoint)
        twin.load(checkpoint)
        assert twin.irq.level(5)
        assert twin.ports.inb(0x2E0) == 77
        assert not twin.irq.level(5)
        twin.step(76_999)
        assert not twin.irq.level(5)
        twin.step(1)
        assert twin.irq.level(5)


def test_the_guide_shows_the_example_as_it_is() -> None:
    guide = (ROOT / "docs" / "GUIDE.md").read_text()
    source = (ROOT / "examples" / "scratchpad.py").read_text()
    body = source[source.index("@dataclass") :].strip()
    assert body in guide
