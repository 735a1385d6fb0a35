"""A run for a script: it ends when the guest has sent a text, has run a number of ticks or has ended the machine.

Only what the guest does decides where the run ends. So two runs of one machine end at the same tick, also on hosts of
different speed.
"""

import os
import select
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Thread
from typing import Final

from chkpt.errors import StorageError
from chkpt.machine import Machine
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.run.goal import Goal
from chkpt.service.api.messages import SaveReply
from chkpt.service.api.requests import SaveRequest
from chkpt.service.control import RunningMachine
from chkpt.service.save import Destination, check_destination
from chkpt.service.serial import find_port
from chkpt.service.serial.tap import Tap

MAX_UNWRITTEN: Final = 1 << 20
"""Bytes of output that wait for a reader. When there are more, the machine waits for the reader."""

CHUNK: Final = select.PIPE_BUF
"""A pipe that is ready takes at least this many bytes without waiting."""


@dataclass(frozen=True, slots=True)
class Until:
    """The goal of a run: a text, a tick or, if neither is given, the end of the machine by its guest.

    `ticks` counts from power-on, or with `relative` from now. `timeout` is in nanoseconds of the machine's clock, from
    now. `port` is the serial port to listen to; by default com1 or the only one. With `save` the machine is saved at
    the goal.
    """

    text: bytes | None = None
    ticks: int | None = None
    relative: bool = False
    port: str | None = None
    timeout: int | None = None
    save: SaveRequest | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How a machine's run ended: `status` is the exit status of the process, `message` a sentence for the user.

    `why` is one of reached, exit (by the guest), timeout, idle, dead, shutdown, stopped. `saved` describes the
    snapshot.
    """

    why: str
    status: int
    message: str
    ticks: int | None
    clock_ns: int
    saved: SaveReply | None = None


class Output:
    """Passes the guest's output on to a descriptor, in the loop's rounds."""

    def __init__(self, sink: int, called: Callable[[], bool], stop: Callable[[], None]) -> None:
        """Write to `sink`. `called` says whether the loop must not wait now; `stop` ends the loop if a write fails."""
        self.failed: OSError | None = None
        self._sink = sink
        self._called = called
        self._stop = stop
        self._unwritten = bytearray()

    def put(self, data: bytes) -> None:
        """Take `data`. If the reader is far behind, wait for it; the guest's clock stands still meanwhile."""
        self._unwritten += data
        while len(self._unwritten) > MAX_UNWRITTEN and self.failed is None and not self._called():
            poller = select.poll()
            poller.register(self._sink, select.POLLOUT)
            if poller.poll(100):
                self.poll()

    def flush(self) -> None:
        """Write all that waits. Raise BrokenPipeError if the reader has gone, StorageError if it fails otherwise."""
        while self._unwritten and self.failed is None:
            self.poll()
        if isinstance(self.failed, BrokenPipeError):
            raise self.failed
        if self.failed is not None:
            raise StorageError(f"standard output: {self.failed.strerror or self.failed}") from self.failed

    # -- Pollable -----------------------------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Return the descriptor while something waits for it."""
        return self._sink if self._unwritten and self.failed is None else None

    def wants_write(self) -> bool:
        """Return True."""
        return True

    def poll(self) -> None:
        """Write what the descriptor takes."""
        try:
            del self._unwritten[: os.write(self._sink, self._unwritten[:CHUNK])]
        except OSError as exc:
            self.failed = exc
            self._stop()


