"""`chkpt demo --trace`: replay a conversation recorded from QEMU, and kill the machine in the middle of it."""

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chkpt.cli.demo.qtest_actor import QtestMachine
from chkpt.cli.demo.result import leave
from chkpt.cli.demo.stage import Stage, open_stage, show_step
from chkpt.cli.options import DEFAULT_STORE
from chkpt.cli.output import escape, show
from chkpt.errors import ChkptError
from chkpt.interop.trace import Player

if TYPE_CHECKING:
    from chkpt.interop.trace import Trace


def perform_trace(name: str, store: Path, *, keep: bool) -> None:
    """Perform the demo. Raise ChkptError at the first answer that differs from QEMU's, or if a process fails."""
    from chkpt.interop.trace import DEMO, DEMO_MACHINE, disk, parse_trace

    trace = parse_trace(DEMO.read_text("utf-8"))
    with open_stage(keep=keep) as stage:
        (stage.directory / "disk.img").write_bytes(disk())
        toml = stage.directory / DEMO_MACHINE.name
        toml.write_bytes(DEMO_MACHINE.read_bytes())
        show(f"A PC driven by a recorded conversation with {trace.facts['source']}")
        snapshot = (name, "--store", str(stage.store()))
        _perform(stage, trace, ["run", str(toml)], snapshot, store.absolute())
        where = "" if store == DEFAULT_STORE else f" --store {escape(shlex.quote(str(store)))}"
        show(f"\n$ chkpt inspect {name}{where}")
        stage.run("inspect", *snapshot, shown=True)
        show("")
        if keep:
            show(f"kept: {escape(str(stage.directory))}")
            show(f"to run it: chkpt run {escape(shlex.quote(str(toml)))} --load {name}{where}")
        else:
            show(f"The disk it used is gone, so {name} cannot be run; chkpt demo --trace --keep keeps the disk.")


def _perform(stage: Stage, trace: "Trace", run: list[str], snapshot: tuple[str, str, str], kept: Path) -> None:
    """Play the trace up to its cut, save to the store `kept`, go on in a new process, and show the result."""
    (cut,) = trace.cuts
    name, _, store = snapshot
    first = QtestMachine(stage)
    first.start(run)
    show_step(f"chkpt run {name}.toml: process {first.process.pid}", first.process.seconds)
    player = Player(trace, first.send)
    _play(player, trace, range(cut))
    began = time.monotonic()
    stage.run("save", *snapshot)
    saved = time.monotonic() - began
    path = leave(Path(store, f"{name}.zst"), kept)
    show_step(f"chkpt save {name}: {path.stat().st_size} bytes in {path}", saved)
    first.kill()
    show_step(f"kill -9 {first.process.pid}")
    second = QtestMachine(stage)
    second.start([*run, "--load", *snapshot])
    show_step(f"chkpt run {name}.toml --load {name}: process {second.process.pid}", second.process.seconds)
    player.connect(second.send)
    _play(player, trace, range(cut, len(trace.exchanges)))
    second.kill()
    show("")
    show(f"{len(trace.exchanges)} answers compared, all as QEMU gave them ({first.sent + second.sent} qtest commands)")
    show(
        f"start {first.process.seconds:.2f} s, save {saved:.2f} s, "
        f"start and load {second.process.seconds:.2f} s, each a whole process"
    )


def _play(player: Player, trace: "Trace", numbers: range) -> None:
    """Play these exchanges; show each part, named by the trace's comment, when all its answers were equal."""
    part, count = "", 0
    for number in numbers:
        comment = trace.exchanges[number].comment
        if comment:
            _show_part(part, count)
            part, count = comment.replace("\n", " "), 0
        difference = player.play(number)
        if difference is not None:
            raise ChkptError(f"the answer differs from QEMU's: {difference}")
        count += 1
    _show_part(part, count)


def _show_part(part: str, count: int) -> None:
    if part:
        show_step(f"{part} ({count} answers)")
