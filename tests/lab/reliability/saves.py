"""Saves that fail: the promises, and the outcomes of trying to break them."""

from pathlib import Path

from tests.lab.reliability import strace
from tests.lab.reliability.row import Row
from tests.lab.reliability.save_faults import failing, killed
from tests.lab.reliability.save_power import power_cut
from tests.lab.reliability.save_races import clients, races
from tests.lab.reliability.save_space import no_room
from tests.lab.reliability.tally import skipped_row


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Break saves in every way of this package, and return the outcomes."""
    if reason := strace.missing():
        found = [skipped_row("A save is whole or absent", "calls that fail, kills, power cuts (strace)", reason)]
    else:
        found = [experiment(scratch, sample=sample) for experiment in (failing, killed, power_cut, clients)]
    return [*found, no_room(scratch, sample=sample), races(scratch, sample=sample)]
