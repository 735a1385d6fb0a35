"""What is beside a snapshot's file when it is saved, replaced or removed: its signatures, and its other kind."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chkpt.errors import ExistsError, StorageError
from chkpt.snapshot import dumps
from chkpt.store import LocalStore
from chkpt.store.replacing import publish_snapshot
from tests.store_contract import checkpoint

OLD, NEW, SIGNED = b"the old one", b"the new one", b"signatures of the old one"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A snapshot with signatures beside it."""
    path = tmp_path / "a.zst"
    path.write_bytes(OLD)
    beside(path).write_bytes(SIGNED)
    return path


def beside(path: Path) -> Path:
    return Path(f"{path}.sig")


def save(path: Path, *, force: bool = True) -> None:
    publish_snapshot(path, lambda file: file.write(NEW), force=force)


def found(path: Path) -> tuple[bytes, bytes | None]:
    return path.read_bytes(), beside(path).read_bytes() if beside(path).exists() else None


def test_old_signatures_go_with_the_snapshot_that_is_replaced_and_the_log_says_so(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(path)
    assert found(path) == (NEW, None)
    assert caplog.messages == [
        f"{beside(path)}: removed, as its signatures were of the snapshot that was replaced",
    ]
    assert caplog.records[0].levelno == logging.WARNING
    save(path)
    assert len(caplog.messages) == 1


def test_a_store_and_whoever_asks_for_it_are_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.create("a", checkpoint("first"))
    beside(store.path("a")).write_bytes(SIGNED)
    store.create("a", checkpoint("second"), force=True)
    assert not beside(store.path("a")).exists()
    beside(store.path("a")).write_bytes(SIGNED)
    told: list[Path] = []
    publish_snapshot(store.path("a"), lambda file: file.write(NEW), force=True, removed=told.append)
    assert told == [beside(store.path("a"))]


def test_signatures_without_a_snapshot_are_not_removed_without_force(path: Path) -> None:
    path.unlink()
    with pytest.raises(ExistsError, match=r"a\.zst\.sig: there are signatures of a snapshot that is gone"):
        save(path, force=False)
    assert [each.name for each in path.parent.iterdir()] == ["a.zst.sig"]
    save(path)
    assert found(path) == (NEW, None)


def test_signatures_that_come_while_a_snapshot_is_replaced_stay(path: Path) -> None:
    def write(file: object) -> None:
        fresh = path.with_name("fresh")
        fresh.write_bytes(b"signatures of the new one")
        fresh.replace(beside(path))

    publish_snapshot(path, write, force=True)
    assert beside(path).read_bytes() == b"signatures of the new one"


def test_a_save_that_fails_takes_nothing_from_the_old_pair(path: Path) -> None:
    def fail(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_snapshot(path, fail, force=True)
    assert found(path) == (OLD, SIGNED)


# -- every call that fails, and every call after which the process dies -----------------------------------------------


class Calls:
    """Records the calls that change a directory, and lets one of them fail, or the process be gone from one on."""

    NAMES = ("fsync", "replace", "unlink", "open", "write")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.fails: int | None = None
        self.dies = False
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*args: object, **options: object) -> object:
            at = len(self.made)
            self.made.append(name)
            if self.fails is not None and (at == self.fails or (self.dies and at > self.fails)):
                raise OSError(5, "Input/output error")
            return call(*args, **options)

        return wrapped

    def over(self, *, fails: int | None = None, dies: bool = False) -> None:
        self.made, self.fails, self.dies = [], fails, dies


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    yield Calls(monkeypatch)
    monkeypatch.undo()


def test_signatures_go_once_the_new_snapshot_has_its_name_and_will_keep_it(path: Path, calls: Calls) -> None:
    calls.over()
    save(path)
    order = [name for name in calls.made if name in {"fsync", "replace", "unlink"}]
    assert order == ["fsync", "replace", "fsync", "unlink", "fsync"]


@pytest.mark.parametrize("dies", [False, True])
def test_whatever_fails_the_pair_is_the_old_one_or_the_new_snapshot_is_there_and_the_error_says_so(
    path: Path, calls: Calls, dies: bool
) -> None:
    calls.over()
    save(path)
    count = len(calls.made)
    outcomes = []
    for at in range(count):
        calls.over()
        path.write_bytes(OLD)
        beside(path).write_bytes(SIGNED)
        calls.over(fails=at, dies=dies)
        try:
            save(path)
            message = ""
        except StorageError as exc:
            message = str(exc)
        calls.over()
        pair = found(path)
        outcomes.append(pair)
        if pair[0] == NEW:
            assert "is there and whole" in message
        else:
            assert pair == (OLD, SIGNED)
            assert message
    assert (OLD, SIGNED) in outcomes
    assert (NEW, SIGNED) in outcomes
    assert outcomes.index((NEW, SIGNED)) > outcomes.index((OLD, SIGNED))


# -- plain and encrypted ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("there", "wanted"), [("a.zst", "a.zst.age"), ("a.zst.age", "a.zst")])
@pytest.mark.parametrize("force", [False, True])
def test_a_name_has_one_snapshot_the_plain_or_the_encrypted_one(
    tmp_path: Path, there: str, wanted: str, force: bool
) -> None:
    (tmp_path / there).write_bytes(dumps(checkpoint()))
    with pytest.raises(ExistsError, match=rf"{there}: there is a snapshot of that name already; choose another"):
        publish_snapshot(tmp_path / wanted, lambda _: pytest.fail("it was called"), force=force)
    assert [each.name for each in tmp_path.iterdir()] == [there]


def test_a_file_of_another_ending_has_no_other_kind(tmp_path: Path) -> None:
    (tmp_path / "a.img.age").touch()
    save(tmp_path / "a.img", force=False)
    assert (tmp_path / "a.img").read_bytes() == NEW
