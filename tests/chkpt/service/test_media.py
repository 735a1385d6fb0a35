"""`/v1/media` and media in `/v1/load`: which files, what is refused, and that nothing changes then."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.errors import ConfigError, ExistsError, NotFoundError, RefusedError, StorageError, UsageError
from chkpt.service.api.messages import DriveInfo
from chkpt.service.api.requests import LoadRequest, MediaRequest, SaveRequest, read_request
from chkpt.service.http.client import MachineClient
from tests.support.served import launch, serving

HD, CD = "ide0.0", "ide0.1"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in "ab":
        (tmp_path / f"{name}.iso").write_bytes(name.encode() * 4096)
    return tmp_path


@pytest.fixture
def machine(images: Path) -> Iterator[MachineClient]:
    ide = {
        "type": "ide",
        "name": "ide0",
        "drive": [{"unit": 0, "size": 65536}, {"unit": 1, "media": "cdrom", "image": str(images / "a.iso")}],
    }
    with serving(launch({"type": "pic"}, ide)) as client:
        yield client


def disc(path: Path | None, *, tray_open: bool = False) -> DriveInfo:
    medium = None
    if path is not None:
        medium = {"type": "image", "path": str(path), "size": path.stat().st_size, "read_only": True}
    return {"drive": CD, "removable": True, "tray_open": tray_open, "locked": False, "medium": medium}  # type: ignore[typeddict-item]


def test_every_drive_is_told_with_what_is_in_it(machine: MachineClient, images: Path) -> None:
    scratch = {"type": "scratch", "path": None, "size": 65536, "read_only": False}
    disk = {"drive": HD, "removable": False, "tray_open": False, "locked": False, "medium": scratch}
    assert machine.media() == {"drives": [disk, disc(images / "a.iso")]}


def test_a_disc_is_taken_out_and_another_put_in(machine: MachineClient, images: Path) -> None:
    assert machine.change_medium(CD, None) == disc(None, tray_open=True)
    assert machine.media()["drives"][1] == disc(None, tray_open=True)
    assert machine.change_medium(CD, images / "b.iso") == disc(images / "b.iso")
    frontends = machine.devices()["devices"][1]["frontends"]
    assert frontends[1]["backend"] == {"type": "image", "path": str(images / "b.iso")}


def test_a_paused_machine_changes_discs_too(machine: MachineClient, images: Path) -> None:
    machine.pause()
    assert machine.change_medium(CD, images / "b.iso") == disc(images / "b.iso")


def test_the_disc_that_is_in_is_replaced_by_no_snapshot_and_one_that_is_out_may_be(
    machine: MachineClient, images: Path
) -> None:
    machine.save(SaveRequest(str(images / "s.zst")))
    machine.change_medium(CD, images / "b.iso")
    with pytest.raises(ExistsError, match="the machine itself uses this file"):
        machine.save(SaveRequest(str(images / "b.iso"), force=True))


def test_what_is_no_image_is_refused_and_the_disc_stays(machine: MachineClient, images: Path) -> None:
    os.mkfifo(images / "fifo")
    (images / "odd").write_bytes(b"x" * 100)
    (images / "link").symlink_to("/proc/version")
    for path, error in (
        (images / "absent", NotFoundError),
        (images / "a.iso" / "a", NotFoundError),
        (images, StorageError),
        (images / "fifo", StorageError),
        (images / "odd", ConfigError),
        (images / "link", UsageError),
        (machine.path / "lock", UsageError),
        (Path("/dev/null"), UsageError),
    ):
        with pytest.raises(error):
            machine.change_medium(CD, path)
        with pytest.raises(error):
            machine.load(_saved(machine, images), drives={CD: path})
        assert machine.media()["drives"][1] == disc(images / "a.iso")


def _saved(machine: MachineClient, images: Path) -> Path:
    path = images / "s.zst"
    if not path.exists():
        machine.save(SaveRequest(str(path)))
    return path


def test_a_hard_disk_and_a_drive_that_is_not_there_are_refused(machine: MachineClient, images: Path) -> None:
    with pytest.raises(UsageError, match="is a hard disk"):
        machine.change_medium(HD, images / "b.iso")
    with pytest.raises(NotFoundError, match="there are: ide0"):
        machine.change_medium("fd0", None)
    with pytest.raises(NotFoundError, match="there are: ide0"):
        machine.load(_saved(machine, images), drives={"fd0": None})


def test_an_image_that_looks_like_another_format_is_taken_as_it_is_only_if_asked_for(
    machine: MachineClient, images: Path
) -> None:
    saved = _saved(machine, images)
    (images / "q.img").write_bytes(b"QFI\xfb\0\0\0\2".ljust(4096, b"\0"))
    with pytest.raises(ConfigError, match="qcow2"):
        machine.change_medium(CD, images / "q.img")
    assert machine.change_medium(CD, images / "q.img", raw=True) == disc(images / "q.img")
    machine.save(SaveRequest(str(images / "q.zst")))
    machine.load(saved, drives={CD: images / "a.iso"})
    with pytest.raises(ConfigError, match="qcow2"):
        machine.load(images / "q.zst", drives={CD: images / "q.img"})
    machine.load(images / "q.zst", drives={CD: images / "q.img"}, raw=[CD])
    assert machine.media()["drives"][1] == disc(images / "q.img")


def test_a_path_that_no_snapshot_can_hold_is_refused(machine: MachineClient, images: Path) -> None:
    path = Path(f"{images}/\udcff.iso")
    path.write_bytes(bytes(4096))
    with pytest.raises(ConfigError, match="UTF-8"):
        machine.change_medium(CD, path)
    with pytest.raises(ConfigError, match="UTF-8"):
        machine.load(_saved(machine, images), drives={CD: path})
    assert machine.media()["drives"][1] == disc(images / "a.iso")


def test_a_load_brings_its_disc_or_leaves_it_out_or_changes_nothing(machine: MachineClient, images: Path) -> None:
    saved = _saved(machine, images)
    machine.change_medium(CD, images / "b.iso")
    for drives in ({}, {CD: images / "b.iso"}, {CD: images / "a.iso", HD: images / "b.iso"}):
        with pytest.raises(RefusedError):
            machine.load(saved, drives=drives)
        assert machine.media()["drives"][1] == disc(images / "b.iso")
    machine.load(saved, drives={CD: images / "a.iso"})
    assert machine.media()["drives"][1] == disc(images / "a.iso")
    machine.load(saved, drives={CD: None})
    assert machine.media()["drives"][1] == disc(None, tray_open=True)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (MediaRequest, '{"path": null}', "field drive is missing"),
        (MediaRequest, '{"drive": "ide0.1"}', "field path is missing"),
        (MediaRequest, '{"drive": 1, "path": null}', "field drive is not a string"),
        (MediaRequest, '{"drive": "ide0.1", "path": "a.iso"}', "field path is not an absolute path"),
        (LoadRequest, '{"path": "/a", "drives": []}', "field drives is not an object"),
        (
            LoadRequest,
            '{"path": "/a", "drives": {"ide0.1": "a.iso"}}',
            "field drives is an object with a value that",
        ),
        (
            LoadRequest,
            '{"path": "/a", "drives": {"ide0.1": 1}}',
            "field drives is an object with a value that",
        ),
    ],
)
def test_a_request_that_cannot_be_says_which_field(kind: type, body: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_request(body.encode(), kind)
