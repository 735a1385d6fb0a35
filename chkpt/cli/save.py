"""`chkpt save`: save a running machine."""

from typing import Annotated

import typer

from chkpt.cli.options import (
    DEFAULT_STORE,
    AsJson,
    MachineName,
    OptionalSnapshot,
    Store,
    is_path,
    make_store,
    snapshot_path,
    stamped_name,
)
from chkpt.cli.output import plain, seconds, show, show_json, show_skipped
from chkpt.errors import UsageError
from chkpt.service.client import find


def save(
    snapshot: OptionalSnapshot = None,
    *,
    machine: MachineName = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace a snapshot that is there.")] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Save a running machine; it goes on.

    Without SNAPSHOT the snapshot is named after the machine and the time (UTC). An existing one is only replaced with
    --force, and then at once: whoever reads it has the old one or the new one, whole.
    """
    running = find(machine)
    snapshot = stamped_name(running.name) if snapshot is None else snapshot
    path = snapshot_path(snapshot, store)
    if is_path(snapshot) and snapshot.rpartition("/")[2] in {"", ".", ".."}:
        raise UsageError(f"{snapshot} is the path of a directory, not of a snapshot's file")
    if not is_path(snapshot):
        make_store(path.parent)
    reply = running.save(path, force=force)
    if as_json:
        show_json(reply)
        return
    show(
        plain(
            f"saved machine {running.name} at {seconds(reply['clock_ns'])} to {reply['path']}: "
            f"{', '.join(reply['saved']) or 'no devices'}, {reply['size']} bytes"
        )
    )
    show_skipped("skipped", reply["skipped"])
