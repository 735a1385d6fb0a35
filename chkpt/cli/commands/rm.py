"""`chkpt rm`: remove snapshots."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from chkpt.cli.options import DEFAULT_STORE, ENCRYPTED, SUFFIX, Store, snapshot_path
from chkpt.cli.output import escape, show
from chkpt.errors import NotFoundError, StorageError, UsageError


def rm(
    snapshots: Annotated[
        list[str],
        typer.Argument(
            metavar="SNAPSHOT...",
            help="Files, if they have a / or end in .zst or .zst.age; else names in the store.",
            show_default=False,
        ),
    ],
    *,
    store: Store = DEFAULT_STORE,
) -> None:
    """Remove every SNAPSHOT for good.

    All are checked before the first is removed: if one is missing, or is not a snapshot, none is removed. If the system
    then refuses to remove one, those before it are gone, and the message names the rest.

    A damaged snapshot can be removed, too. A file whose name does not end in .zst or .zst.age is removed only if it is
    a snapshot. Signatures beside a snapshot (FILE.sig) are removed with it.
    """
    paths = list(dict.fromkeys(snapshot_path(each, store) for each in snapshots))
    for path in paths:
        _require_snapshot(path)
    for number, path in enumerate(paths):
        _remove(path, paths[number + 1 :])
        show(f"removed {escape(str(path))}")


def _require_snapshot(path: Path) -> None:
    """Raise ChkptError if `path` is not a snapshot that may be removed."""
    if not os.path.lexists(path):
        raise NotFoundError("there is no such snapshot; nothing has been removed", where=str(path))
    if path.is_dir() and not path.is_symlink():
        raise UsageError(f"{path} is a directory, not a snapshot; nothing has been removed")
    if not path.name.endswith((SUFFIX, ENCRYPTED)):
        from chkpt.snapshot import Reader

        Reader.open(path).close()


def _remove(path: Path, others: Sequence[Path]) -> None:
    """Remove a file durably: it stays removed after a power failure. `others` are the next ones, for the message."""
    from chkpt.store.publish import remove_snapshot

    try:
        remove_snapshot(path)
    except OSError as exc:
        left = f"; not removed either: {', '.join(map(str, others))}" if others else ""
        raise StorageError(f"{exc.strerror}{left}", where=str(path)) from exc
