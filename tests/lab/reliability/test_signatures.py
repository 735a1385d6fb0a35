"""Changed snapshots that were signed or encrypted are refused, as docs/RELIABILITY.md promises."""

from pathlib import Path

from tests.lab.reliability.signatures import rows


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    for row in rows(tmp_path, sample=True):
        assert row.held, row.outcome
        assert row.count >= 4
