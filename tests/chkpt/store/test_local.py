"""The store in a directory: the contract, and what is the file system's own."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from chkpt.errors import CorruptError, ExistsError, NotFoundError, StorageError, UsageError
from chkpt.snapshot import Reader, Summary, Writable, dump, dumps
from chkpt.store.files import AHEAD, Leavings, make_directory, new_file, write_file
from chkpt.store.local import LocalStore
from chkpt.store.publish import publishing
from chkpt.testing import StoreContract
from chkpt.testing.store import RACERS, checkpoint
from tests.support.descriptors import none_left

ROOT = Path(__file__).parents[3]


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "snapshots")

    @pytest.fixture
    def damage(self, store: LocalStore) -> Callable[[str], None]:
        def damage(name: str) -> None:
            path = store.path(name)
            data = bytearray(path.read_bytes())
            data[len(data) // 3] ^= 1
            path.write_bytes(data)

        return damage

    @pytest.fixture
    def encrypted(self, store: LocalStore) -> Callable[[str], None]:
        def encrypted(name: str) -> None:
            store.directory.mkdir(exist_ok=True)
            (store.directory / f"{name}.zst.age").write_bytes(b"age-encryption.org/v1\n")

        return encrypted


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "snapshots")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# -- files and directories --------------------------------------------------------------------------------------------


def test_the_snapshot_is_a_file_of_its_name(store: LocalStore) -> None:
    store.create("boot", checkpoint())
    assert names(store.directory) == ["boot.zst"]
    assert (store.directory / "boot.zst").read_bytes() == dumps(checkpoint())


def test_directory_and_file_are_the_owners_alone(store: LocalStore) -> None:
    store.create("boot", checkpoint())
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path("boot").stat().st_mode) == 0o600


def test_the_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    LocalStore(tmp_path / "a" / "b").create("boot", checkpoint())
    assert names(tmp_path / "a" / "b") == ["boot.zst"]


def test_an_existing_directory_keeps_its_mode(store: LocalStore) -> None:
    store.directory.mkdir()
    store.directory.chmod(0o755)
    store.create("boot", checkpoint())
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o755


def test_reading_makes_no_directory(store: LocalStore) -> None:
    assert list(store.list()) == []
    for operation in (store.open, store.verify, store.remove):
        with pytest.raises(NotFoundError):
            operation("boot")
    assert not store.directory.exists()


def test_other_files_are_not_listed(store: LocalStore) -> None:
    store.create("boot", checkpoint())
    for name in ("README", ".hidden.zst", ".zst", "a.zst.part", "a.ZST"):
        (store.directory / name).write_bytes(b"")
    (store.directory / "directory.zst").mkdir()
    (store.directory / os.fsdecode(b"\xff.zst")).write_bytes(b"")
    assert [listing.name for listing in store.list()] == ["boot"]


def test_a_damaged_snapshot_is_listed_with_its_problem(store: LocalStore) -> None:
    store.create("good", checkpoint())
    store.path("bad").write_bytes(b"no snapshot at all")
    store.path("loop").symlink_to(store.path("loop"))
    bad, good = store.list()
    assert (good.name, good.problem) == ("good", "")
    assert (bad.name, bad.size, bad.created, bad.machine, bad.root_digest) == ("bad", 18, "", "", b"")
    assert bad.problem.startswith(str(store.path("bad")))
    assert "not a chkpt snapshot" in bad.problem


def test_a_snapshot_that_vanishes_while_the_list_is_made_is_left_out(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("a", checkpoint())
    store.create("b", checkpoint())
    opened = store.open

    def open_late(name: str) -> Reader:
        if name == "a":
            store.path("a").unlink()
        return opened(name)

    monkeypatch.setattr(store, "open", open_late)
    assert [listing.name for listing in store.list()] == ["b"]


def test_a_damaged_snapshot_that_vanishes_while_the_list_is_made_is_left_out(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("a", checkpoint())

    def vanish(name: str) -> Reader:
        store.path(name).unlink()
        raise CorruptError("damaged")

    monkeypatch.setattr(store, "open", vanish)
    assert list(store.list()) == []


def test_a_store_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file")
    with pytest.raises(StorageError, match=r"file: Not a directory$"):
        store.list()
    with pytest.raises(StorageError, match=r"file/boot\.zst: Not a directory$"):
        store.create("boot", checkpoint())
    for operation in (store.open, store.remove):
        with pytest.raises(NotFoundError):
            operation("boot")


def test_a_directory_of_a_snapshots_name_cannot_be_removed(store: LocalStore) -> None:
    store.path("boot").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"boot\.zst: Is a directory$"):
        store.remove("boot")


@contextmanager
def nobody() -> Iterator[None]:
    """Be somebody who may write nowhere, where the tests are run by root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_that_cannot_be_written_is_an_error_that_names_the_snapshot() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o555)
        with nobody(), pytest.raises(StorageError, match=rf"^{directory}/new\.zst: Permission denied$"):
            LocalStore(directory).create("new", checkpoint())
        assert names(Path(directory)) == []


