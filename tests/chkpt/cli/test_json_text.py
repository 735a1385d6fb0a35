"""JSON text made in parts is the text that the standard library makes of the whole, and long values are never whole."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.cli.json_text import json_text
from chkpt.context import Value
from chkpt.snapshot import Reader
from chkpt.snapshot.describe import find, json_found, overview
from tests.support.checkpoints import plain_value, values

KEPT = sorted((Path(__file__).parents[2] / "snapshots").glob("*.zst"))


def in_memory(value: object) -> object:
    """Return a value as a tree that the standard library can write, with what JSON lacks as objects."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {key: in_memory(item) for key, item in value.items()}
    if isinstance(value, Sequence | Iterator) and not isinstance(value, str):
        return [in_memory(item) for item in value]
    return value


def whole(value: object) -> str:
    return "".join(json_text(value))


@given(values)
def test_the_text_is_that_of_the_standard_library(value: Value) -> None:
    assert whole(value) == json.dumps(in_memory(value), indent=2, allow_nan=False)
    assert whole({"a": [value], "b": []}) == json.dumps({"a": [in_memory(value)], "b": []}, indent=2, allow_nan=False)


@given(values)
def test_a_value_is_the_same_again_from_json(value: Value) -> None:
    assert from_json(json.loads(whole(value))) == plain_value(value)


def from_json(value: object) -> object:
    if isinstance(value, dict):
        if [*value] == ["hex"] and isinstance(value["hex"], str):
            return bytes.fromhex(value["hex"])
        if [*value] == ["float"] and isinstance(value["float"], str):
            return float(value["float"])
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


@given(st.lists(st.integers(), max_size=3))
def test_an_iterator_is_an_array(items: list[int]) -> None:
    assert whole(iter(items)) == json.dumps(items, indent=2)
    assert whole({"a": (each for each in items)}) == json.dumps({"a": items}, indent=2)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_snapshot_is_written_as_a_whole_tree_would_be(path: Path) -> None:
    with Reader.open(path) as reader:
        assert whole(overview(reader)) == json.dumps(in_memory(overview(reader)), indent=2)
        found = find(reader, "/")
        assert whole(json_found(found)) == json.dumps(in_memory(json_found(found)), indent=2)


def test_long_bytes_become_text_block_by_block() -> None:
    blocks = [*json_text({"x": bytes(1 << 20)})]
    assert max(map(len, blocks)) < 1 << 18
    assert json.loads("".join(blocks)) == {"x": {"hex": "00" * (1 << 20)}}


def test_an_item_is_asked_for_when_the_one_before_has_been_written() -> None:
    asked: list[int] = []

    def items() -> Iterator[str]:
        for number in range(10):
            asked.append(number)
            yield "x" * (1 << 17)

    text = json_text(items())
    next(text)
    assert asked == [0]


def test_what_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="JSON cannot hold a object"):
        whole({"x": object()})
