"""Loads go wrong as docs/RELIABILITY.md promises: a few faults of each kind here, all of them under `long`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.reliability import loads
from tests.lab.reliability.held import check, traced
from tests.lab.reliability.load_faults import devices_raise, no_memory, parts_raise
from tests.lab.reliability.load_served import changing, failing, killed, little_memory
from tests.lab.reliability.load_start import starts
from tests.lab.reliability.row import Row


@pytest.mark.parametrize(
    "experiment",
    [
        *(devices_raise, parts_raise, no_memory, little_memory, starts),
        *(pytest.param(each, marks=traced) for each in (failing, killed, changing)),
    ],
)
def test_a_load_that_goes_wrong_leaves_the_machine_as_it_was_or_gone(
    tmp_path: Path, experiment: Callable[..., Row]
) -> None:
    check(experiment(tmp_path, sample=True))


@pytest.mark.long
@traced
def test_every_load_that_goes_wrong_leaves_the_machine_as_it_was_or_gone(tmp_path: Path) -> None:
    for row in loads.rows(tmp_path, sample=False):
        assert row.held, row
