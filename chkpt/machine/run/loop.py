"""The run loop: one thread that owns a machine, and serves its clock, its backends and its clients.

Nothing else touches the machine. Another thread hands the loop a function with `submit`. The loop calls it between two
rounds, so it always finds the machine at rest: between two qtest commands, between two timers.
"""

import logging
import os
import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import RLock
from typing import Protocol, TypeVar

from chkpt.errors import ChkptError, ConflictError, HalfLoadedError, NoMachineError, UsageError
from chkpt.machine.config import Pace
from chkpt.machine.cpu.contract import Activity
from chkpt.machine.cpu.execution import Execution, Outcome
from chkpt.machine.machine import Machine
from chkpt.machine.run.goal import Goal, nearest
from chkpt.machine.run.pace import AHEAD, HostTime

log = logging.getLogger("chkpt.machine")

T = TypeVar("T")

TURN = 5_000_000
"""Host nanoseconds for which a processor or timers run before backends and clients get their turn."""

DRAIN = 1_000_000_000
"""Nanoseconds for which the devices go on after the processor has stopped for good: a serial port still sends."""


class Pollable(Protocol):
    """Something that the loop waits for: a character backend, a qtest client, a listening socket."""

    def fileno(self) -> int | None:
        """Return the descriptor to wait for, or None if there is none now. The loop calls this each round."""

    def wants_write(self) -> bool:
        """Whether the loop also waits for room to write."""

    def poll(self) -> None:
        """Read and write as much as is possible without waiting."""


