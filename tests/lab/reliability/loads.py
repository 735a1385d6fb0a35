"""Loads that fail: the promises, and the outcomes of trying to break them."""

from pathlib import Path

from tests.lab.reliability import strace
from tests.lab.reliability.load_faults import devices_raise, no_memory, parts_raise
from tests.lab.reliability.load_served import changing, failing, killed, little_memory
from tests.lab.reliability.load_start import starts
from tests.lab.reliability.row import Row
from tests.lab.reliability.tally import skipped_row


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Break loads in every way of this package, and return the outcomes."""
    found = [experiment(scratch, sample=sample) for experiment in (devices_raise, parts_raise, no_memory)]
    if reason := strace.missing():
        found.append(
            skipped_row("A load is whole or undone", "calls that fail, kills, changing files (strace)", reason)
        )
    else:
        found += [experiment(scratch, sample=sample) for experiment in (failing, killed, changing)]
    return [*found, little_memory(scratch, sample=sample), starts(scratch, sample=sample)]
