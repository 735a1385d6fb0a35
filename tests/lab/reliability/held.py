"""The check of a row for the tests of `reliability`."""

import pytest

from tests.lab.reliability import strace
from tests.lab.reliability.row import Row

traced = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace works")


def check(row: Row) -> None:
    """Fail if a promise did not hold; skip, with the reason, if it was not tried."""
    if row.outcome.startswith("not tried: "):
        pytest.skip(row.outcome)
    assert row.held, row.outcome
    assert row.count >= 2
