"""The run loop: one thread that owns a machine, moves its clock, its backends and its clients.

Nothing else touches the machine. Whoever wants to, from another thread, hands the loop a function with `submit`; it
runs between two rounds, so it always finds the machine at rest: between two qtest commands, between two timers.
"""

import logging
import os
import select
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol, TypeVar

from chkpt.errors import ChkptError
from chkpt.machine.machine import Machine

log = logging.getLogger("chkpt.machine")

T = TypeVar("T")

MAX_LAG = 1_000_000_000
"""Nanoseconds that the virtual clock catches up at most; a machine that was stopped for longer loses the rest."""


class Pollable(Protocol):
    """What the loop waits for: a character backend, a qtest client, a listening socket."""

    def fileno(self) -> int | None:
        """Return the descriptor to wait for, or None when there is none now. It is asked anew each round."""

    def wants_write(self) -> bool:
        """Whether to wait for room to write, too."""

    def poll(self) -> None:
        """Move what can be moved without waiting."""


class RunLoop:
    """Runs one machine until it is stopped."""

    def __init__(self, machine: Machine, *, wall_clock: bool) -> None:
        """Take the machine over.

        Args:
            machine: nobody else may touch it from now on, but through `submit`.
            wall_clock: the virtual clock follows the host's; otherwise only a client, such as qtest, moves it.
        """
        self.machine = machine
        self.paused = False
        self.error: BaseException | None = None
        self._wall_clock = wall_clock
        self._channels: list[Pollable] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._stopped = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoch = 0
        self.rebase()

    # -- from any thread ----------------------------------------------------------------------------------------------

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Run `call` in the loop's thread, between two rounds; the future has its result or exception."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001  it belongs to whoever waits for the future
                future.set_exception(exc)

        self._calls.append(run)
        self._wake()
        return future

    def stop(self) -> None:
        """End `run` after the present round."""
        self._stopped = True
        self._wake()

    @property
    def called(self) -> bool:
        """Whether somebody waits for the loop: a client in a burst should let it go on."""
        return bool(self._calls) or self._stopped

    # -- in the loop's thread -----------------------------------------------------------------------------------------

    def add(self, channel: Pollable) -> None:
        """Wait for `channel`, too. Before `run`, or by `submit`."""
        self._channels.append(channel)

    def remove(self, channel: Pollable) -> None:
        """Wait for `channel` no more."""
        self._channels.remove(channel)

    def pause(self) -> None:
        """Stop the clock and the input from backends. Clients that move the clock themselves still can."""
        self.paused = True

    def resume(self) -> None:
        """Go on after a pause; drives try once more what waits for a failed backend."""
        self.paused = False
        self.rebase()
        self.machine.retry()

    def rebase(self) -> None:
        """Let the virtual clock go on from where it is: after a pause, or a load that has set it."""
        self._epoch = time.monotonic_ns() - self.machine.clock.now

    def run(self) -> None:
        """Run until `stop`. Whatever ends the loop otherwise is kept in `error`, and logged."""
        try:
            while not self._stopped:
                self._round()
        except BaseException as exc:
            self.error = exc
            log.exception("machine %s: the run loop failed", self.machine.name)
            raise
        finally:
            while self._calls:
                self._calls.popleft()()
            os.close(self._wake_read)
            self._wake_read = -1

    def _round(self) -> None:
        while self._calls:
            self._calls.popleft()()
        timeout = self._advance()
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        ready: dict[int, Pollable] = {}
        for channel in self._pollables():
            fd = channel.fileno()
            if fd is not None:
                ready[fd] = channel
                poller.register(fd, select.POLLIN | (select.POLLOUT if channel.wants_write() else 0))
        for fd, _ in poller.poll(timeout):
            if fd == self._wake_read:
                os.read(fd, 4096)
            else:
                self._poll(ready[fd])

    def _pollables(self) -> list[Pollable]:
        if self.paused:
            return self._channels
        return [*self._channels, *self.machine.devices.ends.char.backends.values()]

    def _poll(self, channel: Pollable) -> None:
        try:
            channel.poll()
        except (OSError, ChkptError) as exc:
            log.warning("machine %s: %s", self.machine.name, exc)

    def _advance(self) -> float | None:
        """Let the virtual clock follow; return the milliseconds to the next deadline, or None for no end."""
        if not self._wall_clock or self.paused:
            return None
        clock = self.machine.clock
        now = time.monotonic_ns() - self._epoch
        if now - clock.now > MAX_LAG:
            log.warning("machine %s: %d ms behind, dropped", self.machine.name, (now - clock.now) // 1_000_000)
            self._epoch += now - clock.now - MAX_LAG
            now = clock.now + MAX_LAG
        clock.advance_to(now)
        deadline = clock.next_deadline
        return None if deadline is None else max(0.0, (deadline - clock.now) / 1e6)

    def _wake(self) -> None:
        with suppress(BlockingIOError, BrokenPipeError):  # it is awake already, or has ended
            os.write(self._wake_write, b"\0")
