"""`chkpt media`: show and change the media in the drives of a running machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chkpt.cli.options import RAW, AsJson, MachineName
from chkpt.cli.output import escape, show, show_columns, show_json
from chkpt.cli.values import format_size
from chkpt.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import DriveInfo

EJECT: Final = "eject"
"""Given in place of a path: take the medium out."""


def media(
    drive: Annotated[
        str | None, typer.Argument(metavar="[DRIVE", help="Which drive, such as ide1.0; without it, all.")
    ] = None,
    change: Annotated[
        str | None,
        typer.Argument(
            metavar="[eject|PATH]]",
            help="Take the medium out, or insert the image PATH[,format=raw]; for a file named eject, ./eject.",
        ),
    ] = None,
    *,
    machine: MachineName = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Open a tray that the guest has locked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in the drives of a running machine; take a disc out of a drive, or insert one.

    The guest sees the same as if the drive's button were pressed: `eject` leaves the tray open, and an image is a new
    disc in a closed tray. If the guest has locked the tray, nothing is done without --force. Hard disks do not change
    while a machine runs; a load can change them (chkpt load --drive).

    A snapshot saved from now on names the new disc and needs it for a load.
    """
    from chkpt.service.http.client import find

    if force and change is None:
        raise UsageError("--force goes with eject or PATH")
    if change is not None and (not change.removesuffix(RAW) or "\0" in change):
        raise UsageError(f"{change!a} is not a path of an image; write PATH[,format=raw] or {EJECT}")
    running = find(machine)
    if drive is None or change is None:
        found = _select_drives(running.media()["drives"], drive)
        if as_json:
            show_json(found)
        elif found:
            show_columns(["DRIVE", "MEDIUM", "SIZE", "TRAY"], list(map(_row, found)))
        return
    path = None if change == EJECT else Path(change.removesuffix(RAW)).absolute()
    reply = running.change_medium(drive, path, force=force, raw=change.endswith(RAW))
    if as_json:
        show_json(reply)
    else:
        _, medium, count, tray = _row(reply)
        what = f"the tray is {tray} and empty" if reply["medium"] is None else f"{medium}, {count}"
        show(escape(f"drive {drive} of machine {running.name}: {what}"))


def _select_drives(drives: "list[DriveInfo]", name: str | None) -> "list[DriveInfo]":
    """Return the drive of this name, or all drives if it is None. Raise NotFoundError."""
    found = [drive for drive in drives if name in {None, drive["drive"]}]
    if name is not None and not found:
        known = ", ".join(drive["drive"] for drive in drives) or "none"
        raise NotFoundError(f"no drive {name}; there are: {known}")
    return found


def _row(drive: "DriveInfo") -> list[str]:
    medium = drive["medium"]
    tray = "open" if drive["tray_open"] else "locked" if drive["locked"] else "closed"
    return [
        drive["drive"],
        "-" if medium is None else medium["path"] or medium["type"],
        "-" if medium is None else format_size(medium["size"]),
        tray if drive["removable"] else "-",
    ]
