"""Directories of machines: one owner a name, private, and nothing left of dead machines."""

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.errors import ExistsError, StorageError
from chkpt.service import directory


def dead(runtime: Path, name: str) -> Path:
    """Leave the directory of a machine whose process was killed."""
    claimed = directory.claim(name)
    sockets.listen(claimed.path / "api.sock").close()
    os.close(claimed._lock)
    assert (claimed.path / "api.sock").is_socket()
    assert claimed.path.parent == runtime / "chkpt"
    return claimed.path


def test_directories_and_lock_are_private(runtime: Path) -> None:
    claimed = directory.claim("m")
    assert claimed.path == runtime / "chkpt" / "m"
    for path, mode in (
        (claimed.path.parent, 0o700),
        (claimed.path, 0o700),
        (claimed.path / "lock", 0o600),
        (claimed.path.parent / ".lock", 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    claimed.remove()


def test_without_runtime_directory_the_temporary_one_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert directory.root() == tmp_path / f"chkpt-{os.geteuid()}"
    claimed = directory.claim("m")
    assert claimed.path == tmp_path / f"chkpt-{os.geteuid()}" / "m"
    claimed.remove()


def test_relative_runtime_directory_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "run")
    assert directory.root().is_absolute()
    assert directory.root().name == f"chkpt-{os.geteuid()}"


def test_looking_creates_nothing(runtime: Path) -> None:
    assert directory.running() == {}
    assert list(runtime.iterdir()) == []


def test_claimed_machine_is_running_until_removed() -> None:
    claimed = directory.claim("m")
    assert directory.running() == {"m": claimed.path}
    claimed.remove()
    assert directory.running() == {}
    assert not claimed.path.exists()


def test_name_of_running_machine_is_taken() -> None:
    claimed = directory.claim("m")
    with pytest.raises(ExistsError, match=f"machine m is running already, process {os.getpid()}"):
        directory.claim("m")
    assert directory.running() == {"m": claimed.path}
    claimed.remove()
    directory.claim("m").remove()


def test_name_of_dead_machine_is_free(runtime: Path) -> None:
    left = dead(runtime, "m")
    claimed = directory.claim("m")
    assert claimed.path == left
    assert sorted(path.name for path in left.iterdir()) == ["lock"]
    claimed.remove()


def test_dead_machine_is_swept_by_looking(runtime: Path) -> None:
    left = dead(runtime, "m")
    assert directory.running() == {}
    assert not left.exists()


def test_dead_machine_is_swept_by_another_machine(runtime: Path) -> None:
    left = dead(runtime, "m")
    directory.claim("other").remove()
    assert not left.exists()


def test_foreign_file_in_dead_directory_stays(runtime: Path) -> None:
    left = dead(runtime, "m")
    (left / "notes").write_text("mine")
    assert directory.running() == {}
    assert [path.name for path in left.iterdir()] == ["notes"]


def test_symbolic_link_among_machines_is_not_followed(runtime: Path, tmp_path: Path) -> None:
    directory.claim("m").remove()
    (tmp_path / "lock").write_text("")
    (runtime / "chkpt" / "link").symlink_to(tmp_path)
    assert directory.running() == {}
    assert (tmp_path / "lock").exists()
    with pytest.raises(StorageError, match="link is a symbolic link"):
        directory.claim("link")


def test_root_that_is_a_symbolic_link_is_refused(runtime: Path, tmp_path: Path) -> None:
    (runtime / "chkpt").symlink_to(tmp_path)
    for call in (lambda: directory.claim("m"), directory.running):
        with pytest.raises(StorageError, match=r"chkpt is a symbolic link.*remove it, or set XDG_RUNTIME_DIR"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_root_that_is_a_file_is_refused(runtime: Path) -> None:
    (runtime / "chkpt").write_text("")
    with pytest.raises(StorageError, match="chkpt is not a directory"):
        directory.claim("m")


def test_root_that_others_can_enter_is_refused(runtime: Path) -> None:
    (runtime / "chkpt").mkdir()
    (runtime / "chkpt").chmod(0o755)
    for call in (lambda: directory.claim("m"), directory.running):
        with pytest.raises(StorageError, match=r"open to other users \(mode 0755\); chmod 700 it"):
            call()


def test_root_of_somebody_else_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "chkpt").mkdir(0o700)
    owner = (runtime / "chkpt").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StorageError, match=f"belongs to user {owner}; .* XDG_RUNTIME_DIR"):
        directory.claim("m")


def test_missing_runtime_directory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    with pytest.raises(StorageError, match=r"absent.*No such file.*XDG_RUNTIME_DIR"):
        directory.claim("m")
    assert directory.running() == {}


