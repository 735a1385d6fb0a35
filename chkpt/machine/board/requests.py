"""What devices ask of the machine itself: to be reset, to be ended.

A reset must not happen inside the access that asks for it, as the device is then in mid-step. It happens when that
access, or the timer's callback, is over, so it is never pending in a machine at rest and is no state
(docs/decisions/0009-requests-end-with-their-access.md). Whoever runs a processor holds resets back over a slice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chkpt.machine.board.watchers import Watchers

Watcher = Callable[[], None]


class Requests:
    """The requests of one machine's devices."""

    __slots__ = ("_held", "_reset", "_watchers", "exit_status", "reset_pending")

    def __init__(self, reset: Callable[[], None]) -> None:
        """Take how the machine is reset."""
        self.reset_pending = False
        self.exit_status: int | None = None
        self._reset = reset
        self._held = 0
        self._watchers: Watchers[Watcher] = Watchers()

    # -- what devices use ---------------------------------------------------------------------------------------------

    def request_reset(self) -> None:
        """Reset the machine when the present access or callback is over."""
        self.reset_pending = True
        self._tell()

    def request_exit(self, status: int) -> None:
        """Show the machine's owner that the guest wants it to end; the first request counts."""
        if self.exit_status is None:
            self.exit_status = status
        self._tell()

    # -- what the machine's owner uses --------------------------------------------------------------------------------

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` at each request, within the access that makes it; return how to undo it.

        A processor ends its slice then.
        """
        return self._watchers.add(watcher)

    def settle(self) -> None:
        """Reset the machine if that was asked for, unless resets are held back."""
        if self.reset_pending and not self._held:
            self.reset_pending = False
            self._reset()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold resets back; the one that was asked for meanwhile happens at the end, of the outermost if they nest."""
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

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()
