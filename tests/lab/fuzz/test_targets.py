"""The targets of the fuzzer, without the fuzzer: the kept inputs do no harm, and the targets find what is wrong."""

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import CorruptError
from chkpt.snapshot import Reader, dumps
from tests.lab.fuzz import corpus, targets
from tests.lab.fuzz.draws import ByteDraws
from tests.lab.fuzz.snapshots import built, mended, parts_of
from tests.lab.fuzz.trees import changed, pack, unpack
from tests.support.checkpoints import plain, small

INPUTS: dict[str, list[bytes]] = defaultdict(list)
for target, _, content in corpus.kept():
    INPUTS[target].append(content)

STRIDE = 8
"""Every so many kept inputs are tried in `make test`; all in `make test-long`."""


def test_the_kept_inputs_are_of_targets_that_there_are() -> None:
    """A device that is new has seeds only, until somebody runs the fuzzer."""
    assert set(INPUTS) <= set(targets.targets())
    assert len(INPUTS) >= 16


@pytest.mark.parametrize("name", sorted(targets.targets()))
def test_inputs_that_were_kept_do_no_harm(name: str) -> None:
    target = targets.targets()[name]
    for content in (*corpus.seeds(name)[:4], *INPUTS[name][::STRIDE]):
        target(content)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(targets.targets()))
def test_all_inputs_that_were_kept_do_no_harm(name: str) -> None:
    for content in INPUTS[name]:
        targets.targets()[name](content)


def test_the_kept_inputs_are_few_bytes() -> None:
    assert corpus.KEPT.stat().st_size < 2_000_000


# -- what an input is turned into -------------------------------------------------------------------------------------


def test_the_parts_of_a_snapshot_are_built_into_the_same_snapshot() -> None:
    file = built(parts_of(dumps(small())))
    Reader(file).verify()
    assert plain(Reader(file).checkpoint().contexts) == plain(small().contexts)


def test_the_parts_of_a_signed_snapshot_keep_its_signatures() -> None:
    for path in corpus.SNAPSHOTS.glob("*.zst"):
        whole, again = Reader(path.read_bytes()), Reader(built(parts_of(path.read_bytes())))
        again.verify()
        assert again.signatures == whole.signatures
        assert again.format == whole.format


@given(st.binary(max_size=300))
def test_any_input_is_some_file(data: bytes) -> None:
    assert isinstance(built(data), bytes)


def test_a_file_is_mended_so_that_its_index_is_read() -> None:
    data = bytearray(dumps(small()))
    data[-80] ^= 1
    with pytest.raises(CorruptError, match=r"the stored bytes do not match their digest"):
        Reader(bytes(data))
    with pytest.raises(CorruptError, match=r"the zstd frame|msgpack"):
        Reader(mended(bytes(data)))
    good = dumps(small())
    assert mended(good) == good


def test_a_target_tells_of_a_snapshot_that_differs_from_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "compare", lambda *_: True)
    with pytest.raises(AssertionError, match=r"a snapshot differs from itself"):
        targets.snapshot(parts_of(dumps(small())))


def test_a_target_lets_through_what_is_no_error_of_chkpts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise KeyError

    monkeypatch.setattr(targets, "overview", fail)
    with pytest.raises(KeyError):
        targets.snapshot(parts_of(dumps(small())))


# -- choices and changes ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=20), st.integers(-(1 << 63), 1 << 64), st.integers(0, 1 << 64))
def test_a_choice_is_within_its_range(source: bytes, least: int, span: int) -> None:
    draws = ByteDraws(source)
    for _ in range(4):
        assert least <= draws.integer(least, least + span) <= least + span


def test_choices_take_the_bytes_in_order_and_then_the_least() -> None:
    draws = ByteDraws(b"\x05\x01\x02ab")
    assert draws.integer(0, 255) == 5
    assert draws.integer(0, 0xFFFF) == 0x201
    assert draws.data(3) == b"ab\0"
    assert draws.integer(7, 1000) == 7


def test_a_changed_input_is_nearly_always_msgpack_and_nearly_always_another() -> None:
    data, choose = parts_of(dumps(small())), Random(1)

    def mutate(content: bytes, size: int) -> bytes:
        return choose.randbytes(min(len(content) + 1, size))

    results = [changed(data, 1 << 20, seed, mutate) for seed in range(300)]
    assert sum(is_map(result) for result in results) > 200
    assert sum(result != data for result in results) > 250
    assert len(changed(data, 10, 3, mutate)) <= 10


def is_map(data: bytes) -> bool:
    try:
        return isinstance(unpack(data), dict)
    except ValueError:
        return False


def test_what_is_no_msgpack_is_told() -> None:
    for data in (b"\xc1", b"", b"\x92\x01", b"\x81\x80\x01", b"\x91" * 3000):
        with pytest.raises(ValueError, match=r"^no msgpack: "):
            unpack(data)
    assert unpack(pack({"a": [1]})) == {"a": [1]}
