"""The debug console: what is written leaves once, in order, whatever the backend takes."""

from typing import cast

import pytest

from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from chkpt_devices.backends.char import Memory, MemoryConfig
from chkpt_devices.debugcon import ROOM, Debugcon
from tests.support.rig import rig, saved

TABLE = {"type": "debugcon"}


def console(backend: Memory | None) -> Machine:
    machine = rig(TABLE)
    if backend is not None:
        machine.devices.connect_char("debugcon", backend)
    return machine


def say(machine: Machine, text: bytes) -> None:
    for character in text:
        machine.ports.outb(0x402, character)


class TestDebugcon(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        machine.devices.connect_char("debugcon", Memory(MemoryConfig(2)))
        say(machine, b"unsent")

    def test_load_arms_the_same_timers(self) -> None:
        """A load arms one more, for what waits, until the clock moves."""
        machine, twin = self.machine(), self.machine()
        self.stir(machine)
        twin.load(saved(machine))
        (timer,) = twin.devices.entry("debugcon").host.timers
        assert timer.deadline == twin.clock.now
        twin.step(0)
        assert timer.deadline is None

    def test_reset_brings_back_the_state_of_a_new_device(self) -> None:
        """A reset keeps what waits: the guest has written it, and it is lost nowhere."""
        backend = Memory(MemoryConfig(2))
        machine = console(backend)
        say(machine, b"unsent")
        machine.reset()
        assert cast("Debugcon", machine.devices.find("debugcon")).save().unsent == b"sent"


@pytest.mark.parametrize(("table", "value"), [({}, 0xE9), ({"readback": 0xFF}, 0xFF)])
def test_a_read_gives_what_firmware_looks_for(table: dict[str, object], value: int) -> None:
    assert rig({**TABLE, **table}).ports.inb(0x402) == value


def test_it_answers_where_it_is_put() -> None:
    machine = rig({**TABLE, "port": 0xE9})
    assert (machine.ports.inb(0xE9), machine.ports.inb(0x402)) == (0xE9, 0xFF)


def test_what_is_written_leaves_at_once() -> None:
    backend = Memory(MemoryConfig())
    say(console(backend), b"SeaBIOS\n")
    assert bytes(backend.output) == b"SeaBIOS\n"


def test_without_a_backend_it_goes_nowhere_and_nothing_waits() -> None:
    machine = console(None)
    say(machine, b"lost")
    backend = Memory(MemoryConfig())
    machine.devices.connect_char("debugcon", backend)
    say(machine, b"seen")
    machine.step(1)
    assert bytes(backend.output) == b"seen"


def test_what_a_full_backend_does_not_take_waits_and_leaves_in_order() -> None:
    backend = Memory(MemoryConfig(3))
    machine = console(backend)
    say(machine, b"abcdef")
    assert bytes(backend.output) == b"abc"
    backend.output.clear()
    backend.poll()
    assert bytes(backend.output) == b"def"


def test_what_there_is_no_room_for_is_lost() -> None:
    backend = Memory(MemoryConfig(1))
    machine = console(backend)
    say(machine, b"x" + bytes(ROOM) + b"y")
    assert cast("Debugcon", machine.devices.find("debugcon")).save().unsent == bytes(ROOM)


def test_after_a_load_what_waits_leaves_when_the_clock_moves() -> None:
    machine = console(Memory(MemoryConfig(1)))
    say(machine, b"abc")
    backend = Memory(MemoryConfig())
    twin = console(backend)
    twin.load(saved(machine), strict=True)
    backend.poll()
    assert bytes(backend.output) == b""
    twin.step(0)
    assert bytes(backend.output) == b"bc"


def test_after_a_load_what_waits_leaves_before_the_next_character() -> None:
    machine = console(Memory(MemoryConfig(1)))
    say(machine, b"abc")
    backend = Memory(MemoryConfig())
    twin = console(backend)
    twin.load(saved(machine), strict=True)
    say(twin, b"d")
    twin.step(1)
    assert bytes(backend.output) == b"bcd"


def test_a_backend_that_goes_loses_what_it_would_not_take() -> None:
    machine = console(Memory(MemoryConfig(1)))
    say(machine, b"abc")
    machine.devices.disconnect_char("debugcon")
    backend = Memory(MemoryConfig())
    machine.devices.connect_char("debugcon", backend)
    machine.step(1)
    assert bytes(backend.output) == b""


def test_it_takes_no_input() -> None:
    machine = console(None)
    device = cast("Debugcon", machine.devices.find("debugcon"))
    before = device.save()
    device.receive(b"typed")
    assert (device.room(), device.save()) == (0, before)
