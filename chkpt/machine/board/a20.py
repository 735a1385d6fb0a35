"""Address line 20: the gate between the processor and the bus, and the wire that opens it.

The keyboard controller and port 0x92 each drive the wire. The line is enabled while one of them drives it high, as the
PIIX4 combines A20GATE and FAST_A20 (Intel 290562). In a machine without a driver it is enabled: the input is pulled up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chkpt.machine.board.lines import Driver
from chkpt.machine.board.watchers import Watchers

Watcher = Callable[[bool], None]


class A20Gate:
    """The level of the wire. A processor masks bit 20 of each physical address while it is low."""

    def __init__(self) -> None:
        self._drivers = 0
        self._high = 0
        self._watchers: Watchers[Watcher] = Watchers()
        self._last_level = True  # as the watchers know it
        self._frozen = 0

    @property
    def level(self) -> bool:
        """Whether address line 20 is enabled."""
        return self._high > 0 or not self._drivers

    def drive(self) -> tuple[Driver, Callable[[], None]]:
        """Add a driver, low until it is set; return it, and a function that removes it."""
        driver = Driver(self)
        self._drivers += 1
        self._notify()

        def undo() -> None:
            self._drivers -= 1
            driver.set(False)
            self._notify()

        return driver, undo

    def count(self, change: int) -> None:
        """Take one driver's change, +1 or -1. Called by the driver."""
        self._high += change
        self._notify()

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Notify `watcher` of every new level, and of the level after a load; return a function that ends this."""
        return self._watchers.add(watcher)

    @contextmanager
    def freeze(self) -> Iterator[None]:
        """Hold changes back; at the end of the outermost block, notify the watchers of the level."""
        self._frozen += 1
        try:
            yield
        finally:
            self._frozen -= 1
            self._notify(always=True)

    def _notify(self, *, always: bool = False) -> None:
        level = self.level
        if not self._frozen and (always or level != self._last_level):
            self._last_level = level
            for watcher in self._watchers:
                watcher(level)
