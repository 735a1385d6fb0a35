"""`chkpt diff`: what differs between two snapshots."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Store, saved_path
from chkpt.cli.output import plain, show, show_json
from chkpt.cli.values import MAX_BYTES, shown, size
from chkpt.errors import ChkptError, UsageError

if TYPE_CHECKING:
    from chkpt.context import Value
    from chkpt.snapshot.describe import Json
    from chkpt.snapshot.diff import BlobChange, Diff, TagChange

DIFFERENT: Final = 1
"""The exit status where the two differ, as of diff(1)."""

MAX_RANGES: Final = 16
"""So many ranges of one blob or run of bytes are shown; --json has all."""

COLOURS: Final = {"+": "green", "-": "red", "~": "yellow"}


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A snapshot: a name in the store, or a file as elsewhere.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The snapshot that A is compared with.")],
    *,
    identity: Identity = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what differs between the machines in two snapshots, from A to B.

    A line begins with + for what only B has, with - for what only A has, with ~ for what changed. Of blobs and long
    runs of bytes the ranges that changed are shown, first and last byte. What the headers say about the writing of
    the files (time, program) is not compared. --identity opens whichever of the two is encrypted, or both.

    \b
    Exit status:
      0  the same
      1  different
      2  the request itself is wrong, a file cannot be read, or an extra of chkpt is not installed
      3  no such snapshot
      4  a snapshot was refused: corrupt, too new, or encrypted for others
    """
    from chkpt.seal import open_snapshot
    from chkpt.snapshot.diff import compare

    try:
        with (
            open_snapshot(saved_path(a, store), identity=identity) as old,
            open_snapshot(saved_path(b, store), identity=identity) as new,
        ):
            found = compare(old.checkpoint(keep=False), new.checkpoint(keep=False))
    except ChkptError as exc:
        if exc.exit_status != DIFFERENT:
            raise
        raise UsageError(str(exc)) from exc  # its own status would say that the two differ
    if as_json:
        show_json(_json(found))
    else:
        _show(plain(line) for line in _lines(found))
    if found:
        raise typer.Exit(DIFFERENT)


# -- lines ------------------------------------------------------------------------------------------------------------


def _show(lines: Iterator[str]) -> None:
    if not sys.stdout.isatty():
        for line in lines:
            show(line)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line in lines:
        console.print(Text(line, COLOURS[line[0]]), soft_wrap=True)


def _lines(found: "Diff") -> Iterator[str]:
    for change in found.header:
        yield from _tag_lines("header", change)
    for path in found.removed:
        yield f"- {'/'.join(path)}"
    for path in found.added:
        yield f"+ {'/'.join(path)}"
    for each in found.types:
        (old, old_version), (new, new_version) = each.old, each.new
        yield f"~ {'/'.join(each.path)}: type {old}, version {old_version} -> type {new}, version {new_version}"
    for change in found.tags:
        yield from _tag_lines("/".join(change.path), change)
    for blob in found.blobs:
        yield from _blob_lines(blob)


def _tag_lines(where: str, change: "TagChange") -> Iterator[str]:
    from chkpt.snapshot.diff import Absent

    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in change.steps)
    name, old, new = f"{where}.{change.tag}{steps}", change.old, change.new
    if isinstance(new, Absent):
        yield f"- {name}: {'' if isinstance(old, Absent) else shown(old)}"
    elif isinstance(old, Absent):
        yield f"+ {name}: {shown(new)}"
    elif isinstance(old, bytes) and isinstance(new, bytes) and max(len(old), len(new)) > MAX_BYTES:
        yield from _bytes_lines(name, old, new)
    else:
        yield f"~ {name}: {shown(old)} -> {shown(new)}"


def _bytes_lines(name: str, old: bytes, new: bytes) -> Iterator[str]:
    from chkpt.snapshot.diff import changed_bytes

    if len(old) != len(new):
        yield f"~ {name}: {len(old)} bytes -> {len(new)} bytes"
    ranges = list(changed_bytes(old, new))
    for first, end in ranges[:MAX_RANGES]:
        yield f"~ {name} at {first:#x}-{end - 1:#x}: {shown(old[first:end])} -> {shown(new[first:end])}"
    if len(ranges) > MAX_RANGES:
        yield f"~ {name}: {len(ranges) - MAX_RANGES} more ranges"


def _blob_lines(change: "BlobChange") -> Iterator[str]:
    name = f"{'/'.join(change.path)}.{change.tag}"
    if change.new_size is None:
        yield f"- {name}: blob of {change.old_size} bytes"
        return
    if change.old_size is None:
        yield f"+ {name}: blob of {change.new_size} bytes"
        return
    if change.old_size != change.new_size:
        yield f"~ {name}: {change.old_size} bytes -> {change.new_size} bytes"
    for first, end in change.ranges[:MAX_RANGES]:
        yield f"~ {name} at {first:#x}-{end - 1:#x}: {size(end - first)}"
    if len(change.ranges) > MAX_RANGES:
        yield f"~ {name}: {len(change.ranges) - MAX_RANGES} more ranges"


# -- for a program ----------------------------------------------------------------------------------------------------


def _json(found: "Diff") -> "dict[str, Json]":
    return {
        "same": not found,
        "header": [{"tag": change.tag, **_json_tag(change)} for change in found.header],
        "removed": ["/".join(path) for path in found.removed],
        "added": ["/".join(path) for path in found.added],
        "types": [
            {
                "path": "/".join(change.path),
                "old": {"type": change.old[0], "version": change.old[1]},
                "new": {"type": change.new[0], "version": change.new[1]},
            }
            for change in found.types
        ],
        "tags": [{"path": "/".join(change.path), "tag": change.tag, **_json_tag(change)} for change in found.tags],
        "blobs": [
            {
                "path": "/".join(change.path),
                "tag": change.tag,
                "old_size": change.old_size,
                "new_size": change.new_size,
                "ranges": [[first, end] for first, end in change.ranges],
            }
            for change in found.blobs
        ],
    }


def _json_tag(change: "TagChange") -> "dict[str, Json]":
    """Return where in the tag, and the two values; one that is absent is left out."""
    from chkpt.snapshot.describe import json_value
    from chkpt.snapshot.diff import Absent

    sides: list[tuple[str, Value | Absent]] = [("old", change.old), ("new", change.new)]
    values: dict[str, Json] = {side: json_value(value) for side, value in sides if not isinstance(value, Absent)}
    return {"at": [*change.steps], **values}
