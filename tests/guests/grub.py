"""A disk with GRUB on it, made without root from Debian's packages: `python -m tests.guests.grub DISK [FILE...]`.

examples/linux/grub.py tells what is on it, and makes it; here it has the modules of the tests.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from examples.linux import grub
from tests.guests.packages import package, tool

MODULES: Final = (
    "biosdisk", "part_msdos", "ext2", "serial", "terminal", "normal", "ls", "cat", "echo", "hashsum", "gcry_sha256",
    "linux", "linux16", "boot", "cpuid", "date", "datetime", "halt", "hexdump", "loadenv", "lsmmap", "memrw", "minicmd",
    "reboot", "sleep", "test", "testspeed", "time",
)  # fmt: skip


def grub_disk(files: Mapping[str, bytes], mebibytes: int = 4, modules: Sequence[str] = MODULES) -> bytes:
    """Return a disk that boots into GRUB on the serial port, with an ext2 partition of that size.

    Without a grub.cfg among the files that is its prompt. Skips the test where the packages cannot be had.
    """
    tool("mke2fs", "e2fsprogs")
    images = package("grub-pc-bin") / "usr/lib/grub/i386-pc"
    mkimage = package("grub-common") / "usr/bin/grub-mkimage"
    core = grub.core_image(images, mkimage, package("libdevmapper1.02.1") / "lib/x86_64-linux-gnu", modules)
    return grub.disk(images, core, grub.file_system(files, mebibytes))


def main() -> None:
    target, *paths = map(Path, sys.argv[1:])
    target.write_bytes(grub_disk({path.name: path.read_bytes() for path in paths}, 64))


if __name__ == "__main__":
    main()
