"""`chkpt diff`: show what differs between two snapshots."""

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Store, saved_path
from chkpt.cli.output import escape, show, show_json
from chkpt.cli.values import MAX_BYTES, format_size, format_value
from chkpt.errors import ChkptError, UsageError

if TYPE_CHECKING:
    from chkpt.snapshot.diff import BlobDifference, Comparison, TagChange

DIFFERENT: Final = 1
"""The exit status if the two differ, the same as diff(1)'s."""

MAX_RANGES: Final = 16
"""How many ranges of one blob or run of bytes are shown; --json has all."""

COLOURS: Final = {"+": "green", "-": "red", "~": "yellow"}


def diff(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A", help="A snapshot: a file, if it has a / or ends in .zst or .zst.age; else a name in the store."
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The snapshot to compare A with.")],
    *,
    identity: Identity = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what differs between the machines in two snapshots, from A to B.

    A line begins with + if only B has it, with - if only A has it, with ~ if it changed. For blobs and long runs of
    bytes the changed ranges are shown, first and last byte. When and by which program the files were written is not
    compared. --identity opens A, B or both if they are encrypted.

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
                _show(map(escape, _lines(found)))
            different = bool(found)
    except ChkptError as exc:
        if exc.exit_status != DIFFERENT:
            raise
        raise UsageError(str(exc)) from exc  # the error's own status would mean that the two differ
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
        del change  # its values may be long and must not stay in memory beside the next ones
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
        yield f"- {name}: {'' if isinstance(old, Absent) else format_value(old)}"
    elif isinstance(old, Absent):
        yield f"+ {name}: {format_value(new)}"
    elif isinstance(old, bytes) and isinstance(new, bytes) and max(len(old), len(new)) > MAX_BYTES:
        yield from _bytes_lines(name, old, new)
    else:
        yield f"~ {name}: {format_value(old)} -> {format_value(new)}"


def _bytes_lines(name: str, old: bytes, new: bytes) -> Iterator[str]:
    from chkpt.snapshot.ranges import changed_bytes

    if len(old) != len(new):
        yield f"~ {name}: {len(old)} bytes -> {len(new)} bytes"
    ranges = changed_bytes(old, new)
    for first, end in islice(ranges, MAX_RANGES):
        yield f"~ {name} at {first:#x}-{end - 1:#x}: {format_value(old[first:end])} -> {format_value(new[first:end])}"
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
        yield f"~ {name} at {first:#x}-{end - 1:#x}: {format_size(end - first)}"
    if ranges.count > MAX_RANGES:
        yield f"~ {name}: {ranges.count - MAX_RANGES} more ranges"


# -- JSON -------------------------------------------------------------------------------------------------------------


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
    """Return each change's place and its two values; an absent value is left out."""
    from chkpt.snapshot.diff import Absent

    def describe(change: "TagChange") -> dict[str, object]:
        sides = (("old", change.old), ("new", change.new))
        values = {side: value for side, value in sides if not isinstance(value, Absent)}
        path = {"path": "/".join(change.path)} if with_path else {}
        return {**path, "tag": change.tag, "at": [*change.steps], **values}

    return map(describe, changes)  # unlike a loop, map drops a change before it takes the next
