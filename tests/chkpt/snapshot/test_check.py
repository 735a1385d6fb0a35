"""A checkpoint is refused whole, before the first byte is written, and what is written can be read."""

import io
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Checkpoint, Context, SparseBlob, Value
from chkpt.errors import LimitError, RefusedError, StateError
from chkpt.snapshot import Reader, dump, dumps
from chkpt.store import LocalStore

LATE = "z"
"""The name of the context with the fault: the last section of its file."""


def late(context: object) -> Checkpoint:
    """A checkpoint whose last section is `context`, behind good sections and a good blob."""
    good = Context("clock", 1, {"now": 5}, {"ram": SparseBlob(8, 4, {0: b"abcd"})})
    devices = Context(values={"num_devs": 1}, contexts={"pit": Context("i8254", 1, {"count": 3})})
    return Checkpoint({"machine": "m"}, cast("dict[str, Context]", {"a": good, "devices": devices, LATE: context}))


def of(**parts: object) -> Checkpoint:
    """A checkpoint whose last section has these parts, of whatever kind."""
    return late(Context(**cast("dict[str, Any]", parts)))


def named(name: object) -> Checkpoint:
    """A checkpoint with a context of this name under the root."""
    checkpoint = of()
    cast("dict[object, Context]", checkpoint.contexts)[name] = Context()
    return checkpoint


def below(parent: str, name: object) -> Checkpoint:
    """A checkpoint with a context of this name in a good one."""
    checkpoint = of()
    cast("dict[object, Context]", checkpoint.contexts[parent].contexts)[name] = Context()
    return checkpoint


DEEP = cast("Value", [{"y": object()}])

REFUSED: dict[str, tuple[Checkpoint, str]] = {
    "a late context's name": (named("z/z"), ""),
    "a name that is a number": (named(3), ""),
    "an empty name below devices": (below("devices", ""), "devices"),
    "an empty name in a section": (below(LATE, ""), "z"),
    "a value of type object": (of(values={"good": 1, "x": object()}), "z.x"),
    "a value of type object, deep inside": (
        of(contexts={"b": Context(values={"x": DEEP})}),
        "z/b.x",
    ),
    "an integer too wide": (of(values={"x": 1 << 64}), "z.x"),
    "half a surrogate pair": (of(values={"x": "\ud800"}), "z.x"),
    "a key that is not text": (of(values={"x": {1: 2}}), "z.x"),
    "a tag that is not text": (of(values={b"x": 2}), "z"),
    "a blob's tag that is not text": (of(blobs={1: SparseBlob(1, 1)}), "z"),
    "a blob's tag with half a surrogate pair": (of(blobs={"\ud800": SparseBlob(1, 1)}), r"z.\ud800"),
    "a tag used twice": (of(values={"x": 1}, blobs={"x": SparseBlob(1, 1)}), "z"),
    "a piece size of 0": (of(blobs={"ram": SparseBlob(1, 0)}), "z.ram"),
    "a piece size too great": (of(blobs={"ram": SparseBlob(1, (1 << 20) + 1)}), "z.ram"),
    "a piece size that is a bool": (of(blobs={"ram": SparseBlob(1, True)}), "z.ram"),
    "a blob size of -1": (of(blobs={"ram": SparseBlob(-1, 1)}), "z.ram"),
    "a blob size too great": (of(blobs={"ram": SparseBlob(1 << 63, 1)}), "z.ram"),
    "a blob size that is a bool": (of(blobs={"ram": SparseBlob(True, 1, {0: b"x"})}), "z.ram"),
    "a blob size that is not a number": (of(blobs={"ram": SparseBlob(cast("int", 1.0), 1)}), "z.ram"),
    "bytes in place of a blob": (of(blobs={"ram": b"ram"}), "z.ram"),
    "a type that is not text": (of(type=5), "z"),
    "a type with half a surrogate pair": (of(type="\ud800"), "z"),
    "a version of -1": (of(version=-1), "z"),
    "a version that is a bool": (of(version=True), "z"),
    "a dictionary in place of a context": (late({"values": {}}), "z"),
    "a list in place of values": (of(values=["x"]), "z"),
}

TOO_LONG: dict[str, tuple[Checkpoint, str]] = {
    "a tag": (of(values={"x" * 256: 1}), "z"),
    "a blob's tag": (of(blobs={"x" * 256: SparseBlob(1, 1)}), "z"),
    "a type": (of(type="x" * 256), "z"),
    "a key": (of(values={"x": {"k" * 256: 1}}), "z.x"),
    "text": (of(values={"x": "x" * ((1 << 20) + 1)}), "z"),
    "values in all sections": (
        Checkpoint({}, {f"z{n}": Context(values={"x": [0] * 100_000}) for n in range(3)}),
        "z2",
    ),
    "content in all sections": (
        Checkpoint({}, {f"z{n}": Context(values={"x": bytes((16 << 20) - 99)}) for n in range(5)}),
        "z4",
    ),
    "more blobs than an index holds": (of(blobs={f"{n}": SparseBlob(0, 1) for n in range(20_000)}), "the index"),
}

