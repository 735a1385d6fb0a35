"""`chkpt media`: show what is in the drives of a running machine, and change it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chkpt.cli.options import RAW, AsJson, MachineName
from chkpt.cli.output import plain, show, show_columns, show_json
from chkpt.cli.values import size
from chkpt.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import DriveInfo

EJECT: Final = "eject"
"""What is given in place of a path to take a medium out."""


def media(
    drive: Annotated[
        str | None, typer.Argument(metavar="[DRIVE", help="Which drive: ide1.0. All when left out.")
    ] = None,
    change: Annotated[
        str | None,
        typer.Argument(
            metavar="[eject|PATH]]",
            help="Take its medium out, or put this image in: PATH[,format=raw], ./eject for a file.",
        ),
    ] = None,
    *,
    machine: MachineName = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Open a tray that the guest has locked.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in the drives of a running machine; take a disc out of one, or put one in.

    The guest sees what the button of the drive would do: `eject` leaves the tray open, and an image is a new disc in a
    closed tray. A guest that uses a disc may have locked the tray, and then nothing is done without --force. Hard disks
    are not changed while a machine runs: a load can bring others (chkpt load --drive).

    A snapshot saved from now on has the new disc, and is loaded with it.
    """
    from chkpt.service.http.client import find

    if force and change is None:
        raise UsageError("--force goes with eject or PATH")
    if change is not None and (not change.removesuffix(RAW) or "\0" in change):
        raise UsageError(f"{change!a} is no path of an image, and not {EJECT}")
    running = find(machine)
    if drive is None or change is None:
        found = _named(running.media()["drives"], drive)
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
        show(plain(f"drive {drive} of machine {running.name}: {what}"))


def _named(drives: "list[DriveInfo]", name: str | None) -> "list[DriveInfo]":
    """Return the drive of this name; all without one. Raise NotFoundError."""
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
        "-" if medium is None else size(medium["size"]),
        tray if drive["removable"] else "-",
    ]
