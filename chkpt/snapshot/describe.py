"""Describe a snapshot in mappings, lists and iterators of plain values, without the classes of its devices.

A section is read when the caller gets its item, so that a text of a whole snapshot (`chkpt.cli.json_text`) takes the
memory of its largest section.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

from chkpt.context import MAX_PIECE_SIZE, Blob, Context, Value
from chkpt.errors import NotFoundError, UsageError
from chkpt.snapshot.check import blob_name
from chkpt.snapshot.codec import encode_value, frame_content
from chkpt.snapshot.frames import DEVICES, Path
from chkpt.snapshot.reader import Reader, StoredBlob
from chkpt.snapshot.section import encode_section

T = TypeVar("T")


def overview(reader: Reader) -> dict[str, object]:
    """Return what the trailer, the index and the header say: machine, sections, blobs. Read no section."""
    return {
        "snapshot": reader.name,
        "size": reader.size,
        "format": reader.format,
        "digest": reader.root_digest.hex(),
        "header": reader.header,
        "contexts": (
            {
                "path": "/".join(entry.path),
                "type": entry.type,
                "version": entry.version,
                "offset": entry.offset,
                "stored": entry.stored_size,
                "content": entry.content_size,
                "digest": entry.digest.hex(),
            }
            for entry in reader.sections
        ),
        "blobs": ({"path": "/".join(blob.path), "tag": blob.tag, **json_blob(blob)} for blob in reader.blobs),
    }


def json_found(found: "Found") -> dict[str, object]:
    """Return a context, a blob's sizes or a tag's value, with the path to it."""
    place: dict[str, object] = {"path": "/".join(found.path)}
    if isinstance(found.content, Context):
        return place | json_context(found.content)
    place["tag"] = found.tag
    if isinstance(found.content, StoredBlob):
        return place | json_blob(found.content)
    return place | {"value": found.content}


def json_context(context: Context) -> dict[str, object]:
    """Return a context with all contexts in it. Of a blob, only the sizes are returned."""
    return {
        "type": context.type,
        "version": context.version,
        "values": context.values,
        "blobs": _LazyMap(context.blobs, json_blob),
        "contexts": _LazyMap(context.contexts, json_context),
    }


class _LazyMap(Mapping[str, dict[str, object]], Generic[T]):
    """A mapping whose items a function makes of the items of another, when the caller gets them."""

    __slots__ = ("_describe", "_items")

    def __init__(self, items: Mapping[str, T], describe: Callable[[T], dict[str, object]]) -> None:
        self._items = items
        self._describe = describe

    def __getitem__(self, name: str) -> dict[str, object]:
        return self._describe(self._items[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def json_blob(blob: Blob) -> dict[str, object]:
    """Return the sizes of a blob; for one in a file, also how many pieces it holds, and their bytes there."""
    sizes: dict[str, object] = {
        "size": blob.size,
        "piece_size": blob.piece_size,
        "pieces": -(-blob.size // blob.piece_size),
    }
    if isinstance(blob, StoredBlob):
        sizes |= {"held": blob.held, "stored": blob.stored_size}
    return sizes


# -- bytes as they are ------------------------------------------------------------------------------------------------


def raw(found: "Found") -> Iterator[bytes | memoryview]:
    """Yield a blob's bytes with its zeros, a tag's bytes, or anything else in msgpack.

    A context is the map of `path`, `type`, `version`, `values`, `contexts` that docs/FORMAT.md describes. The map of
    `devices` has no `contexts`: they are sections of their own.

    Raises:
        UsageError: `found` is the whole snapshot, which is a file already.
        CorruptError: a piece is not what was written.
    """
    if isinstance(found.content, StoredBlob):
        yield from _blob_bytes(found.content)
    elif isinstance(found.content, bytes):
        yield found.content
    elif not isinstance(found.content, Context):
        yield _encode_content(found.content)
    elif found.path:
        yield _encode_content(encode_section(found.path, found.content))
    else:
        raise UsageError("the whole snapshot has no raw form but its file: name a context")


def _encode_content(value: object) -> bytes:
    """Return a value in msgpack. Only the codec imports msgpack, and it makes frames, so this unpacks one."""
    frame, size = encode_value(value)
    return frame_content(frame, size)


def _blob_bytes(blob: Blob) -> Iterator[bytes | memoryview]:
    """Yield the content of a blob in order. Zeros come in parts of at most `MAX_PIECE_SIZE` bytes."""
    at = 0
    for index, piece in blob.pieces():
        yield from _make_zeros(index * blob.piece_size - at)
        yield piece
        at = index * blob.piece_size + len(piece)
    yield from _make_zeros(blob.size - at)


def _make_zeros(count: int) -> Iterator[bytes]:
    zeros = bytes(min(count, MAX_PIECE_SIZE))
    for _ in range(count // MAX_PIECE_SIZE):
        yield zeros
    yield zeros[: count % MAX_PIECE_SIZE]


# -- finding one thing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """One thing in a snapshot: the context at `path`, or a tag's value or blob in it if `tag` is not None."""

    path: Path
    tag: str | None
    content: "Context | StoredBlob | Value"

    @property
    def name(self) -> str:
        """The path, and the tag after a dot: `devices/pit.port_b`."""
        return "/".join(self.path) if self.tag is None else blob_name(self.path, self.tag)


