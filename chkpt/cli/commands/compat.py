"""`chkpt compat`: whether a snapshot can be loaded here, or by the machine of another one."""

from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Store, saved_path
from chkpt.cli.output import plain, show, show_json
from chkpt.errors import RefusedError


def compat(
    old: Annotated[str, typer.Argument(metavar="OLD", help="What would be loaded: a name or a file.")],
    new: Annotated[
        str | None,
        typer.Argument(
            metavar="[NEW]", help="A snapshot of the machine that would load it; left out: what is installed."
        ),
    ] = None,
    *,
    strict: Annotated[
        bool, typer.Option("--strict", help="What is lost or missing counts, too, as for a strict load.")
    ] = False,
    identity: Identity = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Tell what would fail or be lost if OLD were loaded: by the installed types, or by the machine in NEW.

    The exit status is 0 if it could be loaded, 4 if not. Nothing is loaded, so no signature is asked for, and the
    bytes of RAM and disks are not read: chkpt verify does that.
    """
    from chkpt.compat import STRICT, Outcome, compare, installed, machine_of
    from chkpt.seal import open_snapshot

    with open_snapshot(saved_path(old, store), identity=identity) as reader:
        if new is None:
            found = compare(reader, installed())
        else:
            with open_snapshot(saved_path(new, store), identity=identity) as other:
                found = compare(reader, machine_of(other))
    bad = STRICT if strict else {Outcome.FAILS}
    compatible = not any(each.outcome in bad for each in found)
    if as_json:
        rows = [{"outcome": each.outcome.value, "path": each.path, "text": each.text} for each in found]
        show_json({"compatible": compatible, "findings": rows})
    else:
        for each in found:
            show(plain(f"{each.outcome.value}: {each.path} {each.text}"))
        show("compatible" if compatible else "not compatible")
    if not compatible:
        raise typer.Exit(RefusedError.exit_status)
