"""Which files a save or a load may name, and what happens to what is no snapshot's place."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.errors import ChkptError, ExistsError, NotFoundError, StorageError, UsageError
from chkpt.service import directory, paths
from chkpt.service.api.requests import SaveRequest
from tests.support.served import COM1, launch, serving


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("", "absolute"),
        ("a.zst", "absolute"),
        ("./a.zst", "absolute"),
        ("/a\0.zst", "absolute"),
        ("/\udfff", "may have"),
        ("/" + "n" * 256, "longer"),
        ("/" + "\u20ac" * 86, "longer"),  # 258 bytes
        ("/n" * 2048, "longer"),
        ("/", "directory"),
        ("/tmp/", "directory"),
        ("/tmp/.", "directory"),
        ("/tmp/..", "directory"),
    ],
)
def test_path_that_can_be_nobodys(path: str, word: str) -> None:
    assert word in str(paths.find_problem(path))


@pytest.mark.parametrize("path", ["/a", "/" + "n" * 255, "/n" * 2047, "/tmp/../a", "/a b\n", "/\udcff", "/...", "/.a"])
def test_path_that_may_be_somebodys(path: str) -> None:
    assert paths.find_problem(path) is None


def both(path: str) -> list[Callable[[], None]]:
    return [
        lambda: paths.check_load(path),
        lambda: paths.check_save(path, force=False),
        lambda: paths.check_save(path, force=True),
    ]


@pytest.mark.parametrize(
    "path", ["/proc/self/mem", "/proc/self/fd/0", "/sys/x", "/dev/null", "/dev/new", "/tmp/../proc/1/x", "//proc/x"]
)
def test_kernels_own_is_no_place(path: str) -> None:
    for call in both(path):
        with pytest.raises(UsageError, match=r"/(proc|sys|dev) is not a place for snapshots"):
            call()


def test_kernels_own_is_no_place_by_a_link_either(tmp_path: Path) -> None:
    (tmp_path / "dir").symlink_to("/proc/self")
    for call in both(str(tmp_path / "dir" / "a.zst")):
        with pytest.raises(UsageError, match="/proc is not a place"):
            call()
    (tmp_path / "file").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="/dev is not a place"):
        paths.check_load(str(tmp_path / "file"))


def test_shared_memory_is_a_place(tmp_path: Path) -> None:
    paths.check_save("/dev/shm/chkpt-test.zst", force=True)
    with pytest.raises(NotFoundError):
        paths.check_load("/dev/shm/chkpt-test-absent.zst")
    with pytest.raises(UsageError):
        paths.check_save("/dev/shmx/a.zst", force=True)
    paths.check_save(str(tmp_path / "proc" / "a.zst"), force=True)
    paths.check_save("/processes/a.zst", force=True)


def test_directory_of_machines_is_no_place(runtime: Path) -> None:
    claimed = directory.claim("m")
    for path in (claimed.path / "lock", claimed.path / "new.zst", claimed.path.parent / "new.zst"):
        for call in both(str(path)):
            with pytest.raises(UsageError, match="the directory of running machines"):
                call()
    paths.check_save(str(runtime / "new.zst"), force=True)
    claimed.remove()


def test_what_is_no_regular_file_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dir").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
    for name in ("fifo", "dir", "sock"):
        path = str(tmp_path / name)
        with pytest.raises(StorageError, match=r"not a regular file|this is a directory"):
            paths.check_load(path)
        paths.check_save(path, force=False)  # which leaves it, and says so
        with pytest.raises(ExistsError, match=f"{name} is not a regular file, and is not replaced"):
            paths.check_save(path, force=True)


def test_link_is_followed_to_read_and_replaced_to_write(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("target")
    paths.check_load(str(tmp_path / "link"))
    paths.check_save(str(tmp_path / "link"), force=True)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match="symbolic links"):
        paths.check_load(str(tmp_path / "loop"))
    with serving(launch(COM1)) as machine:
        machine.save(SaveRequest(str(tmp_path / "link"), force=True))
        assert machine.load(tmp_path / "link")["loaded"] == ["com1"]
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_file_that_cannot_be_looked_at_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotFoundError):
        paths.check_load(str(tmp_path / "file" / "a.zst"))
    paths.check_save(str(tmp_path / "file" / "a.zst"), force=True)
    with pytest.raises(NotFoundError):
        paths.check_load(str(tmp_path / "absent"))


def test_image_and_log_of_the_machine_are_not_replaced(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    log = tmp_path / "log"
    ide = {"type": "ide", "name": "ide0", "port": 0x1F0, "control": 0x3F6, "irq": 14}
    disk = {"unit": 0, "media": "disk", "image": str(image)}
    com1 = {**COM1, "backend": {"type": "file", "path": str(log)}}
    (tmp_path / "again").hardlink_to(image)
    with serving(launch(com1, {**ide, "drive": [disk]})) as machine:
        for path in (image, log, tmp_path / "again"):
            with pytest.raises(ExistsError, match="the machine itself uses this file"):
                machine.save(SaveRequest(str(path), force=True))
        machine.save(SaveRequest(str(tmp_path / "a.zst")))
        machine.save(SaveRequest(str(tmp_path / "a.zst"), force=True))
    assert image.read_bytes() == bytes(1 << 20)


def test_fifo_holds_neither_a_request_nor_the_machine(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with serving(launch(COM1)) as machine:
        threads = [threading.Thread(target=refused, args=(machine.load, tmp_path / "fifo")) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        refused(lambda path: machine.save(SaveRequest(str(path))), tmp_path / "fifo")
        assert machine.machine()["name"] == "m"


def refused(call: Callable[[Path], object], path: Path) -> None:
    with pytest.raises(ChkptError):
        call(path)
