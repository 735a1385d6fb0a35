"""The scripts of examples/linux make what Linux and e2fsprogs take, the same bytes each time."""

import subprocess
from pathlib import Path

import pytest

from examples.linux import disk, initramfs
from tests.guests import packages

INIT = Path(initramfs.__file__).with_name("init")


@pytest.fixture(scope="module")
def archive() -> bytes:
    return initramfs.build(packages.package("linux-image-cloud-amd64"), packages.package("busybox-static"), INIT)


def test_busybox_unpacks_the_archive_and_finds_init(archive: bytes, tmp_path: Path) -> None:
    busybox = packages.package("busybox-static") / "bin/busybox"
    listed = subprocess.run([busybox, "cpio", "-t"], input=archive, capture_output=True, check=True)
    names = listed.stdout.decode().splitlines()
    assert {"init", "bin/busybox", "dev/console", "modules/order"} <= set(names)
    wanted = ["init", "modules/order"]
    subprocess.run([busybox, "cpio", "-i", "-d", *wanted], input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "init").read_bytes() == INIT.read_bytes()
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755


def test_a_module_comes_after_those_it_depends_on() -> None:
    names = [path.stem for path in initramfs.modules(packages.package("linux-image-cloud-amd64"), initramfs.MODULES)]
    for before, after in (("scsi_common", "scsi_mod"), ("scsi_mod", "libata"), ("libata", "pata_legacy")):
        assert names.index(before) < names.index(after)


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no module sd_mod"):
        initramfs.modules(tmp_path, ("sd_mod",))


def test_the_same_trees_give_the_same_archive(archive: bytes) -> None:
    trees = packages.package("linux-image-cloud-amd64"), packages.package("busybox-static")
    assert initramfs.build(*trees, INIT) == archive


def test_the_disk_is_sound_and_the_same_each_time(tmp_path: Path) -> None:
    packages.tool("mke2fs", "e2fsprogs")
    fsck = packages.tool("e2fsck", "e2fsprogs")
    disk.build(tmp_path / "first")
    disk.build(tmp_path / "second")
    image = (tmp_path / "first").read_bytes()
    assert image == (tmp_path / "second").read_bytes()
    assert len(image) == disk.SECTORS * disk.SECTOR
    assert disk.data() in image
    (tmp_path / "partition").write_bytes(image[disk.FIRST * disk.SECTOR :])
    subprocess.run([fsck, "-fn", tmp_path / "partition"], check=True, capture_output=True)