class RunLoop:
    """Runs one machine until it is stopped."""

    def __init__(self, machine: Machine, *, wall_clock: bool, pace: Pace = Pace.FREE) -> None:
        """Take the machine over.

        Args:
            machine: from now on others may touch it only through `submit`.
            wall_clock: the virtual clock follows the host's; otherwise only a client, such as qtest, moves it.
            pace: when a processor waits for the host's clock.
        """
        self.machine = machine
        self.paused = False
        self.held = False
        self.error: BaseException | None = None
        self._wall_clock = wall_clock
        self._channels: list[Pollable] = []
        self._calls: deque[Callable[[], None]] = deque()
        self._stopped = False
        self._ended = False
        self.pace = pace
        self._goals: list[Goal] = []
        self._step: Goal | None = None  # the goal that a paused machine runs to
        self._runs = machine.execution is not None  # the processor may have more to do
        self._lock = RLock()  # guards the end of the loop; re-entrant, as a signal handler may call `stop` anywhere
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # a processor is slower than the host's clock while the guest has much work for it
        self._host = HostTime(machine.clock, quiet=machine.execution is not None)
        self.rebase = self._host.rebase

    # -- from any thread ----------------------------------------------------------------------------------------------

    def submit(self, call: Callable[[], T], *, changes: bool = True) -> "Future[T]":
        """Run `call` in the loop's thread, between two rounds; the future gets its result or exception.

        After the loop has ended, that is NoMachineError. While the machine is held, see `hold`, it is ConflictError;
        with `changes` False, for a `call` that changes nothing in the machine, it is not.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            if self.held and changes:
                name = self.machine.name
                future.set_exception(
                    ConflictError(f"machine {name} is being saved at the end of its run, so it cannot be changed now")
                )
                return
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001  the caller gets it from the future
                future.set_exception(exc)

        with self._lock:
            ended = self._ended
            if not ended:
                self._calls.append(run)
                self._wake()
        if ended:
            future.set_exception(NoMachineError(f"machine {self.machine.name} has ended"))
        return future

    def stop(self) -> None:
        """End `run` after the present round."""
        with self._lock:
            self._stopped = True
            if not self._ended:
                self._wake()

    @property
    def has_calls(self) -> bool:
        """Whether the loop has calls or a stop to serve; then a busy client should return to it."""
        return bool(self._calls) or self._stopped

    # -- in the loop's thread -----------------------------------------------------------------------------------------

    def add(self, channel: Pollable) -> None:
        """Wait for `channel`, too. Call it before `run`, or by `submit`."""
        self._channels.append(channel)

    def remove(self, channel: Pollable) -> None:
        """No longer wait for `channel`."""
        self._channels.remove(channel)

    def aim(self, goal: Goal) -> None:
        """Run to `goal` and notify it; needs a processor. Call it before `run`, or by `submit`."""
        self._goals.append(goal)

    def pause(self) -> None:
        """Stop the clock and the input from backends. A client such as qtest can still move the clock."""
        self.paused = True
        self.end_step()

    def hold(self) -> None:
        """Keep the machine exactly as it is until the loop ends; `submit` refuses calls that change it."""
        self.held = self.paused = True

    def resume(self) -> None:
        """Go on after a pause; drives repeat the requests that wait for a failed backend."""
        self.end_step()
        self.paused = False
        self.rebase()
        self.machine.retry()

    def step(self, goal: Goal) -> None:
        """Run a paused machine to `goal`, without input from its backends, then pause it again.

        Raises:
            UsageError: it is not paused, or is making a step already, or qtest drives its time.
            ConfigError: it has no CPU, and the goal is not a time.
        """
        if goal.until is None:
            self.machine.processor()
        name = self.machine.name
        if not self._wall_clock:
            raise UsageError(f"machine {name} is driven over qtest, and only qtest moves its clock")
        if not self.paused:
            raise UsageError(f"machine {name} is running; pause it before a step")
        if self._step is not None:
            raise UsageError(f"machine {name} is making a step already; wait for it, or end it with pause")
        self._step = goal
        self._runs = True
        self.aim(goal)

    def end_step(self) -> None:
        """End the present step, if there is one, before its goal."""
        if self._step is not None:
            self._drop_goals([self._step], None)

    def run(self) -> None:
        """Run until `stop`, or until the guest ends the machine. An exception also ends it; see `error` and the log."""
        try:
            while not self._stopped:
                self._round()
        except BaseException as exc:
            self.error = exc
            log.exception("machine %s: the run loop failed", self.machine.name)
            raise
        finally:
            with self._lock:
                self._ended = True
                os.close(self._wake_read)
                os.close(self._wake_write)
            while self._calls:
                self._calls.popleft()()
            self._drop_goals([*self._goals], None)

    def _round(self) -> None:
        ready = self._wait(self._timeout())
        self._follow()
        if self.held:
            self.end_step()
        if self._calls or ready:  # a call or input may wake a processor: a load, a reset, a key
            self._runs = self.machine.execution is not None or self._step is not None
        for _ in range(len(self._calls)):  # not those that come meanwhile: the guest gets a turn in between
            self._calls.popleft()()
            if self.machine.half_loaded:
                raise HalfLoadedError("a load has failed and could not be undone; its caller has the details")
        if ready:
            still = self._pollables()  # a call or a goal may have paused the machine, or removed a channel
            for channel in ready:
                if channel in still:
                    self._poll(channel)
        status = self.machine.requests.exit_status
        if status is not None and not self.held:
            log.info("machine %s: the guest ends it with status %d", self.machine.name, status)
            self._stopped = True

    def _wait(self, timeout: float | None) -> list[Pollable]:
        """Sleep until a channel is ready or a call comes, `timeout` milliseconds at most; return the ready channels."""
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        channels: dict[int, Pollable] = {}
        for channel in self._pollables():
            fd = channel.fileno()
            if fd is not None:
                channels[fd] = channel
                poller.register(fd, select.POLLIN | (select.POLLOUT if channel.wants_write() else 0))
        woken = [fd for fd, _ in poller.poll(timeout)]
        if self._wake_read in woken:
            os.read(self._wake_read, 4096)
        return [channels[fd] for fd in woken if fd in channels]

    def _pollables(self) -> list[Pollable]:
        if self.paused:
            return self._channels
        return [*self._channels, *self.machine.devices.frontends["char"].backends.values()]

    def _poll(self, channel: Pollable) -> None:
        try:
            channel.poll()
        except (OSError, ChkptError) as exc:
            log.warning("machine %s: %s", self.machine.name, exc)

    def _timeout(self) -> float | None:
        """Return the milliseconds to the next deadline, or None if there is none."""
        if self._runs:
            return 0.0
        if not self._wall_clock or self.paused:
            return None
        due = self._due()
        return None if due is None else max(0.0, (due - self._host.now()) / 1e6)

    def _due(self) -> int | None:
        """Return the time of the machine's clock at which something will happen, or None if nothing will."""
        clock, execution = self.machine.clock, self.machine.execution
        if execution is not None and execution.cpu.activity is Activity.ACTIVE:
            return clock.now
        return nearest([clock.next_deadline, *(goal.until for goal in self._goals)])

    def _follow(self) -> None:
        """Let the processor run for a turn; if there is none, or it stands still, the clock follows the host's."""
        if not self._wall_clock or self.held or (self.paused and self._step is None):
            self._runs = False
            return
        execution, clock = self.machine.execution, self.machine.clock
        if execution is not None:
            if not self._run_cpu(execution) and not self.paused:
                self._advance(self._host.bound(clock.next_deadline))
        elif self._step is None:
            self._advance(self._host.bound(clock.next_deadline))
        elif self._advance(self._step.until or 0):
            self._runs = False
            self._drop_goals([self._step], Outcome.ENOUGH)

    def _advance(self, until: int) -> bool:
        """Let the clock go on for one turn, at most to the time `until`; return whether it got there.

        Timers that do not fit into the turn fire in the next one, so a cut changes nothing for the guest.
        """
        end = time.monotonic_ns() + TURN
        return self.machine.clock.advance_to(until, lambda: time.monotonic_ns() >= end)

    def _run_cpu(self, execution: Execution) -> bool:
        """Let the processor run for one turn; return False if it has stopped for good and does not move the clock."""
        pace = Pace.FREE if self._step is not None else self.pace
        rest = None if pace is Pace.FREE else self._host.bound(self._due())
        outcome = self._turn(execution, rest, None if rest is None or pace is not Pace.WALL else rest + AHEAD)
        self._runs = outcome is Outcome.ENOUGH and (pace is not Pace.WALL or not self._host.is_behind())
        if self._goals:
            self._end_goals(execution, outcome)
        if outcome in {Outcome.DEAD, Outcome.SHUTDOWN}:
            return False
        if pace is Pace.FREE or (pace is Pace.IDLE and self._host.is_behind()):
            self.rebase()
        return True

    def _turn(self, execution: Execution, rest: int | None, until: int | None) -> Outcome:
        """Run on for `TURN` at most, to the nearest goal; if that is a number of blocks, block by block."""
        end = time.monotonic_ns() + TURN
        ticks = nearest(goal.ticks for goal in self._goals)
        until = nearest([until, *(goal.until for goal in self._goals)])

        def enough() -> bool:
            return self._has_news() or time.monotonic_ns() >= end

        step = self._step
        if step is None or step.blocks is None:
            return execution.run(ticks=ticks, until=until, rest=rest, enough=enough, advance=False)
        while True:
            before = execution.cpu.ticks
            outcome = execution.run(ticks=before + 1, until=until, enough=enough, advance=False)
            step.blocks -= execution.cpu.ticks > before
            met = any(goal.is_met(execution.cpu.ticks, self.machine.clock.now) for goal in self._goals)
            if outcome is not Outcome.ENOUGH or met or enough():
                return outcome

    def _has_news(self) -> bool:
        """Whether the loop has work that must not wait for the end of the turn."""
        return (
            self.has_calls or self.machine.requests.exit_status is not None or any(goal.reached for goal in self._goals)
        )

    def _end_goals(self, execution: Execution, outcome: Outcome) -> None:
        """End the goals that are met, or all of them if the processor will never go on."""
        clock, exits = self.machine.clock, self.machine.requests.exit_status is not None
        ended = outcome in {Outcome.DEAD, Outcome.SHUTDOWN}
        met = [goal for goal in self._goals if goal.is_met(execution.cpu.ticks, clock.now)]
        if not met and (ended or exits):
            end = clock.now + DRAIN
            while not met and clock.next_deadline is not None and clock.next_deadline <= end:
                clock.advance_to(clock.next_deadline)
                met = [goal for goal in self._goals if goal.reached]
        self._drop_goals(met, Outcome.ENOUGH)
        if not exits and (ended or (outcome is Outcome.IDLE and not self._can_take_input())):
            self._drop_goals([*self._goals], outcome)

    def _drop_goals(self, goals: Sequence[Goal], outcome: Outcome | None) -> None:
        for goal in goals:
            self._goals.remove(goal)
            if goal is self._step:
                self._step = None
            goal.done(outcome)

    def _can_take_input(self) -> bool:
        return any(each.fileno() is not None for each in self.machine.devices.frontends["char"].backends.values())

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is awake already
            os.write(self._wake_write, b"\0")
