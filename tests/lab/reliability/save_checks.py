"""Checks after a save that failed, made by new processes."""

import json

from chkpt.context import Checkpoint
from chkpt.snapshot import Reader
from chkpt.snapshot.diff import compare
from tests.lab.reliability.served import BrokenError, Ended, Place, Served

RAM = 256 * 1024
"""Bytes of RAM in the machine that is saved: a snapshot of it takes several writes."""


def read_name(place: Place, name: str, old: bytes | None) -> str:
    """Return what a name holds: nothing ("absent"), the "old" snapshot or a "new" one. Every one is verified.

    Raises:
        BrokenError: a snapshot in the store is not whole, or the old one is lost.
    """
    ended = place.chkpt("verify", "--json")
    results = json.loads(ended.out or "[]")
    bad = [str(result["problem"]) for result in results if not result["ok"]]
    if ended.status or bad:
        raise BrokenError(f"chkpt verify ends with {ended.status}: {bad or ended.err}")
    if name not in {result["snapshot"] for result in results}:
        if old is not None:
            raise BrokenError("the old snapshot is lost")
        return "absent"
    return "old" if (place.store / f"{name}.zst").read_bytes() == old else "new"


def check_said(ended: Ended, found: str) -> None:
    """Check that what a save said is what it left. Raise BrokenError."""
    if ended.status == 0 and found != "new":
        raise BrokenError(f"the save said it was done, but the name is {found}")
    if ended.status and (not ended.err.startswith("chkpt: ") or ended.err.count("\n") != 1):
        raise BrokenError(f"the save did not fail with one line: {ended.err!r}")
    if ended.status and found == "new" and "is there and whole" not in ended.err:
        raise BrokenError(f"the snapshot is there, but the save said {ended.err!r}")


def check_next_save(place: Place) -> None:
    """Save once more, and check that no temporary file is left. Raise BrokenError."""
    ended = place.chkpt("save", "next", "--force")
    if ended.status:
        raise BrokenError(f"the next save fails: {ended.err}")
    check_no_temporaries(place)


def check_repair(place: Place) -> None:
    """Repair the store, and check that no temporary file is left. Raise BrokenError."""
    ended = place.chkpt("verify", "--repair")
    if ended.status:
        raise BrokenError(f"chkpt verify --repair fails: {ended.err}")
    check_no_temporaries(place)


def check_no_temporaries(place: Place) -> None:
    """Check that no temporary file is left. Raise BrokenError."""
    if left := place.temporaries():
        raise BrokenError(f"left behind: {', '.join(left)}")


def check_unharmed(served: Served) -> None:
    """Compare the whole machine with its twin. Raise BrokenError if they differ."""
    served.talk()
    ended = served.place.chkpt("save", "last", "--force")
    if ended.status:
        raise BrokenError(f"the last save fails: {ended.err}")
    checkpoint = Checkpoint()
    served.twin.save(checkpoint)
    with Reader.open(served.place.store / "last.zst") as reader:
        check_same_machine(reader.checkpoint(), checkpoint)


def check_same_machine(one: Checkpoint, other: Checkpoint) -> None:
    """Compare the whole content of two checkpoints. Raise BrokenError if they differ."""
    if differences := compare(one, other):
        raise BrokenError(f"the machine differs from one that was left alone: {differences}")
