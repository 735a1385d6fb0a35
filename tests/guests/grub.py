"""A disk with GRUB on it, made without root from Debian's packages: `python -m tests.guests.grub DISK [FILE...]`.

    0     boot.img: loads sector 1
    1     core.img: GRUB with the modules that it needs to find its partition, and those of the tests
    2048  an ext2 file system with the files given, and grub.cfg

GRUB's own installer wants a block device to look at. What it would write is little: where boot.img finds core.img, and
where core.img, whose first sector loads the others, finds its rest.
"""

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.guests.packages import package, tool

SECTOR: Final = 512
PARTITION: Final = 2048
"""The partition's first sector: 1 MiB, where every partitioning tool begins one."""

# GRUB 2.06, include/grub/i386/pc/boot.h
_KERNEL_SECTOR: Final = 0x5C
_DRIVE_CHECK: Final = 0x66
_PARTITION_TABLE: Final = slice(0x1BE, 0x1FE)
# grub-core/boot/i386/pc/diskboot.S: the list of blocks lies at the end of the first sector and grows downwards
_FIRST_BLOCKS: Final = SECTOR - 12
_LOAD_SEGMENT: Final = 0x820

MODULES: Final = (
    "biosdisk", "part_msdos", "ext2", "serial", "terminal", "normal", "ls", "cat", "echo", "hashsum", "gcry_sha256",
    "linux", "linux16", "boot", "cpuid", "date", "datetime", "halt", "hexdump", "loadenv", "lsmmap", "memrw", "minicmd",
    "reboot", "sleep", "test", "testspeed", "time",
)  # fmt: skip

EARLY: Final = """\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set pager=
"""


def core_image() -> bytes:
    """Return core.img. Skips the test where the packages cannot be had."""
    modules = package("grub-pc-bin") / "usr/lib/grub/i386-pc"
    mkimage = package("grub-common") / "usr/bin/grub-mkimage"
    libraries = package("libdevmapper1.02.1") / "lib/x86_64-linux-gnu"
    with tempfile.TemporaryDirectory() as place:
        early, core = Path(place) / "early.cfg", Path(place) / "core.img"
        early.write_text(EARLY)
        command: list[str | Path] = [mkimage, "--format=i386-pc", "--directory", modules, "--prefix=(hd0,msdos1)/grub"]
        command += ["--config", early, "--output", core, *MODULES]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
        subprocess.run(command, check=True, env=environment)
        return core.read_bytes()


def boot_sector(partition_sectors: int) -> bytes:
    """Return boot.img with core.img's place and a table of one partition."""
    boot = bytearray((package("grub-pc-bin") / "usr/lib/grub/i386-pc/boot.img").read_bytes())
    struct.pack_into("<Q", boot, _KERNEL_SECTOR, 1)
    boot[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"  # trust DL: the jump over what distrusts it becomes two NOPs
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", PARTITION, partition_sectors)
    boot[_PARTITION_TABLE] = entry.ljust(64, b"\0")  # over code for diskettes
    return bytes(boot)


def file_system(files: Mapping[str, bytes], mebibytes: int) -> bytes:
    """Return an ext2 file system with these files."""
    mke2fs = tool("mke2fs", "e2fsprogs")
    with tempfile.TemporaryDirectory() as place:
        root, image = Path(place) / "root", Path(place) / "ext2.img"
        root.mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        command: list[str | Path] = [
            mke2fs,
            "-q",
            "-F",
            "-t",
            "ext2",
            "-L",
            "chkpt",
            "-d",
            root,
            image,
            f"{mebibytes}M",
        ]
        subprocess.run(command, check=True, capture_output=True)
        return image.read_bytes()


def grub_disk(files: Mapping[str, bytes], mebibytes: int = 4) -> bytes:
    """Return a disk that boots into GRUB's prompt on the serial port, with an ext2 partition of that size."""
    core = bytearray(core_image())
    core += bytes(-len(core) % SECTOR)
    sectors = len(core) // SECTOR
    assert 1 + sectors <= PARTITION
    struct.pack_into("<QHH", core, _FIRST_BLOCKS, 2, sectors - 1, _LOAD_SEGMENT)
    content = file_system(files, mebibytes)
    return (boot_sector(len(content) // SECTOR) + core).ljust(PARTITION * SECTOR, b"\0") + content


def main() -> None:
    target, *paths = map(Path, sys.argv[1:])
    target.write_bytes(grub_disk({path.name: path.read_bytes() for path in paths}, 64))


if __name__ == "__main__":
    main()
