"""The interrupt lines: sixteen wires to the interrupt controller, and its wire to the processor.

Any number of devices may drive a wire; it is high while one of them drives it high. While a machine is loaded the
wires are frozen: devices set their levels in any order, and at the end the lines report each level to the controller.
Its own state has the levels from before the save, so it sees an edge only if a level differs: no edge is added or lost.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from chkpt.errors import ConfigError, ConflictError
from chkpt.machine.board.watchers import Watchers

LINES = 16
"""ISA's interrupt lines; line 2 is the cascade between the two 8259A."""

INTR = LINES
"""The number by which watchers know the processor's INTR pin."""

SetLevel = Callable[[int, bool], None]


class Counting(Protocol):
    """A wire as its drivers see it."""

    def count(self, change: int, /) -> None:
        """Take one driver's change, +1 or -1."""


class Driver:
    """One driver of one wire. See `chkpt.device.IrqLine`."""

    __slots__ = ("_level", "_wire")

    def __init__(self, wire: Counting) -> None:
        self._wire = wire
        self._level = False

    def set(self, level: bool, /) -> None:
        """Drive the wire high or low."""
        if level != self._level:
            self._level = level
            self._wire.count(1 if level else -1)


class Wire:
    """One wire: counts the drivers that drive it high, and reports when the first comes or the last goes."""

    __slots__ = ("_high", "_lines", "_number")

    def __init__(self, lines: "IrqLines", number: int) -> None:
        self._lines = lines
        self._number = number
        self._high = 0

    @property
    def level(self) -> bool:
        """Whether any driver drives it high."""
        return self._high > 0

    def count(self, change: int) -> None:
        """Take one driver's change, +1 or -1."""
        before = self._high
        self._high = before + change
        if not before or not self._high:
            self._lines.on_change(self._number, self._high > 0)


class IrqLines:
    """All interrupt wires of a machine."""

    def __init__(self) -> None:
        self._wires = [Wire(self, number) for number in range(LINES + 1)]
        self._outside = [Driver(wire) for wire in self._wires[:LINES]]
        self._outside_levels = 0
        self._controller: tuple[str, SetLevel, Callable[[], int]] | None = None
        self._watchers: Watchers[SetLevel] = Watchers()
        self._change_watchers: Watchers[SetLevel] = Watchers()
        self._frozen = 0

    # -- what devices use ---------------------------------------------------------------------------------------------

    def drive(self, number: int) -> tuple[Driver, Callable[[], None]]:
        """Add a driver to wire `number`; return it and its removal. Raise ConfigError if there is no such wire."""
        if not 0 <= number <= INTR:
            raise ConfigError(_no_line(number))
        driver = Driver(self._wires[number])
        return driver, lambda: driver.set(False)

    def receive(self, owner: str, set_level: SetLevel, acknowledge: Callable[[], int]) -> Callable[[], None]:
        """Report every change to `set_level`; return what ends this. Raise ConflictError for a second owner."""
        if self._controller is not None:
            raise ConflictError(f"{owner} cannot receive the interrupt lines: {self._controller[0]} does")
        self._controller = (owner, set_level, acknowledge)

        def release() -> None:
            self._controller = None

        return release

    def on_change(self, number: int, level: bool) -> None:
        """Report a wire's new level. Called by the wire."""
        if self._frozen:
            return
        self._report(number, level)
        for watcher in self._change_watchers:
            watcher(number, level)

    def _report(self, number: int, level: bool) -> None:
        if self._controller is not None and number != INTR:
            self._controller[1](number, level)
        for watcher in self._watchers:
            watcher(number, level)

    # -- what the machine's owner uses --------------------------------------------------------------------------------

    def level(self, number: int) -> bool:
        """Return the level of wire `number`."""
        return self._wires[number].level

    @property
    def intr(self) -> bool:
        """The level of the processor's INTR pin."""
        return self._wires[INTR].level

    @property
    def controller(self) -> str | None:
        """The name of the device that is the interrupt controller, None if there is none."""
        return None if self._controller is None else self._controller[0]

    def acknowledge(self) -> int:
        """Run an interrupt-acknowledge cycle and return the vector. Raise ConfigError without a controller."""
        if self._controller is None:
            raise ConfigError("this machine has no interrupt controller to acknowledge")
        return self._controller[2]()

    def force(self, number: int, level: bool) -> None:
        """Drive wire `number` from outside, as a test bench does. Raise ConfigError if there is no such wire."""
        if not 0 <= number < LINES:
            raise ConfigError(_no_line(number))
        self._outside[number].set(level)
        mask = 1 << number
        self._outside_levels = self._outside_levels | mask if level else self._outside_levels & ~mask

    @property
    def outside(self) -> int:
        """The levels driven from outside, bit n for wire n. Setting it drives all of them."""
        return self._outside_levels

    @outside.setter
    def outside(self, levels: int) -> None:
        for number in range(LINES):
            self.force(number, bool(levels >> number & 1))

    def watch(self, watcher: SetLevel, *, changes_only: bool = False) -> Callable[[], None]:
        """Report every new level of every wire, INTR included, to `watcher`; return a function that ends this.

        After a load, every wire is reported, changed or not; with `changes_only`, none is.
        """
        return (self._change_watchers if changes_only else self._watchers).add(watcher)

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """Hold changes back; at the end of the outermost block, report the level of every wire."""
        self._frozen += 1
        try:
            yield
        finally:
            self._frozen -= 1
            if not self._frozen:
                for number, wire in enumerate(self._wires):
                    self._report(number, wire._high > 0)  # as `wire.level` says, in half the time


def _no_line(number: int) -> str:
    return f"there is no interrupt line {number}: they are 0 to {LINES - 1}"
