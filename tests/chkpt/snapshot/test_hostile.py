"""Files made by hand after docs/FORMAT.md: good ones, and any content at all. tests/attacks breaks each rule once."""

import struct
from typing import cast

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Checkpoint
from chkpt.errors import ChkptError, LimitError
from chkpt.snapshot import Reader, dumps, loads
from tests.chkpt.snapshot.good_file import GOOD, PAGE, in_section, in_value, index
from tests.support.checkpoints import plain, plain_value
from tests.support.handmade import File, Section, pack


def test_a_file_made_by_hand_after_the_description_is_read() -> None:
    reader = Reader(GOOD.build())
    reader.verify()
    contexts = reader.checkpoint().contexts
    blob = (2500, 1000, PAGE + bytes(1000) + b"z" * 500)
    assert plain(contexts)["clock"] == ("clock", 1, {"now": 5, "list": [None, 1.5, {"k": b"v"}]}, {"a": blob}, {})
    assert plain(contexts)["devices"][4]["ide0"][4] == {
        "0": ("", 3, {"x": "y"}, {}, {}),
        "1": ("", 0, {}, {"b": (1000, 1000, PAGE)}, {}),
    }


def test_what_the_writer_writes_is_what_the_description_says() -> None:
    data = GOOD.build()
    written, made = Reader(dumps(loads(data))), Reader(data)
    assert written.header == made.header
    assert [(entry.path, entry.content_size) for entry in written.sections] == [
        (entry.path, entry.content_size) for entry in made.sections
    ]
    assert [(blob.entry, list(blob.digests())) for blob in written.blobs] == [
        (blob.entry, list(blob.digests())) for blob in made.blobs
    ]


# -- files in parts ---------------------------------------------------------------------------------------------------


def test_no_memory_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> object:
        raise MemoryError

    reader = Reader(GOOD.build())
    monkeypatch.setattr(msgpack, "unpackb", fail)
    with pytest.raises(LimitError, match=r"section clock at offset .*: not enough memory"):
        reader.section("clock")


# -- any msgpack at all -----------------------------------------------------------------------------------------------

anything: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    | st.sampled_from(
        ["path", "type", "version", "values", "contexts", "header", "sections", "blobs", "pieces", "chkpt"]
    )
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["path", "type", "version", "values", "contexts", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(anything, anything, st.binary(max_size=60))
def test_any_content_is_refused_or_comes_back(value: object, other: object, garbage: bytes) -> None:
    for content in (
        pack({"path": ["a"], "values": {"x": value}}),
        pack(value),
        pack({"path": ["a"], "contexts": value}),
    ):
        try:
            context = Reader(in_section(content)()).section("a")
        except ChkptError:
            continue
        assert dumps(Checkpoint({"created": "x", "generator": "y"}, {"a": context})) == dumps(
            loads(
                File(header={"chkpt": 1, "generator": "y", "created": "x"}, sections=[Section(["a"], content)]).build()
            )
        )
    for build in (
        File(header=other).build,
        File(index_content=pack(other)).build,
        File(index_content=garbage or b"\xc1").build,
        index(lambda i: {**i, "sections": other}),
        index(lambda i: {**i, "blobs": other}),
        index(lambda i: {**i, "pieces": other}),
        in_section(garbage or b"\xc1"),
    ):
        try:
            Reader(build()).verify()
        except ChkptError:
            continue


@given(st.floats())
def test_every_float_keeps_its_bits(value: float) -> None:
    (bits,) = struct.unpack("<Q", struct.pack("<d", value))
    loaded = loads(in_value(pack(value))()).contexts["a"].values["x"]
    assert struct.unpack("<Q", struct.pack("<d", cast("float", loaded))) == (bits,)
    assert plain_value([1]) == [1]
