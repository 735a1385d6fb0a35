"""`chkpt compat`: check whether a snapshot can be loaded here, or by the machine of another snapshot."""

from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Store, saved_path
from chkpt.cli.output import escape, show, show_json
from chkpt.errors import RefusedError


def compat(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The snapshot to load: a name or a file.")],
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="[NEW]", help="A snapshot of the machine that would load it; without it, the installed types."
        ),
    ] = None,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also fail if something is lost or missing, as a strict load does.")
    ] = False,
    identity: Identity = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what would fail or be lost if OLD were loaded: by the installed types, or by the machine in NEW.

    The exit status is 0 if it could be loaded, 4 if not. Nothing is loaded: signatures are not checked, and the bytes
    of RAM and disks are not read, which chkpt verify does.
    """
    from chkpt.compat import STRICT, Effect, compare, installed_target, machine_target
    from chkpt.seal import open_snapshot

    with open_snapshot(saved_path(old, store), identity=identity) as reader:
        if new is None:
            found = compare(reader, installed_target())
        else:
            with open_snapshot(saved_path(new, store), identity=identity) as other:
                found = compare(reader, machine_target(other))
    bad = STRICT if strict else {Effect.FAILS}
    compatible = not any(each.outcome in bad for each in found)
    if as_json:
        rows = [{"outcome": each.outcome.value, "path": each.path, "text": each.text} for each in found]
        show_json({"compatible": compatible, "findings": rows})
    else:
        for each in found:
            show(escape(f"{each.outcome.value}: {each.path} {each.text}"))
        show("compatible" if compatible else "not compatible")
    if not compatible:
        raise typer.Exit(RefusedError.exit_status)
