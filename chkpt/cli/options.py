"""Arguments and options that several commands have, and what they mean."""

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from chkpt.errors import ChkptError, UsageError

DEFAULT_STORE: Final = Path("snapshots")
"""Where named snapshots lie unless `--store` or CHKPT_STORE tells another place."""

SUFFIX: Final = ".zst"
"""What a snapshot's file name ends in."""

PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,150}")
"""Names that any store takes. To ask the store costs half as much again as a command's whole start."""


def _machines(incomplete: str) -> Iterable[str]:
    from chkpt.service.directory import running

    with suppress(ChkptError):  # a half-typed command is no place for a complaint
        return [name for name in running() if name.startswith(incomplete)]
    return []


def _snapshots(incomplete: str) -> Iterable[str]:
    import os

    store = Path(os.environ.get("CHKPT_STORE", DEFAULT_STORE))
    return sorted(path.stem for path in store.glob(f"*{SUFFIX}") if path.name.startswith(incomplete))


MachineName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--machine",
        "-m",
        metavar="NAME",
        autocompletion=_machines,
        help="Which running machine; may be left out when only one runs.",
    ),
]

Store: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--store", metavar="DIR", envvar="CHKPT_STORE", file_okay=False, help="Where snapshots are kept by name."
    ),
]

_SNAPSHOT: Final = "A file, if it has a / or ends in .zst; else a name in the store."

Snapshot: TypeAlias = Annotated[str, typer.Argument(autocompletion=_snapshots, metavar="SNAPSHOT", help=_SNAPSHOT)]

OptionalSnapshot: TypeAlias = Annotated[
    str | None, typer.Argument(autocompletion=_snapshots, metavar="[SNAPSHOT]", help=_SNAPSHOT)
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def is_path(snapshot: str) -> bool:
    """Whether SNAPSHOT is a file's path, not a name in the store."""
    return "/" in snapshot or snapshot.endswith(SUFFIX)


def snapshot_path(snapshot: str, store: Path) -> Path:
    """Return the absolute path of the file that SNAPSHOT means.

    Raises:
        UsageError: it cannot be a snapshot's name.
    """
    if is_path(snapshot):
        if "\0" in snapshot:
            raise UsageError(f"{snapshot!a} cannot be a file's name: it has a NUL byte")
        return Path(snapshot).absolute()
    if not PLAIN_NAME.fullmatch(snapshot):
        from chkpt.store import check_name

        check_name(snapshot)
    return (store / f"{snapshot}{SUFFIX}").absolute()


def stamped_name(machine: str) -> str:
    """Return a name for a snapshot made now: the machine's name and the time in UTC."""
    now = datetime.now(UTC)
    return f"{machine}-{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z"


def make_store(store: Path) -> None:
    """Make the store's directory, where it is not there yet, so that it lasts. Raise StorageError."""
    if not store.is_dir():
        from chkpt.store.files import make_directory

        make_directory(store)
