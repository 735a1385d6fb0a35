"""`chkpt demo`: save a guest in mid-sector while it runs, and go on in a new process without a difference."""

import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from blake3 import blake3

from chkpt.cli.demo.result import leave
from chkpt.cli.demo.stage import Stage, open_stage, show_step
from chkpt.cli.demo.terminal_actor import TerminalMachine
from chkpt.cli.options import DEFAULT_STORE
from chkpt.cli.output import escape, format_seconds, show, show_columns
from chkpt.context import blob_bytes
from chkpt.errors import ChkptError
from chkpt.snapshot import Reader

MACHINE: Final = Path(__file__).with_name("demo.toml")
"""The configuration of the machine."""

KEY: Final = b"9"
"""The key that is typed: the number of rounds."""

QUESTION: Final = b"(q: quit)? "
"""The end of the guest's question. The guest then sleeps until a key comes, and no time passes."""

SENT: Final = 0x508
"""The address at which the guest counts the characters that it has sent (devices/chkpt_devices/guests/demo.asm)."""

SHOWN: Final = 10
"""How many lines of the processor's registers are shown."""


@dataclass(frozen=True, slots=True)
class FinalState:
    """The state that is compared at the end."""

    ticks: int
    clock_ns: int
    ram: str
    disk: str
    text: bytes


def perform_guest(name: str, store: Path, *, keep: bool) -> None:
    """Perform the demo. Raise ChkptError if a process fails, or if the two machines end in different states."""
    with open_stage(keep=keep) as stage:
        twin_home = stage.directory / "twin"
        twin_home.mkdir(0o700)
        stage.call_at_end(lambda: shutil.rmtree(twin_home, ignore_errors=True))
        toml = stage.directory / MACHINE.name
        toml.write_bytes(MACHINE.read_bytes())
        where = "" if store == DEFAULT_STORE else f" --store {escape(shlex.quote(str(store)))}"
        show("A PC boots the guest that comes with chkpt: it writes its disk, reads it back and checks it")
        twin = TerminalMachine(stage, name, home=twin_home, show=_ignore)
        twin.start(["run", str(toml)])
        show_step(
            f"chkpt run {toml.name}: process {twin.process.pid}, which is never stopped",
            twin.process.seconds,
        )
        snapshot = (name, "--store", str(stage.store()))
        first, saved = _run_and_kill(stage, twin, toml, snapshot, store.absolute())
        second = TerminalMachine(stage, name, show=_show_guest_line)
        second.start(["run", "--load", *snapshot])
        show_step(f"chkpt run --load {name}: process {second.process.pid}", second.process.seconds)
        path = Path(snapshot[2], f"{name}.zst")
        second.read_to(lambda text: QUESTION in text)
        twin.read_to(lambda text: text.count(QUESTION) == saved.keys + 1)
        for machine in (second, twin):
            machine.sleep()
        _compare(stage, twin, second, first.text[: _count_sent(path)])
        show(
            f"start {first.process.seconds:.2f} s, save {saved.seconds:.2f} s ({path.stat().st_size} bytes), "
            f"start and load {second.process.seconds:.2f} s, each a whole process"
        )
        show(f"\n$ chkpt inspect {name} cpu{where}")
        stage.run("inspect", name, "cpu", *snapshot[1:], shown=True, lines=SHOWN)
        show(f"$ chkpt inspect {name} ide0/drive0/transfer.offset{where}")
        stage.run("inspect", name, "ide0/drive0/transfer.offset", *snapshot[1:], shown=True)
        show(f"\nThe snapshot stays in {escape(str(store.absolute() / path.name))}.")
        show(f"To go on from it yourself: chkpt run --load {name}{where} in one terminal, chkpt console in another.")
        if keep:
            show(f"kept: {escape(str(stage.directory))}")


@dataclass(frozen=True, slots=True)
class _Save:
    """How often a key had been typed before the save, and how long the save took."""

    keys: int
    seconds: float


