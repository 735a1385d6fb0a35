"""Make the disk of the second Linux example: `python3 grub.py PACKAGES [DIRECTORY]`.

PACKAGES is a directory with the unpacked files of Debian's grub-pc-bin, grub-common, libdevmapper1.02.1 and seabios;
`/` where they are installed. DIRECTORY (the present one when left out) has what build.py made; `bios.bin` and
`grub.img` go there, too. Needs mke2fs (e2fsprogs) and no root.

    0     boot.img: loads sector 1
    1     core.img: GRUB with the modules that it needs to find its partition, and to boot Linux
    2048  an ext2 file system: grub/grub.cfg, vmlinuz, initramfs.cpio and their SHA-256

GRUB's own installer wants a block device to look at. What it would write is little: where boot.img finds core.img, and
where core.img, whose first sector loads the others, finds its rest.
"""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

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

MODULES: Final = ("biosdisk", "part_msdos", "ext2", "serial", "terminal", "normal", "echo", "linux", "linux16", "boot")

EARLY: Final = """\
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set pager=
"""

MENU: Final = """\
echo "Loading the kernel"
linux{mode} /vmlinuz console=ttyS0 disk=/dev/sda1
echo "Loading the initramfs"
initrd{mode} /initramfs.cpio
echo "Booting"
boot
"""
"""grub.cfg. With "16" for `mode` the kernel begins with its own code for real mode, as under older boot loaders."""

SIZE: Final = 32
"""The partition, in MiB."""


def main(packages: Path, target: Path) -> None:
    """Write the two files."""
    shutil.copyfile(packages / "usr/share/seabios/bios.bin", target / "bios.bin")
    files = {name: (target / name).read_bytes() for name in ("vmlinuz", "initramfs.cpio")}
    grub = packages / "usr/lib/grub/i386-pc"
    core = core_image(grub, packages / "usr/bin/grub-mkimage", packages / "lib/x86_64-linux-gnu", MODULES)
    (target / "grub.img").write_bytes(disk(grub, core, file_system(boot_files(files), SIZE)))


def boot_files(files: Mapping[str, bytes], mode: str = "") -> dict[str, bytes]:
    """Return files with their SHA-256, and the grub.cfg that boots them."""
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())
    return {**files, "SUMS": sums.encode(), "grub/grub.cfg": MENU.format(mode=mode).encode()}


def core_image(grub: Path, mkimage: Path, libraries: Path, modules: Sequence[str]) -> bytes:
    """Return core.img with these modules, that talks on the serial port from its begin."""
    with tempfile.TemporaryDirectory() as place:
        early, core = Path(place) / "early.cfg", Path(place) / "core.img"
        early.write_text(EARLY)
        command: list[str | Path] = [mkimage, "--format=i386-pc", "--directory", grub, "--prefix=(hd0,msdos1)/grub"]
        command += ["--config", early, "--output", core, *modules]
        environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
        subprocess.run(command, check=True, env=environment)
        return core.read_bytes()


def file_system(files: Mapping[str, bytes], mebibytes: int) -> bytes:
    """Return an ext2 file system with these files."""
    mke2fs = shutil.which("mke2fs") or shutil.which("mke2fs", path="/usr/sbin:/sbin")
    if mke2fs is None:
        sys.exit("mke2fs is not installed: apt-get install e2fsprogs")
    with tempfile.TemporaryDirectory() as place:
        root, image = Path(place) / "root", Path(place) / "ext2.img"
        root.mkdir()
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        options = ["-q", "-F", "-t", "ext2", "-L", "chkpt", "-E", "root_owner=0:0", "-d", str(root)]
        subprocess.run([mke2fs, *options, str(image), f"{mebibytes}M"], check=True, capture_output=True)
        return image.read_bytes()


def disk(grub: Path, core: bytes, content: bytes) -> bytes:
    """Return a disk that boots into GRUB, with one partition and its content."""
    start = bytearray(core) + bytes(-len(core) % SECTOR)
    sectors = len(start) // SECTOR
    assert 1 + sectors <= PARTITION, "core.img is larger than the gap before the partition"
    struct.pack_into("<QHH", start, _FIRST_BLOCKS, 2, sectors - 1, _LOAD_SEGMENT)
    first = _boot_sector((grub / "boot.img").read_bytes(), len(content) // SECTOR)
    return (first + start).ljust(PARTITION * SECTOR, b"\0") + content


def _boot_sector(boot_image: bytes, partition_sectors: int) -> bytes:
    """Return boot.img with core.img's place and a table of one partition."""
    boot = bytearray(boot_image)
    struct.pack_into("<Q", boot, _KERNEL_SECTOR, 1)
    boot[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"  # trust DL: the jump over what distrusts it becomes two NOPs
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", PARTITION, partition_sectors)
    boot[_PARTITION_TABLE] = entry.ljust(64, b"\0")  # over code for diskettes
    return bytes(boot)


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "."))