class UntilRun:
    """A run with a goal: watches a machine, and ends its loop.

    If the machine is to be saved at the goal, the loop holds it there and goes on, so that clients get their answers.
    A thread saves the machine and then ends the loop.
    """

    def __init__(self, running: RunningMachine, taps: dict[str, Tap], until: Until, output: Output | None) -> None:
        """Let the loop end at the goal.

        Args:
            running: the machine. Its loop does not run yet.
            taps: the taps of its serial ports.
            until: the goal.
            output: takes what the serial port sends; None to pass nothing on.

        Raises:
            ConfigError: the machine has no CPU.
            NotFoundError: it has no such serial port.
            ExistsError, KeyFileError, ...: the machine cannot be saved as `until` says, see `check_destination`.
        """
        loop = running.loop
        self.end: End | None = None
        self.error: Exception | None = None
        self._running = running
        self._saver: Thread | None = None
        self._machine = loop.machine
        self._execution = loop.machine.processor()
        self._until = until
        self._tail = b""  # the end of the output, in which the text may begin
        self._destination = None if until.save is None else check_destination(until.save, loop.machine.config)
        tap = _find_tap(loop.machine.name, taps, until)
        if tap is not None:
            if until.text is not None:
                tap.listen(self._search)
            if output is not None:
                tap.listen(output.put)
                loop.add(output)
        ticks = until.ticks
        if ticks is not None and until.relative:
            ticks += self._execution.cpu.ticks
        limit = None if until.timeout is None else loop.machine.clock.now + until.timeout
        self._ticks, self._limit = ticks, limit
        self._goal = Goal(self._finish, ticks, limit)
        loop.aim(self._goal)

    def _search(self, data: bytes) -> None:
        text = self._until.text
        assert text is not None
        seen = self._tail + data
        if text in seen:
            self._goal.reach(self._execution)
        self._tail = seen[max(len(seen) - len(text) + 1, 0) :]

    def _finish(self, outcome: Outcome | None) -> None:
        self.end = self._judge(outcome)
        if self.end is None or self.end.status or self._destination is None:
            self._running.loop.stop()
            return
        self._running.loop.hold()
        self._saver = Thread(target=self._save, args=(self._destination, self.end), name="save at the goal")
        self._saver.start()

    def _save(self, place: Destination, end: End) -> None:
        """Save the machine, which the loop holds, and end the loop."""
        try:
            self.end = replace(end, saved=self._running.save_to(place, copy=False))
        except Exception as exc:  # noqa: BLE001  the caller of `conclude` gets it
            if self._running.is_ending:
                message = f"machine {self._machine.name} was stopped at tick {end.ticks}, before it was saved: {exc}"
                self.end = replace(end, why="stopped", status=1, message=message)
            else:
                self.error = exc
        finally:
            self._running.loop.stop()

    def join(self) -> None:
        """Wait for the save of the machine, if one has begun: until then the machine must not be closed."""
        if self._saver is not None:
            self._saver.join()

    def _judge(self, outcome: Outcome | None) -> End | None:
        ticks = self._execution.cpu.ticks
        if outcome is None:
            return None
        if outcome is not Outcome.ENOUGH:
            return self._make_failure(outcome.value, _WHY[outcome].format(reason=self._execution.cpu.reason))
        if self._goal.reached or (self._ticks is not None and ticks >= self._ticks):
            what = "is at" if self._until.text is None else f"has sent {self._quote_text()} at"
            return End(
                "reached", 0, f"machine {self._machine.name} {what} tick {ticks}", ticks, self._machine.clock.now
            )
        assert self._until.timeout is not None
        seconds = self._until.timeout / 1_000_000_000
        return self._make_failure("timeout", f"{seconds:g} s of its clock have passed")

    def _quote_text(self) -> str:
        text = self._until.text
        return "" if text is None else ascii(text.decode(errors="backslashreplace"))

    def _describe_goal(self) -> str:
        if self._until.text is not None:
            return f"it sent {self._quote_text()}"
        return "the guest ended it" if self._ticks is None else f"tick {self._ticks}"

    def _make_failure(self, why: str, reason: str) -> End:
        ticks = self._execution.cpu.ticks
        message = f"machine {self._machine.name} ended at tick {ticks} before {self._describe_goal()}: {reason}"
        return End(why, 1, message, ticks, self._machine.clock.now)

    def conclude(self, end: End) -> End:
        """Return how the run ended. Call it once the loop has ended; `end` is how the machine ended.

        Raises:
            Exception: the save at the goal failed.
        """
        self.join()
        if self.error is not None:
            raise self.error
        if self.end is not None:
            return self.end
        if end.why == "exit":
            wanted = self._until.text is None and self._ticks is None
            return end if wanted or end.status else self._make_failure("exit", end.message)
        return self._make_failure("stopped", "it was stopped")


_WHY: Final = {
    Outcome.IDLE: "its CPU is halted, and only input would wake it",
    Outcome.DEAD: "its CPU is halted with interrupts off",
    Outcome.SHUTDOWN: "its CPU is shut down: {reason}",
}


def end_of(machine: Machine) -> End:
    """Return how a machine without a goal ended."""
    ticks = None if machine.execution is None else machine.execution.cpu.ticks
    status = machine.requests.exit_status
    if status is None:
        return End("stopped", 0, f"machine {machine.name} was stopped", ticks, machine.clock.now)
    message = f"the guest of machine {machine.name} ended it with status {status}"
    # exit(3) passes on 8 bits: a failure must not become a success
    return End("exit", status & 0xFF or int(status != 0), message, ticks, machine.clock.now)


def _find_tap(machine: str, taps: dict[str, Tap], until: Until) -> Tap | None:
    """Return the tap of the serial port to listen to; None if there is none and none is needed."""
    if until.port is None and until.text is None and len(taps) != 1 and "com1" not in taps:
        return None
    return taps[find_port(machine, [*taps], until.port)]
