"""Checkpoints for the tests: one like a small machine's, and hypothesis strategies for any at all."""

from collections.abc import Mapping
from typing import TypeAlias

from hypothesis import strategies as st

from chkpt.context import Blob, Checkpoint, Context, SparseBlob, Value, blob_bytes

Plain: TypeAlias = tuple[str, int, object, dict[str, tuple[int, int, bytes]], dict[str, "Plain"]]

HEADER: dict[str, Value] = {"created": "2026-11-23T09:04:12.345678Z", "machine": "small", "clock_ns": 27462701}

NAMES = b"pit".ljust(32, b"\0") + b"ide0".ljust(32, b"\0")


def small() -> Checkpoint:
    """A checkpoint with every kind of part: devices, nested contexts, two blobs that share a piece."""
    page = bytes(range(256)) * 4
    pit = Context("pit", 1, {"irq": True, "deadline": None}, {}, {"counter": Context("", 1, {"mode": 3, "held": b""})})
    drive = Context("", 2, {"model": "DISK"}, {"blocks": SparseBlob(2500, 1024, {1: page, 2: b"x" * 452})})
    ide = Context("ide", 2, {"irq": False}, {}, {"drive": drive})
    return Checkpoint(
        dict(HEADER),
        {
            "memory": Context("memory", 1, {"size": 4096}, {"ram": SparseBlob(4096, 1024, {0: page, 3: b"y" * 1024})}),
            "devices": Context("", 0, {"num_devs": 2, "names": NAMES}, {}, {"pit": pit, "ide0": ide}),
            "clock": Context("clock", 1, {"now": 27462701}),
        },
    )


def plain(contexts: Mapping[str, Context]) -> dict[str, Plain]:
    """What is in the contexts, in a form that compares: mappings as dicts, sequences as lists, blobs as bytes."""
    return {
        name: (
            context.type,
            context.version,
            plain_value(context.values),
            {tag: plain_blob(blob) for tag, blob in context.blobs.items()},
            plain(context.contexts),
        )
        for name, context in contexts.items()
    }


def plain_value(value: Value) -> object:
    if isinstance(value, Mapping):
        return {key: plain_value(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain_value(item) for item in value]
    return value


def plain_blob(blob: Blob) -> tuple[int, int, bytes]:
    return blob.size, blob.piece_size, blob_bytes(blob)


# -- strategies -------------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.text("ab0.- \u00e9\u65e5", min_size=1, max_size=8) | st.text("\u0438\u0440-0", min_size=1, max_size=8)
names = names.filter(lambda name: name not in {".", ".."})
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=40)
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(text, inner, max_size=3),
    max_leaves=4,
)


@st.composite
def blobs(draw: st.DrawFn) -> SparseBlob:
    """A blob whose pieces are often equal, and sometimes zero."""
    piece_size = draw(st.integers(1, 300))
    size = draw(st.integers(0, 5 * piece_size))
    held: dict[int, bytes] = {}
    for index in range(-(-size // piece_size)):
        length = min(piece_size, size - index * piece_size)
        if draw(st.booleans()):
            held[index] = bytes([draw(st.integers(0, 2))]) * length
    return SparseBlob(size, piece_size, held)


@st.composite
def nodes(draw: st.DrawFn, children: st.SearchStrategy[dict[str, Context]] | None = None) -> Context:
    tagged = draw(st.dictionaries(text, values, max_size=3))
    held: dict[str, Blob] = {
        tag: blob for tag, blob in draw(st.dictionaries(text, blobs(), max_size=1)).items() if tag not in tagged
    }
    nested = draw(children) if children is not None else {}
    return Context(draw(text), draw(st.integers(0, 0xFFFF_FFFF)), tagged, held, nested)


contexts: st.SearchStrategy[dict[str, Context]] = st.recursive(
    st.dictionaries(names, nodes(), max_size=2),
    lambda inner: st.dictionaries(names, nodes(inner), max_size=3),
    max_leaves=4,
)


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Any checkpoint at all; often with the context `devices`."""
    roots = draw(contexts)
    if draw(st.booleans()):
        roots["devices"] = draw(nodes(contexts))
    header = draw(
        st.dictionaries(text.filter(lambda key: key not in {"generator", "created", "chkpt"}), values, max_size=3)
    )
    return Checkpoint(header, roots)


def sparse(content: bytes, piece_size: int) -> SparseBlob:
    """Return a blob that holds the pieces of `content` that are not all zero."""
    starts = range(0, len(content), piece_size)
    pieces = {index: content[start : start + piece_size] for index, start in enumerate(starts)}
    return SparseBlob(len(content), piece_size, {index: piece for index, piece in pieces.items() if any(piece)})


def blob_contents() -> st.SearchStrategy[bytes]:
    """Content with long equal runs, so that zero pieces and single changed bytes occur."""
    runs = st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.integers(1, 40))
    return st.lists(runs, max_size=8).map(lambda pairs: b"".join(bytes([byte]) * count for byte, count in pairs))
