"""What devices request of the machine itself: a reset, or its end.

A reset must not happen inside the access that requests it, as the device is then in mid-step. It happens after that
access, or after the timer's callback. So none is pending in a machine at rest, and it is not saved
(docs/decisions/0009-requests-end-with-their-access.md). While a processor runs a slice, `Execution` holds resets back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chkpt.machine.board.watchers import Watchers

Watcher = Callable[[], None]


class Requests:
    """The requests of one machine's devices."""

    __slots__ = ("_held", "_reset", "_watchers", "exit_status", "reset_pending")

    def __init__(self, reset: Callable[[], None]) -> None:
        """Take the function that resets the machine."""
        self.reset_pending = False
        self.exit_status: int | None = None
        self._reset = reset
        self._held = 0
        self._watchers: Watchers[Watcher] = Watchers()

    # -- what devices use ---------------------------------------------------------------------------------------------

    def request_reset(self) -> None:
        """Reset the machine when the present access or callback is over."""
        self.reset_pending = True
        self._notify()

    def request_exit(self, status: int) -> None:
        """Ask the machine's owner to end the machine with a status; the first request counts."""
        if self.exit_status is None:
            self.exit_status = status
        self._notify()

    # -- what the machine's owner uses --------------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` at each request, within the access that makes it; return a function that ends this.

        A processor then ends its slice.
        """
        return self._watchers.add(watcher)

    def settle(self) -> None:
        """Reset the machine if a device has requested it and resets are not held back."""
        if self.reset_pending and not self._held:
            self.reset_pending = False
            self._reset()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold resets back; a reset that was requested meanwhile happens at the end of the outermost block."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.settle()

    def forget(self) -> None:
        """Forget every request: the machine has become another."""
        self.reset_pending = False
        self.exit_status = None

    def _notify(self) -> None:
        for watcher in self._watchers:
            watcher()
