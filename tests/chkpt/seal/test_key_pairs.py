"""A pair of keys changes together or not at all, whatever fails and whenever the process ends."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from chkpt.errors import ExistsError, StorageError
from chkpt.seal.key_pairs import write_pair

OLD, NEW = (b"old secret", b"old public"), (b"new secret", b"new public")
NEWER = (b"newer secret", b"newer public")
NONE = (None, None)
CALLS = ("fsync", "replace", "rename", "unlink", "open", "write", "mkdir", "rmdir", "link", "fchmod")


Halves: TypeAlias = tuple[bytes | None, bytes | None]
"""What is in a secret file and in the public one; None if there is none."""


class Faults:
    """Counts the calls that touch a directory, and lets one fail; with `dies`, and all that come after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, self.fails, self.dies = 0, -1, False
        for name in CALLS:
            call = (lambda _: None) if name == "fsync" else getattr(os, name)  # no power cut here, and it takes long
            monkeypatch.setattr(os, name, self._wrapped(call))

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


def halves(place: Path) -> Halves:
    secret, public = place / "key", place / "key.pub"
    return secret.read_bytes() if secret.exists() else None, public.read_bytes() if public.exists() else None


def begin(tmp_path: Path, number: int, *, old: bool | Halves) -> Path:
    place = tmp_path / str(number)
    place.mkdir()
    for name, content in zip(("key", "key.pub"), (OLD if old else NONE) if isinstance(old, bool) else old, strict=True):
        if content is not None:
            (place / name).write_bytes(content)
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


# -- the next call -----------------------------------------------------------------------------------------------------

before = pytest.mark.parametrize("old", [OLD, (OLD[0], None), (None, OLD[1])], ids=["a pair", "secret", "public"])


def calls(tmp_path: Path, faults: Faults, old: Halves) -> int:
    """Return how many calls a replacement makes."""
    place = begin(tmp_path, 0, old=old)
    faults.over()
    write_pair(place / "key", *NEW, force=True)
    return faults.count


def broken(tmp_path: Path, faults: Faults, number: int, old: Halves, *, fails: int, dies: bool) -> Path:
    """Replace a pair with one failing call, or with a process that dies there; return where."""
    faults.over()
    place = begin(tmp_path, number, old=old)
    faults.over(fails=fails, dies=dies)
    with suppress(StorageError):
        write_pair(place / "key", *NEW, force=True)
    faults.over()
    return place


def names(place: Path) -> list[str]:
    return sorted(each.name for each in place.iterdir())


@before
@pytest.mark.parametrize("dies", [False, True])
def test_whatever_call_failed_the_next_keygen_replaces_the_pair(
    tmp_path: Path, faults: Faults, old: Halves, *, dies: bool
) -> None:
    for fails in range(calls(tmp_path, faults, old)):
        place = broken(tmp_path, faults, fails + 1, old, fails=fails, dies=dies)
        write_pair(place / "key", *NEWER, force=True)
        assert (halves(place), names(place)) == (NEWER, ["key", "key.pub"])


@before
@pytest.mark.parametrize("dies", [False, True])
def test_whatever_call_failed_the_next_keygen_that_must_not_replace_leaves_the_old_pair_or_the_new_one(
    tmp_path: Path, faults: Faults, caplog: pytest.LogCaptureFixture, old: Halves, *, dies: bool
) -> None:
    outcomes = []
    for fails in range(calls(tmp_path, faults, old)):
        place = broken(tmp_path, faults, fails + 1, old, fails=fails, dies=dies)
        before_it = names(place)
        is_left = "key.old" in before_it
        caplog.clear()
        with pytest.raises(ExistsError, match="something of that name already"):
            write_pair(place / "key", *NEWER, force=False)
        outcomes.append(halves(place))
        expected = [name for name, half in zip(("key", "key.pub"), outcomes[-1], strict=True) if half is not None]
        assert names(place) == (expected if is_left else [each for each in before_it if each != "key.old"])
        assert bool(caplog.messages) == is_left
    assert set(outcomes) == {old, NEW}
    if dies:  # else one that failed may have been made up for
        assert outcomes == sorted(outcomes, key=lambda each: each == NEW)


@before
def test_whatever_call_fails_once_more_a_later_keygen_ends_it(tmp_path: Path, faults: Faults, old: Halves) -> None:
    """A process that dies, then another one on the way back."""
    number = 0
    for fails in range(calls(tmp_path, faults, old)):
        again = 0
        while True:
            number += 1
            place = broken(tmp_path, faults, number, old, fails=fails, dies=True)
            faults.over(fails=again, dies=True)
            with suppress(StorageError, ExistsError):
                write_pair(place / "key", *NEWER, force=False)
            made = faults.count
            faults.over()
            with pytest.raises(ExistsError, match="something of that name already"):
                write_pair(place / "key", *NEWER, force=False)
            assert halves(place) in {old, NEW}
            assert not (place / "key.old").exists()
            again += 1
            if again >= made:
                break


def test_a_keygen_at_work_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = begin(tmp_path, 0, old=True)
    fsync, met = os.fsync, []

    def meet(descriptor: int) -> None:
        fsync(descriptor)
        if (place / "key.old").exists():
            for force in (False, True):
                with pytest.raises(ExistsError, match=r"key\.old: another keygen is replacing this pair"):
                    write_pair(place / "key", *NEWER, force=force)
                met.append(force)

    monkeypatch.setattr(os, "fsync", meet)
    write_pair(place / "key", *NEW, force=True)
    assert met
    assert (halves(place), names(place)) == (NEW, ["key", "key.pub"])


def test_without_locks_a_keygen_may_be_at_work(tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    fails = calls(tmp_path, faults, OLD) // 2
    place = broken(tmp_path, faults, 1, OLD, fails=fails, dies=True)
    left, kept = halves(place), halves(place / "key.old")
    with pytest.raises(ExistsError, match=r"or was killed on a file system without locks"):
        write_pair(place / "key", *NEWER, force=True)
    assert (halves(place), halves(place / "key.old")) == (left, kept)


def test_a_file_that_is_not_of_the_pair_is_not_removed_with_it(tmp_path: Path, faults: Faults) -> None:
    fails = calls(tmp_path, faults, OLD) // 2
    place = broken(tmp_path, faults, 1, OLD, fails=fails, dies=True)
    (place / "key.old" / "diary").touch()
    with pytest.raises(ExistsError, match=r"key\.old: an old pair is kept there, .*'diary'"):
        write_pair(place / "key", *NEWER, force=True)
    (place / "key.old" / "diary").unlink()
    write_pair(place / "key", *NEWER, force=True)
    assert halves(place) == NEWER


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_of_a_keygen_stays(tmp_path: Path, *, force: bool) -> None:
    for number, link in enumerate((False, True)):
        place = begin(tmp_path, number, old=False)
        (place / "key.old").symlink_to("elsewhere") if link else (place / "key.old").touch()
        write_pair(place / "key", *NEW, force=force)
        assert (halves(place), names(place)) == (NEW, ["key", "key.old", "key.pub"])
        with pytest.raises(ExistsError):
            write_pair(place / "key", *NEWER, force=force)
        assert (halves(place), names(place)) == (NEW, ["key", "key.old", "key.pub"])


def test_the_old_pair_of_a_killed_call_is_named_and_not_touched(tmp_path: Path) -> None:
    place = begin(tmp_path, 0, old=True)
    (place / "key.old").mkdir()
    (place / "key.old" / "key").write_bytes(b"older")
    with pytest.raises(ExistsError, match=r"key\.old: another keygen"):
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
