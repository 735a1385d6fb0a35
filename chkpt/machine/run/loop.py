"""The run loop: one thread that owns a machine, moves its clock, its backends and its clients.

Nothing else touches the machine. Whoever wants to, from another thread, hands the loop a function with `submit`; it
runs between two rounds, so it always finds the machine at rest: between two qtest commands, between two timers.
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
"""Nanoseconds of the host for which a processor or timers run before backends and clients get their turn."""

DRAIN = 1_000_000_000
"""Nanoseconds for which the devices go on after a processor that has come to its end: a serial port still sends."""


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

    def __init__(self, machine: Machine, *, wall_clock: bool, pace: Pace = Pace.FREE) -> None:
        """Take the machine over.

        Args:
            machine: nobody else may touch it from now on, but through `submit`.
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
        self._step: Goal | None = None  # the one of the goals that a paused machine runs to
        self._runs = machine.execution is not None  # the processor may have more to do
        self._lock = RLock()  # around the end and what must not follow it; a signal handler may call `stop` anywhere
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # a processor may be slower than the host's clock for as long as the guest has work for it
        self._host = HostTime(machine.clock, quiet=machine.execution is not None)
        self.rebase = self._host.rebase

    # -- from any thread ----------------------------------------------------------------------------------------------

    def submit(self, call: Callable[[], T], *, changes: bool = True) -> "Future[T]":
        """Run `call` in the loop's thread, between two rounds; the future has its result or exception.

        After the loop has ended, that is NoMachineError. While the machine is held, see `hold`, it is ConflictError,
        unless `changes` is False: `call` changes nothing in the machine.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            if self.held and changes:
                name = self.machine.name
                future.set_exception(
                    ConflictError(f"machine {name} is saved where its run ends: nothing changes it now")
                )
                return
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001  it belongs to whoever waits for the future
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

    def aim(self, goal: Goal) -> None:
        """Run to `goal` and notify it. Without a processor only `step` can. Before `run`, or by `submit`."""
        self._goals.append(goal)

    def pause(self) -> None:
        """Stop the clock and the input from backends. Clients that move the clock themselves still can."""
        self.paused = True
        self.end_step()

    def hold(self) -> None:
        """Let the machine stand still until the loop ends, exactly as it is: `submit` lets nothing change it."""
        self.held = self.paused = True

    def resume(self) -> None:
        """Go on after a pause; drives try once more what waits for a failed backend."""
        self.end_step()
        self.paused = False
        self.rebase()
        self.machine.retry()

    def step(self, goal: Goal) -> None:
        """Run a paused machine to `goal`, with nothing from its backends, then let it be paused again.

        Raises:
            UsageError: it is not paused, or makes a step already.
            ConfigError: it has no CPU, and the goal is not a time.
        """
        if goal.until is None:
            self.machine.processor()
        name = self.machine.name
        if not self._wall_clock:
            raise UsageError(f"machine {name} is driven over qtest, which alone lets its time pass")
        if not self.paused:
            raise UsageError(f"machine {name} runs; pause it before a step")
        if self._step is not None:
            raise UsageError(f"machine {name} makes a step already; pause ends it")
        self._step = goal
        self._runs = True
        self.aim(goal)

    def end_step(self) -> None:
        """End a step before its goal, if there is one."""
        if self._step is not None:
            self._drop_goals([self._step], None)

    def run(self) -> None:
        """Run until `stop`, or until the guest ends the machine. What else ends it is kept in `error`, and logged."""
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
        if self._calls or ready:  # whatever comes may wake a processor: a load, a reset, a key
            self._runs = self.machine.execution is not None or self._step is not None
        for _ in range(len(self._calls)):  # who calls again has a turn of the guest in between, and sees it run
            self._calls.popleft()()
            if self.machine.half_loaded:
                raise HalfLoadedError("a load has failed, and could not be undone; its caller was told more")
        still = self._pollables()  # a call or a goal may have paused the machine, or taken a channel away
        for channel in ready:
            if channel in still:
                self._poll(channel)
        status = self.machine.requests.exit_status
        if status is not None and not self.held:
            log.info("machine %s: the guest ends it with status %d", self.machine.name, status)
            self._stopped = True

    def _wait(self, timeout: float | None) -> list[Pollable]:
        """Sleep until something is ready, somebody calls, or `timeout` milliseconds are over; return what is ready."""
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
        """Return the milliseconds to the next deadline, or None for no end."""
        if self._runs:
            return 0.0
        if not self._wall_clock or self.paused:
            return None
        due = self._due()
        return None if due is None else max(0.0, (due - self._host.now()) / 1e6)

    def _due(self) -> int | None:
        """Return the time of the machine's clock at which something will happen; None where nothing will."""
        clock, execution = self.machine.clock, self.machine.execution
        if execution is not None and execution.cpu.activity is Activity.ACTIVE:
            return clock.now
        return nearest([clock.next_deadline, *(goal.until for goal in self._goals)])

    def _follow(self) -> None:
        """Let the processor run for a while; without one, or where it stands still, the clock follows the host's."""
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
        """Let the clock go on for one turn, `until` a time of it at most; return whether it got there.

        What is due and does not fit into the turn is due in the next one, so a cut changes nothing for the guest.
        """
        end = time.monotonic_ns() + TURN
        return self.machine.clock.advance_to(until, lambda: time.monotonic_ns() >= end)

    def _run_cpu(self, execution: Execution) -> bool:
        """Let the processor run for one turn; return whether the clock was its affair."""
        pace = Pace.FREE if self._step is not None else self.pace
        rest = None if pace is Pace.FREE else self._host.bound(self._due())
        outcome = self._turn(execution, rest, None if rest is None or pace is not Pace.WALL else rest + AHEAD)
        self._runs = outcome is Outcome.ENOUGH and (pace is not Pace.WALL or not self._host.is_behind())
        if self._goals:
            self._tell_goals(execution, outcome)
        if outcome in {Outcome.DEAD, Outcome.SHUTDOWN}:
            return False
        if pace is Pace.FREE or (pace is Pace.IDLE and self._host.is_behind()):
            self.rebase()
        return True

    def _turn(self, execution: Execution, rest: int | None, until: int | None) -> Outcome:
        """Run on for `TURN` at most: to the nearest goal, and block by block where the goal is so many of them."""
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
        """Whether there is something that must not wait for the end of the turn."""
        return self.called or self.machine.requests.exit_status is not None or any(goal.reached for goal in self._goals)

    def _tell_goals(self, execution: Execution, outcome: Outcome) -> None:
        """Tell the goals that are met, and all of them where the processor will never go on."""
        clock, exits = self.machine.clock, self.machine.requests.exit_status is not None
        ended = outcome in {Outcome.DEAD, Outcome.SHUTDOWN}
        met = [goal for goal in self._goals if goal.is_met(execution.cpu.ticks, clock.now)]
        if not met and (ended or exits):
            end = clock.now + DRAIN
            while not met and clock.next_deadline is not None and clock.next_deadline <= end:
                clock.advance_to(clock.next_deadline)
                met = [goal for goal in self._goals if goal.reached]
        self._drop_goals(met, Outcome.ENOUGH)
        if not exits and (ended or (outcome is Outcome.IDLE and not self._takes_input())):
            self._drop_goals([*self._goals], outcome)

    def _drop_goals(self, goals: Sequence[Goal], outcome: Outcome | None) -> None:
        for goal in goals:
            self._goals.remove(goal)
            if goal is self._step:
                self._step = None
            goal.done(outcome)

    def _takes_input(self) -> bool:
        return any(each.fileno() is not None for each in self.machine.devices.frontends["char"].backends.values())

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # it is awake already
            os.write(self._wake_write, b"\0")