def find(reader: Reader, name: str) -> Found:
    """Return the context, tag or blob with the name `name`. Read only its own section.

    Args:
        reader: the snapshot.
        name: `devices/pit/counters/0`, a device's name in place of `devices/NAME`, and a tag after `/` or `.`:
            `memory/ram`, `pit.port_b`. `/` is the whole snapshot.

    Raises:
        NotFoundError: there is none; the message has the nearest name.
        CorruptError: its section is not what was written.
    """
    names = [each for each in name.split("/") if each]
    sections = {entry.path for entry in reader.sections}
    if names and (names[0],) not in sections and _has_device(reader, names[0]):
        names.insert(0, DEVICES)
    context, start = Context(contexts=reader.checkpoint(keep=False).contexts), 0
    for depth in (2, 1):
        if tuple(names[:depth]) in sections:
            context, start = reader.section(names[:depth]), depth
            break
    for depth in range(start, len(names)):
        path, step = tuple(names[:depth]), names[depth]
        child = context.contexts.get(step)
        if child is None:
            found = _find_tag(path, context, step) if depth == len(names) - 1 else None
            if found is None:
                raise NotFoundError(_describe_missing(reader, path, context, step), where=reader.name)
            return found
        context = child
    return Found(tuple(names), None, context)


def _has_device(reader: Reader, step: str) -> bool:
    """Return whether `step` begins with a device's name, alone or with a tag after it."""
    devices = {entry.path[1] for entry in reader.sections if len(entry.path) == 2}
    return step in devices or step.rpartition(".")[0] in devices


def _find_tag(path: Path, context: Context, step: str) -> Found | None:
    """Return the tag `step` of `context`, or the tag of a child if `step` is `CHILD.TAG`."""
    for owner_path, owner, tag in ((path, context, step), *_split_tag(path, context, step)):
        blob = owner.blobs.get(tag)
        if isinstance(blob, StoredBlob):
            return Found(owner_path, tag, blob)
        if tag in owner.values:
            return Found(owner_path, tag, owner.values[tag])
    return None


def _split_tag(path: Path, context: Context, step: str) -> list[tuple[Path, Context, str]]:
    name, _, tag = step.rpartition(".")
    child = context.contexts.get(name)
    return [] if child is None else [((*path, name), child, tag)]


def read_all(found: Found) -> None:
    """Read each section of `found`, and keep none.

    Raises:
        RefusedError: a section is not what was written, or holds more than chkpt writes.
        StorageError: the file cannot be read.
    """
    if isinstance(found.content, Context):
        _read_contexts(found.content)


def _read_contexts(context: Context) -> None:
    for name in context.contexts:  # by name, so that Python frees one before the next is read
        _read_contexts(context.contexts[name])


def _describe_missing(reader: Reader, path: Path, context: Context, step: str) -> str:
    known = [*context.contexts, *context.blobs, *context.values]
    if not path:
        known += [entry.path[1] for entry in reader.sections if len(entry.path) == 2]
    for (*_, name), child, _ in _split_tag(path, context, step):
        known += [f"{name}.{tag}" for tag in (*child.values, *child.blobs)]
    missing = "/".join((*path, step))
    near = get_close_matches(step, known, 1, 0.5)
    where = "/".join(path) or "it"
    hint = f"did you mean {'/'.join((*path, near[0]))}?" if near else f"{where} has {', '.join(known) or 'nothing'}"
    return f"there is no {missing}; {hint}"
