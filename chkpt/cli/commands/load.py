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
    parse_drives,
    read_trusted,
    saved_path,
)
from chkpt.cli.output import escape, format_seconds, show, show_json, show_skipped
from chkpt.cli.progress import call_with_bar
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import LoadReply


def load(
    snapshot: Snapshot,
    *,
    machine: MachineName = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="If anything would be skipped, refuse before the machine changes.")
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

    Devices are loaded by name. A device that the machine or the snapshot lacks is skipped and listed. With --only or
    --skip the machine's clock and RAM stay as they are.

    Media stay in their drives, and a snapshot with another disc or disk in a drive is refused. With --drive the load
    changes a medium, also a hard disk, to an image or to none (DRIVE=none). If the load is refused, no medium changes.
    If a disc is left out, the guest finds it removed.

    The guest's time goes on from the time of the save. With --time wall the date of its battery-backed clock (cmos)
    moves on by the time since the snapshot was created, as if the machine had been off. Nothing else moves.

    With --require-signature a snapshot is loaded only if one of the keys has signed it. The machine itself checks the
    file that it loads.
    """
    from chkpt.service.http.client import find

    names = _parse_renames(rename or [])
    drives = parse_drives(drive)
    path = saved_path(snapshot, store)
    keys = read_trusted(require_signature)
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

    reply = call_with_bar(running, "load", call, quiet=as_json)
    if as_json:
        show_json(reply)
        return
    later = _describe_dates(reply) if time == "wall" else ""
    signed = "".join(f", signed with key {key}" for key in reply["signed_by"])
    devices = ", ".join(reply["loaded"]) or "no devices"
    at = format_seconds(reply["clock_ns"])
    show(escape(f"loaded machine {running.name} at {at} from {reply['path']}: {devices}{later}{signed}"))
    show_skipped("skipped", reply["skipped"])
    show_skipped("left as it was", reply["left"])
    for tag in reply["unknown"]:
        show(escape(f"skipped: unknown tag {tag}"))


def _describe_dates(reply: "LoadReply") -> str:
    """Return which dates have moved on."""
    if not reply["dates_advanced"]:
        return ", no date has moved on: no loaded device keeps a running date, or less than a second has passed"
    return f", the date of {' and '.join(reply['dates_advanced'])} {reply['dates_advanced_s']} s later"


def _parse_renames(texts: list[str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not old or not equals or not new:
            raise UsageError(f"--map {text}: write OLD=NEW")
        if old in names:
            raise UsageError(f"--map {text}: {old} is already mapped to {names[old]}; map each device once")
        names[old] = new
    return names
