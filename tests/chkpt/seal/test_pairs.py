"""A pair of keys changes together or not at all, whatever fails and whenever the process ends."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from chkpt.errors import ExistsError, StorageError
from chkpt.seal.pairs import write_pair

OLD, NEW = (b"old secret", b"old public"), (b"new secret", b"new public")
CALLS = ("fsync", "replace", "rename", "unlink", "open", "write", "mkdir", "rmdir", "link", "fchmod")


class Faults:
    """Counts the calls that touch a directory, and lets one fail; with `dies`, and all that come after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.fails, self.dies = 0, -1, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **options: object) -> object:
            at, self.count = self.count, self.count + 1
            if self.fails >= 0 and (at == self.fails or (self.dies and at > self.fails)):
                raise OSError(28, "No space left on device")
            return call(*args, **options)

        return wrapped

    def over(self, *, fails: int = -1, dies: bool = False) -> None:
        self.count, self.fails, self.dies = 0, fails, dies


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    yield Faults(monkeypatch)
    monkeypatch.undo()


def halves(place: Path) -> tuple[bytes | None, bytes | None]:
    secret, public = place / "key", place / "key.pub"
    return secret.read_bytes() if secret.exists() else None, public.read_bytes() if public.exists() else None


def begin(tmp_path: Path, number: int, *, old: bool) -> Path:
    place = tmp_path / str(number)
    place.mkdir()
    if old:
        (place / "key").write_bytes(OLD[0])
        (place / "key.pub").write_bytes(OLD[1])
    return place


@pytest.mark.parametrize("old", [False, True])
def test_whatever_call_fails_the_pair_is_the_old_one_or_the_new_one(tmp_path: Path, faults: Faults, old: bool) -> None:
    write_pair(begin(tmp_path, 0, old=old) / "key", *NEW, force=old)
    outcomes = []
    for fails in range(faults.count):
        faults.over()
        place = begin(tmp_path, fails + 1, old=old)
        faults.over(fails=fails)
        error = ""
        try:
            write_pair(place / "key", *NEW, force=old)
        except StorageError as exc:
            error = str(exc)
        faults.over()
        outcomes.append(halves(place))
        if halves(place) == NEW:
            assert not error or "the new pair is there, and this is the old one: remove it" in error
        else:
            assert halves(place) == (OLD if old else (None, None))
            assert error
    assert set(outcomes) == {NEW, OLD if old else (None, None)}


def test_whenever_the_process_dies_no_halves_of_two_pairs_meet_and_the_old_pair_is_there(
    tmp_path: Path, faults: Faults
) -> None:
    write_pair(begin(tmp_path, 0, old=True) / "key", *NEW, force=True)
    count = faults.count
    outcomes = set()
    for fails in range(count):
        faults.over()
        place = begin(tmp_path, fails + 1, old=True)
        faults.over(fails=fails, dies=True)
        with suppress(StorageError):
            write_pair(place / "key", *NEW, force=True)
        faults.over()
        secret, public = halves(place)
        aside = halves(place / "key.old")
        outcomes.add((secret, public))
        assert (secret, public) in {OLD, NEW, (OLD[0], None), (NEW[0], None), (None, None)}
        if (secret, public) not in {OLD, NEW}:
            assert (secret if secret == OLD[0] else aside[0], aside[1]) == OLD
    assert {OLD, NEW, (NEW[0], None)} <= outcomes


def test_the_old_pair_of_a_killed_call_is_named_and_not_touched(tmp_path: Path) -> None:
    place = begin(tmp_path, 0, old=True)
    (place / "key.old").mkdir()
    (place / "key.old" / "key").write_bytes(b"older")
    with pytest.raises(ExistsError, match=r"key\.old: another keygen is replacing this pair, or was killed"):
        write_pair(place / "key", *NEW, force=True)
    assert (halves(place), halves(place / "key.old")) == (OLD, (b"older", None))


@pytest.mark.parametrize("name", ["key", "key.pub"])
def test_what_comes_meanwhile_is_not_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fsync = os.fsync

    def put(descriptor: int) -> None:
        (tmp_path / name).write_bytes(b"another's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", put)
    with pytest.raises(ExistsError):
        write_pair(tmp_path / "key", *NEW, force=False)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(name, b"another's")]
