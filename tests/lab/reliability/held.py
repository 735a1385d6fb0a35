"""What the tests of `reliability` ask of a row."""

import pytest

from tests.lab.reliability import strace
from tests.lab.reliability.row import Row

traced = pytest.mark.skipif(bool(strace.missing()), reason=strace.missing() or "strace works")


def check(row: Row) -> None:
    """Fail where a promise was not held; skip, with the reason, where it was not tried."""
    if row.outcome.startswith("not tried: "):
        pytest.skip(row.outcome)
    assert row.held, row.outcome
    assert row.count >= 2
