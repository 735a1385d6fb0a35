"""A PC with SeaBIOS, whose guests are typed to at ticks that are told, and what remains of it at the end.

What is typed is part of what a guest does: it is a list of ticks and characters, the same for a run that is cut and for
the one that never was. `python -m tests.guests.board` is told on standard input what to load and how it
goes on, and tells the end.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from chkpt.context import Context
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.execution import Outcome
from chkpt.service.configure import configure
from chkpt.snapshot import Reader
from tests.guests import execution
from tests.guests.packages import package
from tests.support.rig import saved

MEMORY: Final = "16M"
SECOND: Final = 1_000_000_000
ROOT: Final = Path(__file__).parents[2]

Key = tuple[int, str]
"""A tick, and the character that is typed at it."""

TYPING: Final = 200_000
"""Ticks between two characters: a millisecond."""

LOOK: Final = 1_000_000
"""Ticks between two looks at whether a guest has answered."""


def bios() -> Path:
    """Return the path of SeaBIOS in 128 KiB: the larger one wants a chip set to unlock RAM for it."""
    return package("seabios") / "usr/share/seabios/bios.bin"


def board(*drives: dict[str, object], model: str = "unicorn", memory: str = MEMORY) -> Machine:
    """Build a PC that SeaBIOS will find its way in."""
    devices = [
        {"type": "pic"},
        {"type": "pit"},
        {"type": "cmos"},
        {"type": "i8042", "backend": {"type": "memory"}},
        {"type": "port92"},
        {"type": "reset_control"},
        {"type": "dma_page"},
        {"type": "debugcon", "backend": {"type": "memory"}},
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4, "backend": {"type": "memory"}},
        {"type": "ide", "name": "ide0", "port": 0x1F0, "control": 0x3F6, "irq": 14, "drive": list(drives)},
    ]
    firmware = {"bios": str(bios())}
    return Machine(parse({"memory": memory, "cpu": {"model": model}, "firmware": firmware, "device": devices}))


def line(machine: Machine, name: str = "com1") -> Any:
    """Return the backend of a serial port, of the debug console, or of the keyboard."""
    return machine.devices.frontends["char"].backends[name]


def said(machine: Machine, name: str = "com1") -> bytes:
    """Return what has come out of a line."""
    return bytes(line(machine, name).output)


def plain(output: bytes) -> str:
    """Return what a terminal would show, without its escape sequences."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", output.decode("latin-1")).replace("\r", "")


def screen(machine: Machine) -> str:
    """Return the text in the memory of a colour text screen of 80 columns."""
    text = machine.memory.read(0xB8000, 2 * 80 * 25)[::2].decode("cp437")
    return "\n".join(text[at : at + 80].rstrip() for at in range(0, len(text), 80))


# -- running ----------------------------------------------------------------------------------------------------------


def run_until(machine: Machine, true: Callable[[], bool], *, seconds: int = 60) -> None:
    """Run on to the first look at which something is true. Where looks are made does not depend on the run's past."""
    end = machine.clock.now + seconds * SECOND
    while not true():
        assert machine.clock.now < end, f"nothing after {seconds} s: {said(machine)[-300:]!r}, {screen(machine)}"
        at = execution(machine).cpu.ticks
        outcome = machine.run(ticks=(at // LOOK + 1) * LOOK, until=end)
        if outcome is not Outcome.ENOUGH:
            assert true(), (outcome, execution(machine).cpu.reason)
            return


def type_at(machine: Machine, key: Key, name: str = "com1") -> None:
    """Run to a tick, and type a character that the guest's device has room for."""
    tick, character = key
    machine.run(ticks=tick)
    line(machine, name).feed(character.encode())
    assert line(machine, name).fileno() is None, f"{name} has no room for {character!r}"


def type_line(machine: Machine, text: str, name: str = "com1") -> list[Key]:
    """Type a line, and return when each character was."""
    start = execution(machine).cpu.ticks
    keys = [(start + (number + 1) * TYPING, character) for number, character in enumerate(text + "\r")]
    for key in keys:
        type_at(machine, key, name)
    return keys


# -- cut and continued ------------------------------------------------------------------------------------------------


def end_of(machine: Machine, before: bytes = b"") -> dict[str, object]:
    """Return what is to be equal at the end of two runs: ticks, RAM, disks, what was said, and all that is saved."""
    disks = [
        hashlib.sha256(repr((list(state.changed.pieces()), list(state.blocks.pieces()))).encode()).hexdigest()
        for state in (backend.save() for backend in machine.devices.frontends["block"].backends.values())
    ]
    return {
        "ticks": execution(machine).cpu.ticks,
        "clock": machine.clock.now,
        "RAM": hashlib.sha256(bytes(machine.memory.ram)).hexdigest(),
        "disks": disks,
        "serial": hashlib.sha256(before + said(machine)).hexdigest(),
        "saved": _digest(saved(machine).contexts),
    }


def _digest(contexts: Mapping[str, Context]) -> str:
    """Return one digest of contexts, whose blobs may be large and mostly empty."""
    hashed = hashlib.sha256()
    for name, context in sorted(contexts.items()):
        hashed.update(repr((name, sorted(context.values.items()), _digest(context.contexts))).encode())
        for tag, blob in sorted(context.blobs.items()):
            hashed.update(repr((tag, blob.size)).encode())
            for piece in blob.pieces():
                hashed.update(repr(piece[0]).encode() + piece[1])
    return hashed.hexdigest()


def end_in_another_process(snapshot: Path, keys: Sequence[Key], ticks: int, before: bytes) -> dict[str, object]:
    """Load a snapshot in a new process, play on to a tick, and return the end.

    Args:
        snapshot: the file.
        keys: what is still to be typed.
        ticks: where it ends.
        before: what was said before the snapshot.
    """
    plan = json.dumps([str(snapshot), keys, ticks, before.hex()])
    command = [sys.executable, "-m", "tests.guests.board"]
    ended = subprocess.run(command, input=plan, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    end: dict[str, object] = json.loads(ended.stdout)
    return end


def play(machine: Machine, keys: Iterable[Key], ticks: int) -> None:
    """Run to a tick, and type what is to be typed until then."""
    for key in keys:
        type_at(machine, key)
    machine.run(ticks=ticks)


def main() -> None:
    snapshot, keys, ticks, before = json.load(sys.stdin)
    with Reader.open(snapshot) as reader:
        machine = Machine(configure(None, reader, trust=True))
        machine.load(reader.checkpoint())
    play(machine, keys, ticks)
    print(json.dumps(end_of(machine, bytes.fromhex(before))))  # noqa: T201
    machine.close()


if __name__ == "__main__":
    main()
