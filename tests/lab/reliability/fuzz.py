"""Coverage-guided fuzzing: the results of the last `make fuzz`, or of a shorter run here."""

import logging
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Final

from chkpt.manager import installed_device_types
from chkpt.prove.setup import Setup
from tests.lab.fuzz import results
from tests.lab.fuzz.draws import ByteDraws, Draws
from tests.lab.fuzz.loads import load_any, setups
from tests.lab.fuzz.results import Run
from tests.lab.fuzz.targets import targets
from tests.lab.reliability.attacks import FIRECRACKER
from tests.lab.reliability.row import Row
from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.tally import Tally, skipped_row

ACCESSES: Final = 1000

ROOT: Final = Path(__file__).parents[3]
FOLDER: Final = ROOT / ".fuzz"
SECONDS: Final = 480
"""How long to fuzz if there has been no `make fuzz` of this code."""

PROMISE: Final = "No input raises another error than chkpt's own, hangs, or takes memory without bounds"
KINDS: Final = {
    "the reader, the commands and the header's configuration": ("codec", "snapshot", "commands", "configuration"),
    "the machine's own parts": ("machine-",),
    "each device's load, and 60 steps after it": ("device-",),
}
QEMU: Final = "none; there are fuzzers for its devices (docs/devel/testing/fuzzing.rst)"


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Fuzz, or return what the last run of the fuzzer has found."""
    states = _states(5 if sample else 300)
    if find_spec("atheris") is None:
        return [
            skipped_row(PROMISE, "guided fuzzing (atheris)", "atheris is not installed: make fuzz"),
            states,
        ]
    if sample:
        return [*_make_rows(_run(["codec", "machine-parts", "device-pit"], 6, scratch)), states]
    return [*_make_rows(_last()), states]


def _last() -> Run:
    """Return the fuzzer's last run; wait for its end if it still runs. If it was of other code, fuzz anew."""
    print("fuzz: waiting for the end of the fuzzer's run, if there is one", flush=True)
    with results.locked(FOLDER, wait=True):
        known = results.read(FOLDER)
    why = "there are no results" if known is None else known.unfit(results.digest(), targets())
    if known is not None and not why:
        return known
    print(f"fuzz: {why}: fuzzing for {SECONDS} s", flush=True)
    return _run([], SECONDS, ROOT)


def _states(each: int) -> Row:
    """Load every device with `each` states within the declared ranges, and use the device if it takes them."""
    tally = Tally()
    logging.disable()  # of every load that is refused
    for name in sorted(device.name for device in installed_device_types()):
        choose, machines = Random(name), setups(name)
        for number in range(each):
            draws = ByteDraws(choose.randbytes(1500))
            tally.attempt(f"state {number} of {name}", partial(_survives, machines[number % len(machines)], draws))
    logging.disable(logging.NOTSET)
    return tally.row(
        "A device stands a thousand accesses, waits and inputs in any state that its load takes",
        f"{each} states of each device, near to one that it had, each field within its declared range",
    )


def _survives(setup: Setup, draws: Draws) -> str:
    try:
        taken = load_any(setup, draws, ACCESSES, whole=True)
    except Exception as exc:
        raise BrokenError(repr(exc)) from exc
    return "taken, and stood it" if taken else "refused"


def _run(names: list[str], seconds: int, place: Path) -> Run:
    """Fuzz in a directory, and leave the results there. Raise BrokenError if the fuzzer does not end properly."""
    command = [sys.executable, "-m", "tests.lab.fuzz", *names, "--seconds", str(seconds)]
    status = subprocess.run(command, check=False, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode
    found = results.read(place / FOLDER.name)
    if found is None or not found.ended:
        raise BrokenError(f"the fuzzer ended with {status}, and without results")
    return found


def _make_rows(run: Run) -> list[Row]:
    rows: list[Row] = []
    for kind, prefixes in KINDS.items():
        chosen = [result for result in run.results if result.target.startswith(prefixes)]
        if not chosen:
            continue
        findings = [finding for result in chosen for finding in result.findings]
        count = sum(result.executions for result in chosen)
        outcome = (
            f"{len(findings)} findings{': ' * bool(findings)}{', '.join(findings)} in"
            f" {sum(result.seconds for result in chosen):,} s; at most"
            f" {max(result.peak_rss_mb for result in chosen)} MB, the interpreter's own included"
        )
        tried = (
            f"fuzzing of {kind}: {len(chosen)} targets of a run of {run.seconds:,} s over {len(run.asked)},"
            f" {run.jobs} at a time, from {CORPORA[run.corpus]} (atheris)"
        )
        held = not findings and all(result.executions for result in chosen)
        rows.append(Row(PROMISE, tried, count, outcome, held=held, firecracker=FUZZED, qemu=QEMU))
    return rows


CORPORA: Final = {"fresh": "a fresh corpus", "kept": "the kept corpus"}
FUZZED: Final = FIRECRACKER.partition(":")[0]
