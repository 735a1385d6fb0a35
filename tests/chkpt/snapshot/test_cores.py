"""Pieces on all cores: the same results in the same order as on one, the same bytes, the same errors."""

import threading
from collections.abc import Generator, Iterator
from random import Random

import pytest

from chkpt.context import Checkpoint, Context, SparseBlob
from chkpt.errors import CorruptError, StateError
from chkpt.snapshot import Reader, dump, dumps, loads
from chkpt.snapshot import cores as cores_module
from chkpt.snapshot.cores import CHUNK_SIZE, on_all_cores, threads

PIECE = 1 << 16


@pytest.fixture(params=[1, 2, 5])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(cores_module, "threads", lambda: request.param)
    return int(request.param)


def blob(seed: int, pieces: int = 100, last: int = PIECE) -> SparseBlob:
    """Make a blob that is partly zero, partly the same over and over, partly compressible, partly not."""
    choose = Random(seed)
    held: dict[int, bytes] = {}
    for index in range(pieces):
        length = last if index == pieces - 1 else PIECE
        kind = choose.randrange(4)
        if kind == 1:
            held[index] = (b"again" * PIECE)[:length]
        elif kind == 2:
            held[index] = (choose.randbytes(100) * PIECE)[:length]
        elif kind == 3:
            held[index] = choose.randbytes(length)
    return SparseBlob((pieces - 1) * PIECE + last, PIECE, held)


def checkpoint(*blobs: SparseBlob) -> Checkpoint:
    contexts = {f"c{at}": Context("c", 1, blobs={"b": each}) for at, each in enumerate(blobs)}
    return Checkpoint({"created": "then"}, dict(contexts))


def test_results_come_in_order(cores: int) -> None:
    for count in (0, 1, 31, 32, 33, 1000):
        assert list(on_all_cores(str, range(count), CHUNK_SIZE // 16)) == [str(each) for each in range(count)]


def test_few_items_stay_in_the_caller_s_thread(cores: int) -> None:
    names = set(on_all_cores(lambda _: threading.current_thread().name, range(31), CHUNK_SIZE // 16))
    assert names == {threading.current_thread().name}


def test_many_items_are_worked_on_by_others(cores: int) -> None:
    names = set(on_all_cores(lambda _: threading.current_thread().name, range(320), CHUNK_SIZE // 16))
    assert (threading.current_thread().name in names) is (cores == 1)


def test_no_more_is_in_memory_than_is_said(cores: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for each in range(10_000):
            taken += 1
            yield each

    results = on_all_cores(abs, items(), CHUNK_SIZE)
    next(results)
    assert taken <= 4 * cores + 2
    assert isinstance(results, Generator)
    results.close()
    assert threading.active_count() < 50


def test_an_error_ends_it_and_nothing_goes_on_behind(cores: int) -> None:
    def work(each: int) -> int:
        if each == 777:
            raise ValueError("here")
        return each

    got: list[int] = []
    with pytest.raises(ValueError, match="here"):
        got.extend(on_all_cores(work, range(10_000), CHUNK_SIZE // 16))
    assert threading.active_count() < 50


def test_every_number_of_cores_gives_the_same_bytes(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = checkpoint(blob(1, 130), blob(2, 90, 4096), blob(1, 130))
    snapshot = dumps(whole)
    monkeypatch.setattr(cores_module, "threads", lambda: 1)
    assert dumps(whole) == snapshot


def test_what_is_read_on_all_cores_is_what_was_written(cores: int) -> None:
    one, other = blob(1, 130), blob(2, 90, 4096)
    contexts = loads(dumps(checkpoint(one, other))).contexts
    for name, written in (("c0", one), ("c1", other)):
        read = {index: bytes(piece) for index, piece in contexts[name].blobs["b"].pieces()}
        assert read == written.held


def test_damage_is_found_and_named_on_all_cores(cores: int) -> None:
    snapshot = bytearray(dumps(checkpoint(blob(1, 130))))
    at = Reader(bytes(snapshot)).blobs[0]._pieces.offsets[60] + 40
    snapshot[at] ^= 1
    read = Reader(bytes(snapshot)).checkpoint().contexts["c0"].blobs["b"]
    with pytest.raises(CorruptError, match=r"piece 60 \(c0\.b\) at offset"):
        list(read.pieces())


def test_a_blob_that_lies_about_itself_is_refused_on_all_cores(cores: int) -> None:
    good = blob(1, 130)
    bad = SparseBlob(good.size, PIECE, {**good.held, 100: b"short"})
    with pytest.raises(StateError, match=r"c0\.b: piece 100 of 5 bytes"):
        dumps(checkpoint(bad))


def test_progress_reaches_all_bytes_and_never_goes_back(cores: int) -> None:
    told: list[tuple[int, int]] = []
    whole = checkpoint(blob(1, 300), blob(2, 90, 4096))

    class Sink:
        def write(self, data: bytes) -> int:
            return len(data)

    dump(whole, Sink(), progress=lambda done, total: told.append((done, total)))
    total = 300 * PIECE + 89 * PIECE + 4096
    assert told[-1] == (total, total)
    assert told == sorted(told)
    assert len(told) > 3


def test_threads_are_as_many_as_this_process_may_use() -> None:
    assert 1 <= threads() <= cores_module.MAX_THREADS
