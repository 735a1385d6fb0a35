#!/usr/bin/env python3
"""Make the initramfs of this example: busybox, the modules that the kernel needs for our disk, and `init`.

    ./initramfs.py KERNEL_TREE BUSYBOX_TREE OUT

The trees are those of Debian's packages, as `dpkg-deb -x` lays them out. No root is needed: the archive says itself
who owns what, and has the console's device node in it. It is not compressed, since a guest would take longer to unpack
it than the host takes to load it.
"""

import re
import stat
import sys
from pathlib import Path

MODULES = ("sd_mod", "pata_legacy")
"""The disk as such, and a channel at 0x1f0; everything else that the guest needs is in Debian's cloud kernel."""


class Archive:
    """A cpio archive of the kind that Linux unpacks (newc, driver-api/early-userspace/buffer-format.rst)."""

    def __init__(self) -> None:
        self._members = 0
        self.content = b""

    def add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        """Append a file, directory or device node of root's, with the date 0: the same input gives the same archive."""
        self._members += 1
        fields = (self._members, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self.content += _padded(head) + _padded(content)

    def end(self) -> bytes:
        """Return the whole archive."""
        self.add("TRAILER!!!", 0)
        return self.content


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def modules(tree: Path, wanted: tuple[str, ...]) -> list[Path]:
    """Return the files of modules, each after those that it depends on."""
    files = {path.stem.replace("-", "_"): path for path in tree.glob("lib/modules/*/kernel/**/*.ko")}
    ordered: list[Path] = []

    def visit(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None:
            raise SystemExit(f"{tree}: there is no module {name} here")
        if path in ordered:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in depends[1].decode().split(",") if depends else []:
            if other:
                visit(other)
        ordered.append(path)

    for name in wanted:
        visit(name)
    return ordered


def build(kernel: Path, busybox: Path, init: Path) -> bytes:
    """Return the archive."""
    archive = Archive()
    for directory in ("bin", "dev", "etc", "mnt", "modules", "proc", "sys", "tmp"):
        archive.add(directory, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, (busybox / "bin/busybox").read_bytes())
    order = modules(kernel, MODULES)
    for path in order:
        archive.add(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes())
    archive.add("modules/order", stat.S_IFREG | 0o644, "".join(f"{path.name}\n" for path in order).encode())
    archive.add("init", stat.S_IFREG | 0o755, init.read_bytes())
    return archive.end()


def main() -> None:
    """Write the archive that the command line asks for."""
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    kernel, busybox, out = map(Path, sys.argv[1:])
    out.write_bytes(build(kernel, busybox, Path(__file__).with_name("init")))


if __name__ == "__main__":
    main()
