"""`chkpt load`: load a running machine from a snapshot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chkpt.cli.options import (
    DEFAULT_STORE,
    AsJson,
    Dates,
    Drives,
    Identity,
    MachineName,
    RequireSignature,
    Snapshot,
    Store,
    images,
    saved_path,
    trusted,
)
from chkpt.cli.output import plain, seconds, show, show_json, show_skipped
from chkpt.cli.progress import watched
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import LoadReply


def load(
    snapshot: Snapshot,
    *,
    machine: MachineName = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse, before anything is changed, where something would be skipped.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="DEVICE", help="Load this device of the machine only; may be repeated.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="DEVICE", help="Do not load this device; may be repeated.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="OLD=NEW", help="Load device OLD of the snapshot into device NEW."),
    ] = None,
    drive: Drives = None,
    identity: Identity = None,
    require_signature: RequireSignature = None,
    time: Dates = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Load a running machine from a snapshot, whole or not at all.

    Devices are loaded by name. What the machine or the snapshot lacks is skipped and told. With --only or --skip the
    machine's clock and RAM stay as they are.

    Media stay in their drives, and a snapshot with another disc or disk there is refused. With --drive an image, or no
    medium (DRIVE=none), comes with the load, also in place of a hard disk; where the load is refused, nothing is
    exchanged. The guest finds a disc that is left out taken out of its drive.

    The guest's time goes on from where it was saved. With --time wall the date of its battery-backed clock (cmos) is
    later by the time since the snapshot was created, as if the machine had been off; nothing else is.

    With --require-signature nothing is loaded but what one of the keys has signed; the machine itself checks it, on the
    file that it loads.
    """
    from chkpt.service.http.client import find

    names = _renames(rename or [])
    drives = images(drive)
    path = saved_path(snapshot, store)
    keys = trusted(require_signature)
    require = None if keys is None else {raw.hex(): key.name for raw, key in keys.items()}
    secret = None if identity is None else identity.absolute()
    running = find(machine)

    def call() -> "LoadReply":
        return running.load(
            path,
            only=only or (),
            skip=skip or (),
            rename=names,
            strict=strict,
            identity=secret,
            require=require,
            time=time or "freeze",
            drives={each: None if table is None else Path(str(table["path"])) for each, table in drives.items()},
            raw=[each for each, table in drives.items() if table is not None and "format" in table],
        )

    reply = watched(running, "load", call, quiet=as_json)
    if as_json:
        show_json(reply)
        return
    later = _dates(reply) if time == "wall" else ""
    signed = "".join(f", signed with key {key}" for key in reply["signed_by"])
    devices = ", ".join(reply["loaded"]) or "no devices"
    at = seconds(reply["clock_ns"])
    show(plain(f"loaded machine {running.name} at {at} from {reply['path']}: {devices}{later}{signed}"))
    show_skipped("skipped", reply["skipped"])
    show_skipped("left as it was", reply["left"])
    for tag in reply["unknown"]:
        show(plain(f"passed over: unknown tag {tag}"))


def _dates(reply: "LoadReply") -> str:
    """Return what has become of the dates that were to go on."""
    if not reply["dates_advanced"]:
        return ", no date has gone on: nothing loaded keeps one that runs, or no second has passed"
    return f", the date of {' and '.join(reply['dates_advanced'])} {reply['dates_advanced_s']} s later"


def _renames(texts: list[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not old or not equals or not new:
            raise UsageError(f"--map {text}: write OLD=NEW")
        if old in names:
            raise UsageError(f"--map {text}: {old} is already to be loaded into {names[old]}")
        names[old] = new
    return names
