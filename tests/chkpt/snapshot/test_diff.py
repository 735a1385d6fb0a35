"""What differs between two checkpoints is found, all of it and nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Checkpoint, Context, SparseBlob, Value, blob_bytes
from chkpt.errors import CorruptError
from chkpt.snapshot import Reader, dumps, loads
from chkpt.snapshot.diff import ABSENT, BlobChange, Diff, TagChange, TypeChange, compare
from tests.support.checkpoints import blob_contents, checkpoints, small, sparse


def one(context: Context) -> Checkpoint:
    return Checkpoint({}, {"a": context})


def tags(old: Value, new: Value) -> list[tuple[object, object, object]]:
    """Return what `compare` says of a tag with these values: steps, old, new."""
    found = compare(one(Context("t", 1, {"x": old})), one(Context("t", 1, {"x": new})))
    assert not any((found.header, found.added, found.removed, found.types, found.blobs))
    assert all(change.path == ("a",) and change.tag == "x" for change in found.tags)
    return [(change.steps, change.old, change.new) for change in found.tags]


# -- contexts and tags ------------------------------------------------------------------------------------------------


@given(checkpoints())
def test_a_checkpoint_does_not_differ_from_itself_through_a_file(checkpoint: Checkpoint) -> None:
    assert not compare(checkpoint, checkpoint)
    assert not compare(checkpoint, loads(dumps(checkpoint)))
    assert not compare(loads(dumps(checkpoint)), checkpoint)
    assert compare(checkpoint, checkpoint) == Diff()


# Few names, few values: so that two such contexts have much in common.
likely_values: st.SearchStrategy[Value] = st.sampled_from(
    [0, True, None, b"ab", "ab", [1, 2], [1, 3], {"k": 1}, {"l": 1}]
)
likely_blobs = st.sampled_from([SparseBlob(8, 4), SparseBlob(8, 4, {1: b"abcd"}), SparseBlob(7, 7, {0: b"abcdefg"})])
leaves = st.builds(
    Context,
    st.sampled_from(["t", "u"]),
    st.just(1),
    st.dictionaries(st.sampled_from("xy"), likely_values),
    st.dictionaries(st.sampled_from("bc"), likely_blobs),
)
likely = st.dictionaries(
    st.sampled_from("mn"),
    st.builds(lambda leaf, children: replace(leaf, contexts=children), leaves, st.dictionaries(st.just("k"), leaves)),
)


@given(likely, likely)
def test_the_other_way_round_it_is_the_reverse(old: dict[str, Context], new: dict[str, Context]) -> None:
    there, back = (compare(Checkpoint({}, one), Checkpoint({}, other)) for one, other in ((old, new), (new, old)))
    assert bool(there) == bool(back)
    assert sorted(there.added) == sorted(back.removed)
    assert sorted(there.removed) == sorted(back.added)
    turned_tags = [replace(each, old=each.new, new=each.old) for each in back.tags]
    assert sorted(map(repr, there.tags)) == sorted(map(repr, turned_tags))
    turned_blobs = [replace(each, old_size=each.new_size, new_size=each.old_size) for each in back.blobs]
    assert sorted(map(repr, there.blobs)) == sorted(map(repr, turned_blobs))


def test_only_the_topmost_context_that_is_new_or_gone_is_named() -> None:
    inner = Context(contexts={"c": Context("", 0, {"v": 1}, {"b": SparseBlob(1, 1)})})
    old = Checkpoint({}, {"a": Context(), "b": inner})
    new = Checkpoint({}, {"a": Context(contexts={"d": inner}), "e": inner})
    assert compare(old, new) == Diff(added=(("a", "d"), ("e",)), removed=(("b",),))


def test_another_type_or_version_is_told_beside_the_tags() -> None:
    found = compare(one(Context("pit", 1, {"x": 1})), one(Context("pit", 2, {"x": 2})))
    assert found.types == (TypeChange(("a",), ("pit", 1), ("pit", 2)),)
    assert found.tags == (TagChange(("a",), "x", (), 1, 2),)
    assert compare(one(Context("pit")), one(Context("hpet"))).types[0].new == ("hpet", 0)


def test_a_tag_that_only_one_side_has_is_absent_on_the_other() -> None:
    found = compare(one(Context("t", 1, {"gone": None})), one(Context("t", 1, {"new": False})))
    assert found.tags == (
        TagChange(("a",), "gone", (), None, ABSENT),
        TagChange(("a",), "new", (), ABSENT, False),
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [(1, True), (0, False), (1, 1.0), (0.0, -0.0), ("1", b"1"), (None, 0), ([], {}), ([1], 1), ("", b""), (b"", None)],
)
def test_values_of_other_kinds_differ(old: Value, new: Value) -> None:
    assert len(tags(old, new)) == 1
    assert len(tags(new, old)) == 1


def test_not_a_number_is_the_same_as_itself() -> None:
    assert tags(float("nan"), float("nan")) == []


def test_a_tuple_is_the_list_that_it_becomes_in_a_file() -> None:
    assert tags((1, (2, 3)), [1, [2, 3]]) == []


def test_changes_inside_lists_and_maps_are_told_one_by_one() -> None:
    old: Value = {"same": 1, "list": [1, {"deep": b"a"}, 3], "gone": 1}
    new: Value = {"same": 1, "list": [1, {"deep": b"b"}, 4], "new": 2}
    assert tags(old, new) == [
        (("list", 1, "deep"), b"a", b"b"),
        (("list", 2), 3, 4),
        (("gone",), 1, ABSENT),
        (("new",), ABSENT, 2),
    ]


def test_lists_of_other_lengths_differ_as_a_whole() -> None:
    assert tags([1, 2], [1, 2, 3]) == [((), [1, 2], [1, 2, 3])]


def test_the_header_is_compared_but_for_what_tells_about_the_file() -> None:
    old = Checkpoint({"machine": "a", "config": {"memory": 1}, "generator": "x", "created": "1999", "chkpt": 1})
    new = Checkpoint({"machine": "a", "config": {"memory": 2}, "generator": "y", "created": "2026"})
    assert compare(old, new) == Diff(header=(TagChange((), "config", ("memory",), 1, 2),))


def test_a_value_that_became_a_blob_is_a_tag_gone_and_a_blob_new() -> None:
    found = compare(one(Context("", 0, {"x": b"a"})), one(Context("", 0, {}, {"x": SparseBlob(1, 1, {0: b"a"})})))
    assert found.tags == (TagChange(("a",), "x", (), b"a", ABSENT),)
    assert found.blobs == (BlobChange(("a",), "x", None, 1),)


# -- blobs ------------------------------------------------------------------------------------------------------------


@given(blob_contents(), blob_contents(), st.integers(1, 70))
def test_blobs_in_files_differ_as_those_in_memory(old: bytes, new: bytes, piece_size: int) -> None:
    here = [one(Context("", 0, {}, {"x": sparse(content, piece_size)})) for content in (old, new)]
    there = [loads(dumps(checkpoint)) for checkpoint in here]
    assert compare(*there) == compare(*here)


def test_a_blob_that_is_new_or_gone_has_no_ranges() -> None:
    with_blob = one(Context("", 0, {}, {"x": SparseBlob(5, 5)}))
    assert compare(one(Context()), with_blob).blobs == (BlobChange(("a",), "x", None, 5),)
    assert compare(with_blob, one(Context())).blobs == (BlobChange(("a",), "x", 5, None),)


def test_what_is_not_what_was_written_is_refused() -> None:
    content = bytearray(dumps(small()))
    with Reader(bytes(content)) as reader:
        section = reader.sections[0]
    content[section.offset + section.stored_size - 1] ^= 1
    with pytest.raises(CorruptError, match="clock"):
        compare(small(), loads(bytes(content)))
    assert blob_bytes(loads(dumps(small())).contexts["memory"].blobs["ram"])
