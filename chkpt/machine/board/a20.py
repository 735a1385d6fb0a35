"""Address line 20: the gate between the processor and the bus, and the wire that opens it.

The keyboard controller and port 0x92 each drive it; it is enabled while one of them drives it high, as the PIIX4
combines A20GATE and FAST_A20 (Intel 290562), and in a machine where no device drives it, whose input is pulled up.
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
        self._told = True
        self._frozen = 0

    @property
    def level(self) -> bool:
        """Whether address line 20 is enabled."""
        return self._high > 0 or not self._drivers

    def drive(self) -> tuple[Driver, Callable[[], None]]:
        """Add a driver, low until it is set; return it and how to undo it."""
        driver = Driver(self)
        self._drivers += 1
        self._tell()

        def undo() -> None:
            self._drivers -= 1
            driver.set(False)
            self._tell()

        return driver, undo

    def count(self, change: int) -> None:
        """Take one driver's change, +1 or -1. Called by the driver."""
        self._high += change
        self._tell()

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell `watcher` every new level; return how to undo it. After a load it is told the level, changed or not."""
        return self._watchers.add(watcher)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold changes back; at the end, of the outermost where they nest, tell the level."""
        self._frozen += 1
        try:
            yield
        finally:
            self._frozen -= 1
            self._tell(always=True)

    def _tell(self, *, always: bool = False) -> None:
        level = self.level
        if not self._frozen and (always or level != self._told):
            self._told = level
            for watcher in self._watchers:
                watcher(level)
