"""The virtual clock: timers fire in order of deadline, then of creation, at exactly their deadline."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.machine.board.clock import MachineClock, MachineTimer
from tests.support.small import machine


@dataclass
class Bench:
    """A clock, and what its timers did."""

    clock: MachineClock = field(default_factory=MachineClock)
    fired: list[tuple[str, int]] = field(default_factory=list)

    def timer(self, name: str) -> MachineTimer:
        return self.clock.timer(lambda: self.fired.append((name, self.clock.now)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_clock_starts_at_0_and_stands_still(bench: Bench) -> None:
    assert (bench.clock.now, bench.clock.next_deadline) == (0, None)


def test_clock_stops_where_it_is_enough_and_goes_on_as_if_it_had_not(bench: Bench) -> None:
    for name, deadline in (("a", 10), ("b", 10), ("c", 30)):
        bench.timer(name).arm(deadline)
    assert not bench.clock.advance_to(100, lambda: True)
    assert (bench.clock.now, bench.fired) == (10, [("a", 10)])
    assert not bench.clock.advance_to(100, lambda: True)
    assert bench.clock.advance_to(100, lambda: True)
    assert (bench.clock.now, bench.fired) == (100, [("a", 10), ("b", 10), ("c", 30)])
    assert bench.clock.advance_to(200, lambda: True)


def test_timers_fire_in_order_of_deadline_at_exactly_their_deadline(bench: Bench) -> None:
    for name, deadline in (("late", 30), ("early", 10), ("middle", 20)):
        bench.timer(name).arm(deadline)
    bench.clock.advance_to(25)
    assert bench.fired == [("early", 10), ("middle", 20)]
    assert bench.clock.now == 25
    bench.clock.advance_to(30)
    assert bench.fired[2:] == [("late", 30)]


def test_equal_deadlines_fire_in_order_of_making_whatever_the_order_of_arming(bench: Bench) -> None:
    timers = [bench.timer(name) for name in "abc"]
    for timer in reversed(timers):
        timer.arm(10)
    bench.clock.advance_to(10)
    assert [name for name, _ in bench.fired] == ["a", "b", "c"]


def test_a_timer_fires_once(bench: Bench) -> None:
    timer = bench.timer("a")
    timer.arm(10)
    bench.clock.advance_to(100)
    bench.clock.advance_to(200)
    assert bench.fired == [("a", 10)]
    assert timer.deadline is None


def test_to_arm_again_replaces_the_earlier_deadline(bench: Bench) -> None:
    timer = bench.timer("a")
    timer.arm(10)
    timer.arm(50)
    timer.arm(30)
    assert (timer.deadline, bench.clock.next_deadline) == (30, 30)
    bench.clock.advance_to(100)
    assert bench.fired == [("a", 30)]


def test_a_cancelled_timer_does_not_fire_and_a_second_cancel_does_nothing(bench: Bench) -> None:
    timer, other = bench.timer("a"), bench.timer("b")
    timer.arm(10)
    other.arm(10)
    timer.cancel()
    timer.cancel()
    assert timer.deadline is None
    bench.clock.advance_to(100)
    assert bench.fired == [("b", 10)]


def test_a_periodic_timer_re_arms_itself_in_its_callback() -> None:
    clock = MachineClock()
    fired: list[int] = []

    def fire() -> None:
        assert timer.deadline is None
        fired.append(clock.now)
        timer.arm(clock.now + 10)

    timer = clock.timer(fire)
    timer.arm(10)
    clock.advance_to(45)
    assert fired == [10, 20, 30, 40]
    assert (clock.now, timer.deadline) == (45, 50)


def test_a_callback_can_arm_another_timer_that_is_due_on_the_way(bench: Bench) -> None:
    second = bench.timer("second")
    first = bench.clock.timer(lambda: second.arm(bench.clock.now + 5))
    first.arm(10)
    bench.clock.advance_to(20)
    assert bench.fired == [("second", 15)]


def test_a_callback_can_cancel_a_timer_that_is_due_at_the_same_instant(bench: Bench) -> None:
    def cancel() -> None:
        victim.cancel()

    first = bench.clock.timer(cancel)
    victim = bench.timer("victim")
    bench.timer("after").arm(10)
    victim.arm(10)
    first.arm(10)
    bench.clock.advance_to(10)
    assert bench.fired == [("after", 10)]


def test_a_timer_armed_in_the_past_fires_at_the_next_step_without_moving_time_back(bench: Bench) -> None:
    bench.clock.advance_to(100)
    bench.timer("a").arm(40)
    assert bench.fired == []
    bench.clock.advance_to(100)
    assert bench.fired == [("a", 100)]


def test_a_target_in_the_past_leaves_the_clock_and_fires_all_that_is_overdue(bench: Bench) -> None:
    bench.clock.advance_to(100)
    for name, deadline in (("a", 40), ("b", 90), ("c", 100), ("d", 101)):
        bench.timer(name).arm(deadline)
    bench.clock.advance_to(50)
    assert bench.fired == [("a", 100), ("b", 100), ("c", 100)]
    assert bench.clock.now == 100


def test_set_moves_the_clock_either_way_and_fires_nothing(bench: Bench) -> None:
    bench.timer("a").arm(50)
    bench.clock.set(100)
    assert (bench.clock.now, bench.fired, bench.clock.next_deadline) == (100, [], 50)
    bench.clock.set(10)
    assert bench.clock.now == 10
    bench.clock.advance_to(60)
    assert bench.fired == [("a", 50)]


def test_the_next_deadline_is_the_earliest(bench: Bench) -> None:
    timers = [bench.timer(name) for name in "abc"]
    for timer, deadline in zip(timers, (30, 10, 20), strict=True):
        timer.arm(deadline)
    assert bench.clock.next_deadline == 10
    timers[1].cancel()
    assert bench.clock.next_deadline == 20


def test_a_callback_that_raises_leaves_a_clock_that_goes_on(bench: Bench) -> None:
    def fail() -> None:
        raise ValueError("broken")

    failing = bench.clock.timer(fail)
    failing.arm(10)
    bench.timer("a").arm(20)
    with pytest.raises(ValueError, match="broken"):
        bench.clock.advance_to(30)
    assert (bench.clock.now, failing.deadline) == (10, None)
    bench.clock.advance_to(30)
    assert bench.fired == [("a", 20)]


def test_a_machine_steps_its_clock_and_refuses_to_step_back() -> None:
    board = machine()
    board.step(1000)
    board.step(0)
    assert board.clock.now == 1000
    with pytest.raises(ValueError, match="a step of -1 ns would move the clock back"):
        board.step(-1)
    assert board.clock.now == 1000


actions = st.one_of(
    st.tuples(st.just("arm"), st.integers(0, 4), st.integers(0, 60)),
    st.tuples(st.just("cancel"), st.integers(0, 4), st.just(0)),
    st.tuples(st.just("advance"), st.just(0), st.integers(0, 60)),
)


@given(st.lists(actions, max_size=40))
def test_timers_do_what_a_list_of_all_of_them_would_do(plan: list[tuple[str, int, int]]) -> None:
    bench = Bench()
    timers = [bench.timer(str(number)) for number in range(5)]
    now = 0
    armed: dict[int, int] = {}
    expected: list[tuple[str, int]] = []
    for action, number, time in plan:
        if action == "arm":
            timers[number].arm(time)
            armed[number] = time
        elif action == "cancel":
            timers[number].cancel()
            armed.pop(number, None)
        else:
            bench.clock.advance_to(time)
            target = max(now, time)
            for deadline, due in sorted((deadline, due) for due, deadline in armed.items() if deadline <= target):
                now = max(now, deadline)
                expected.append((str(due), now))
                del armed[due]
            now = target
        assert bench.fired == expected
        assert bench.clock.now == now
        assert [timer.deadline for timer in timers] == [armed.get(each) for each in range(5)]
        assert bench.clock.next_deadline == min(armed.values(), default=None)
