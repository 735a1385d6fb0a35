"""Where machines are found: one owner a name, nobody else's eyes, nothing left of the dead."""

import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chkpt.errors import ExistsError, StorageError
from chkpt.service import directory


def dead(runtime: Path, name: str) -> Path:
    """Leave the directory of a machine whose process was killed."""
    claimed = directory.claim(name)
    directory.listen(claimed.path / "api.sock").close()
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
    with pytest.raises(StorageError, match=f"belongs to user {owner}; remove it, or set XDG_RUNTIME_DIR"):
        directory.claim("m")


def test_missing_runtime_directory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    with pytest.raises(StorageError, match=r"absent.*No such file.*set XDG_RUNTIME_DIR to a directory of your own"):
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


def test_socket_is_for_its_user_alone(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        directory.listen(tmp_path / "s").close()
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


def test_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with directory.listen(deep / "api.sock") as listener, directory.connect(deep / "api.sock") as client:
        assert (deep / "api.sock").is_socket()
        client.sendall(b"x")
        listener.setblocking(True)
        with listener.accept()[0] as peer:
            assert peer.recv(1) == b"x"


@pytest.mark.parametrize("length", [106, 107, 108])
def test_paths_around_the_limit_of_a_socket_address_work(tmp_path: Path, length: int) -> None:
    room = length - len(os.fsencode(tmp_path)) - 1
    if room < 1:
        pytest.skip("the temporary directory's own path is too long")
    path = tmp_path / ("s" * room)
    assert len(os.fsencode(path)) == length
    with directory.listen(path), directory.connect(path):
        assert path.is_socket()


def test_listening_where_nothing_can_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent/s: No such file"):
        directory.listen(tmp_path / "absent" / "s")
    with pytest.raises(FileNotFoundError):
        directory.connect(tmp_path / "s")


def test_descriptors_of_long_paths_are_closed(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        directory.listen(deep / "s").close()
        (deep / "s").unlink()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_lock_held_by_another_open_file_counts(runtime: Path) -> None:
    """A lock belongs to the open file, not to the process: two machines in one process exclude each other, too."""
    path = runtime / "chkpt" / "m"
    path.mkdir(0o700, parents=True)
    (runtime / "chkpt").chmod(0o700)
    with (path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ExistsError, match=r"process \?"):
            directory.claim("m")
