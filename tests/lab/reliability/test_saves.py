"""Saves go wrong as docs/RELIABILITY.md promises: a few faults of each kind here, all of them under `long`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.reliability import saves
from tests.lab.reliability.held import check, traced
from tests.lab.reliability.row import Row
from tests.lab.reliability.save_faults import MOMENTS, failing, first_of_each, killed, points
from tests.lab.reliability.save_power import power_cut
from tests.lab.reliability.save_races import clients, races
from tests.lab.reliability.save_space import no_room
from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.strace import parse


@pytest.mark.parametrize(
    "experiment",
    [*(pytest.param(each, marks=traced) for each in (failing, killed, power_cut, clients)), no_room, races],
)
def test_a_save_that_goes_wrong_is_whole_or_absent(tmp_path: Path, experiment: Callable[..., Row]) -> None:
    check(experiment(tmp_path, sample=True))


@pytest.mark.long
@traced
def test_every_save_that_goes_wrong_is_whole_or_absent(tmp_path: Path) -> None:
    for row in saves.rows(tmp_path, sample=False):
        assert row.held, row


TRACE = """\
1.0 write(5<pipe:[1]>, "x", 1) = 1
2.0 write(17</s/.chkpt-0123456789abcdef>, "x", 1) = 1
3.0 write(17</s/.chkpt-0123456789abcdef>, "y", 1) = 1
4.0 fsync(17</s/.chkpt-0123456789abcdef>) = 0
5.0 linkat(16</s>, ".chkpt-0123456789abcdef", 16</s>, "a.zst", AT_SYMLINK_FOLLOW) = 0
6.0 unlinkat(16</s>, ".chkpt-0123456789abcdef", 0) = 0
7.0 fsync(16</s>) = 0
"""


def test_the_sample_kills_in_a_write_before_the_syncs_and_before_the_naming() -> None:
    few = first_of_each(points({True: [], False: parse(TRACE, 1)}, None))
    assert [(point.name, point.number) for point in few] == [
        ("write", 2),
        ("fsync", 1),
        ("linkat", 1),
        ("fsync", 2),
    ]


@pytest.mark.parametrize("lost", [(1, 2), (3,), (4,), (6,)], ids=MOMENTS)
def test_a_save_without_one_of_its_moments_is_found(lost: tuple[int, ...]) -> None:
    trace = "\n".join(line for at, line in enumerate(TRACE.splitlines()) if at not in lost)
    with pytest.raises(BrokenError, match="among the calls of a save there is not"):
        first_of_each(points({True: [], False: parse(trace, 1)}, None))
