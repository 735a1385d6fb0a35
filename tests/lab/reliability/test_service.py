"""The service keeps its promises as docs/RELIABILITY.md says: five seconds of a crowd here, a minute under `long`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.reliability import service
from tests.lab.reliability.held import check


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory with a path short enough for a socket, whose parents other users may pass."""
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as path:
        yield Path(path)


@pytest.mark.parametrize(
    "cpu", [pytest.param(False, id="without a CPU", marks=pytest.mark.long), pytest.param(True, id="with a CPU")]
)
def test_a_crowd_loses_and_tears_nothing(scratch: Path, cpu: bool) -> None:
    check(service.crowded(scratch, cpu=cpu, seconds=5))


def test_clients_that_hang_hold_nothing(scratch: Path) -> None:
    check(service.hanging(scratch, sample=True))


def test_strangers_are_kept_out(scratch: Path) -> None:
    check(service.strangers(scratch, sample=True))


@pytest.mark.long
def test_everything_that_is_tried_at_length_holds(scratch: Path) -> None:
    for row in service.rows(scratch, sample=False):
        assert row.held, row
