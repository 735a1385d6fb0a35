"""`chkpt verify`: check snapshots byte for byte."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypedDict

import typer

from chkpt.cli.check import check_snapshot
from chkpt.cli.options import (
    DEFAULT_STORE,
    ENCRYPTED,
    AsJson,
    Identity,
    RequireSignature,
    Store,
    read_trusted,
    snapshot_path,
)
from chkpt.cli.output import escape, show, show_json
from chkpt.cli.progress import bar
from chkpt.errors import ChkptError, SealedError

NOT_CHECKED: Final = "encrypted, give --identity"

if TYPE_CHECKING:
    from chkpt.seal import TrustedKeys


def verify(
    snapshots: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SNAPSHOT]...",
            help="Files, if they have a / or end in .zst or .zst.age; else names in the store. "
            "Without any, the whole store.",
            show_default=False,
        ),
    ] = None,
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Also remove the temporary files of killed saves, in the same directories."),
    ] = False,
    identity: Identity = None,
    require_signature: RequireSignature = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Read every byte of each SNAPSHOT and check it against the digests in the file.

    All are checked, even if one is bad. The exit status is 4 if any is bad, else 3 if one does not exist, else 1 if one
    was not checked: an encrypted snapshot can only be read with --identity.

    --repair changes no snapshot, good or bad, and no temporary file that a running save has locked. Replace a bad
    snapshot from a copy, or remove it with chkpt rm.
    """
    keys = read_trusted(require_signature)
    paths = _find_all(store) if not snapshots else {each: snapshot_path(each, store) for each in snapshots}
    failures: dict[str, ChkptError] = {}
    unchecked: list[str] = []
    results: list[dict[str, object]] = []
    for name, path in paths.items():
        problem, checked = "", True
        try:
            _verify(name, path, identity, keys, quiet=as_json)
        except ChkptError as exc:
            checked = identity is not None or not isinstance(exc, SealedError)
            problem = str(exc) if checked else NOT_CHECKED
            if checked:
                failures[name] = exc
            else:
                unchecked.append(name)
        results.append({"snapshot": name, "path": str(path), "ok": not problem, "checked": checked, "problem": problem})
        if not as_json:
            verdict = f"bad: {problem}" if checked else f"not checked: {problem}"
            show(escape(f"{name}: {verdict}" if problem else f"{name}: good"))
    directories = {path.parent for path in paths.values()} if snapshots else {store.absolute()}
    repaired = _repair(sorted(directories)) if repair else None
    if as_json:
        show_json(results if repaired is None else {"snapshots": results, **repaired})
    elif repaired is not None:
        _show_repair(repaired)
    if failures:
        worst = max(failures.values(), key=lambda exc: exc.exit_status)
        raise type(worst)(f"{len(failures)} of {len(paths)} snapshots failed: {', '.join(map(escape, failures))}")
    if unchecked:
        names = ", ".join(map(escape, unchecked))
        raise ChkptError(f"{len(unchecked)} of {len(paths)} snapshots not checked: {names}: {NOT_CHECKED}")


def _find_all(store: Path) -> dict[str, Path]:
    from chkpt.store.local import LocalStore

    directory = LocalStore(store)
    paths = {each.name: directory.path(each.name).absolute() for each in directory.list() if not each.encrypted}
    encrypted = (each.name for each in directory.list() if each.encrypted)
    return paths | {f"{name}{ENCRYPTED}": directory.directory.absolute() / f"{name}{ENCRYPTED}" for name in encrypted}


class _Repair(TypedDict):
    removed: list[str]
    kept: dict[str, str]


def _repair(directories: Iterable[Path]) -> _Repair:
    from chkpt.store.files import clean

    repaired = _Repair(removed=[], kept={})
    for directory in directories:
        leavings = clean(directory)
        repaired["removed"] += [str(directory / name) for name in leavings.removed]
        repaired["kept"].update({str(directory / name): reason for name, reason in leavings.kept.items()})
    return repaired


def _show_repair(repaired: _Repair) -> None:
    for path in repaired["removed"]:
        show(escape(f"removed {path}, which a killed save left"))
    for path, reason in repaired["kept"].items():
        show(escape(f"kept {path}: {reason}"))


def _verify(name: str, path: Path, identity: Path | None, keys: "TrustedKeys | None", *, quiet: bool) -> None:
    from chkpt.seal import open_snapshot

    with open_snapshot(path, identity=identity, trusted=keys) as reader, bar(f"verify {name}", quiet=quiet) as progress:
        check_snapshot(reader, progress)
