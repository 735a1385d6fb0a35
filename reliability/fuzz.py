"""Coverage-guided fuzzing, as the last `make fuzz` has done it, or as long as there is time for here."""

import json
import logging
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Final

from chkpt.manager import installed_device_types
from chkpt.prove.setup import Setup
from fuzz.draws import ByteDraws, Draws
from fuzz.loads import load_any, setups
from reliability.attacks import FIRECRACKER
from reliability.row import Row
from reliability.served import BrokenError
from reliability.tally import Tally, skipped

ACCESSES: Final = 1000

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = ROOT / ".fuzz" / "results.json"
SECONDS: Final = 480
"""How long it is done where no `make fuzz` has been run."""

PROMISE: Final = "No input raises another error than chkpt's own, hangs, or takes memory without bounds"
KINDS: Final = {
    "the reader, the commands and the header's configuration": ("codec", "snapshot", "commands", "configuration"),
    "the machine's own parts": ("machine-",),
    "each device's load, and 60 steps after it": ("device-",),
}
QEMU: Final = "none; there are fuzzers for its devices (docs/devel/testing/fuzzing.rst)"


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Fuzz, or tell what the last run of the fuzzer has found."""
    states = _states(5 if sample else 300)
    if find_spec("atheris") is None:
        return [skipped(PROMISE, "coverage-guided fuzzing (atheris)", "atheris is not installed: make fuzz"), states]
    if sample:
        return [*_told(_run(["codec", "machine-parts", "device-pit"], 6, scratch)), states]
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else _run([], SECONDS, ROOT)
    return [*_told(known), states]


def _states(each: int) -> Row:
    """Load every device with so many states within the declared ranges, and use it where it takes them."""
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


def _run(targets: list[str], seconds: int, place: Path) -> list[dict[str, Any]]:
    """Fuzz in a directory, where the results stay."""
    command = [sys.executable, "-m", "fuzz", *targets, "--seconds", str(seconds)]
    subprocess.run(command, check=False, cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found: list[dict[str, Any]] = json.loads((place / ".fuzz" / "results.json").read_text())
    return found


def _told(results: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for kind, prefixes in KINDS.items():
        chosen = [result for result in results if result["target"].startswith(prefixes)]
        if not chosen:
            continue
        findings = [finding for result in chosen for finding in result["findings"]]
        count = sum(result["executions"] for result in chosen)
        outcome = (
            f"{len(findings)} findings in {sum(result['seconds'] for result in chosen)} s; at most "
            f"{max(result['peak_rss_mb'] for result in chosen)} MB, the interpreter's own included"
        )
        tried = f"fuzzing of {kind} (atheris, {len({result['target'] for result in chosen})} targets, a fresh corpus)"
        rows.append(Row(PROMISE, tried, count, outcome, held=not findings and count > 0, firecracker=FUZZED, qemu=QEMU))
    return rows


FUZZED: Final = FIRECRACKER.partition(":")[0]
