"""Arguments and options that several commands have, and what they mean."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import typer

from chkpt.errors import ChkptError, NotFoundError, UsageError

if TYPE_CHECKING:
    from chkpt.seal import TrustedKeys

DEFAULT_STORE: Final = Path("snapshots")
"""Where named snapshots lie unless `--store` or CHKPT_STORE tells another place."""

SUFFIX: Final = ".zst"
"""What a snapshot's file name ends in."""

ENCRYPTED: Final = f"{SUFFIX}.age"
"""What the file name of an encrypted snapshot ends in."""

PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,150}")
"""Names that any store takes. To ask the store costs half as much again as a command's whole start."""


def _machines(incomplete: str) -> Iterable[str]:
    from chkpt.service.directory import running

    with suppress(ChkptError):  # a half-typed command is no place for a complaint
        return [name for name in running() if name.startswith(incomplete)]
    return []


def _snapshots(incomplete: str) -> Iterable[str]:
    store = Path(os.environ.get("CHKPT_STORE", DEFAULT_STORE))
    found = {path.name.removesuffix(ending) for ending in (SUFFIX, ENCRYPTED) for path in store.glob(f"*{ending}")}
    return sorted(name for name in found if name.startswith(incomplete))


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
        "--store",
        metavar="DIR",
        envvar="CHKPT_STORE",
        file_okay=False,
        readable=False,  # else nobody's --store is called an invalid value: what reads the store says why it cannot
        help="Where snapshots are kept by name.",
    ),
]

_SNAPSHOT: Final = "A file, if it has a / or ends in .zst or .zst.age; else a name in the store."

Snapshot: TypeAlias = Annotated[str, typer.Argument(autocompletion=_snapshots, metavar="SNAPSHOT", help=_SNAPSHOT)]

Drives: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DRIVE=PATH[,format=raw]", help="The image of a drive: ide0.0=disk.img; ide1.0=none leaves it empty."
    ),
]

RAW: Final = ",format=raw"
"""The end of an image's path that takes the file as it is, whatever it looks like."""

NO_MEDIUM: Final = "none"
"""What stands for no medium in place of the path of an image."""

Dates: TypeAlias = Annotated[
    Literal["freeze", "wall"] | None,
    typer.Option(
        "--time",
        help="The date of the guest's battery-backed clock: as it was saved (the default), or later by the time since.",
    ),
]

OptionalSnapshot: TypeAlias = Annotated[
    str | None, typer.Argument(autocompletion=_snapshots, metavar="[SNAPSHOT]", help=_SNAPSHOT)
]

Identity: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        envvar="CHKPT_IDENTITY",
        help="What opens an encrypted snapshot: an identity of age, or an SSH key.",
    ),
]

RequireSignature: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--require-signature",
        metavar="KEYS",
        envvar="CHKPT_REQUIRE_SIGNATURE",
        help="Refuse what none of these public keys has signed: a file, or a directory of *.pub; may be repeated.",
    ),
]

Sign: TypeAlias = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this secret key, from chkpt keygen.")
]

Recipients: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        "-r",
        metavar="R",
        help="Encrypt it so that only R can read it: age1..., an SSH key, or a file of these; may be repeated.",
    ),
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def is_path(snapshot: str) -> bool:
    """Whether SNAPSHOT is a file's path, not a name in the store."""
    return "/" in snapshot or snapshot.endswith((SUFFIX, ENCRYPTED))


def snapshot_path(snapshot: str, store: Path) -> Path:
    """Return the absolute path of the file that SNAPSHOT means: an encrypted one, where only that is in the store.

    Raises:
        UsageError: it cannot be a snapshot's name, or the store has both.
    """
    path = new_path(snapshot, store, encrypted=False)
    if is_path(snapshot):
        return path
    encrypted = path.with_name(path.name.removesuffix(SUFFIX) + ENCRYPTED)
    if not os.path.lexists(encrypted):
        return path
    if os.path.lexists(path):
        raise UsageError(f"{path.parent} has both {path.name} and {encrypted.name}: give the path of one")
    return encrypted


def saved_path(snapshot: str, store: Path) -> Path:
    """Return what `snapshot_path` does, for a command that cannot do without the file.

    Raises:
        UsageError: see `snapshot_path`.
        NotFoundError: SNAPSHOT is a file's name, such as `boot.zst`. It is not there, but the store has such a file.
    """
    path = snapshot_path(snapshot, store)
    if is_path(snapshot) and "/" not in snapshot and not os.path.lexists(path) and os.path.lexists(store / snapshot):
        name = snapshot.removesuffix(ENCRYPTED).removesuffix(SUFFIX)
        raise NotFoundError(f"{path}: there is no such snapshot; the store {store} has one: give its name, {name}")
    return path


def new_path(snapshot: str, store: Path, *, encrypted: bool) -> Path:
    """Return the absolute path of the file that SNAPSHOT will be.

    Raises:
        UsageError: it cannot be a snapshot's name, or not that of an encrypted one.
    """
    if is_path(snapshot):
        if "\0" in snapshot:
            raise UsageError(f"{snapshot!a} cannot be a file's name: it has a NUL byte")
        if encrypted and not snapshot.endswith(ENCRYPTED):
            raise UsageError(f"{snapshot}: the file name of an encrypted snapshot ends in {ENCRYPTED}")
        return Path(snapshot).absolute()
    if not PLAIN_NAME.fullmatch(snapshot):
        from chkpt.store import check_name

        check_name(snapshot)
    return (store / f"{snapshot}{ENCRYPTED if encrypted else SUFFIX}").absolute()


def images(drives: list[str] | None) -> dict[str, dict[str, object] | None]:
    """Return what `--drive` gives: the backend of each drive's image, None for no medium. Raise UsageError."""
    found: dict[str, dict[str, object] | None] = {}
    for text in drives or ():
        drive, equals, path = text.partition("=")
        if not drive or not equals or not path.removesuffix(RAW) or "\0" in path:
            raise UsageError(f"--drive {text}: write ide0.0=PATH[,format=raw], or ide0.0={NO_MEDIUM} for no medium")
        found[drive] = None if path == NO_MEDIUM else image_table(path)
    return found


def image_table(path: str) -> dict[str, object]:
    """Return the backend of the image at `path`, which may end in `,format=raw`; its path is made absolute."""
    table: dict[str, object] = {"type": "image", "path": str(Path(path.removesuffix(RAW)).absolute())}
    return {**table, "format": "raw"} if path.endswith(RAW) else table


def trusted(paths: list[Path] | None) -> "TrustedKeys | None":
    """Return the keys that `--require-signature` names, None where it does not. Raises as `trusted_keys` does."""
    if not paths:
        return None
    from chkpt.seal import trusted_keys

    return trusted_keys(paths)


def stamped_name(machine: str) -> str:
    """Return a name for a snapshot made now: the machine's name and the time in UTC."""
    now = datetime.now(UTC)
    return f"{machine}-{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z"


def make_store(store: Path) -> None:
    """Make the store's directory, where it is not there yet, so that it lasts. Raise StorageError."""
    if not store.is_dir():
        from chkpt.store.files import make_directory

        make_directory(store)