def test_a_directory_that_cannot_be_made_is_an_error_that_names_it() -> None:
    with pytest.raises(StorageError, match=r"^/proc/chkpt-store: "):
        LocalStore("/proc/chkpt-store").create("boot", checkpoint())


# -- new files -------------------------------------------------------------------------------------------------------


def test_a_file_is_published_at_any_path(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    write_file(path, b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == ["a file"]


def test_a_relative_path_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with publishing("here.zst") as file:
        dump(checkpoint(), file)
    Reader.open("here.zst").close()
    assert names(tmp_path) == ["here.zst"]


def test_an_existing_file_is_refused_and_replaced_by_force_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ExistsError, match=rf"^{path}: .* already; .* \(--force\)$"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    write_file(path, b"new", force=True)
    assert path.read_bytes() == b"new"


def test_a_dangling_link_is_something_and_force_replaces_the_link(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExistsError):
        write_file(path, b"new")
    write_file(path, b"new", force=True)
    assert not path.is_symlink()
    assert names(tmp_path) == ["a"]


def test_force_does_not_replace_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    with pytest.raises(ExistsError, match=r"a: this is a directory; choose another name$"):
        write_file(path, b"new")
    with pytest.raises(StorageError, match=r"a: Is a directory$"):
        write_file(path, b"new", force=True)
    assert names(tmp_path) == ["a"]


def test_a_file_that_appears_meanwhile_wins(tmp_path: Path) -> None:
    path = tmp_path / "a"

    refused = pytest.raises(ExistsError)
    with refused, publishing(path) as file:
        file.write(b"late")
        path.write_bytes(b"first")
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/a: the directory \S+/missing does not exist"):
        write_file(tmp_path / "missing" / "a", b"")
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["", "/", "a\0b", ".chkpt-0123456789abcdef"])
def test_what_is_no_path_for_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be the path of a snapshot$"):
        write_file(name, b"")


def test_the_file_is_synced_after_it_is_written_and_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    events: list[str] = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        events.append(f"sync {kind}, {'named' if path.exists() else 'unnamed'}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    with publishing(path):
        events.append("write")
    assert events == ["write", "sync file, unnamed", "sync directory, named"]


def test_a_removal_is_synced(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("boot", checkpoint())
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    store.remove("boot")
    assert synced == [True]


def test_a_file_system_that_cannot_sync_a_directory_is_good_enough(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    store.create("boot", checkpoint())
    store.verify("boot")


def test_a_directory_that_fails_to_sync_is_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("old", checkpoint())

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=r"boot\.zst: .* is there and whole, .*: Input/output error; .* may lose it"):
        store.create("boot", checkpoint())
    store.verify("boot")
    with pytest.raises(StorageError, match=r"old\.zst: Input/output error$"):
        store.remove("old")


@pytest.mark.parametrize("call", ["write", "fsync", "link", "open", "fstat"])
def test_a_refusal_of_the_system_is_one_line_and_leaves_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store.create("old", checkpoint())

    refused = getattr(os, call)

    def refuse(what: object, flags: int = os.O_CREAT, *rest: object, **options: object) -> object:
        if call == "open" and not flags & os.O_CREAT:
            return refused(what, flags, *rest, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    with none_left(), monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StorageError) as caught:
            store.create("boot", checkpoint())
    assert str(caught.value) == f"{store.path('boot')}: No space left on device"
    assert names(store.directory) == ["old.zst"]


@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_fails_to_close_has_been_saved_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, force: bool
) -> None:
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        write_file(tmp_path / "a", b"a", force=force)
    assert (tmp_path / "a").read_bytes() == b"a"
    assert names(tmp_path) == ["a"]


def test_a_temporary_name_that_cannot_be_removed_is_left_to_the_next_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        write_file(tmp_path / "a", b"a")
    assert (tmp_path / "a").read_bytes() == b"a"
    assert len(names(tmp_path)) == 2
    write_file(tmp_path / "b", b"b")
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").stat().st_nlink == 1


@pytest.mark.parametrize(("error", "goes_on"), [(errno.ENOLCK, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_only_a_file_system_without_locks_is_written_to_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, *, goes_on: bool
) -> None:
    """What is not locked, another writer would take for the leaving of a dead one."""

    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr("fcntl.flock", refuse)
    if goes_on:
        write_file(tmp_path / "a", b"a")
    else:
        with pytest.raises(StorageError, match=r"a: Input/output error$"):
            write_file(tmp_path / "a", b"a")
    assert names(tmp_path) == (["a"] if goes_on else [])


def test_every_directory_that_is_made_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(str(Path(f"/proc/self/fd/{file}").readlink())))
    make_directory(tmp_path / "a" / "b" / "c")
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c").stat().st_mode) == 0o700
    make_directory(tmp_path / "a" / "b" / "c")
    assert len(synced) == 3


# -- what killed writers leave ----------------------------------------------------------------------------------------


def test_a_store_is_repaired_of_what_dead_writers_left_and_of_nothing_else(store: LocalStore) -> None:
    assert store.repair() == Leavings((), {})
    assert not store.directory.exists()
    store.create("good", checkpoint())
    store.path("bad").write_bytes(b"no snapshot at all")
    (store.directory / ".chkpt-00000000000000cc").mkdir()

    with publishing(store.directory / "other") as file:
        file.write(b"live")
        (store.directory / ".chkpt-00000000000000aa").write_bytes(b"stale")
        found = store.repair()
        assert found.removed == (".chkpt-00000000000000aa",)
        assert list(found.kept.values()) == ["its writer is at work"]
    assert names(store.directory) == [".chkpt-00000000000000cc", "bad.zst", "good.zst", "other"]


def test_where_nobody_can_tell_whether_a_writer_lives_its_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".chkpt-00000000000000aa").write_bytes(b"")
    monkeypatch.setattr("fcntl.flock", refuse)
    reason = "its writer may be alive: No locks available"
    assert LocalStore(tmp_path).repair() == Leavings((), {".chkpt-00000000000000aa": reason})
    assert names(tmp_path) == [".chkpt-00000000000000aa"]


def test_a_store_that_cannot_be_read_cannot_be_repaired(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file: Not a directory$"):
        LocalStore(tmp_path / "file").repair()


def test_a_full_disk_leaves_no_file_behind(tmp_path: Path) -> None:
    script = """
        import os, resource, signal, sys
        from chkpt.errors import StorageError
        from chkpt.store.local import LocalStore
        from chkpt.testing.store import checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        LocalStore(sys.argv[1]).create("small", checkpoint(size=10))
        try:
            LocalStore(sys.argv[1]).create("boot", checkpoint(os.urandom(4000).hex()))
        except StorageError as exc:
            print(exc)
    """
    run = python(script, tmp_path)
    output, _ = run.communicate(timeout=30)
    assert output == f"{tmp_path}/boot.zst: File too large\n"
    assert names(tmp_path) == ["small.zst"]


def test_a_file_system_without_links_asks_for_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StorageError, match=r"no hard links.*--force"):
        write_file(tmp_path / "a", b"x")
    assert names(tmp_path) == []
    write_file(tmp_path / "a", b"x", force=True)
    assert names(tmp_path) == ["a"]


def test_a_file_that_was_kept_cannot_be_written_any_more(tmp_path: Path) -> None:
    with publishing(tmp_path / "a") as kept:
        pass
    with (tmp_path / "b").open("wb"), pytest.raises(StorageError, match=r"a: written to after it was closed$"):
        kept.write(b"late")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b""


def test_no_descriptor_is_left_open(store: LocalStore) -> None:
    store.create("boot", checkpoint())
    with none_left():
        store.create("other", checkpoint())
        with pytest.raises(ExistsError):
            store.create("boot", checkpoint())
        with pytest.raises(StorageError):
            write_file(store.directory / "x" / "y", b"")
        store.list()
        store.verify("boot")
        store.remove("boot")


# -- processes --------------------------------------------------------------------------------------------------------


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python that can import what the tests can."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


RACER = """
    import sys
    from chkpt.errors import ExistsError
    from chkpt.store.local import LocalStore
    from chkpt.testing.store import checkpoint
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(20):
        try:
            LocalStore(sys.argv[1]).create(f"race {number}", checkpoint(sys.argv[2]))
            print(number, flush=True)
        except ExistsError:
            pass
"""


def test_one_of_many_processes_gets_each_name(store: LocalStore) -> None:
    racers = [python(RACER, store.directory, number) for number in range(RACERS)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    won: dict[int, str] = {}
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    for number, racer in enumerate(racers):
        output, _ = racer.communicate(timeout=60)
        assert racer.returncode == 0
        for line in output.split():
            assert int(line) not in won
            won[int(line)] = str(number)
    assert sorted(won) == list(range(20))
    assert names(store.directory) == sorted(f"race {number}.zst" for number in range(20))
    for number, winner in won.items():
        with store.open(f"race {number}") as reader:
            reader.verify()
            assert reader.header["machine"] == winner


WRITER = """
    import sys
    from chkpt.store import publishing
    with publishing(sys.argv[1]) as file:
        file.write(b"half of it")
        print("written", flush=True)
        sys.stdin.readline()
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    writer = python(WRITER, tmp_path / "a")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    (left,) = names(tmp_path)
    assert left.startswith(".chkpt-")
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=30)
    assert names(tmp_path) == [left]
    write_file(tmp_path / "b", b"b")
    assert names(tmp_path) == ["b"]


def test_what_a_living_writer_is_writing_is_left_alone(tmp_path: Path) -> None:
    writer = python(WRITER, tmp_path / "a")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    write_file(tmp_path / "b", b"b")
    (left, _) = names(tmp_path)
    assert left.startswith(".chkpt-")
    writer.communicate("\n", timeout=30)
    assert writer.returncode == 0
    assert (tmp_path / "a").read_bytes() == b"half of it"
    assert names(tmp_path) == ["a", "b"]


def test_what_a_thread_is_writing_is_left_alone(tmp_path: Path) -> None:
    with publishing(tmp_path / "a") as file:
        file.write(b"outer")
        write_file(tmp_path / "b", b"inner")
    assert [(tmp_path / name).read_bytes() for name in names(tmp_path)] == [b"outer", b"inner"]


def test_only_a_writers_own_leavings_are_removed(tmp_path: Path) -> None:
    kept = [".chkpt-notes", ".chkpt-0123456789abcdeg", ".chkpt-0123456789abcdef0", "chkpt-0123456789abcdef"]
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".chkpt-0000000000000000").mkdir()
    (tmp_path / ".chkpt-0000000000000001").symlink_to("elsewhere")
    os.mkfifo(tmp_path / ".chkpt-0000000000000002")
    (tmp_path / ".chkpt-0000000000000003").write_bytes(b"stale")
    write_file(tmp_path / "a", b"a")
    assert names(tmp_path) == sorted([*kept, *(f".chkpt-000000000000000{number}" for number in range(3)), "a"])


def slot(number: int) -> str:
    """Return the name of a temporary file."""
    return f".chkpt-{number:016x}"


@pytest.mark.parametrize("force", [False, True])
def test_a_save_does_not_read_the_directory_it_saves_to(store: LocalStore, *, force: bool) -> None:
    store.create("a", checkpoint())
    read: list[object] = []
    watched, thread = [True], threading.get_ident()

    def watch(event: str, args: tuple[object, ...]) -> None:
        if (
            watched[0]
            and threading.get_ident() == thread
            and event in {"os.listdir", "os.scandir", "glob.glob", "pathlib.Path.glob"}
        ):
            read.append(args)

    sys.addaudithook(watch)  # which cannot be taken back
    store.create("a" if force else "b", checkpoint(), force=force)
    assert read == []
    names(store.directory)
    watched[0] = False
    assert len(read) == 1


def test_a_save_makes_as_many_calls_beside_any_number_of_files(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    for name in ("stat", "lstat", "open", "unlink", "fstat"):
        call = getattr(os, name)

        def counted(*args: Any, name: str = name, call: Callable[..., object] = call, **options: Any) -> object:
            made.append(name)
            return call(*args, **options)

        monkeypatch.setattr(os, name, counted)
    store.create("a", checkpoint())
    made.clear()
    store.create("b", checkpoint())
    few = list(made)
    for number in range(50):
        (store.directory / f"{number}.zst").touch()
        (store.directory / f".{number}").touch()
    made.clear()
    store.create("c", checkpoint())
    assert made == few


def test_many_killed_writers_leave_nothing_to_the_next(tmp_path: Path) -> None:
    left = [0, 1, *range(AHEAD, 2 * AHEAD), 3 * AHEAD - 1]
    for number in left:
        (tmp_path / slot(number)).write_bytes(b"stale")
    write_file(tmp_path / "a", b"a")
    assert names(tmp_path) == ["a"]


def test_what_was_left_behind_a_long_gap_is_found_by_repair(tmp_path: Path) -> None:
    (tmp_path / slot(AHEAD)).write_bytes(b"stale")
    write_file(tmp_path / "a", b"a")
    assert names(tmp_path) == [slot(AHEAD), "a"]
    assert LocalStore(tmp_path).repair() == Leavings((slot(AHEAD),), {})


def test_writers_at_once_have_temporary_files_of_their_own(tmp_path: Path) -> None:
    with publishing(tmp_path / "a") as first, publishing(tmp_path / "b") as second:
        assert names(tmp_path) == [slot(0), slot(1)]
        first.write(b"first")
        second.write(b"second")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"first", b"second"]


def test_a_name_that_a_new_writer_has_taken_meanwhile_is_not_cleaned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two find one leaving; the quicker one removes it and takes its name before the other one has locked it."""
    (tmp_path / slot(0)).write_bytes(b"stale")
    lock, taken = fcntl.flock, list[Path]()

    def be_late(descriptor: int, operation: int) -> None:
        if not taken:
            taken.append(tmp_path / slot(0))
            taken[0].unlink()
            taken[0].write_bytes(b"new")
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", be_late)
    assert LocalStore(tmp_path).repair() == Leavings((), {slot(0): "its writer is at work"})
    assert taken[0].read_bytes() == b"new"


def test_a_temporary_name_that_another_writer_has_by_now_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal of the temporary name that was made, but answered with an error, is tried again at the end."""
    unlink = os.unlink

    def take(*args: Any, **options: Any) -> None:
        unlink(*args, **options)
        (tmp_path / slot(0)).write_bytes(b"another's")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "unlink", take)
    write_file(tmp_path / "a", b"a")
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == {slot(0): b"another's", "a": b"a"}


def test_a_file_that_another_writer_took_for_a_leaving_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock a file looks like one that a dead writer left."""
    import fcntl

    lock = fcntl.flock
    stolen: list[str] = []

    def lose(descriptor: int, operation: int) -> None:
        if not stolen:
            stolen.extend(names(tmp_path))
            (tmp_path / stolen[0]).unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lose)
    write_file(tmp_path / "a", b"a")
    assert len(stolen) == 1
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"a"


def test_a_save_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    writer = python(WRITER, tmp_path / "a")
    assert writer.stdout is not None
    assert writer.stdout.readline() == "written\n"
    time.sleep(0.05)
    writer.send_signal(signal.SIGINT)
    writer.communicate(timeout=30)
    assert writer.returncode != 0
    assert names(tmp_path) == []


# -- a lock of the caller's -------------------------------------------------------------------------------------------


def test_the_machine_may_be_released_before_the_disk_is_waited_for(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [False]
    sync = os.fsync

    def check(descriptor: int) -> None:
        assert not held[0]
        sync(descriptor)

    def write(file: Writable) -> Summary:
        held[0] = True
        try:
            return dump(checkpoint(), file)
        finally:
            held[0] = False

    monkeypatch.setattr(os, "fsync", check)
    store.create("boot", write)
    store.verify("boot")


def test_damage_is_told_with_the_path(store: LocalStore) -> None:
    store.create("boot", checkpoint())
    os.truncate(store.path("boot"), 100)
    with pytest.raises(CorruptError, match=rf"^{store.path('boot')}: the trailer at offset 32: there is no trailer"):
        store.open("boot")


# -- one change of a name at a time -----------------------------------------------------------------------------------


@contextmanager
def lock_of(directory: Path) -> Iterator[Callable[[], None]]:
    """Hold the lock of a directory as another process would; yield what gives it back."""
    held = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(held, fcntl.LOCK_UN)
    finally:
        os.close(held)


def test_a_file_gets_its_name_under_the_lock_of_the_directory(tmp_path: Path) -> None:
    with new_file(tmp_path / "a") as file:
        file.sync()
        with file.locking():
            other = os.open(tmp_path, os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)
            file.give_name(replace=True)
    with lock_of(tmp_path):  # which is free again
        pass
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("missing", ["sync", "sync of all", "lock"])
def test_a_file_that_is_not_synced_or_whose_directory_is_not_locked_gets_no_name(tmp_path: Path, missing: str) -> None:
    refused = pytest.raises(RuntimeError, match=r"a: sync the file and lock its directory")
    with refused, new_file(tmp_path / "a") as file:
        if missing != "sync":
            file.sync()
        if missing == "sync of all":
            file.write(b"more")
        with file.locking() if missing != "lock" else nullcontext():
            file.give_name(replace=True)
    assert names(tmp_path) == []


def test_a_file_that_gets_no_name_is_gone(tmp_path: Path) -> None:
    with new_file(tmp_path / "a") as file:
        file.write(b"a")
    assert names(tmp_path) == []


@pytest.mark.parametrize("change", ["save", "force", "remove"])
def test_a_change_of_a_name_waits_for_the_lock_of_the_directory(tmp_path: Path, change: str) -> None:
    store = LocalStore(tmp_path)
    store.create("a", checkpoint("first"))
    does: dict[str, Callable[[], object]] = {
        "save": lambda: store.create("b", checkpoint()),
        "force": lambda: store.create("a", checkpoint("second"), force=True),
        "remove": lambda: store.remove("a"),
    }
    before = store.path("a").read_bytes()
    with lock_of(tmp_path) as give_back, ThreadPoolExecutor() as pool:
        done = pool.submit(does[change])
        with pytest.raises(TimeoutError):
            done.result(0.2)
        assert (store.path("a").read_bytes(), store.path("b").exists()) == (before, False)
        give_back()
        done.result(30)
    assert not store.path("a").exists() or store.path("b").exists() or store.path("a").read_bytes() != before


def test_a_lock_that_is_not_given_back_is_an_error_that_names_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chkpt.store.files.PATIENCE_SECONDS", 0)
    with (
        lock_of(tmp_path),
        pytest.raises(StorageError, match=r"has held the lock of .* for 0 s"),
    ):
        write_file(tmp_path / "a", b"a")
    assert names(tmp_path) == []


@pytest.mark.parametrize("fault", [errno.EIO, errno.EEXIST, errno.ENOENT])
@pytest.mark.parametrize(("call", "force"), [("link", False), ("replace", True)])
def test_a_name_that_was_given_though_the_call_answers_an_error_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: int, *, force: bool
) -> None:
    does = getattr(os, call)

    def do_and_fail(*args: object, **options: object) -> None:
        does(*args, **options)
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(os, call, do_and_fail)
    write_file(tmp_path / "a", b"a", force=force)
    assert (names(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"a")


def test_a_link_that_fails_beside_another_file_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        (tmp_path / "a").write_bytes(b"another's")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        write_file(tmp_path / "a", b"a")
    assert (names(tmp_path), (tmp_path / "a").read_bytes()) == (["a"], b"another's")
