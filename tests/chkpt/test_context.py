"""Contexts are plain data, and a blob is its pieces with zeros between them."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import MAX_PIECE_SIZE, Blob, Checkpoint, Context, SparseBlob, blob_bytes


def sparse(content: bytes, piece_size: int) -> SparseBlob:
    pieces = {at // piece_size: content[at : at + piece_size] for at in range(0, len(content), piece_size)}
    return SparseBlob(len(content), piece_size, {index: piece for index, piece in pieces.items() if any(piece)})


@given(st.lists(st.sampled_from([b"\0", b"\0\0\0", b"ab", b"\xff"])).map(b"".join), st.integers(1, 7))
def test_a_sparse_blob_gives_back_the_bytes_it_was_cut_from(content: bytes, piece_size: int) -> None:
    assert blob_bytes(sparse(content, piece_size)) == content


def test_pieces_come_in_rising_order_of_index() -> None:
    blob = SparseBlob(10, 2, {4: b"ee", 0: b"aa", 2: b"cc"})
    assert list(blob.pieces()) == [(0, b"aa"), (2, b"cc"), (4, b"ee")]


def test_a_blob_without_pieces_is_all_zero() -> None:
    assert blob_bytes(SparseBlob(5, 2)) == bytes(5)
    assert blob_bytes(SparseBlob(0, 2)) == b""


def test_the_last_piece_may_be_shorter() -> None:
    assert blob_bytes(SparseBlob(5, 2, {2: b"e"})) == b"\0\0\0\0e"


def test_pieces_may_be_views_of_live_memory() -> None:
    class View:
        size = 4
        piece_size = 2

        def pieces(self) -> Iterator[tuple[int, memoryview]]:
            yield 1, memoryview(bytearray(b"ab"))

    assert blob_bytes(View()) == b"\0\0ab"


def test_a_sparse_blob_is_a_blob() -> None:
    blob: Blob = SparseBlob(1, 1)
    assert blob.piece_size <= MAX_PIECE_SIZE


def test_contexts_do_not_share_their_values_blobs_and_children() -> None:
    first, second = Context(), Context()
    first.values["tag"] = 1
    first.blobs["blob"] = SparseBlob(1, 1)
    assert (second.values, second.blobs, dict(second.contexts)) == ({}, {}, {})
    one, two = Checkpoint(), Checkpoint()
    one.header["name"] = "x"
    one.contexts["clock"] = first
    assert (two.header, two.contexts) == ({}, {})


def test_contexts_compare_by_content() -> None:
    assert Context("pit", 1, {"a": 1}) == Context("pit", 1, {"a": 1})
    assert Context("pit", 1, {"a": 1}) != Context("pit", 2, {"a": 1})
    assert Context(contexts={"x": Context()}) != Context(contexts={"y": Context()})


def test_a_context_takes_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        setattr(Context(), "tags", {})  # noqa: B010  mypy would refuse the plain assignment
