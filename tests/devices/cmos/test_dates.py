"""The date that goes on while the machine is off: `chkpt load --time wall`."""
# ruff: noqa: DTZ001  the calendar has no zone

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Checkpoint
from chkpt.device import KeepsDate
from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt_devices.cmos.calendar import DAY_OF_WEEK, HOURS, Calendar, Modes
from tests.support.rig import rig, saved

CMOS = {"type": "cmos", "base": "2026-02-27T23:59:50"}
MODES = [Modes(binary, hours_24) for binary in (False, True) for hours_24 in (False, True)]


def shown(machine: Machine) -> list[int]:
    found = []
    for at in (9, 8, 7, 4, 2, 0):
        machine.ports.outb(0x70, at)
        found.append(machine.ports.inb(0x71))
    return found


def calendar(date: datetime, modes: Modes) -> Calendar:
    made = Calendar()
    made.set(date, modes)
    if not modes.hours_24:
        made.bytes[HOURS] = modes.encode((date.hour - 1) % 12 + 1) | (0x80 if date.hour >= 12 else 0)
    return made


@given(
    date=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31, 23, 59, 59)),
    seconds=st.integers(0, 100_000),
    modes=st.sampled_from(MODES),
)
def test_a_skip_is_as_many_seconds_one_by_one(date: datetime, seconds: int, modes: Modes) -> None:
    one, other = calendar(date, modes), calendar(date, modes)
    other.skip(seconds, modes)
    for _ in range(seconds % 5000):
        one.advance(modes)
    later = date + timedelta(seconds=seconds)
    if seconds < 5000:
        assert one.bytes == other.bytes
    if later.year < 2100:
        assert other.bytes == calendar(later, modes).bytes


@given(date=st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), seconds=st.integers(0, 10**12))
def test_a_century_later_only_the_day_of_the_week_is_another(date: datetime, seconds: int) -> None:
    one, other = calendar(date, MODES[0]), calendar(date, MODES[0])
    one.skip(seconds, MODES[0])
    other.skip(seconds + 36_525 * 86_400, MODES[0])
    assert other.bytes[:DAY_OF_WEEK] == one.bytes[:DAY_OF_WEEK]
    assert other.bytes[DAY_OF_WEEK + 1 :] == one.bytes[DAY_OF_WEEK + 1 :]
    assert (other.bytes[DAY_OF_WEEK] - one.bytes[DAY_OF_WEEK]) % 7 == 36_525 % 7


@pytest.mark.parametrize("modes", MODES)
@given(content=st.binary(min_size=7, max_size=7), seconds=st.integers(0, 10**11))
def test_no_content_breaks_it_and_what_is_no_date_stays(modes: Modes, content: bytes, seconds: int) -> None:
    any_bytes = Calendar()
    any_bytes.bytes[:] = content
    any_bytes.skip(seconds, modes)
    if content[5] == 0xFF:
        assert any_bytes.bytes == content


def test_a_day_of_the_week_that_is_none_stays() -> None:
    made = calendar(datetime(2026, 1, 1), MODES[0])
    made.bytes[DAY_OF_WEEK] = 9
    made.skip(86_400, MODES[0])
    assert made.bytes[DAY_OF_WEEK] == 9


# -- the device and the machine ---------------------------------------------------------------------------------------


def twin(checkpoint: Checkpoint, **how: Any) -> Machine:
    machine = rig({"type": "pic"}, CMOS)
    machine.load(checkpoint, **how)
    return machine


def test_a_date_is_frozen_unless_it_is_to_go_on() -> None:
    machine = rig({"type": "pic"}, CMOS)
    assert isinstance(machine.devices.find("cmos"), KeepsDate)
    assert shown(twin(saved(machine))) == [0x26, 0x02, 0x27, 0x23, 0x59, 0x50]
    assert shown(twin(saved(machine), seconds=15)) == [0x26, 0x02, 0x28, 0x00, 0x00, 0x05]


def test_nothing_but_the_date_goes_on() -> None:
    machine = rig({"type": "pic"}, CMOS)
    machine.step(1_300_000_000)
    frozen, later = twin(saved(machine)), twin(saved(machine), seconds=40 * 86_400)
    one, other = (dict(saved(each).contexts["devices"].contexts["cmos"].values) for each in (frozen, later))
    changed = {key for key in one if one[key] != other[key]}
    assert changed == {"day_of_month", "month", "day_of_week"}
    assert later.clock.now == frozen.clock.now
    for each in (frozen, later):
        each.step(1_000_000_000)
    assert (shown(frozen)[-1], shown(later)[-1]) == (0x52, 0x52)


@pytest.mark.parametrize(("register", "value"), [(0x0B, 0x82), (0x0A, 0x66)], ids=["SET", "chain in reset"])
def test_a_clock_that_is_stopped_stays_stopped(register: int, value: int) -> None:
    machine = rig({"type": "pic"}, CMOS)
    machine.ports.outb(0x70, register)
    machine.ports.outb(0x71, value)
    assert shown(twin(saved(machine), seconds=100)) == [0x26, 0x02, 0x27, 0x23, 0x59, 0x50]


def test_a_partial_load_moves_the_date_of_what_it_loads() -> None:
    machine = rig({"type": "pic"}, CMOS)
    assert shown(twin(saved(machine), only=["cmos"], seconds=15))[2:] == [0x28, 0x00, 0x00, 0x05]
    assert shown(twin(saved(machine), skip=["cmos"], seconds=15))[2:] == [0x27, 0x23, 0x59, 0x50]


def test_a_load_that_fails_leaves_the_date(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = rig({"type": "pic"}, CMOS, {"type": "pit"})
    checkpoint = saved(machine)
    pit = machine.devices.find("pit")
    good = getattr(pit, "load")  # noqa: B009

    def refuse(_: object) -> None:
        monkeypatch.setattr(pit, "load", good)
        raise StateError("not today")

    monkeypatch.setattr(pit, "load", refuse)
    with pytest.raises(StateError, match="not today"):
        machine.load(checkpoint, seconds=15)
    assert shown(machine)[2:] == [0x27, 0x23, 0x59, 0x50]
