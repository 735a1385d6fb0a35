"""The run loop: one thread owns the machine; the wall clock, backends, channels and calls from other threads."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Protocol

import pytest

from chkpt.errors import ConflictError, DeviceError, NoMachineError
from chkpt.machine import Machine
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.run.goal import Goal
from chkpt.machine.run.loop import TURN, RunLoop
from chkpt.machine.run.pace import MAX_LAG
from tests.guests import busy, execution
from tests.support.descriptors import none_left
from tests.support.small import Line, cell, machine


class Time:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 5_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("chkpt.machine.run.loop.time.monotonic_ns", time)
    return time


class Pipe(Line):
    """A channel, or a character backend, over a pipe of its own: keeps what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.read_fd, self.write_fd = os.pipe()
        self.got: list[bytes] = []
        self.polls = 0
        self.poll_error: Exception | None = None
        self.shown: int | None = self.read_fd

    def send(self, data: bytes) -> None:
        os.write(self.write_fd, data)

    def fileno(self) -> int | None:
        return self.shown

    def poll(self) -> None:
        self.polls += 1
        self.got.append(os.read(self.read_fd, 100))
        if self.poll_error is not None:
            raise self.poll_error

    def close(self) -> None:
        super().close()
        os.close(self.read_fd)
        os.close(self.write_fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    if not pipe.closed:
        pipe.close()


@contextmanager
def running(loop: RunLoop) -> Iterator[RunLoop]:
    """Run a loop in a thread of its own until the end of the block."""

    def run() -> None:
        try:
            loop.run()
        except BaseException as exc:  # noqa: BLE001  kept in loop.error
            assert exc is loop.error  # noqa: PT017

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join(20)
        assert not thread.is_alive()


class Make(Protocol):
    def __call__(self, board: Machine, *, wall_clock: bool) -> RunLoop: ...


@pytest.fixture
def make() -> Iterator[Make]:
    """Give what makes a loop, and end those that have not run."""
    made: list[RunLoop] = []

    def make(board: Machine, *, wall_clock: bool) -> RunLoop:
        made.append(RunLoop(board, wall_clock=wall_clock))
        return made[-1]

    yield make
    for loop in made:
        if not loop._ended:
            loop.stop()
            loop.run()


def rounds(loop: RunLoop, count: int = 1) -> None:
    """Run some rounds in this thread; each is woken at once."""
    for _ in range(count):
        loop._wake()
        loop._round()


def ended(board: Machine, *, wall_clock: bool = False) -> RunLoop:
    """Return a loop that has run and ended."""
    loop = RunLoop(board, wall_clock=wall_clock)
    loop.stop()
    loop.run()
    return loop


# -- calls from other threads -----------------------------------------------------------------------------------------


def test_a_call_runs_in_the_loop_s_thread_and_its_result_comes_back(make: Make) -> None:
    with running(make(machine(), wall_clock=False)) as loop:
        thread, name = loop.submit(lambda: (threading.get_ident(), loop.machine.name)).result(20)
    assert (thread != threading.get_ident(), name) == (True, "small")


def test_calls_run_in_the_order_of_their_coming(make: Make) -> None:
    order: list[int] = []
    with running(make(machine(), wall_clock=False)) as loop:
        futures = [loop.submit(lambda n=n: order.append(n)) for n in range(50)]  # type: ignore[misc]  # see mypy 4226
        for future in futures:
            future.result(20)
    assert order == list(range(50))


@pytest.mark.parametrize("error", [ValueError("no"), DeviceError("no"), KeyboardInterrupt()])
def test_the_exception_of_a_call_belongs_to_the_caller_and_the_loop_goes_on(make: Make, error: BaseException) -> None:
    def fail() -> None:
        raise error

    with running(make(machine(), wall_clock=False)) as loop:
        with pytest.raises(type(error)) as caught:
            loop.submit(fail).result(20)
        assert caught.value is error
        assert loop.submit(lambda: 5).result(20) == 5
    assert loop.error is None


def test_a_cancelled_call_does_not_run(make: Make) -> None:
    ran: list[int] = []
    loop = make(machine(), wall_clock=False)
    future = loop.submit(lambda: ran.append(1))
    assert future.cancel()
    loop.stop()
    loop.run()
    assert ran == []
    with pytest.raises(CancelledError):
        future.result(0)


def test_calls_that_wait_when_the_loop_is_stopped_still_run(make: Make) -> None:
    loop = make(machine(), wall_clock=False)
    futures = [loop.submit(lambda: 5), loop.submit(lambda: 6)]
    loop.stop()
    loop.run()
    assert [future.result(0) for future in futures] == [5, 6]


def test_a_call_after_the_end_fails_at_once() -> None:
    loop = ended(machine())
    with pytest.raises(NoMachineError, match=r"^machine small has ended$"):
        loop.submit(lambda: 5).result(0)


def test_a_second_stop_or_one_after_the_end_does_nothing() -> None:
    loop = ended(machine())
    loop.stop()
    loop.stop()
    assert loop.error is None


def test_a_call_may_stop_the_loop(make: Make) -> None:
    with running(make(machine(), wall_clock=False)) as loop:
        loop.submit(loop.stop).result(20)
    assert loop.error is None


def test_has_calls_shows_a_busy_client_that_a_call_waits(make: Make) -> None:
    loop = make(machine(), wall_clock=False)
    called = [loop.has_calls]
    loop.submit(lambda: None)
    called.append(loop.has_calls)
    rounds(loop)
    called.append(loop.has_calls)
    loop.stop()
    called.append(loop.has_calls)
    assert called == [False, True, False, True]


def test_a_loop_gives_its_descriptors_back() -> None:
    with none_left():
        ended(machine())


def test_a_great_many_calls_do_not_block_the_caller(make: Make) -> None:
    loop = make(machine(), wall_clock=False)
    futures = [loop.submit(lambda: 1) for _ in range(70_000)]  # more than a pipe holds
    loop.stop()
    loop.run()
    assert sum(future.result(0) for future in futures) == 70_000


# -- what ends a loop -------------------------------------------------------------------------------------------------


def test_a_device_that_fails_in_a_timer_ends_the_loop_with_its_error(
    make: Make, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    board = machine()

    def fail() -> None:
        raise ValueError("broken device")

    loop = make(board, wall_clock=True)
    board.clock.timer(fail).arm(5)
    waiting = loop.submit(lambda: 7)
    time.now += 10
    with pytest.raises(ValueError, match="broken device"):
        loop.run()
    assert isinstance(loop.error, ValueError)
    assert waiting.result(0) == 7
    assert "machine small: the run loop failed" in caplog.text
    with pytest.raises(NoMachineError):
        loop.submit(lambda: 5).result(0)


def test_a_channel_that_fails_on_the_host_s_side_is_logged_and_the_loop_goes_on(
    make: Make, pipe: Pipe, caplog: pytest.LogCaptureFixture
) -> None:
    pipe.poll_error = OSError(5, "Input/output error")
    loop = make(machine(), wall_clock=False)
    loop.add(pipe)
    pipe.send(b"a")
    rounds(loop)
    assert "machine small: [Errno 5] Input/output error" in caplog.text
    pipe.poll_error = DeviceError("odd")
    pipe.send(b"b")
    rounds(loop)
    assert "machine small: odd" in caplog.text
    assert pipe.got == [b"a", b"b"]
    loop.stop()
    loop.run()


# -- channels and backends --------------------------------------------------------------------------------------------


def test_a_channel_is_polled_when_it_is_ready_and_not_before(make: Make, pipe: Pipe) -> None:
    loop = make(machine(), wall_clock=False)
    loop.add(pipe)
    rounds(loop)
    assert pipe.got == []
    pipe.send(b"a")
    rounds(loop)
    assert pipe.got == [b"a"]
    loop.remove(pipe)
    pipe.send(b"b")
    rounds(loop)
    assert pipe.got == [b"a"]


def test_a_channel_whose_descriptor_changes_is_found_again(make: Make, pipe: Pipe) -> None:
    class Changing(Pipe):
        def poll(self) -> None:
            super().poll()
            old = self.read_fd, self.write_fd
            self.read_fd, self.write_fd = os.pipe()
            self.shown = self.read_fd
            for fd in old:
                os.close(fd)

    changing = Changing()
    loop = make(machine(), wall_clock=False)
    loop.add(changing)
    for data in (b"a", b"b", b"c"):
        changing.send(data)
        rounds(loop)
    assert changing.got == [b"a", b"b", b"c"]
    changing.close()


def test_a_channel_without_a_descriptor_is_left_alone_until_it_has_one(make: Make, pipe: Pipe) -> None:
    loop = make(machine(), wall_clock=False)
    loop.add(pipe)
    pipe.shown = None
    pipe.send(b"a")
    rounds(loop)
    assert pipe.got == []
    pipe.shown = pipe.read_fd
    rounds(loop)
    assert pipe.got == [b"a"]


def test_a_channel_that_wants_to_write_is_polled_when_there_is_room(make: Make, pipe: Pipe) -> None:
    class Writing(Pipe):
        wants = False

        def wants_write(self) -> bool:
            return self.wants

        def poll(self) -> None:
            self.polls += 1

    writing = Writing()
    writing.shown = writing.write_fd
    loop = make(machine(), wall_clock=False)
    loop.add(writing)
    rounds(loop)
    assert writing.polls == 0
    writing.wants = True
    rounds(loop)
    assert writing.polls == 1
    writing.close()


def test_the_character_backends_of_the_machine_are_polled_but_not_while_it_is_paused(make: Make, pipe: Pipe) -> None:
    board = machine("panel")
    board.devices.connect_char("panel", pipe)
    channel = Pipe()
    loop = make(board, wall_clock=False)
    loop.add(channel)
    loop.pause()
    for each in (pipe, channel):
        each.send(b"a")
    rounds(loop)
    assert (pipe.got, channel.got) == ([], [b"a"])
    loop.resume()
    rounds(loop)
    assert pipe.got == [b"a"]
    channel.close()
    board.close()


def test_a_backend_connected_while_the_loop_runs_is_polled(make: Make, pipe: Pipe) -> None:
    board = machine("panel")
    arrived = threading.Event()
    receive = pipe.poll

    def poll() -> None:
        receive()
        arrived.set()

    pipe.poll = poll  # type: ignore[method-assign]  # wakes this thread
    with running(make(board, wall_clock=False)) as loop:
        loop.submit(lambda: board.devices.connect_char("panel", pipe)).result(20)
        pipe.send(b"late")
        assert arrived.wait(20)
    assert pipe.got == [b"late"]
    board.close()


def test_a_call_that_pauses_the_machine_stops_input_that_has_come_already(make: Make, pipe: Pipe) -> None:
    board = machine("panel")
    board.devices.connect_char("panel", pipe)
    loop = make(board, wall_clock=False)
    pipe.send(b"a")
    loop.submit(loop.pause)
    rounds(loop)
    assert pipe.got == []
    loop.submit(loop.resume)
    rounds(loop, 2)
    assert pipe.got == [b"a"]
    board.close()


def test_a_backend_that_a_call_disconnects_is_not_polled_any_more(make: Make, pipe: Pipe) -> None:
    board = machine("panel")
    board.devices.connect_char("panel", pipe)
    loop = make(board, wall_clock=False)
    pipe.send(b"a")
    future = loop.submit(lambda: board.devices.disconnect_char("panel"))
    rounds(loop)
    assert future.result(0) is pipe
    assert pipe.polls == 0


# -- held at a goal ---------------------------------------------------------------------------------------------------


def test_a_held_machine_takes_no_input_that_has_come_in_the_same_round(make: Make, pipe: Pipe) -> None:
    guest = busy()
    guest.devices.disconnect_char("com1")
    guest.devices.connect_char("com1", pipe)
    loop = make(guest, wall_clock=True)

    def hold(_: Outcome | None) -> None:
        assert pipe.polls == 0  # it is read after the goal, if at all
        loop.hold()

    pipe.send(b"a")
    loop.aim(Goal(hold, ticks=execution(guest).cpu.ticks + 1))
    rounds(loop, 3)
    assert (loop.held, pipe.got) == (True, [])
    ticks, now = execution(guest).cpu.ticks, guest.clock.now
    rounds(loop, 3)
    assert (execution(guest).cpu.ticks, guest.clock.now) == (ticks, now)


def test_a_held_machine_is_looked_at_and_not_changed(make: Make) -> None:
    guest = busy()
    loop = make(guest, wall_clock=True)
    loop.aim(Goal(lambda _: loop.hold(), ticks=execution(guest).cpu.ticks + 1))
    change = loop.submit(guest.reset)  # it has come before the goal is reached, and its turn after
    look = loop.submit(lambda: guest.clock.now, changes=False)
    rounds(loop)
    assert loop.held
    assert look.result(0) == guest.clock.now
    with pytest.raises(ConflictError, match=f"machine {guest.name} is being saved"):
        change.result(0)
    later = loop.submit(loop.resume)
    loop.stop()
    loop.run()
    with pytest.raises(ConflictError):
        later.result(0)


@pytest.mark.parametrize("more", [0, 1_000_000])
def test_a_step_ends_when_its_machine_is_held(make: Make, more: int) -> None:
    guest = busy()
    loop = make(guest, wall_clock=True)
    ends: list[Outcome | None] = []
    ticks = execution(guest).cpu.ticks + 100
    loop.pause()
    loop.aim(Goal(lambda _: loop.hold(), ticks=ticks))
    loop.step(Goal(ends.append, ticks=ticks + more))
    while not loop.held:
        rounds(loop)
    assert ends == [None if more else Outcome.ENOUGH]
    loop.stop()
    loop.run()
    assert loop.error is None


def test_a_guest_that_ends_its_machine_at_the_goal_does_not_end_the_loop(make: Make) -> None:
    guest = busy()
    loop = make(guest, wall_clock=True)

    def hold(_: Outcome | None) -> None:
        loop.hold()
        guest.requests.request_exit(33)

    loop.aim(Goal(hold, ticks=execution(guest).cpu.ticks + 1))
    rounds(loop, 3)
    assert (loop.held, loop._stopped) == (True, False)


# -- drives ------------------------------------------------------------------------------------------------------------


def test_resume_lets_drives_try_again(make: Make) -> None:
    board = machine("panel")
    loop = make(board, wall_clock=False)
    loop.pause()
    loop.resume()
    assert not loop.paused
    panel = board.devices.find("panel")
    assert panel.disk.log == ["retry"]  # type: ignore[attr-defined]  # a Panel


# -- the wall clock ---------------------------------------------------------------------------------------------------


def test_the_virtual_clock_follows_the_wall_clock_and_fires_timers_at_their_deadlines(make: Make, time: Time) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    cell(board, "a").timer.arm(700)
    time.now += 500
    rounds(loop)
    assert (board.clock.now, cell(board, "a").fired) == (500, [])
    time.now += 500
    rounds(loop)
    assert (board.clock.now, cell(board, "a").fired) == (1000, [700])


def test_without_the_wall_clock_only_a_client_moves_time(make: Make, time: Time) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=False)
    time.now += 1_000_000
    rounds(loop)
    assert board.clock.now == 0


def test_a_paused_machine_s_clock_stands_and_goes_on_from_there(make: Make, time: Time) -> None:
    board = machine()
    loop = make(board, wall_clock=True)
    time.now += 100
    rounds(loop)
    loop.pause()
    time.now += 50_000
    rounds(loop)
    assert board.clock.now == 100
    loop.resume()
    time.now += 7
    rounds(loop)
    assert board.clock.now == 107


def test_a_client_can_move_the_clock_of_a_paused_machine(make: Make, time: Time) -> None:
    board = machine()
    loop = make(board, wall_clock=True)
    loop.pause()
    board.step(5000)
    loop.resume()
    rounds(loop)
    assert board.clock.now == 5000


def test_after_a_load_that_set_the_clock_it_goes_on_from_there(make: Make, time: Time) -> None:
    board = machine()
    loop = make(board, wall_clock=True)
    time.now += 1_000_000
    rounds(loop)
    board.clock.set(42)
    loop.rebase()
    time.now += 3
    rounds(loop)
    assert board.clock.now == 45


def test_a_machine_begins_at_its_own_time(make: Make, time: Time) -> None:
    board = machine()
    board.step(9000)
    loop = make(board, wall_clock=True)
    time.now += 1
    rounds(loop)
    assert board.clock.now == 9001


@pytest.mark.parametrize("late", [0, 1, MAX_LAG, MAX_LAG + 1, 90 * MAX_LAG])
def test_a_timer_is_late_by_a_second_at_most_and_what_is_beyond_is_dropped(
    make: Make, time: Time, late: int, caplog: pytest.LogCaptureFixture
) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    cell(board, "a").timer.arm(1000)
    time.now += 1000 + late
    rounds(loop)
    assert board.clock.now == 1000 + min(late, MAX_LAG)
    assert cell(board, "a").fired == [1000]
    assert (f"{max(0, late - MAX_LAG) // 1_000_000} ms behind, dropped" in caplog.text) is (late > MAX_LAG)
    time.now += 5
    rounds(loop)
    assert board.clock.now == 1005 + min(late, MAX_LAG)


def test_a_machine_that_waits_for_nothing_is_never_late(
    make: Make, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    board = machine()
    loop = make(board, wall_clock=True)
    time.now += 90 * MAX_LAG
    rounds(loop)
    assert (board.clock.now, caplog.text) == (90 * MAX_LAG, "")


def test_the_loop_sleeps_until_the_next_deadline(make: Make, time: Time) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    assert loop._timeout() is None
    cell(board, "a").timer.arm(2_500_000)
    assert loop._timeout() == 2.5
    time.now += 2_000_000
    assert loop._timeout() == 0.5
    time.now += 2_000_000
    assert loop._timeout() == 0
    loop.pause()
    assert loop._timeout() is None
    assert make(board, wall_clock=False)._timeout() is None


def test_a_timer_of_a_running_machine_fires_by_itself(make: Make) -> None:
    board = machine("cell:a")
    rung = threading.Event()
    board.irq.watch(lambda number, level: rung.set())
    with running(make(board, wall_clock=True)) as loop:
        loop.submit(lambda: board.ports.outb(0x101, 200)).result(20)
        assert rung.wait(20)
        now = loop.submit(lambda: board.clock.now).result(20)
    assert now >= cell(board, "a").fired[0] > 0


def test_a_call_finds_the_clock_at_the_present_and_its_timers_fired(make: Make, time: Time) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    cell(board, "a").timer.arm(10)
    time.now += 100

    def look() -> tuple[int, list[int]]:
        return board.clock.now, list(cell(board, "a").fired)

    future = loop.submit(look)
    rounds(loop)
    assert future.result(0) == (100, [10])


# -- a machine whose timers are never done -----------------------------------------------------------------------------


def work_hard(board: Machine, time: Time, *, costs: int) -> None:
    """Let a timer fire each microsecond, and each time take so many nanoseconds of the host."""
    a = cell(board, "a")

    def fire() -> None:
        a.fired.append(board.clock.now)
        time.now += costs
        a.timer.arm(board.clock.now + 1000)

    a.timer.fire = fire  # type: ignore[attr-defined]  # it is a MachineTimer
    a.timer.arm(1000)


def test_a_turn_of_timers_is_bounded_in_host_time_and_a_cut_changes_nothing(make: Make, time: Time) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    work_hard(board, time, costs=10_000)
    time.now += 100_000_000
    for turn in range(1, 4):
        before = time.now
        rounds(loop)
        assert TURN <= time.now - before <= TURN + 10_000
        assert board.clock.now == cell(board, "a").fired[-1] == turn * TURN // 10_000 * 1000
    assert cell(board, "a").fired == list(range(1000, board.clock.now + 1, 1000))
    assert loop._timeout() == 0


def test_calls_and_channels_get_their_turn_though_timers_are_never_done(make: Make, time: Time, pipe: Pipe) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    loop.add(pipe)
    work_hard(board, time, costs=10_000)
    time.now += 100_000_000
    future = loop.submit(lambda: board.clock.now)
    pipe.send(b"key")
    rounds(loop)
    assert future.result(0) == board.clock.now == TURN // 10
    assert pipe.got == [b"key"]


def test_what_a_machine_that_is_always_late_drops_is_logged_once_a_second(
    make: Make, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    work_hard(board, time, costs=10_000)
    time.now += 3 * MAX_LAG
    began = time.now
    rounds(loop, 1000)
    seconds = (time.now - began) // MAX_LAG
    assert seconds > 3
    assert 1 <= caplog.text.count("behind, dropped") <= seconds + 1


def test_a_step_of_a_machine_without_a_cpu_is_made_in_turns_and_can_be_ended(make: Make, time: Time) -> None:
    board = machine("cell:a")
    loop = make(board, wall_clock=True)
    loop.pause()
    work_hard(board, time, costs=10_000)
    ends: list[Outcome | None] = []
    loop.step(Goal(ends.append, until=board.clock.now + 3 * TURN // 10))
    rounds(loop)
    assert (board.clock.now, ends) == (TURN // 10, [])
    rounds(loop, 3)
    assert (board.clock.now, ends) == (3 * TURN // 10, [Outcome.ENOUGH])
    loop.step(Goal(ends.append, until=1 << 60))
    rounds(loop)
    loop.pause()
    assert ends[1:] == [None]
    now = board.clock.now
    rounds(loop, 3)
    assert board.clock.now == now
    assert loop._timeout() is None


def test_a_guest_that_ends_the_machine_ends_the_loop(make: Make, pipe: Pipe, caplog: pytest.LogCaptureFixture) -> None:
    board = machine()
    loop = make(board, wall_clock=False)
    caplog.set_level("INFO", "chkpt.machine")
    loop.add(pipe)
    pipe.send(b"x")
    loop.submit(lambda: board.requests.request_exit(33))
    loop.run()
    assert pipe.got == [b"x"]
    assert "the guest ends it with status 33" in caplog.text
