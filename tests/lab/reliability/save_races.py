"""Two saves to one name at once, and a `chkpt save` that is killed while the machine saves."""

from functools import partial
from pathlib import Path

from chkpt.snapshot import Reader
from tests.lab.reliability import strace
from tests.lab.reliability.row import Row
from tests.lab.reliability.save_checks import RAM, check_next_save, check_no_temporaries, check_unharmed, read_name
from tests.lab.reliability.save_faults import MEMORY, warm
from tests.lab.reliability.served import PATIENCE, BrokenError, Place, Served, serving, wait_until
from tests.lab.reliability.tally import Tally

TAKEN = "there is something of that name already"


def races(scratch: Path, *, sample: bool) -> Row:
    """Let two machines, and one machine twice, save to one name at once."""
    tally = Tally()
    place = Place(scratch / "races")
    with serving(place, "a", memory=MEMORY) as one, serving(place, "b", memory=MEMORY) as other:
        for served in (one, other):
            served.fill(RAM)
        for number in range(2 if sample else 100):
            for machines in (("a", "b"), ("a", "a")):
                tally.attempt(f"round {number} of {machines}", partial(_race, place, machines))
        tally.attempt("all of them", partial(_both_unharmed, one, other))
    return tally.row(
        "Two saves to one name at once: one wins, whole; the other says so",
        "pairs of `chkpt save NAME` processes started at once, of two machines and of one",
    )


def _both_unharmed(*machines: Served) -> None:
    for served in machines:
        served.talk()


def _race(place: Place, machines: tuple[str, ...]) -> str:
    (place.store / "race.zst").unlink(missing_ok=True)
    processes = [place.start("save", "race", "-m", machine) for machine in machines]
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    statuses = [process.returncode for process in processes]
    if sorted(statuses) != [0, 1]:
        raise BrokenError(f"they end with {statuses}: {said}")
    winner = statuses.index(0)
    if TAKEN not in said[1 - winner][1]:
        raise BrokenError(f"the other says {said[1 - winner]}")
    if read_name(place, "race", None) != "new":
        raise BrokenError("the winner's snapshot is not there")
    with Reader.open(place.store / "race.zst") as reader:
        if reader.header["machine"] != machines[winner]:
            raise BrokenError(f"{machines[winner]} won, and the snapshot is of {reader.header['machine']!r}")
    check_no_temporaries(place)
    return "won by one"


# -- a client that is killed ------------------------------------------------------------------------------------------


def clients(scratch: Path, *, sample: bool) -> Row:
    """Kill `chkpt save` at every one of its calls to the network."""
    tally = Tally()
    place = Place(scratch / "clients")
    with serving(place, memory=MEMORY) as served:
        served.fill(RAM)
        warm(served)
        log = place.path / "client.log"
        tracer = ["strace", "-ttt", "-y", "-o", str(log), "-e", "trace=%network,read,poll"]
        if place.chkpt("save", "target", before=tracer).status:
            raise BrokenError("an undisturbed save fails")
        calls = [call for call in strace.calls(log, 0) if "socket:" in call.arguments or "AF_UNIX" in call.arguments]
        for call in calls[::4] if sample else calls:
            tally.attempt(f"SIGKILL of the client at {call.name} {call.number}", partial(_kill_client, served, call))
        tally.attempt("all of them", partial(check_unharmed, served))
    return tally.row(
        "A `chkpt save` that is killed leaves the name as it was, or the new snapshot whole; the machine goes on",
        "SIGKILL of the client before each of its calls on the machine's socket (strace)",
    )


def _kill_client(served: Served, call: strace.Call) -> str | None:
    place = served.place
    (place.store / "target.zst").unlink(missing_ok=True)
    log = place.path / "fault.log"
    inject = f"inject={call.name}:signal=KILL:when={call.number}"
    tracer = ["strace", "-ttt", "-o", str(log), "-e", f"trace={call.name}", "-e", inject]
    place.chkpt("save", "target", before=tracer)
    if not strace.injected(log):
        return None
    wait_until(lambda: not place.temporaries(), "the end of the save whose client was killed")
    found = read_name(place, "target", None)
    served.talk(3)
    check_next_save(place)
    return found