def test_lock_that_is_a_symbolic_link_is_refused(runtime: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("data")
    (runtime / "chkpt" / "m").mkdir(0o700, parents=True)
    (runtime / "chkpt").chmod(0o700)
    (runtime / "chkpt" / "m" / "lock").symlink_to(target)
    with pytest.raises(StorageError):
        directory.claim("m")
    assert target.read_text() == "data"


def test_lock_is_not_inherited_by_child_processes() -> None:
    claimed = directory.claim("m")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        claimed.remove()
        again = directory.claim("m")
        again.remove()
        child.communicate(b"\n")
    assert child.returncode == 0


def test_waiting_for_the_end_of_a_machine() -> None:
    claimed = directory.claim("m")
    lock = directory.hold(claimed.path)
    assert lock is not None
    assert not directory.is_over(lock)
    claimed.remove()
    assert directory.is_over(lock)
    os.close(lock)
    assert directory.hold(claimed.path) is None


def test_claims_of_one_name_have_one_winner(runtime: Path) -> None:
    code = (
        "import sys; from chkpt.errors import ExistsError; from chkpt.service import directory\n"
        "input()\n"
        "try: claimed = directory.claim('m')\n"
        "except ExistsError: print('taken', flush=True)\n"
        "else: print('won', flush=True); input()\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    answers = [child.stdout.readline() for child in children if child.stdout is not None]
    for child in children:
        child.communicate(b"\n")
    assert sorted(answers) == [b"taken\n"] * 3 + [b"won\n"]
    assert directory.running() == {}


def test_lock_held_by_another_open_file_counts(runtime: Path) -> None:
    """A lock belongs to the open file, not to the process: two machines in one process exclude each other, too."""
    path = runtime / "chkpt" / "m"
    path.mkdir(0o700, parents=True)
    (runtime / "chkpt").chmod(0o700)
    with (path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ExistsError, match=r"process \?"):
            directory.claim("m")


# -- who may get in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o077, 0o277, 0o777])
def test_modes_are_the_same_under_any_umask(runtime: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        claimed = directory.claim("m")
        assert directory.running() == {"m": claimed.path}
    finally:
        os.umask(before)
    for path, mode in (
        (runtime / "chkpt", 0o700),
        (runtime / "chkpt" / ".lock", 0o600),
        (claimed.path, 0o700),
        (claimed.path / "lock", 0o600),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    claimed.remove()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_root_in_a_directory_that_others_can_change_is_refused(runtime: Path, mode: int) -> None:
    claimed = directory.claim("m")
    runtime.chmod(mode)
    for call in (lambda: directory.claim("n"), directory.running):
        with pytest.raises(
            StorageError, match=rf"can be changed by other users \(mode 0{mode:o}\); chmod go-w it, or set"
        ):
            call()
    runtime.chmod(mode | stat.S_ISVTX)  # like /tmp: a user cannot rename another's files
    assert directory.running() == {"m": claimed.path}
    claimed.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_root_in_a_directory_of_somebody_else_is_refused(runtime: Path) -> None:
    directory.claim("m").remove()
    os.chown(runtime, 65534, 65534)
    for call in (lambda: directory.claim("m"), directory.running):
        with pytest.raises(StorageError, match=r"belongs to user 65534; .* XDG_RUNTIME_DIR"):
            call()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("path", ["chkpt", "chkpt/m"])
def test_directory_given_away_is_refused(runtime: Path, path: str) -> None:
    directory.claim("m").remove()
    (runtime / "chkpt" / "m").mkdir(0o700)
    (runtime / "chkpt" / "m" / "notes").write_text("not to be swept")
    os.chown(runtime / path, 65534, 65534)
    with pytest.raises(StorageError, match=f"{path} belongs to user 65534; remove it"):
        directory.claim("m")


@pytest.mark.parametrize(("part", "count"), [("d" * 300, 1), ("d" * 200, 25)])
def test_name_that_no_directory_can_have_is_told(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, part: str, count: int
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime.joinpath(*[part] * count)))
    for call in (lambda: directory.claim("m"), directory.running):
        with pytest.raises(StorageError, match=r"File name too long; .* XDG_RUNTIME_DIR"):
            call()


# -- who is dead, and who is not --------------------------------------------------------------------------------------


def test_machine_whose_lock_was_tidied_away_is_not_swept(runtime: Path) -> None:
    claimed = directory.claim("m")
    with sockets.listen(claimed.path / "api.sock"):
        (claimed.path / "lock").unlink()
        assert directory.running() == {"m": claimed.path}
        with pytest.raises(ExistsError, match=r"machine m is running already, .* lock is gone"):
            directory.claim("m")
        assert (claimed.path / "api.sock").is_socket()
    claimed.remove()
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_machine_whose_lock_was_tidied_away_and_that_is_dead_is_swept(runtime: Path) -> None:
    left = dead(runtime, "m")
    (left / "lock").unlink()
    assert directory.running() == {}
    assert not left.exists()


def test_machine_does_not_remove_the_directory_of_its_successor() -> None:
    first = directory.claim("m")
    (first.path / "lock").unlink()  # no socket answers: the name counts as free
    second = directory.claim("m")
    first.remove()
    assert directory.running() == {"m": second.path}
    second.remove()
    assert not second.path.exists()


def test_directory_that_somebody_has_removed_is_no_error_at_the_end(runtime: Path) -> None:
    claimed = directory.claim("m")
    shutil.rmtree(runtime / "chkpt")
    claimed.remove()
    assert list(runtime.iterdir()) == []


def test_number_of_a_process_says_nothing_of_a_machine(runtime: Path) -> None:
    """The process of a dead machine's number lives, and is even this one."""
    left = dead(runtime, "m")
    (left / "lock").write_text(f"{os.getpid()}\n")
    assert directory.running() == {}
    assert not left.exists()


def test_sockets_of_a_machine_that_died_since_the_sweep_are_removed(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = dead(runtime, "m")
    monkeypatch.setattr(directory, "_sweep", lambda _: None)
    claimed = directory.claim("m")
    assert [path.name for path in left.iterdir()] == ["lock"]
    claimed.remove()


def test_many_cleaners_and_many_beginners_do_not_hurt_each_other(runtime: Path) -> None:
    """Each process sweeps, claims, checks that it has what it claimed, and is killed or ends, again and again."""
    code = (
        "import os, sys; from chkpt import sockets; from chkpt.errors import ExistsError\n"
        "from chkpt.service import directory\n"
        "for turn in range(40):\n"
        "    try: claimed = directory.claim(f'm{turn % 3}')\n"
        "    except ExistsError: directory.running(); continue\n"
        "    with sockets.listen(claimed.path / 'api.sock'):\n"
        "        assert claimed.path.name in directory.running()\n"
        "        assert sockets.is_answering(claimed.path / 'api.sock')\n"
        "        assert (claimed.path / 'lock').read_text() == f'{os.getpid()}\\n'\n"
        "    if turn % 2: claimed.remove()\n"
        "    else: os.close(claimed._lock)\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)]
    outcomes = [(child.communicate()[1], child.returncode) for child in children]
    assert outcomes == [("", 0)] * 4
    assert directory.running() == {}
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_lock_on_all_directories_that_is_never_given_back_is_told(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.claim("m").remove()
    monkeypatch.setattr(directory, "PATIENCE_SECONDS", 0.05)
    with (runtime / "chkpt" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for call in (lambda: directory.claim("m"), directory.running):
            with pytest.raises(StorageError, match=r"\.lock: another chkpt has held this lock for .* s"):
                call()


def test_lock_on_all_directories_that_was_replaced_is_taken_anew(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the file of a lock is replaced, a process that has opened the old one must not go on with it."""
    directory.claim("m").remove()
    path = runtime / "chkpt" / ".lock"
    lock = directory._lock
    with ExitStack() as stack:

        def replaced(file: int, kind: int) -> bool:
            monkeypatch.setattr(directory, "_lock", lock)
            path.unlink()
            fcntl.flock(stack.enter_context(path.open("w")), fcntl.LOCK_EX)  # another chkpt has it by now
            return lock(file, kind)

        monkeypatch.setattr(directory, "PATIENCE_SECONDS", 0.05)
        monkeypatch.setattr(directory, "_lock", replaced)
        with pytest.raises(StorageError, match="another chkpt has held this"):
            directory.claim("m")


@pytest.mark.parametrize("call", ["chmod", "fchmod", "ftruncate", "write"])
def test_claim_that_fails_leaves_no_directory(runtime: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    directory.claim("other").remove()  # so that the directory of all machines is there
    refused: list[str] = []

    def refuse(*_: object, **__: object) -> None:
        refused.append(call)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(StorageError):
            directory.claim("m")
    assert refused
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_claim_of_a_taken_name_leaves_its_machine_alone(runtime: Path) -> None:
    claimed = directory.claim("m")
    with pytest.raises(ExistsError):
        directory.claim("m")
    assert sorted(path.name for path in (runtime / "chkpt" / "m").iterdir()) == ["lock"]
    claimed.remove()


def test_root_lock_that_cannot_be_unlocked_is_given_back_by_its_closing(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def fail(file: int, kind: int) -> None:
        if kind == fcntl.LOCK_UN:
            raise OSError(errno.EIO, "Input/output error")
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", fail)
    monkeypatch.setattr(directory, "PATIENCE_SECONDS", 0)
    directory.claim("m").remove()
    assert directory.running() == {}
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_root_lock_that_fails_to_close_does_not_undo_a_claim(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    def fail(file: int) -> None:
        close(file)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        claimed = directory.claim("m")
    claimed.remove()
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]