def _run_and_kill(
    stage: Stage, twin: TerminalMachine, toml: Path, snapshot: tuple[str, str, str], kept: Path
) -> tuple[TerminalMachine, _Save]:
    """Run a machine, save it while a sector is half transferred, copy the snapshot to the store `kept`, and kill it."""
    name, _, store = snapshot
    path = Path(store, f"{name}.zst")
    first = TerminalMachine(stage, name, show=_show_guest_line)
    first.start(["run", str(toml)])
    show_step(f"chkpt run {toml.name}: process {first.process.pid}", first.process.seconds)
    keys, tries = 0, 0
    while True:
        first.read_now()
        if first.text.endswith(QUESTION) or not first.text:  # at the start, or at its end if no save met a sector
            first.read_to(lambda text: text.endswith(QUESTION))
            twin.read_to(lambda text: text.endswith(QUESTION))
            for machine in (first, twin):
                machine.sleep()
                machine.type(KEY)
            keys += 1
            _read_rounds(first, keys)
        force = ["--force"] if tries else []
        tries += 1
        began = time.monotonic()
        stage.run("save", *snapshot, *force)
        taken = time.monotonic() - began
        place = _find_half_moved(path)
        if place is not None:
            break
    command = " ".join(["chkpt save", name, *force])
    again = "" if tries == 1 else f" (try {tries}: the earlier ones were between two sectors)"
    leave(path, kept)
    show_step(f"{command}, while it runs: {place}{again}", taken)
    first.kill()
    show_step(f"kill -9 {first.process.pid}")
    return first, _Save(keys, taken)


def _read_rounds(machine: TerminalMachine, count: int) -> None:
    """Read until the guest has finished its first round `count` times."""
    machine.read_to(lambda text: text.count(b"round 1:") >= count and b"\n" in text.rpartition(b"round 1:")[2])


def _find_half_moved(path: Path) -> str | None:
    """Return the place in a sector at which the snapshot was taken, None if it was between two."""
    with Reader.open(path) as reader:
        try:
            transfer = reader.section("devices/ide0").contexts["drive0"].contexts["transfer"].values
        except KeyError:
            return None
    offset, length = transfer["offset"], transfer["length"]
    assert isinstance(offset, int)
    assert isinstance(length, int)
    verb = "read" if transfer["kind"] == "read" else "written"
    return f"byte {offset} of {length} of a sector is being {verb}" if 0 < offset < length else None


def _count_sent(path: Path) -> int:
    """Return how many characters the guest had sent at the save."""
    with Reader.open(path) as reader:
        return int.from_bytes(_read_ram(reader)[SENT : SENT + 4], "little")


def _read_ram(reader: Reader) -> bytes:
    return blob_bytes(reader.section("memory").blobs["ram"])


# -- the end ----------------------------------------------------------------------------------------------------------


class _SleepingMachine(Protocol):
    """A machine whose guest sleeps, and the text that it has sent."""

    text: bytes

    def save(self, path: Path) -> None:
        """Save the machine to a new file."""


def _compare(stage: Stage, twin: _SleepingMachine, second: _SleepingMachine, before: bytes) -> None:
    """Compare the whole state of the two machines, which both sleep."""
    ends = stage.directory / "never-stopped.zst", stage.directory / "loaded.zst"
    for machine, path in zip((twin, second), ends, strict=True):
        machine.save(path)
    one, two = _read_final_state(ends[0], twin.text), _read_final_state(ends[1], before + second.text)
    show("")
    show_columns(("at the end", "never stopped", "saved, killed, loaded"), [
        ("ticks of the processor", f"{one.ticks:,}", f"{two.ticks:,}"),
        ("clock", format_seconds(one.clock_ns), format_seconds(two.clock_ns)),
        ("serial port", _describe_text(one.text), _describe_text(two.text)),
        ("RAM", one.ram, two.ram),
        ("disk", one.disk, two.disk),
    ])  # fmt: skip
    if one != two:
        raise ChkptError("the machine that was saved, killed and loaded differs from the one that was never stopped")
    stage.run("diff", *map(str, ends))
    show_step("all the same, and chkpt diff finds no difference in any device either")


def _read_final_state(path: Path, text: bytes) -> FinalState:
    with Reader.open(path) as reader:
        cpu, drive = reader.section("cpu"), reader.section("devices/ide0").contexts["drive0"]
        ticks, clock = cpu.values["ticks"], reader.header["clock_ns"]
        assert isinstance(ticks, int)
        assert isinstance(clock, int)
        if cpu.values["activity"] != "halted":
            raise ChkptError(f"{path}: the guest is not at its end")
        disk = drive.contexts["disk"]
        content = blob_bytes(disk.blobs["changed"]) + blob_bytes(disk.blobs["blocks"])
        return FinalState(ticks, clock, _digest(_read_ram(reader)), _digest(content), text)


def _digest(content: bytes) -> str:
    return blake3(content).hexdigest()[:16]


def _describe_text(text: bytes) -> str:
    return f"{len(text)} characters, {_digest(text)}"


def _show_guest_line(line: str) -> None:
    if line:
        show(f"    | {escape(line)}")


def _ignore(line: str) -> None:
    """Ignore the twin's output."""
