"""What is beside a snapshot's file when it is saved, replaced or removed: its signatures, and its other kind."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from chkpt.errors import ExistsError, StorageError
from chkpt.snapshot import dumps
from chkpt.store import LocalStore
from chkpt.store.publish import publishing
from chkpt.testing.store import checkpoint

OLD, NEW, SIGNED = dumps(checkpoint("old")), dumps(checkpoint("new")), b"signatures of the old one"


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
    with publishing(path, force=force) as file:
        file.write(NEW)


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
    with publishing(store.path("a"), force=True) as file:
        file.write(NEW)
    assert file.removed == [beside(store.path("a"))]


def test_signatures_without_a_snapshot_are_not_removed_without_force(path: Path) -> None:
    path.unlink()
    with pytest.raises(ExistsError, match=r"a\.zst\.sig: there are signatures of a snapshot that is gone"):
        save(path, force=False)
    assert [each.name for each in path.parent.iterdir()] == ["a.zst.sig"]
    save(path)
    assert found(path) == (NEW, None)


def test_signatures_that_come_once_a_snapshot_is_replaced_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def replace_and_sign(*args: Any, **options: Any) -> None:
        replace(*args, **options)
        fresh = path.with_name("fresh")
        fresh.write_bytes(b"signatures of the new one")
        fresh.rename(beside(path))

    monkeypatch.setattr(os, "replace", replace_and_sign)
    save(path)
    assert found(path) == (NEW, b"signatures of the new one")


def test_signatures_that_come_while_a_snapshot_is_written_are_of_the_old_one_and_go_with_it(path: Path) -> None:
    beside(path).unlink()

    with publishing(path, force=True) as file:
        file.write(NEW)
        beside(path).write_bytes(SIGNED)
    assert found(path) == (NEW, None)


def test_a_save_that_fails_takes_nothing_from_the_old_pair(path: Path) -> None:
    interrupted = pytest.raises(KeyboardInterrupt)
    with interrupted, publishing(path, force=True) as file:
        file.write(NEW)
        raise KeyboardInterrupt
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
    with (
        pytest.raises(ExistsError, match=rf"{there}: there is a snapshot of that name"),
        publishing(tmp_path / wanted, force=force),
    ):
        pytest.fail("it was begun")
    assert [each.name for each in tmp_path.iterdir()] == [there]


def test_the_other_kind_that_comes_while_a_snapshot_is_written_is_found(tmp_path: Path) -> None:
    found = pytest.raises(ExistsError, match=r"a\.zst\.age: there is a snapshot of that name already")
    with found, publishing(tmp_path / "a.zst") as file:
        file.write(NEW)
        (tmp_path / "a.zst.age").write_bytes(OLD)
    assert [each.name for each in tmp_path.iterdir()] == ["a.zst.age"]


# -- what force replaces ----------------------------------------------------------------------------------------------

SOMEBODYS = {
    "text": b"a diary",
    "zstd": zstandard.compress(b"somebody's archive"),
    "zstd of msgpack": zstandard.compress(b"\x81\xa4name\xa1x"),
    "skippable": b"\x5c\x2a\x4d\x18\x04\x00\x00\x00abcd",
    "half a zstd header": b"\x28\xb5\x2f\xfd",
    "a large window": b"\x28\xb5\x2f\xfd\x00\xff" + bytes(100),
    "zeros": bytes(5000),
}


@pytest.mark.parametrize("content", SOMEBODYS.values(), ids=SOMEBODYS.keys())
def test_force_does_not_replace_a_file_that_is_not_a_snapshot(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(content)
    with pytest.raises(ExistsError, match=r"a\.zst: this file is not a snapshot"):
        save(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["a.zst"]


def test_a_file_that_comes_while_a_snapshot_is_written_is_not_replaced(path: Path) -> None:
    refused = pytest.raises(ExistsError, match="not a snapshot")
    with refused, publishing(path, force=True) as file:
        file.write(NEW)
        path.write_bytes(b"a diary")
    assert found(path) == (b"a diary", SIGNED)


DAMAGED = {
    "nothing": b"",
    "encrypted": b"age-encryption.org/v1\n-> X25519",
    "without its end": OLD[:-1],
    "without its second half": OLD[: len(OLD) // 2],
    "without its beginning": OLD[100:],
    "with a flipped bit": OLD[:50] + bytes([OLD[50] ^ 1]) + OLD[51:],
    "newer": OLD[:-60] + bytes([99]) + OLD[-59:],
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_force_replaces_a_snapshot_in_whatever_state_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    save(path)
    assert path.read_bytes() == NEW


def test_force_replaces_a_symbolic_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")
    (tmp_path / "a.zst").symlink_to("diary")
    save(tmp_path / "a.zst")
    assert ((tmp_path / "a.zst").read_bytes(), (tmp_path / "diary").read_text()) == (NEW, "mine")


def test_a_file_of_another_ending_has_no_other_kind(tmp_path: Path) -> None:
    (tmp_path / "a.img.age").touch()
    save(tmp_path / "a.img", force=False)
    assert (tmp_path / "a.img").read_bytes() == NEW
