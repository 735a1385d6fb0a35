"""`chkpt inspect`: show what is in a snapshot."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from chkpt.cli.check import check_snapshot
from chkpt.cli.options import DEFAULT_STORE, AsJson, Identity, Snapshot, Store, read_trusted, saved_path
from chkpt.cli.output import escape, on_stdout, show, show_columns, show_json
from chkpt.cli.progress import bar
from chkpt.cli.signers import signature_lines, signatures
from chkpt.cli.values import flatten, format_size, format_value
from chkpt.context import Blob, Context, Value
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from chkpt.seal import TrustedKeys
    from chkpt.snapshot import Reader, StoredBlob
    from chkpt.snapshot.describe import Found

MAX_HEADER: Final = 1000
"""How many values of a header are shown; --json has all."""


def inspect(
    snapshot: Snapshot,
    context: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONTEXT]",
            help="Show this context with all its values: devices/pit, or pit for short, and its parts after a /. "
            "The last name may be a tag or a blob: memory/ram. / shows every context.",
            show_default=False,
        ),
    ] = None,
    *,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Write CONTEXT to standard output as bytes: a context as msgpack, a blob as it is."),
    ] = False,
    identity: Identity = None,
    trust: Annotated[
        list[Path] | None,
        typer.Option(
            "--trust",
            metavar="KEYS",
            envvar="CHKPT_REQUIRE_SIGNATURE",
            help="Public keys that you trust, to see whether they have signed: a file, or a directory of *.pub.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the whole file first and check every digest in it.")
    ] = False,
) -> None:
    """Show what SNAPSHOT holds, without loading it. No device type needs to be installed for that.

    On a terminal the result is a tree; otherwise every line holds the whole path. Long values are cut; --json has all.

    A signature is valid if a key that --trust names made it; unknown key if another key made it, which proves nothing;
    invalid if it is for another content.
    """
    from chkpt.seal import open_snapshot
    from chkpt.snapshot.describe import find

    if raw and (as_json or context is None):
        raise UsageError("--raw and --json exclude each other" if as_json else "--raw needs a CONTEXT")
    keys = read_trusted(trust)
    with open_snapshot(saved_path(snapshot, store), identity=identity) as reader:
        if verify:
            with bar(f"verify {snapshot}", quiet=as_json) as progress:
                check_snapshot(reader, progress)
        if raw:
            assert context is not None
            _write_raw(find(reader, context))
        elif as_json:
            _show_json(reader, context, keys, verified=verify)
        elif sys.stdout.isatty():
            _show_tree(_overview_tree(reader, keys) if context is None else _found_tree(find(reader, context)))
        elif context is None:
            _show_overview(reader, keys)
        else:
            for line in _found_lines(find(reader, context)):
                show(escape(line))
        if verify and not raw and not as_json:
            show(f"verified: {len(reader.sections)} sections, {len(reader.blobs)} blobs")


# -- JSON -------------------------------------------------------------------------------------------------------------


def _show_json(reader: "Reader", context: str | None, keys: "TrustedKeys | None", *, verified: bool) -> None:
    from chkpt.snapshot.describe import find, json_found, overview, read_all

    if context is None:
        data = overview(reader) | {"signatures": [*signatures(reader, keys)]}
    else:
        found = find(reader, context)
        if not verified:
            read_all(found)  # first, so that a damaged file does not leave half a document
        data = json_found(found)
    if verified:
        data["verified"] = True
    show_json(data)


def _write_raw(found: "Found") -> None:
    from chkpt.snapshot.describe import raw

    if sys.stdout.isatty():
        raise UsageError("--raw writes bytes, not for a terminal: redirect them to a file or a program")
    for part in raw(found):
        with on_stdout():
            sys.stdout.buffer.write(part)
    with on_stdout():
        sys.stdout.buffer.flush()


# -- lines ------------------------------------------------------------------------------------------------------------


def _show_overview(reader: "Reader", keys: "TrustedKeys | None") -> None:
    show(f"snapshot: {escape(reader.name)}")
    show(f"size: {reader.size}")
    show(f"digest: {reader.root_digest.hex()}")
    for line in signature_lines(reader, keys):
        show(escape(f"signature: {line}"))
    for name, item in _header(reader):
        show(escape(f"{name}: {format_value(item)}"))
    show("")
    rows = [
        ("/".join(entry.path), entry.type or "-", str(entry.version), str(entry.stored_size), str(entry.content_size))
        for entry in reader.sections
    ]
    show_columns(("CONTEXT", "TYPE", "VERSION", "STORED", "CONTENT"), rows)
    if reader.blobs:
        show("")
        blobs = [
            (f"{'/'.join(blob.path)}.{blob.tag}", str(blob.stored_size), str(blob.size), _pieces(blob))
            for blob in reader.blobs
        ]
        show_columns(("BLOB", "STORED", "CONTENT", "PIECES"), blobs)


def _header(reader: "Reader") -> Iterator[tuple[str, Value]]:
    """Yield the values in the header with their paths, `MAX_HEADER` at most.

    The limit is for crafted headers: each path repeats the names above it, so the text may be many times longer than
    the header. The schemas are left out: they are for chkpt compat and --json.
    """
    items = (item for key, value in reader.header.items() if key != "schemas" for item in flatten(key, value))
    yield from islice(items, MAX_HEADER)
    if next(items, None) is not None:
        yield "...", f"the header has more than {MAX_HEADER} values; --json shows all"


def _found_lines(found: "Found") -> Iterator[str]:
    if isinstance(found.content, Context):
        yield from _context_lines(found.name, found.content)
    else:
        yield f"{found.name}: {_content(found.content)}"


def _context_lines(name: str, context: Context) -> Iterator[str]:
    kind = _type(context.type, context.version)
    if kind:
        yield f"{name}: {kind}"
    for tag, content in _tags(context):
        yield f"{name}.{tag}: {_content(content)}"
    for child in context.contexts:  # by name, so that one is dropped before the next is read
        yield from _context_lines(f"{name}/{child}" if name else child, context.contexts[child])


def _tags(context: Context) -> "Iterator[tuple[str, Value | Blob]]":
    yield from context.values.items()
    yield from context.blobs.items()


def _content(content: "Value | Blob") -> str:
    from chkpt.snapshot import StoredBlob

    if not isinstance(content, StoredBlob):
        return format_value(cast("Value", content))
    return f"blob of {content.size} bytes, {_pieces(content)} pieces, {content.stored_size} bytes stored"


def _pieces(blob: "StoredBlob") -> str:
    """Return how many pieces are stored, and of how many; the others are zero."""
    return f"{blob.held}/{-(-blob.size // blob.piece_size)}"


# -- trees ------------------------------------------------------------------------------------------------------------


def _show_tree(tree: "Tree") -> None:
    from rich.console import Console

    Console(highlight=False).print(tree)


def _label(name: str, *notes: str) -> "Text":
    from rich.text import Text

    return Text("  ").join([Text(escape(name), "bold"), *(Text(escape(note), "cyan") for note in notes if note)])


def _leaf(name: str, value: str) -> "Text":
    from rich.text import Text

    return Text.assemble((escape(name), "green"), "  ", escape(value))


def _overview_tree(reader: "Reader", keys: "TrustedKeys | None") -> "Tree":
    from rich.tree import Tree

    tree = Tree(_label(reader.name, format_size(reader.size)))
    header = tree.add(_label("header"))
    header.add(_leaf("digest", reader.root_digest.hex()))
    for line in signature_lines(reader, keys):
        header.add(_leaf("signature", line))
    for name, item in _header(reader):
        header.add(_leaf(name, format_value(item)))
    places: dict[tuple[str, ...], Tree] = {(): tree}
    for entry in reader.sections:
        sizes = f"{format_size(entry.content_size)}, {format_size(entry.stored_size)} stored"
        label = _label(entry.path[-1], _type(entry.type, entry.version), sizes)
        places[entry.path] = places[entry.path[:-1]].add(label)
    for blob in reader.blobs:
        depth = next(depth for depth in range(len(blob.path), -1, -1) if blob.path[:depth] in places)
        name = "/".join((*blob.path[depth:], blob.tag))
        sizes = f"{format_size(blob.size)}, {_pieces(blob)} pieces, {format_size(blob.stored_size)} stored"
        places[blob.path[:depth]].add(_leaf(name, sizes))
    return tree


def _found_tree(found: "Found") -> "Tree":
    from rich.tree import Tree

    if not isinstance(found.content, Context):
        return Tree(_leaf(found.name, _content(found.content)))
    tree = Tree(_label(found.name or "/", _type(found.content.type, found.content.version)))
    _grow(tree, found.content)
    return tree


def _grow(tree: "Tree", context: Context) -> None:
    for tag, content in _tags(context):
        tree.add(_leaf(tag, _content(content)))
    for name, child in context.contexts.items():
        _grow(tree.add(_label(name, _type(child.type, child.version))), child)


def _type(name: str, version: int) -> str:
    """Return a context's type and version; a part of another context may have neither."""
    return f"type {name}, version {version}" if name else f"version {version}" if version else ""
