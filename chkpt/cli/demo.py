"""`chkpt demo`: the main job as a show. A machine is saved, killed, loaded in a new process, and compared with QEMU."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, Store
from chkpt.cli.output import plain, show
from chkpt.errors import ChkptError, ExistsError

if TYPE_CHECKING:
    from chkpt.cli.stage import Stage
    from chkpt.interop.trace import Player, Trace


NAME = "demo"
"""The snapshot's name, and the machine's."""


def demo(
    *,
    store: Store = DEFAULT_STORE,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the machine's TOML, its disk and the logs, and tell where they are.")
    ] = False,
) -> None:
    """Save a machine at its worst moment, kill it, load it in a new process, and compare it with a real QEMU.

    The machine is driven over qtest by a conversation that was recorded from QEMU, and every answer is compared with
    QEMU's. In the middle of it (a sector half read, bytes unread in the UART, an interrupt in service, a count half
    written) the machine is saved and killed; a new process loads the snapshot and has to go on as if nothing had
    happened. Ends with status 1 at the first answer that differs.

    The snapshot demo stays in the store. An earlier demo's is replaced; where another snapshot has that name, nothing
    is done. The disk goes with the demo unless --keep is given, and without it the snapshot cannot be run.
    """
    from chkpt.cli.stage import open_stage
    from chkpt.interop.trace import DEMO, DEMO_MACHINE, disk, parse

    replace = _earlier(store)
    trace = parse(DEMO.read_text("utf-8"))
    with open_stage(keep=keep) as stage:
        (stage.directory / "disk.img").write_bytes(disk())
        toml = stage.directory / DEMO_MACHINE.name
        toml.write_bytes(DEMO_MACHINE.read_bytes())
        show(f"A PC driven by a recorded conversation with {trace.facts['source']}")
        _perform(stage, trace, ["run", str(toml)], str(store.absolute()), ["--force"] if replace else [])
        where = "" if store == DEFAULT_STORE else f" --store {plain(shlex.quote(str(store)))}"
        show(f"\n$ chkpt inspect {NAME}{where}")
        stage.run("inspect", NAME, "--store", str(store.absolute()), shown=True)
        show("")
        if keep:
            show(f"kept: {plain(str(stage.directory))}")
            show(f"to run it: chkpt run {plain(shlex.quote(str(toml)))} --load {NAME}{where}")
        else:
            show(f"The disk it used is gone, so {NAME} cannot be run; chkpt demo --keep keeps the disk.")


def _earlier(store: Path) -> bool:
    """Whether the store has the snapshot of an earlier demo. Raise ExistsError where another has its name."""
    from chkpt.snapshot import Reader

    path = store.absolute() / f"{NAME}.zst"
    if not os.path.lexists(path):
        return False
    try:
        with Reader.open(path) as reader:
            earlier = reader.header.get("machine") == NAME
    except ChkptError:
        earlier = False
    if not earlier:
        raise ExistsError(f"{path}: this is not the snapshot of an earlier demo; choose another place with --store")
    return True


def _perform(stage: "Stage", trace: "Trace", run: list[str], store: str, force: list[str]) -> None:
    """Play the trace up to its cut, go on in a new process, play the rest, and tell how it went."""
    from chkpt.interop.trace import Player

    (cut,) = trace.cuts
    first = stage.start(run)
    _tell(f"chkpt run {NAME}.toml: process {first.pid}", first.seconds)
    player = Player(trace, first.send)
    _play(player, trace, range(cut))
    began = time.monotonic()
    stage.run("save", NAME, *force, "--store", store)
    saved = time.monotonic() - began
    path = Path(store, f"{NAME}.zst")
    _tell(f"{' '.join(['chkpt save', NAME, *force])}: {path.stat().st_size} bytes in {path}", saved)
    first.kill()
    _tell(f"kill -9 {first.pid}")
    second = stage.start([*run, "--load", NAME, "--store", store])
    _tell(f"chkpt run {NAME}.toml --load {NAME}: process {second.pid}", second.seconds)
    player.connect(second.send)
    _play(player, trace, range(cut, len(trace.exchanges)))
    second.kill()
    show("")
    show(f"{len(trace.exchanges)} answers compared, all as QEMU gave them ({first.sent + second.sent} qtest commands)")
    show(
        f"start {first.seconds:.2f} s, save {saved:.2f} s, start and load {second.seconds:.2f} s, each a whole process"
    )


def _play(player: "Player", trace: "Trace", numbers: range) -> None:
    """Play these exchanges; tell each part of the story, as the trace's comments have it, once it has gone well."""
    part, count = "", 0
    for number in numbers:
        comment = trace.exchanges[number].comment
        if comment:
            _tell_part(part, count)
            part, count = comment.replace("\n", " "), 0
        difference = player.play(number)
        if difference is not None:
            raise ChkptError(f"not as QEMU answered: {difference}")
        count += 1
    _tell_part(part, count)


def _tell_part(part: str, count: int) -> None:
    if part:
        _tell(f"{part} ({count} answers)")


def _tell(line: str, seconds: float | None = None) -> None:
    """Show one line of the story with a tick, where the output has one."""
    tick = "\N{CHECK MARK}" if (sys.stdout.encoding or "").lower().startswith("utf") else "+"
    show(f"{tick} {plain(line)}" + ("" if seconds is None else f", {seconds:.2f} s"))
