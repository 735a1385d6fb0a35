"""What is written is what is read, and one state has one encoding."""

from collections.abc import Mapping

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chkpt.context import Checkpoint, Context
from chkpt.snapshot import Reader, dumps, loads
from tests.support.checkpoints import checkpoints, plain, plain_value, small

BUSY = [HealthCheck.too_slow]  # what it looks like on a host that does something else


@given(checkpoints())
def test_any_checkpoint_comes_back(checkpoint: Checkpoint) -> None:
    loaded = loads(dumps(checkpoint))
    assert plain(loaded.contexts) == plain(checkpoint.contexts)
    assert {key: loaded.header[key] for key in checkpoint.header} == plain_value(checkpoint.header)


@settings(max_examples=40, suppress_health_check=BUSY)
@given(checkpoints())
def test_what_is_written_passes_verification(checkpoint: Checkpoint) -> None:
    reader = Reader(dumps(checkpoint))
    reader.verify()
    assert reader.header["chkpt"] == 1


@settings(max_examples=40, suppress_health_check=BUSY)
@given(checkpoints())
def test_rewriting_what_was_read_gives_the_same_bytes(checkpoint: Checkpoint) -> None:
    data = dumps(checkpoint)
    assert dumps(loads(data)) == data


def reordered(contexts: Mapping[str, Context], data: st.DataObject) -> dict[str, Context]:
    return {name: contexts[name] for name in data.draw(st.permutations(list(contexts)))}


@settings(max_examples=40, suppress_health_check=BUSY)
@given(checkpoints(), st.data())
def test_the_order_of_the_sections_does_not_matter(checkpoint: Checkpoint, data: st.DataObject) -> None:
    checkpoint.header["created"] = "2026-11-23T00:00:00Z"
    before = dumps(checkpoint)
    checkpoint.contexts = reordered(checkpoint.contexts, data)
    if "devices" in checkpoint.contexts:
        devices = checkpoint.contexts["devices"]
        devices.contexts = reordered(devices.contexts, data)
    assert dumps(checkpoint) == before


def test_equal_states_at_different_times_differ_in_the_header_only() -> None:
    first, second = small(), small()
    second.header["created"] = "2030-01-01T00:00:00.000000Z"
    one, other = Reader(dumps(first)), Reader(dumps(second))
    assert [entry.digest for entry in one.sections] == [entry.digest for entry in other.sections]
    assert [list(blob.digests()) for blob in one.blobs] == [list(blob.digests()) for blob in other.blobs]
    assert one.root_digest != other.root_digest


def test_unknown_header_keys_sections_and_tags_survive_a_rewrite() -> None:
    checkpoint = small()
    checkpoint.header["colour"] = {"of": ["the", "case", 7]}
    checkpoint.contexts["weather"] = Context("weather", 9, {"rain": True}, {}, {"wind": Context("", 0, {"from": "W"})})
    checkpoint.contexts["clock"].values["drift"] = -1.5
    data = dumps(checkpoint)
    again = loads(dumps(loads(data)))
    assert again.header["colour"] == {"of": ["the", "case", 7]}
    assert plain(again.contexts) == plain(checkpoint.contexts)
    assert dumps(again) == data


def test_tags_keep_their_order() -> None:
    values = {"zeta": 1, "alpha": 2, "mu": 3}
    loaded = loads(dumps(Checkpoint({}, {"a": Context("", 0, dict(values))})))
    assert list(loaded.contexts["a"].values) == ["zeta", "alpha", "mu"]


def test_generator_and_time_of_a_loaded_snapshot_are_kept() -> None:
    checkpoint = Checkpoint({"generator": "other 7", "created": "1999-12-31T23:59:59Z"})
    header = loads(dumps(loads(dumps(checkpoint)))).header
    assert list(header.items()) == [("chkpt", 1), ("generator", "other 7"), ("created", "1999-12-31T23:59:59Z")]
