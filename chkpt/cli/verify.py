"""`chkpt verify`: check snapshots byte for byte."""

from pathlib import Path
from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Store, snapshot_path
from chkpt.cli.output import plain, show, show_json
from chkpt.errors import ChkptError


def verify(
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SNAPSHOT]...",
            help="Files, if they have a / or end in .zst; else names in the store. All of the store if none is given.",
            show_default=False,
        ),
    ] = None,
    *,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Read every byte of each SNAPSHOT and check it against the digests in the file.

    All are checked, also when one is bad. The exit status is 4 if any is, else 3 if one is not there.
    """
    paths = _all(store) if not snapshots else {each: snapshot_path(each, store) for each in snapshots}
    failures: dict[str, ChkptError] = {}
    results: list[dict[str, object]] = []
    for name, path in paths.items():
        problem = ""
        try:
            _verify(path)
        except ChkptError as exc:
            failures[name] = exc
            problem = str(exc)
        results.append({"snapshot": name, "path": str(path), "ok": not problem, "problem": problem})
        if not as_json:
            show(plain(f"{name}: bad: {problem}" if problem else f"{name}: good"))
    if as_json:
        show_json(results)
    if failures:
        worst = max(failures.values(), key=lambda exc: exc.exit_status)
        raise type(worst)(f"{len(failures)} of {len(paths)} snapshots failed: {', '.join(map(plain, failures))}")


def _all(store: Path) -> dict[str, Path]:
    from chkpt.store.local import LocalStore

    directory = LocalStore(store)
    return {each.name: directory.path(each.name).absolute() for each in directory.list()}


def _verify(path: Path) -> None:
    from chkpt.snapshot import Reader

    with Reader.open(path) as reader:
        reader.verify()
