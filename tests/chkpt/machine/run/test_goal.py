"""Goals: the end of a run that a client has asked for."""

from threading import Thread

import pytest

from chkpt.device import CharFrontend
from chkpt.machine import Machine
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.run.goal import Goal, nearest
from chkpt.machine.run.loop import DRAIN, RunLoop
from tests.guests import begin, busy, computer, everything, execution, finish, output
from tests.support.rig import saved


def reach(machine: Machine, **ends: int | None) -> tuple[Outcome | None, int, int]:
    """Let a loop run the machine to a goal; return how it ended, and the tick and the time of that."""
    outcomes: list[tuple[Outcome | None, int, int]] = []
    loop = RunLoop(machine, wall_clock=True)

    def done(outcome: Outcome | None) -> None:
        outcomes.append((outcome, execution(machine).cpu.ticks, machine.clock.now))
        loop.stop()

    loop.aim(Goal(done, **ends))  # type: ignore[arg-type]  # one of three
    loop.run()
    assert len(outcomes) == 1
    return outcomes[0]


@pytest.mark.parametrize("ticks", [1, 30_000, 77_777])
def test_a_tick_is_reached_at_the_end_of_its_block(ticks: int) -> None:
    machine, other = busy(), busy()
    other.run(ticks=ticks)
    outcome, reached, now = reach(machine, ticks=ticks)
    assert (outcome, reached, now) == (Outcome.ENOUGH, execution(other).cpu.ticks, other.clock.now)
    assert ticks <= reached < ticks + 200
    assert everything(machine) == everything(other)


def test_a_time_is_reached_at_the_end_of_its_block() -> None:
    machine, other = busy(), busy()
    other.run(until=3_000_000)
    outcome, reached, now = reach(machine, until=3_000_000)
    assert (outcome, reached, now) == (Outcome.ENOUGH, execution(other).cpu.ticks, other.clock.now)
    assert everything(machine) == everything(other)


def test_of_two_ends_the_first_counts() -> None:
    assert reach(busy(), ticks=30_000, until=1_000_000_000)[1] < 31_000
    assert reach(busy(), ticks=10_000_000, until=3_000_000)[2] < 3_100_000


def test_a_processor_that_is_halted_for_good_never_gets_there_and_its_clock_stays_near() -> None:
    machine, other = busy(), busy()
    assert finish(other) is Outcome.DEAD
    outcome, ticks, now = reach(machine, until=1_000_000_000_000)
    assert (outcome, ticks) == (Outcome.DEAD, execution(other).cpu.ticks)
    assert now < 1_000_000_000 + DRAIN


class Tail:
    """A backend that ends the run at the last letter."""

    def __init__(self, machine: Machine, loop: RunLoop, last: bytes) -> None:
        self.sent = b""
        self.outcomes: list[Outcome | None] = []
        self._last = last
        self._execution = execution(machine)
        self._loop = loop
        self._goal = Goal(self._done)
        loop.aim(self._goal)

    def _done(self, outcome: Outcome | None) -> None:
        self.outcomes.append(outcome)
        self._loop.stop()

    def write(self, data: bytes) -> int:
        self.sent += data
        if self.sent.endswith(self._last):
            self._goal.reach(self._execution)
        return len(data)

    def attach(self, frontend: CharFrontend) -> None: ...
    def set_break(self, level: bool) -> None: ...
    def set_modem(self, dtr: bool, rts: bool) -> None: ...
    def wants_write(self) -> bool:
        return False

    def fileno(self) -> None: ...
    def poll(self) -> None: ...
    def close(self) -> None: ...


def tailed(last: bytes) -> tuple[Machine, Tail]:
    machine = busy()
    machine.devices.disconnect_char("com1").close()
    loop = RunLoop(machine, wall_clock=True)
    tail = Tail(machine, loop, last)
    machine.devices.connect_char("com1", tail)
    loop.run()
    return machine, tail


