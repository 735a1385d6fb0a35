"""`chkpt save`: save a running machine."""

from typing import Annotated

import typer

from chkpt.cli.destination import make_place, save_request, sealed
from chkpt.cli.options import (
    DEFAULT_STORE,
    AsJson,
    MachineName,
    OptionalSnapshot,
    Recipients,
    Sign,
    Store,
    stamped_name,
)
from chkpt.cli.output import plain, seconds, show, show_json, show_skipped
from chkpt.cli.progress import watched


def save(
    snapshot: OptionalSnapshot = None,
    *,
    machine: MachineName = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a snapshot that is there, but no other file.")
    ] = False,
    sign: Sign = None,
    recipient: Recipients = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Save a running machine; it goes on.

    Without SNAPSHOT the snapshot is named after the machine and the time (UTC). An existing one is only replaced with
    --force, and then at once: whoever reads it has the old one or the new one, whole.

    An encrypted snapshot's file ends in .zst.age; its name is the same. It is signed inside.
    """
    from chkpt.service.http.client import find

    running = find(machine)
    snapshot = stamped_name(running.name) if snapshot is None else snapshot
    request = save_request(snapshot, store, force=force, sign=sign, recipients=recipient)
    make_place(snapshot, store)
    reply = watched(running, "save", lambda: running.save(request), quiet=as_json)
    if as_json:
        show_json(reply)
        return
    show(
        plain(
            f"saved machine {running.name} at {seconds(reply['clock_ns'])} to {reply['path']}: "
            f"{', '.join(reply['saved']) or 'no devices'}, {reply['size']} bytes" + sealed(reply)
        )
    )
    show_skipped("skipped", reply["skipped"])
