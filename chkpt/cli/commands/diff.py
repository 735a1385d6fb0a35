"""`chkpt diff`: what differs between two snapshots."""

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Store, saved_path
from chkpt.cli.output import plain, show, show_json
from chkpt.cli.values import MAX_BYTES, shown, size
from chkpt.errors import ChkptError, UsageError

if TYPE_CHECKING:
    from chkpt.snapshot.diff import BlobDifference, Comparison, TagChange

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
    from chkpt.snapshot.diff import Comparison

    try:
        with (
            open_snapshot(saved_path(a, store), identity=identity) as old,
            open_snapshot(saved_path(b, store), identity=identity) as new,
        ):
            found = Comparison(old.checkpoint(keep=False), new.checkpoint(keep=False))
            if as_json:
                show_json(_json(found))
            else:
                _show(map(plain, _lines(found)))
            different = bool(found)
    except ChkptError as exc:
        if exc.exit_status != DIFFERENT:
            raise
        raise UsageError(str(exc)) from exc  # its own status would say that the two differ
    if different:
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


def _lines(found: "Comparison") -> Iterator[str]:
    for change in found.header():
        yield from _tag_lines("header", change)
        del change  # its values may be long, and would be in memory beside the next ones
    for path in found.removed:
        yield f"- {'/'.join(path)}"
    for path in found.added:
        yield f"+ {'/'.join(path)}"
    for each in found.types:
        (old, old_version), (new, new_version) = each.old, each.new
        yield f"~ {'/'.join(each.path)}: type {old}, version {old_version} -> type {new}, version {new_version}"
    for change in found.tags():
        yield from _tag_lines("/".join(change.path), change)
        del change
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
    from chkpt.snapshot.ranges import changed_bytes

    if len(old) != len(new):
        yield f"~ {name}: {len(old)} bytes -> {len(new)} bytes"
    ranges = changed_bytes(old, new)
    for first, end in islice(ranges, MAX_RANGES):
        yield f"~ {name} at {first:#x}-{end - 1:#x}: {shown(old[first:end])} -> {shown(new[first:end])}"
    if more := sum(1 for _ in ranges):
        yield f"~ {name}: {more} more ranges"


def _blob_lines(change: "BlobDifference") -> Iterator[str]:
    name = f"{'/'.join(change.path)}.{change.tag}"
    if change.new_size is None:
        yield f"- {name}: blob of {change.old_size} bytes"
        return
    if change.old_size is None:
        yield f"+ {name}: blob of {change.new_size} bytes"
        return
    if change.old_size != change.new_size:
        yield f"~ {name}: {change.old_size} bytes -> {change.new_size} bytes"
    ranges = change.ranges
    if ranges is None:
        return
    for first, end in islice(ranges, MAX_RANGES):
        yield f"~ {name} at {first:#x}-{end - 1:#x}: {size(end - first)}"
    if ranges.count > MAX_RANGES:
        yield f"~ {name}: {ranges.count - MAX_RANGES} more ranges"


# -- for a program ----------------------------------------------------------------------------------------------------


def _json(found: "Comparison") -> dict[str, object]:
    return {
        "same": not found,
        "header": _json_tags(found.header(), with_path=False),
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
        "tags": _json_tags(found.tags(), with_path=True),
        "blobs": (
            {
                "path": "/".join(change.path),
                "tag": change.tag,
                "old_size": change.old_size,
                "new_size": change.new_size,
                "ranges": ([first, end] for first, end in change.ranges or ()),
            }
            for change in found.blobs
        ),
    }


def _json_tags(changes: "Iterator[TagChange]", *, with_path: bool) -> Iterator[dict[str, object]]:
    """Return where each change is, and the two values; one that is absent is left out."""
    from chkpt.snapshot.diff import Absent

    def described(change: "TagChange") -> dict[str, object]:
        sides = (("old", change.old), ("new", change.new))
        values = {side: value for side, value in sides if not isinstance(value, Absent)}
        path = {"path": "/".join(change.path)} if with_path else {}
        return {**path, "tag": change.tag, "at": [*change.steps], **values}

    return map(described, changes)  # which, as a loop would not, lets go of a change before it asks for the next
