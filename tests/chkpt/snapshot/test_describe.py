"""A snapshot is described as plain data, and everything in it can be found by its name."""

import json
from collections.abc import Iterator, Mapping
from typing import cast

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest
from hypothesis import given

from chkpt.cli.json_text import json_text
from chkpt.context import Blob, Checkpoint, Context, SparseBlob, blob_bytes
from chkpt.errors import NotFoundError
from chkpt.snapshot import Reader, StoredBlob, dumps
from chkpt.snapshot.describe import find, json_blob, json_context, json_found, overview, raw
from tests.support.checkpoints import checkpoints, plain_blob, plain_value


def contexts(found: Mapping[str, Context], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Context]]:
    for name, context in found.items():
        yield (*path, name), context
        yield from contexts(context.contexts, (*path, name))


@given(checkpoints())
def test_everything_is_json(checkpoint: Checkpoint) -> None:
    with Reader(dumps(checkpoint)) as reader:
        json.loads("".join(json_text(overview(reader))), parse_constant=pytest.fail)
        json.loads("".join(json_text(json_found(find(reader, "/")))), parse_constant=pytest.fail)


@given(checkpoints())
def test_every_context_is_found_by_its_path(checkpoint: Checkpoint) -> None:
    with Reader(dumps(checkpoint)) as reader:
        for path, context in contexts(checkpoint.contexts):
            found = find(reader, "/".join(path))
            assert found.path == path
            assert isinstance(found.content, Context)
            assert plain_value(found.content.values) == plain_value(context.values)


@given(checkpoints())
def test_raw_contexts_and_blobs_are_what_was_saved(checkpoint: Checkpoint) -> None:
    with Reader(dumps(checkpoint)) as reader:
        for path, context in contexts(checkpoint.contexts):
            found = find(reader, "/".join(path))
            section = msgpack.unpackb(b"".join(raw(found)), strict_map_key=True)
            assert section["path"] == list(path)
            assert section.get("type", "") == context.type
            assert plain_value(section.get("values", {})) == plain_value(context.values)
            for tag, blob in context.blobs.items():
                stored = cast("Context", found.content).blobs[tag]
                assert plain_blob(stored) == plain_blob(blob)


def test_only_the_section_asked_for_is_read() -> None:
    checkpoint = Checkpoint({}, {"a": Context("", 0, {"x": 1}), "devices": Context("", 0, {}, {}, {"d": Context("t")})})
    content = bytearray(dumps(checkpoint))
    with Reader(bytes(content)) as reader:
        offsets = {entry.path: entry.offset + entry.stored_size - 1 for entry in reader.sections}
    for path in (("a",), ("devices",)):
        content[offsets[path]] ^= 1
    with Reader(bytes(content)) as reader:
        assert find(reader, "d").path == ("devices", "d")


def test_a_blob_in_memory_has_no_stored_size() -> None:
    assert json_blob(SparseBlob(10, 4)) == {"size": 10, "piece_size": 4, "pieces": 3}
    assert json_context(Context(blobs={"b": SparseBlob(0, 4)}))["blobs"] == {
        "b": {"size": 0, "piece_size": 4, "pieces": 0}
    }


def test_a_long_hole_is_written_piece_by_piece() -> None:
    blob: Blob = SparseBlob(5 << 20, 1 << 20, {4: b"e" * (1 << 20)})
    with Reader(dumps(Checkpoint({}, {"m": Context(blobs={"b": blob})}))) as reader:
        found = find(reader, "m.b")
        assert isinstance(found.content, StoredBlob)
        parts = [bytes(part) for part in raw(found)]
    assert b"".join(parts) == blob_bytes(blob)
    assert max(map(len, parts)) == 1 << 20


def test_an_empty_snapshot_has_nothing_to_find() -> None:
    with Reader(dumps(Checkpoint()), "x.zst") as reader:
        assert find(reader, "/").content == Context(contexts=reader.checkpoint().contexts)
        with pytest.raises(NotFoundError, match=r"x\.zst: there is no a; it has nothing"):
            find(reader, "a")
