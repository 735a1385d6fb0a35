"""How a machine's clock follows the host's: a halted guest waits, a busy one does not, and no guest notices."""

import pytest

from chkpt.machine import Machine
from chkpt.machine.config import Pace, parse
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.run.goal import Goal
from chkpt.machine.run.loop import RunLoop
from chkpt.machine.run.pace import AHEAD, MAX_LAG, HostTime
from tests.guests import begin, busy, computer, everything, execution, shell_table

MS = 1_000_000
WAITING = "fbf4 ebfd"  # sti; 1: hlt; jmp 1b
WORKING = "fb ebfe"  # sti; 1: jmp 1b


class Host:
    """The host's clock: it stands still until it is moved, or the loop sleeps."""

    def __init__(self) -> None:
        self.now = 7_000_000_000_000
        self.slept = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    monkeypatch.setattr("chkpt.machine.run.loop.time.monotonic_ns", host)
    return host


class SleepingLoop(RunLoop):
    """A loop that moves the host's clock where it would sleep."""

    def __init__(self, machine: Machine, host: Host, pace: Pace) -> None:
        super().__init__(machine, wall_clock=True, pace=pace)
        self.host = host

    def rounds(self, until: int) -> None:
        """Run until the host's clock has come so far."""
        while self.host.now < until:
            timeout = self._timeout()
            assert timeout is not None
            slept = min(round(timeout * 1e6), until - self.host.now)
            self.host.now += slept
            self.host.slept += slept
            self._follow()
            self.host.now += 1000  # a round takes its time


def guest(code: str, rate: int = 20_000_000) -> Machine:
    """Make a machine whose guest runs `code`, with IRQ 0 at 1 kHz that it does not take: the PIC is not set up."""
    machine = computer(rate=rate)
    begin(machine, bytes.fromhex(code.replace(" ", "")))
    for port, value in ((0x43, 0x34), (0x40, 0xA9), (0x40, 0x04)):
        machine.ports.outb(port, value)
    return machine


def test_run_without_an_end_on_the_clock_comes_back_from_a_halt_that_no_timer_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chkpt.machine.cpu.execution.WAKELESS", 500)
    machine, twin = guest(WAITING), guest(WAITING)
    assert machine.run(ticks=1_000_000) is Outcome.RESTS
    ticks, now = execution(machine).cpu.ticks, machine.clock.now
    assert ticks < 1_000_000
    assert machine.run(ticks=1_000_000) is Outcome.RESTS
    assert (execution(machine).cpu.ticks, machine.clock.now > now) == (ticks, True)
    assert twin.run(until=machine.clock.now) is Outcome.ENOUGH
    assert everything(twin) == everything(machine)


@pytest.mark.parametrize("pace", [Pace.IDLE, Pace.WALL])
def test_a_halted_guest_waits_as_long_as_it_takes_and_the_loop_sleeps(host: Host, pace: Pace) -> None:
    machine = guest(WAITING)
    loop = SleepingLoop(machine, host, pace)
    start = host.now
    loop.rounds(start + 50 * MS)
    assert abs(machine.clock.now - 50 * MS) < 2 * MS
    assert host.slept > 45 * MS


def test_a_free_guest_does_not_wait(host: Host) -> None:
    machine = guest(WAITING)
    loop = RunLoop(machine, wall_clock=True)
    loop.submit(lambda: None)  # called: each turn is one slice, or one skip of the time
    for _ in range(100):
        loop._follow()
    assert loop._timeout() == 0
    assert machine.clock.now > 20 * MS


def test_a_busy_guest_is_not_held_back_while_it_works(host: Host) -> None:
    machine = guest(WORKING)
    loop = SleepingLoop(machine, host, Pace.IDLE)
    loop.submit(lambda: None)  # called: each turn is one slice
    for _ in range(10):
        loop._follow()
        assert loop._timeout() == 0
    assert machine.clock.now > 0
    assert loop._host.now() == machine.clock.now


def test_at_the_pace_of_the_wall_clock_a_busy_guest_is_held_back(host: Host) -> None:
    machine = guest(WORKING)
    loop = SleepingLoop(machine, host, Pace.WALL)
    start = host.now
    loop.rounds(start + 100 * MS)
    assert 0 <= machine.clock.now - 100 * MS + AHEAD < 3 * AHEAD
    assert host.slept > 90 * MS


@pytest.mark.parametrize("pace", list(Pace))
def test_a_guest_that_has_more_work_than_time_is_no_news(
    pace: Pace, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    loop = SleepingLoop(guest(WORKING), host, pace)
    outcomes: list[Outcome | None] = []
    loop.aim(Goal(outcomes.append, ticks=150_000))
    while not outcomes:
        host.now += 3 * MAX_LAG
        loop._follow()
    assert not caplog.records


@pytest.mark.parametrize("pace", list(Pace))
def test_no_pace_changes_what_the_guest_does(pace: Pace, host: Host) -> None:
    plain, machine = busy(), busy()
    plain.run(ticks=150_000)
    loop = SleepingLoop(machine, host, pace)
    outcomes: list[Outcome | None] = []
    loop.aim(Goal(outcomes.append, ticks=150_000))
    while not outcomes:
        loop.host.now += round((loop._timeout() or 0) * 1e6) + 777
        loop._follow()
    assert everything(machine) == everything(plain)


def test_after_a_pause_the_clock_goes_on_from_there(host: Host) -> None:
    machine = guest(WAITING)
    loop = SleepingLoop(machine, host, Pace.IDLE)
    loop.rounds(host.now + 20 * MS)
    before = machine.clock.now
    loop.pause()
    host.now += 3_600_000 * MS
    loop._follow()
    loop.resume()
    loop.rounds(host.now + 20 * MS)
    assert abs(machine.clock.now - before - 20 * MS) < 2 * MS


def test_after_a_long_stop_of_the_process_the_clock_makes_up_for_a_second_at_most(host: Host) -> None:
    machine = guest(WAITING)
    loop = SleepingLoop(machine, host, Pace.IDLE)
    loop.rounds(host.now + 20 * MS)
    before = machine.clock.now
    host.now += 3_600_000 * MS
    loop.rounds(host.now + 20 * MS)
    assert machine.clock.now - before < MAX_LAG + 30 * MS


def test_a_guest_without_timers_is_woken_by_nothing_and_its_clock_follows(host: Host) -> None:
    machine = Machine(parse(shell_table(device=[{"type": "pic"}])))
    begin(machine, bytes.fromhex("fbf4"))
    loop = SleepingLoop(machine, host, Pace.IDLE)
    loop._follow()
    assert loop._timeout() is None
    host.now += 5_000 * MS
    loop._follow()
    assert 5_000 * MS <= machine.clock.now < 5_001 * MS


def test_what_the_host_s_time_bounds() -> None:
    machine = computer()
    time = HostTime(machine.clock)
    assert not time.is_behind()
    machine.clock.set(10**15)
    assert time.is_behind()
    time.rebase()
    assert time.bound(0) <= MAX_LAG


def test_the_clock_stays_near_the_host_s_over_many_naps(host: Host) -> None:
    machine = guest(WAITING)
    loop = SleepingLoop(machine, host, Pace.WALL)
    start = host.now
    loop.rounds(start + 2000 * MS)
    assert abs(machine.clock.now - 2000 * MS) < 2 * MS
    assert execution(machine).cpu.ticks < 1_000_000
