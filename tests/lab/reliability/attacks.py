"""Hostile files: one for each way to break a rule of docs/FORMAT.md, at every entrance that reads the bad part."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.attacks.all import ATTACKS, Level, level_of
from tests.attacks.entrances import CPU, ENTRANCES, MEMORY, sees, write
from tests.lab.reliability.row import Row
from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.tally import Tally
from tests.support.large import FILES, PROMISED, cost, write_pair

ROOT: Final = Path(__file__).parents[3]

FIRECRACKER: Final = (
    "none: snapshot files are trusted, and the user is to authenticate them; a CRC-64 of the state file is a partial "
    "measure against accidents (docs/snapshotting/snapshot-support.md)"
)
QEMU: Final = (
    "an incoming migration is untrusted if a guest is virtualised (docs/system/security.rst); state made by "
    "hand has overflowed buffers of device models in 2026 (gitlab issue 3869)"
)
RESTIC: Final = "what is changed without the key is detected, what is deleted is not (doc/design.rst, Threat Model)"


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Try every file at each entrance, or at two of them."""
    files = scratch / "files"
    files.mkdir()
    write(files)
    levels = [level_of((files / f"{number}.zst").read_bytes()) for number in range(len(ATTACKS))]
    refusals, most = Tally(), {"memory": 0.0, "cpu": 0.0}
    entrances = ("inspect", "load") if sample else tuple(ENTRANCES)
    for entrance in entrances:
        for outcome in _outcomes(entrance, files):
            number = outcome["attack"]
            refusals.attempt(f"{ATTACKS[number]} at {entrance}", partial(_judged, entrance, outcome, levels[number]))
            most = {key: max(most[key], outcome[key]) for key in most}
    tried = (
        f"{len(ATTACKS)} files made by hand (tests/attacks), at {', '.join(entrances)}; each in a process of its own "
        f"that may take {MEMORY >> 20} MiB and {CPU:.0f} s of processor time more; it took at most "
        f"{most['memory'] / (1 << 20):.1f} MiB and {most['cpu']:.2f} s"
    )
    promise = "A file that breaks a rule of the format is refused, by the message of that rule, at little cost"
    return [refusals.row(promise, tried, firecracker=FIRECRACKER, qemu=QEMU, restic=RESTIC), _large(scratch)]


def _large(scratch: Path) -> Row:
    """Look at every file that breaks no rule, and is small on disk and large inside."""
    shown, most = Tally(), [0]
    looks = (("inspect", "a", "/"), ("inspect", "a", "/", "--json"), ("diff", "a", "b"), ("diff", "a", "b", "--json"))
    for kind in FILES:
        a, b = write_pair(scratch, kind)
        for look in looks:
            arguments = [{"a": a, "b": b}.get(each, each) for each in look]
            shown.attempt(f"{kind} at {' '.join(look)}", partial(_shown, scratch, arguments, most))
    tried = (
        f"{len(FILES)} pairs of such files ({', '.join(FILES)}), at {', '.join(' '.join(look) for look in looks)}; "
        f"resident at most {max(most) / (1 << 20):.1f} MiB more than for a small file"
    )
    return shown.row(f"A file that is small on disk and large inside is shown in {PROMISED >> 20} MiB", tried)


def _shown(scratch: Path, arguments: list[str], most: list[int]) -> str:
    """Return that a file was shown. Raise BrokenError if that took too much, or failed."""
    status, memory = cost(scratch, *arguments)
    most.append(memory)
    if status != (1 if arguments[0] == "diff" else 0) or memory >= PROMISED:
        raise BrokenError(f"status {status}, {memory} bytes")
    return "shown"


def _outcomes(entrance: str, files: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.attacks.entrances", entrance, str(files)]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    return found


def _judged(entrance: str, outcome: dict[str, Any], level: Level) -> str:
    """Return the outcome of one file at one entrance. Raise BrokenError if it is not what is promised."""
    status, said = outcome["status"], outcome["said"]
    if "Traceback" in said or outcome["memory"] > MEMORY or outcome["cpu"] >= CPU:
        raise BrokenError(f"status {status}, {outcome['memory']} bytes, {outcome['cpu']} s: {said[-200:]}")
    if level not in sees(entrance):
        if status != (1 if entrance.startswith("diff") else 0):
            raise BrokenError(f"status {status} of what does not read the bad part: {said[-200:]}")
        return "not read so far"
    if ATTACKS[outcome["attack"]].message not in said.replace("\\\\", "\\"):
        raise BrokenError(f"another message: {said[-200:]}")
    if status != (0 if entrance == "list" else 4):
        raise BrokenError(f"status {status}: {said[-200:]}")
    return "listed with the problem" if entrance == "list" else "refused"
