"""`chkpt save`: save a running machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chkpt.cli.options import (
    DEFAULT_STORE,
    ENCRYPTED,
    SUFFIX,
    AsJson,
    MachineName,
    OptionalSnapshot,
    Store,
    is_path,
    make_store,
    new_path,
    stamped_name,
)
from chkpt.cli.output import plain, seconds, show, show_json, show_skipped
from chkpt.cli.progress import watched
from chkpt.errors import ExistsError, UsageError
from chkpt.service.client import find

if TYPE_CHECKING:
    from chkpt.service.messages import SaveReply


def save(
    snapshot: OptionalSnapshot = None,
    *,
    machine: MachineName = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a snapshot that is there.")] = False,
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this secret key, from chkpt keygen.")
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option(
            "--recipient",
            "-r",
            metavar="R",
            help="Encrypt it so that only R can read it: age1..., an SSH key, or a file of these; may be repeated.",
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Save a running machine; it goes on.

    Without SNAPSHOT the snapshot is named after the machine and the time (UTC). An existing one is only replaced with
    --force, and then at once: whoever reads it has the old one or the new one, whole.

    An encrypted snapshot's file ends in .zst.age; its name is the same. It is signed inside.
    """
    running = find(machine)
    snapshot = stamped_name(running.name) if snapshot is None else snapshot
    recipients = _recipients(recipient or [])
    path = new_path(snapshot, store, encrypted=bool(recipients))
    if is_path(snapshot) and snapshot.rpartition("/")[2] in {"", ".", ".."}:
        raise UsageError(f"{snapshot} is the path of a directory, not of a snapshot's file")
    if not is_path(snapshot):
        make_store(path.parent)
        other = store.absolute() / f"{snapshot}{SUFFIX if recipients else ENCRYPTED}"
        if os.path.lexists(other):
            raise ExistsError(f"{other}: there is a snapshot of that name already; choose another, or chkpt rm it")
    key = None if sign is None else sign.absolute()

    def call() -> "SaveReply":
        return running.save(path, force=force, sign=key, recipients=recipients)

    reply = watched(running, "save", call, quiet=as_json)
    if as_json:
        show_json(reply)
        return
    show(
        plain(
            f"saved machine {running.name} at {seconds(reply['clock_ns'])} to {reply['path']}: "
            f"{', '.join(reply['saved']) or 'no devices'}, {reply['size']} bytes"
            + "".join(f", signed with key {key}" for key in reply["signed_by"])
            + (", encrypted" if reply["encrypted"] else "")
        )
    )
    show_skipped("skipped", reply["skipped"])


def _recipients(texts: list[str]) -> list[str]:
    """Return the recipients themselves; files of them are read here, where their paths are meant."""
    if not texts:
        return []
    from chkpt.seal.age import read_recipients

    return read_recipients(texts)