ALL = {name: (*case, StateError) for name, case in REFUSED.items()} | {
    f"{name}, too long": (*case, LimitError) for name, case in TOO_LONG.items()
}


@pytest.mark.parametrize("name", ALL)
def test_a_refused_checkpoint_writes_not_one_byte(name: str) -> None:
    checkpoint, where, kind = ALL[name]
    file = io.BytesIO()
    with pytest.raises(RefusedError) as caught:
        dump(checkpoint, file)
    assert file.getvalue() == b""
    assert (type(caught.value), caught.value.where) == (kind, where)


@pytest.mark.parametrize("name", REFUSED)
def test_a_store_makes_neither_file_nor_directory_for_a_refused_checkpoint(name: str, tmp_path: Path) -> None:
    with pytest.raises(StateError):
        LocalStore(tmp_path / "snapshots").create("x", REFUSED[name][0])
    assert [*tmp_path.iterdir()] == []


def test_the_first_fault_in_the_order_of_the_file_is_named() -> None:
    checkpoint = of(values={"x": object()})
    checkpoint.contexts["a"].blobs["ram"] = SparseBlob(-1, 1)
    with pytest.raises(StateError) as caught:
        dumps(checkpoint)
    assert caught.value.where == "a.ram"


@pytest.mark.parametrize(
    "checkpoint",
    [of(values={b"x" * 9999: 1}), of(type="x" * 9999, version=-1), of(type=["x" * 9999]), named("/" * 9999)],
    ids=["tag", "long type", "list for a type", "name"],
)
def test_a_message_does_not_repeat_what_is_long(checkpoint: Checkpoint) -> None:
    with pytest.raises(RefusedError) as caught:
        dumps(checkpoint)
    assert len(str(caught.value)) < 400


def test_an_empty_tag_is_a_tag() -> None:
    written = late(Context(values={"": 1}, contexts={"b": Context(blobs={"": SparseBlob(1, 1, {0: b"x"})})}))
    with Reader(dumps(written)) as reader:
        reader.verify()
        assert reader.section(LATE).values == {"": 1}
        assert [(blob.path, blob.tag) for blob in reader.blobs][-1] == ((LATE, "b"), "")


# -- what the writer takes, the reader takes --------------------------------------------------------------------------

odd_text = st.one_of(
    st.sampled_from(["", ".", "..", "a/b", "devices", "\ud800", "\0", "é", "e\u0301", "x" * 255, "x" * 256]),
    st.text(st.characters(), max_size=3),
)
odd_ints = st.one_of(
    st.booleans(), st.sampled_from([-1, 0, 1, 4, 1 << 20, (1 << 20) + 1, (1 << 32) - 1, 1 << 32, 1 << 63, 1 << 64])
)
odd_values = st.recursive(
    st.one_of(st.none(), odd_ints, odd_text, st.floats(), st.binary(max_size=3), st.just(object())),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(odd_text | odd_ints, inner, max_size=2)),
    max_leaves=3,
)
odd_blobs = st.builds(SparseBlob, odd_ints, odd_ints)
odd_contexts = st.recursive(
    st.builds(
        Context,
        st.one_of(st.just("t"), odd_text, st.none()),
        st.one_of(st.just(1), odd_ints),
        st.dictionaries(odd_text | odd_ints, odd_values, max_size=2),
        st.dictionaries(odd_text | odd_ints, odd_blobs, max_size=2),
    ),
    lambda inner: st.builds(
        lambda context, contexts: Context(context.type, context.version, context.values, context.blobs, contexts),
        st.builds(Context, st.just("t"), st.just(1)),
        st.dictionaries(st.sampled_from(["a", "b", "devices"]) | odd_text, inner, max_size=2),
    ),
    max_leaves=3,
)
odd_checkpoints = st.builds(
    Checkpoint,
    st.dictionaries(st.sampled_from(["chkpt", "created", "generator", "machine"]) | odd_text, odd_values, max_size=2),
    st.dictionaries(st.sampled_from(["a", "devices", "z"]) | odd_text, odd_contexts, max_size=3),
)


@given(odd_checkpoints)
def test_what_the_writer_takes_the_reader_takes(checkpoint: Checkpoint) -> None:
    file = io.BytesIO()
    try:
        dump(checkpoint, file)
    except RefusedError:
        assert file.getvalue() == b""
        return
    with Reader(file.getvalue()) as reader:
        reader.verify()
        assert {*reader.checkpoint().contexts} == {*checkpoint.contexts}
