"""`chkpt save`: save a running machine."""

from typing import Annotated

import typer

from chkpt.cli.destination import describe_sealing, make_place, make_save_request
from chkpt.cli.options import (
    DEFAULT_STORE,
    AsJson,
    MachineName,
    OptionalSnapshot,
    Recipients,
    Sign,
    Store,
    make_stamped_name,
)
from chkpt.cli.output import escape, format_seconds, show, show_json, show_skipped
from chkpt.cli.progress import call_with_bar


def save(
    snapshot: OptionalSnapshot = None,
    *,
    machine: MachineName = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace an existing snapshot, but no other file.")
    ] = False,
    sign: Sign = None,
    recipient: Recipients = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Save a running machine; it goes on.

    Without SNAPSHOT the snapshot is named after the machine and the time (UTC). An existing snapshot is replaced only
    with --force, and in one step: a reader sees the whole old one or the whole new one.

    The file of an encrypted snapshot ends in .zst.age; the snapshot's name is the same. The signature is inside.
    """
    from chkpt.service.http.client import find

    running = find(machine)
    snapshot = make_stamped_name(running.name) if snapshot is None else snapshot
    request = make_save_request(snapshot, store, force=force, sign=sign, recipients=recipient)
    make_place(snapshot, store)
    reply = call_with_bar(running, "save", lambda: running.save(request), quiet=as_json)
    if as_json:
        show_json(reply)
        return
    show(
        escape(
            f"saved machine {running.name} at {format_seconds(reply['clock_ns'])} to {reply['path']}: "
            f"{', '.join(reply['saved']) or 'no devices'}, {reply['size']} bytes" + describe_sealing(reply)
        )
    )
    show_skipped("skipped", reply["skipped"])
