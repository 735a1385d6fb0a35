"""Saves that go wrong: what is promised of them, and what came of breaking them."""

from pathlib import Path

from reliability import strace
from reliability.row import Row
from reliability.save_faults import failing, killed
from reliability.save_power import power_cut
from reliability.save_races import clients, races
from reliability.save_space import no_room
from reliability.tally import skipped


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Break saves in every way there is here, and return what came of it."""
    if reason := strace.missing():
        found = [skipped("A save is whole or absent", "calls that fail, processes killed, power cuts (strace)", reason)]
    else:
        found = [experiment(scratch, sample=sample) for experiment in (failing, killed, power_cut, clients)]
    return [*found, no_room(scratch, sample=sample), races(scratch, sample=sample)]