def test_what_a_device_does_ends_the_run_with_its_block() -> None:
    machine, tail = tailed(b"rM")
    assert tail.outcomes == [Outcome.ENOUGH]
    again, _ = tailed(b"rM")
    plain = busy()
    plain.run(ticks=execution(machine).cpu.ticks)
    assert output(plain).endswith(b"rM")
    assert execution(again).cpu.ticks == execution(machine).cpu.ticks == execution(plain).cpu.ticks
    plain.run(ticks=execution(machine).cpu.ticks + 1000)
    machine.run(ticks=execution(machine).cpu.ticks + 1000)
    assert saved(machine).contexts["cpu"].values == saved(plain).contexts["cpu"].values


class Stuck(Tail):
    """A backend that takes nothing."""

    def write(self, data: bytes) -> int:
        return 0


def test_what_a_serial_port_still_holds_when_its_guest_has_halted_counts() -> None:
    machine, other = computer(), computer()
    begin(machine, bytes.fromhex("faf4"))  # cli; hlt
    loops = {each: RunLoop(each, wall_clock=True) for each in (machine, other)}
    for each in loops:
        each.devices.disconnect_char("com1").close()
    machine.devices.connect_char("com1", Stuck(machine, loops[machine], b""))
    machine.ports.outb(0x3FA, 1)  # with its FIFO
    for letter in b"AA":
        machine.ports.outb(0x3F8, letter)
    assert machine.run() is Outcome.DEAD
    other.load(saved(machine))
    tail = Tail(other, loops[other], b"AA")
    other.devices.connect_char("com1", tail)
    loops[machine].stop()
    for loop in loops.values():
        loop.run()
    assert (tail.outcomes, tail.sent) == ([Outcome.ENOUGH], b"AA")


def with_device(machine: Machine, at: int) -> Outcome | None:
    """Run a machine that has a device that reaches the goal at a time; return how the run ended."""
    outcomes: list[Outcome | None] = []
    loop = RunLoop(machine, wall_clock=True)

    def done(outcome: Outcome | None) -> None:
        outcomes.append(outcome)
        loop.stop()

    goal = Goal(done)
    loop.aim(goal)
    machine.clock.timer(lambda: goal.reach(execution(machine))).arm(at)
    loop.run()
    (outcome,) = outcomes
    return outcome


def test_devices_go_on_for_a_second_after_a_processor_that_is_halted_for_good() -> None:
    def halting() -> Machine:
        machine = computer()
        begin(machine, bytes.fromhex("faf4"))  # cli; hlt
        return machine

    other = halting()
    assert other.run() is Outcome.DEAD
    end = other.clock.now + 1_000_000_000
    assert with_device(halting(), end) is Outcome.ENOUGH
    assert with_device(halting(), end + 1) is Outcome.DEAD


def test_devices_go_on_for_a_second_after_a_guest_that_has_ended_the_machine() -> None:
    def ended() -> Machine:
        machine = computer()
        begin(machine, bytes.fromhex("ebfe"))  # jmp $
        machine.requests.request_exit(0)
        return machine

    assert with_device(ended(), DRAIN) is Outcome.ENOUGH
    assert with_device(ended(), DRAIN * 3) is None


def test_a_guest_that_waits_for_input_that_cannot_come_never_gets_there() -> None:
    machine = Machine(computer().config)
    begin(machine, bytes.fromhex("fbf4"))  # sti; hlt
    for name in ("ide0", "com1", "pit"):
        machine.devices.remove(name)
    assert reach(machine, ticks=1000)[0] is Outcome.IDLE


def test_a_stop_of_the_loop_ends_every_run() -> None:
    machine = busy()
    loop = RunLoop(machine, wall_clock=True)
    loop.pause()
    outcomes: list[Outcome | None] = []
    loop.aim(Goal(outcomes.append, ticks=1 << 60))
    thread = Thread(target=loop.run)
    thread.start()
    loop.stop()
    thread.join()
    assert outcomes == [None]


def test_nearest() -> None:
    assert nearest([None, 3, 2, None]) == 2
    assert nearest([None]) is None
