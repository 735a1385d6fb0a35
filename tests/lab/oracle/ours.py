"""Our side: the machine of `chkpt demo` in this process, what its devices hold, and its qtest session."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from chkpt.interop.qtest import QtestSession
from chkpt.interop.trace import DEMO_MACHINE, perform
from chkpt.machine import Machine
from chkpt.machine.config import read, with_backends
from chkpt_devices.ide.state import DriveState, IdeState
from chkpt_devices.pic.chip import ChipState, PicState
from chkpt_devices.pit.chip import PitState
from chkpt_devices.serial.registers import SerialState

NAMES: Final = {"pit": "pit", "pic": "pic", "serial": "com1", "ide": "ide0"}
"""The names of the devices by their kind."""


class View:
    """What some of our devices hold at one moment."""

    __slots__ = ("_states", "now")

    def __init__(self, machine: Machine, kinds: tuple[str, ...]) -> None:
        """Look at the devices of these kinds now."""
        self.now = machine.clock.now
        self._states = {kind: machine.devices.entry(NAMES[kind]).save() for kind in kinds}

    def has(self, kind: str) -> bool:
        """Tell whether the device is among those that were looked at."""
        return kind in self._states

    @property
    def pit(self) -> PitState:
        """The interval timer."""
        return cast("PitState", self._states["pit"])

    @property
    def pic(self) -> PicState:
        """The interrupt controllers."""
        return cast("PicState", self._states["pic"])

    @property
    def serial(self) -> SerialState:
        """The serial port."""
        return cast("SerialState", self._states["serial"])

    @property
    def ide(self) -> IdeState:
        """The ATA channel."""
        return cast("IdeState", self._states["ide"])

    @property
    def drive(self) -> DriveState:
        """The channel's only drive."""
        assert self.ide.drive0 is not None
        return self.ide.drive0

    def chip(self, number: int) -> ChipState:
        """Return the master, 0, or the slave, 1."""
        return self.pic.slave if number else self.pic.master


class Ours:
    """Our machine and the session with it."""

    def __init__(self, machine: Machine) -> None:
        """Speak to `machine`, which is at power-on."""
        self.machine = machine
        self._session = QtestSession(machine)

    def send(self, command: str) -> list[str]:
        """Run one command or shorthand of a trace, and return its answer lines, any `IRQ` lines first.

        Raises:
            ValueError: a command of a shorthand is refused, or BSY does not clear: nothing here would clear it later.
        """
        polls = 0

        def poll(plain: str) -> list[str]:
            nonlocal polls
            polls += 1
            if polls > 1:
                raise ValueError("still busy")
            return self._plain(plain)

        return perform(command, poll if command.startswith("await_ready") else self._plain)

    def _plain(self, command: str) -> list[str]:
        return self._session.command(command.encode()).decode().splitlines()


@contextmanager
def running(image: Path) -> Iterator[Ours]:
    """Make the machine that `demo.toml` describes, with `image` as its disk, which stays as it is; close it."""
    disk = {"type": "image", "path": str(image)}
    machine = Machine(with_backends(read(DEMO_MACHINE), {"ide0.0": disk}))
    try:
        yield Ours(machine)
    finally:
        machine.close()
