"""`chkpt save`: save a running machine."""

from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, MachineName, OptionalSnapshot, Store, snapshot_path, stamped_name
from chkpt.cli.output import seconds, show, show_json, show_skipped
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
    path = snapshot_path(stamped_name(running.name) if snapshot is None else snapshot, store)
    if path.parent == store.absolute():
        store.mkdir(parents=True, exist_ok=True)
    reply = running.save(path, force=force)
    if as_json:
        show_json(reply)
        return
    show(
        f"saved machine {running.name} at {seconds(reply['clock_ns'])} to {reply['path']}: "
        f"{', '.join(reply['saved']) or 'no devices'}, {reply['size']} bytes"
    )
    show_skipped("skipped", reply["skipped"])
