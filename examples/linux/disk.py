#!/usr/bin/env python3
"""Make the disk of this example: one partition with ext4, a file of 2 MiB in it, and that file's digest.

    ./disk.py OUT

It asks `mke2fs` (Debian's package e2fsprogs) to lay the file system out from a directory, which needs no root. The same
call makes the same bytes: names, dates and identities are fixed.
"""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SECTOR = 512
FIRST = 2048
"""The partition's first sector: at 1 MiB, where partitioning tools put it."""
SECTORS = 16 * 2048
"""The disk's size."""

UUID = "c0ffee00-cafe-4bad-8bad-0123456789ab"


def data(size: int = 2 << 20) -> bytes:
    """Return bytes that no compressor shortens, the same each time."""
    return b"".join(hashlib.sha256(struct.pack("<Q", at)).digest() for at in range(size // 32))


def partition_table() -> bytes:
    """Return a master boot record with no code and one partition for Linux (type 0x83)."""
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", FIRST, SECTORS - FIRST)
    return bytes(446) + entry.ljust(64, b"\0") + b"\x55\xaa"


def build(out: Path) -> None:
    """Write the image."""
    mke2fs = shutil.which("mke2fs") or shutil.which("mke2fs", path="/usr/sbin:/sbin")
    if mke2fs is None:
        raise SystemExit("mke2fs is missing: apt-get install e2fsprogs")
    with tempfile.TemporaryDirectory() as directory:
        content = data()
        files = {"data": content, "data.sha256": f"{hashlib.sha256(content).hexdigest()}  data\n".encode()}
        for name, text in files.items():
            path = Path(directory, name)
            path.write_bytes(text)
            path.chmod(0o644)
            os.utime(path, (0, 0))
        os.utime(directory, (0, 0))
        with out.open("wb") as image:
            image.write(partition_table())
            image.truncate(SECTORS * SECTOR)
        command = [
            mke2fs, "-q", "-t", "ext4", "-d", directory, "-U", UUID, "-L", "chkpt",
            "-O", "^has_journal,^metadata_csum,^resize_inode", "-b", "1024", "-I", "256",
            "-E", f"offset={FIRST * SECTOR},root_owner=0:0,hash_seed={UUID},lazy_itable_init=0",
            str(out), f"{(SECTORS - FIRST) // 2}k",
        ]  # fmt: skip
        subprocess.run(command, check=True, env={**os.environ, "E2FSPROGS_FAKE_TIME": "1"})
        _fix_dates(out, ["/", "/lost+found", *(f"/{name}" for name in files)])


def _fix_dates(image: Path, names: list[str]) -> None:
    """Give files that were copied into the image the date 1 where `utime` could not, and no number drawn at random."""
    debugfs = shutil.which("debugfs") or shutil.which("debugfs", path="/usr/sbin:/sbin") or "debugfs"
    fields = ("atime", "ctime", "mtime", "crtime")
    lines = [f"set_inode_field {name} {field} @1" for name in names for field in fields]
    lines += [f"set_inode_field {name} {field}_extra 0" for name in names for field in fields]
    lines += [f"set_inode_field {name} generation 0" for name in names]
    script = "".join(f"{line}\n" for line in lines)
    command = [debugfs, "-w", "-f", "-", f"{image}?offset={FIRST * SECTOR}"]
    subprocess.run(command, input=script, check=True, text=True, capture_output=True)


def main() -> None:
    """Write the image that the command line asks for."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    build(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
