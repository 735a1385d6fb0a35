"""How a machine's clock keeps to the host's.

The host's time never gets into the machine: it only decides how long the run loop waits before the machine may go on.
A run that nobody types into is the same at every pace.
"""

import logging
import time
from typing import Final

from chkpt.machine.board.clock import MachineClock

log = logging.getLogger("chkpt.machine")

MAX_LAG: Final = 1_000_000_000
"""Nanoseconds by which the clock may be late; a machine whose process was stopped for longer loses the rest."""

AHEAD: Final = 5_000_000
"""Nanoseconds by which the clock may be ahead at the pace of the wall clock; it works in turns of that length."""


class HostTime:
    """The host's clock, put to the machine's."""

    __slots__ = ("_clock", "_dropped", "_epoch", "_logged", "_quiet")

    def __init__(self, clock: MachineClock, *, quiet: bool = False) -> None:
        """Put it to `clock` as that is now; `quiet` where it is no news that the machine is slower than the host."""
        self._clock = clock
        self._quiet = quiet
        self._epoch = 0
        self._dropped = 0  # nanoseconds that the log has not been given yet
        self._logged = -MAX_LAG  # when it was given the last, by the host's clock
        self.rebase()

    def rebase(self) -> None:
        """Let the machine's clock go on from where it is."""
        self._epoch = time.monotonic_ns() - self._clock.now

    def now(self) -> int:
        """Return what the machine's clock would be if it had followed since."""
        return time.monotonic_ns() - self._epoch

    def bound(self, due: int | None) -> int:
        """Return how far the machine's clock may go, where the next thing in the machine is due at `due`.

        What that is late by more than `MAX_LAG` is dropped: no guest makes up for a minute at once.
        """
        now = self.now()
        lag = 0 if due is None else now - due
        if lag <= MAX_LAG:
            return now
        if not self._quiet:
            self._log(lag - MAX_LAG)
        self._epoch += lag - MAX_LAG
        return now - (lag - MAX_LAG)

    def _log(self, dropped: int) -> None:
        """Log what is dropped, once a second at most: a machine that is always too slow drops some in each turn."""
        self._dropped += dropped
        now = time.monotonic_ns()
        if now - self._logged >= MAX_LAG:
            log.warning("%d ms behind, dropped", self._dropped // 1_000_000)
            self._dropped, self._logged = 0, now

    def is_behind(self) -> bool:
        """Whether the machine's clock is ahead of it."""
        return self._clock.now > self.now()
