"""Arguments and options that several commands share, and what they mean."""

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
"""Where named snapshots are kept unless `--store` or CHKPT_STORE names another place."""

SUFFIX: Final = ".zst"
"""What a snapshot's file name ends in."""

ENCRYPTED: Final = f"{SUFFIX}.age"
"""What the file name of an encrypted snapshot ends in."""

PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,150}")
"""Names that every store takes. For these the slow import of `chkpt.store` is not needed."""


def _machines(incomplete: str) -> Iterable[str]:
    from chkpt.service.directory import running

    with suppress(ChkptError):  # completion must not print errors
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
        help="Which running machine; not needed if only one runs.",
    ),
]

Store: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="DIR",
        envvar="CHKPT_STORE",
        file_okay=False,
        readable=False,  # typer would say only "invalid value"; the code that reads the store names the reason
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
"""At the end of an image's path: take the file as a raw image, whatever its bytes look like."""

NO_MEDIUM: Final = "none"
"""Given in place of an image's path: no medium."""

Dates: TypeAlias = Annotated[
    Literal["freeze", "wall"] | None,
    typer.Option(
        "--time",
        help="The date of the guest's battery-backed clock: as it was saved (freeze, the default), "
        "or later by the time since the save (wall).",
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
        help="The secret key that opens an encrypted snapshot: an age identity, or an SSH key.",
    ),
]

RequireSignature: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--require-signature",
        metavar="KEYS",
        envvar="CHKPT_REQUIRE_SIGNATURE",
        help="Refuse a snapshot that none of these public keys has signed: a file, or a directory of *.pub; "
        "may be repeated.",
    ),
]

Sign: TypeAlias = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY", help="Sign the snapshot with this secret key of chkpt keygen."),
]

Recipients: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        "-r",
        metavar="R",
        help="Encrypt the snapshot for R: age1..., an SSH key, or a file of these; may be repeated.",
    ),
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def is_path(snapshot: str) -> bool:
    """Whether SNAPSHOT is a file's path, not a name in the store."""
    return "/" in snapshot or snapshot.endswith((SUFFIX, ENCRYPTED))


def snapshot_path(snapshot: str, store: Path) -> Path:
    """Return the absolute path of the file that SNAPSHOT means. If the store has only an encrypted one, that is it.

    Raises:
        UsageError: SNAPSHOT cannot be the name of a snapshot, or the store has both files.
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
    """Return the same as `snapshot_path`, for a command that needs the file to exist.

    Raises:
        UsageError: see `snapshot_path`.
        NotFoundError: SNAPSHOT is a file name such as `boot.zst`. No such file is here, but the store has one.
    """
    path = snapshot_path(snapshot, store)
    if is_path(snapshot) and "/" not in snapshot and not os.path.lexists(path) and os.path.lexists(store / snapshot):
        name = snapshot.removesuffix(ENCRYPTED).removesuffix(SUFFIX)
        raise NotFoundError(f"{path}: there is no such snapshot; the store {store} has one: give its name, {name}")
    return path


def new_path(snapshot: str, store: Path, *, encrypted: bool) -> Path:
    """Return the absolute path of the file that SNAPSHOT will be.

    Raises:
        UsageError: SNAPSHOT cannot be the name of a snapshot, or not of an encrypted one.
    """
    if is_path(snapshot):
        if "\0" in snapshot:
            raise UsageError(f"{snapshot!a} cannot be a file's name: it has a NUL byte")
        if encrypted and not snapshot.endswith(ENCRYPTED):
            raise UsageError(f"{snapshot}: the file name of an encrypted snapshot ends in {ENCRYPTED}")
        return Path(snapshot).absolute()
    if not PLAIN_NAME.fullmatch(snapshot):
        from chkpt.store import check_snapshot_name

        check_snapshot_name(snapshot)
    return (store / f"{snapshot}{ENCRYPTED if encrypted else SUFFIX}").absolute()


def parse_drives(drives: list[str] | None) -> dict[str, dict[str, object] | None]:
    """Return the backend of each drive's image that `--drive` gives, None for no medium. Raise UsageError."""
    found: dict[str, dict[str, object] | None] = {}
    for text in drives or ():
        drive, equals, path = text.partition("=")
        if not drive or not equals or not path.removesuffix(RAW) or "\0" in path:
            raise UsageError(f"--drive {text}: write ide0.0=PATH[,format=raw], or ide0.0={NO_MEDIUM} for no medium")
        found[drive] = None if path == NO_MEDIUM else image_table(path)
    return found


def image_table(path: str) -> dict[str, object]:
    """Return the backend of the image at `path`, with an absolute path. `path` may end in `,format=raw`."""
    table: dict[str, object] = {"type": "image", "path": str(Path(path.removesuffix(RAW)).absolute())}
    return {**table, "format": "raw"} if path.endswith(RAW) else table


def read_trusted(paths: list[Path] | None) -> "TrustedKeys | None":
    """Return the keys that `--require-signature` names, None if it is not given. Raise as `trusted_keys` does."""
    if not paths:
        return None
    from chkpt.seal import trusted_keys

    return trusted_keys(paths)


def make_stamped_name(machine: str) -> str:
    """Return a name for a snapshot: the machine's name and the time now, in UTC."""
    now = datetime.now(UTC)
    return f"{machine}-{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z"


def make_store(store: Path) -> None:
    """Make the store's directory durably if it does not exist. Raise StorageError."""
    if not store.is_dir():
        from chkpt.store.files import make_directory

        make_directory(store)
