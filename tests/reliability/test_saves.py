"""Saves go wrong as docs/RELIABILITY.md promises: a few faults of each kind here, all of them under `long`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reliability import saves, strace
from reliability.row import Row
from reliability.save_faults import failing, killed
from reliability.save_power import power_cut
from reliability.save_races import clients, races
from reliability.save_space import no_room

traced = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace works")


@pytest.mark.parametrize(
    "experiment",
    [*(pytest.param(each, marks=traced) for each in (failing, killed, power_cut, clients)), no_room, races],
)
def test_a_save_that_goes_wrong_is_whole_or_absent(tmp_path: Path, experiment: Callable[..., Row]) -> None:
    row = experiment(tmp_path, sample=True)
    if row.outcome.startswith("not tried: "):
        pytest.skip(row.outcome)
    assert row.held, row.outcome
    assert row.count >= 2


@pytest.mark.long
@traced
def test_every_save_that_goes_wrong_is_whole_or_absent(tmp_path: Path) -> None:
    for row in saves.rows(tmp_path, sample=False):
        assert row.held, row
