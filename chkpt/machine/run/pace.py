"""How a machine's clock follows the host's.

The host's time never gets into the machine. It only decides how long the run loop waits before the machine may go on.
Without input, a run is the same at every pace.
"""

import logging
import time
from typing import Final

from chkpt.machine.board.clock import MachineClock

log = logging.getLogger("chkpt.machine")

MAX_LAG: Final = 1_000_000_000
"""The most nanoseconds that the clock catches up; a machine whose process was stopped for longer loses the rest."""

AHEAD: Final = 5_000_000
"""Nanoseconds by which the clock may be ahead at the pace `wall`; it runs in turns of that length."""


class HostTime:
    """The host's clock, offset to the machine's."""

    __slots__ = ("_clock", "_dropped", "_epoch", "_logged", "_quiet")

    def __init__(self, clock: MachineClock, *, quiet: bool = False) -> None:
        """Set it to the present time of `clock`; if `quiet`, it does not log that the machine is too slow."""
        self._clock = clock
        self._quiet = quiet
        self._epoch = 0
        self._dropped = 0  # nanoseconds that are not logged yet
        self._logged = -MAX_LAG  # the time of the last log line, by the host's clock
        self.rebase()

    def rebase(self) -> None:
        """Set it to the present time of the machine's clock."""
        self._epoch = time.monotonic_ns() - self._clock.now

    def now(self) -> int:
        """Return the time that the machine's clock would have if it had followed the host's since `rebase`."""
        return time.monotonic_ns() - self._epoch

    def bound(self, due: int | None) -> int:
        """Return how far the machine's clock may go if the next event in the machine is due at `due`.

        This drops the time by which the event is late beyond `MAX_LAG`: no guest catches up a minute at once.
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
        """Log dropped time, once a second at most: a machine that is always too slow drops some in each turn."""
        self._dropped += dropped
        now = time.monotonic_ns()
        if now - self._logged >= MAX_LAG:
            log.warning("%d ms behind, dropped", self._dropped // 1_000_000)
            self._dropped, self._logged = 0, now

    def is_behind(self) -> bool:
        """Whether the host's clock is behind the machine's."""
        return self._clock.now > self.now()
