"""Files that are no raw images are refused, with the command that makes one of them."""

import bz2
import gzip
import lzma
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from chkpt.errors import ConfigError
from chkpt_devices.backends.block import ImageConfig, ImageFormat, open_image
from chkpt_devices.backends.image_formats import _BEGINNINGS, _ENDINGS, HEAD_SIZE, find_format

CONTENT = b"\x55\xaa" * 4096


@pytest.mark.parametrize("driver", ["qcow2", "qcow", "vmdk", "vhdx", "vdi", "vpc", "qed", "parallels"])
def test_what_qemu_img_makes_is_refused_and_its_cure_gives_the_disk(driver: str, tmp_path: Path) -> None:
    tool = shutil.which("qemu-img")
    if tool is None:
        pytest.skip("qemu-img (package qemu-utils) is not installed")
    raw, image = tmp_path / "disk.img", tmp_path / f"disk.{driver}"
    raw.write_bytes(CONTENT)
    subprocess.run([tool, "convert", "-f", "raw", "-O", driver, raw, image], check=True)
    with pytest.raises(ConfigError, match="not a raw image; `qemu-img convert") as caught:
        open_image(ImageConfig(str(image)))
    subprocess.run(str(caught.value).split("`")[1], shell=True, check=True)
    disk = open_image(ImageConfig(f"{image}.raw"))
    assert disk.read(0, len(CONTENT)) == CONTENT
    disk.close()


def test_a_vhd_of_a_fixed_size_is_known_by_its_last_sector(tmp_path: Path) -> None:
    image = tmp_path / "disk.vhd"
    image.write_bytes(CONTENT + b"conectix".ljust(512, b"\0"))
    with pytest.raises(ConfigError, match=r"a VHD image.*-f vpc"):
        open_image(ImageConfig(str(image)))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("disk.img", CONTENT)


def tarred(path: Path) -> None:
    (path.parent / "disk.img").write_bytes(CONTENT)
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / "disk.img", "disk.img")


PACKED = {
    "gunzip": lambda path: path.write_bytes(gzip.compress(CONTENT)),
    "zstd": lambda path: path.write_bytes(zstandard.compress(CONTENT)),
    "xz": lambda path: path.write_bytes(lzma.compress(CONTENT)),
    "bunzip2": lambda path: path.write_bytes(bz2.compress(CONTENT)),
    "unzip": zipped,
    "tar": tarred,
}


@pytest.mark.parametrize("command", PACKED)
def test_a_packed_image_is_refused_and_the_command_for_it_named(command: str, tmp_path: Path) -> None:
    image = tmp_path / "packed"
    PACKED[command](image)
    with pytest.raises(ConfigError, match=f"image {image} is .*, not a raw image; `{command} ") as caught:
        open_image(ImageConfig(str(image)))
    if command in {"gunzip", "zstd", "xz", "bunzip2"} and shutil.which(command) is not None:
        subprocess.run(str(caught.value).split("`")[1], shell=True, check=True)
        assert Path(f"{image}.raw").read_bytes() == CONTENT


def test_an_empty_bzip2_is_known_too() -> None:
    found = find_format(bz2.compress(b"").ljust(HEAD_SIZE, b"\0"), b"")
    assert found is not None
    assert "bzip2" in found.name


def test_the_format_raw_insists(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"QFI\xfb\0\0\0\3" + CONTENT[8:])
    with pytest.raises(ConfigError, match=r'qcow2.*format = "raw" takes the bytes as they are'):
        open_image(ImageConfig(str(image)))
    disk = open_image(ImageConfig(str(image), format=ImageFormat.RAW))
    assert disk.read(0, 512)[:4] == b"QFI\xfb"
    disk.close()


@pytest.mark.parametrize(
    "head",
    [
        bytes(512),
        b"\xeb\x63\x90" + bytes(507) + b"\x55\xaa",  # a boot sector
        b"LUKS\xba\xbe\0\2",  # an encrypted disk is the guest's own
        b"hsqs",  # a file system
        b"BZhello, world",
        b"EFI PART",
        b"",
    ],
)
def test_what_a_raw_disk_may_begin_with_is_taken(head: bytes) -> None:
    assert find_format(head, head) is None


def test_each_magic_number_is_seen_at_its_place_only() -> None:
    for at, magic, found in _BEGINNINGS:
        if magic != b"BZh":
            head = bytes(at) + magic + bytes(8)
            assert find_format(head, b"") == found
            assert find_format(b"\x01" + head, b"") is None
    for magic, found in _ENDINGS:
        assert find_format(b"", magic) == found
        assert find_format(b"", b"\x01" + magic) is None
