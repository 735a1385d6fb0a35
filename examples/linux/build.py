"""Make what the Linux example boots: `python3 build.py KERNEL_PACKAGE BUSYBOX_PACKAGE [DIRECTORY]`.

The packages are directories with the unpacked files of Debian's linux-image-*-cloud-amd64 and busybox-static. Into
DIRECTORY (the present one when left out) go `vmlinuz`, `initramfs.cpio` and `disk.img`. Needs mke2fs (e2fsprogs) and no
root; the same packages give the same bytes.
"""

import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = ("libata", "pata_legacy", "sd_mod")
"""The drivers of the disk, which this kernel has as modules."""

DISK_SIZE = 8 << 20
DATA_SIZE = 2 << 20
DATE = "1700000000"


def main(kernel: Path, busybox: Path, target: Path) -> None:
    """Write the three files."""
    images = sorted((kernel / "boot").glob("vmlinuz-*-cloud-amd64"))
    if not images:
        sys.exit(f"{kernel}: there is no boot/vmlinuz-*-cloud-amd64 in it")
    image = images[-1]
    release = image.name.removeprefix("vmlinuz-")
    shutil.copyfile(image, target / "vmlinuz")
    modules = kernel / "lib/modules" / release
    (target / "initramfs.cpio").write_bytes(b"".join(_archive(busybox / "bin/busybox", modules)))
    _make_disk(target / "disk.img")


# -- the initramfs: a cpio archive (Linux, Documentation/driver-api/early-userspace/buffer-format.rst) ----------------


def _archive(busybox: Path, modules: Path) -> Iterator[bytes]:
    for directory in ("bin", "dev", "mnt", "modules", "proc"):
        yield _entry(directory, stat.S_IFDIR | 0o755)
    yield _entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield _entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    yield _entry("init", stat.S_IFREG | 0o755, (HERE / "init").read_bytes())
    for number, module in enumerate(_with_dependencies(modules)):
        yield _entry(f"modules/{number}-{module.name}", stat.S_IFREG | 0o644, module.read_bytes())
    yield _entry("TRAILER!!!", 0)


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def _with_dependencies(modules: Path) -> list[Path]:
    """Return the modules, each behind those that its own `depends` names."""
    found: dict[str, Path] = {path.stem.replace("-", "_"): path for path in sorted(modules.rglob("*.ko"))}
    order: list[Path] = []

    def add(name: str) -> None:
        path = found[name.replace("-", "_")]
        if path not in order:
            depends = path.read_bytes().partition(b"\0depends=")[2].partition(b"\0")[0].decode()
            for other in filter(None, depends.split(",")):
                add(other)
            order.append(path)

    for module in MODULES:
        add(module)
    return order


# -- the disk ---------------------------------------------------------------------------------------------------------


def _make_disk(path: Path) -> None:
    """Make an ext2 file system with 2 MiB of noise and its digest."""
    noise = random.Random(4).randbytes(DATA_SIZE)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "noise").write_bytes(noise)
        (Path(place) / "SUMS").write_text(f"{hashlib.sha256(noise).hexdigest()}  noise\n")
        for each in (Path(place), *Path(place).iterdir()):
            os.utime(each, (int(DATE), int(DATE)))
        path.write_bytes(b"")
        os.truncate(path, DISK_SIZE)
        identity = "c0ffee00-0000-4000-8000-000000000001"
        options = ["-q", "-F", "-t", "ext2", "-b", "1024", "-I", "256", "-U", identity, "-d", place]
        options += ["-E", f"hash_seed={identity},root_owner=0:0,lazy_itable_init=0"]
        tool = shutil.which("mke2fs") or shutil.which("mke2fs", path="/usr/sbin:/sbin")
        if tool is None:
            sys.exit("mke2fs is not installed: apt-get install e2fsprogs")
        dated = {**os.environ, "E2FSPROGS_FAKE_TIME": DATE, "SOURCE_DATE_EPOCH": DATE}
        subprocess.run([tool, *options, str(path)], check=True, env=dated)


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) == 4 else "."))
