"""Formats of files that are not raw images, known by their bytes. Taken as raw, such a file is a disk full of nonsense.

This module does not read the formats. The magic numbers are those of the formats' own documents: QEMU's docs/interop
(qcow2, parallels), VMware's "Virtual Disk Format 5.0", Microsoft's MS-VHDX and "Virtual Hard Disk Image Format", and
the formats of compressed files as file(1) knows them. A file system, a partition table or LUKS begins a raw disk.
"""

import shlex
from collections.abc import Callable
from typing import Final, NamedTuple

HEAD_SIZE: Final = 512
"""How many bytes at the beginning, and at the end, show the format."""


class Format(NamedTuple):
    """The format's name, and the command that makes the raw image `{1}` from the file `{0}`."""

    name: str
    cure: str


def _disk(name: str, driver: str) -> Format:
    return Format(f"a {name} image", f"`qemu-img convert -f {driver} -O raw {{0}} {{1}}`")


_BEGINNINGS: Final[tuple[tuple[int, bytes, Format], ...]] = (
    (0, b"QFI\xfb\0\0\0\1", _disk("qcow", "qcow")),
    (0, b"QFI\xfb", _disk("qcow2", "qcow2")),
    (0, b"QED\0", _disk("QED", "qed")),
    (0, b"KDMV", _disk("VMDK", "vmdk")),
    (0, b"COWD", _disk("VMDK", "vmdk")),
    (0, b"# Disk DescriptorFile", _disk("VMDK", "vmdk")),
    (0, b"vhdxfile", _disk("VHDX", "vhdx")),
    (0, b"conectix", _disk("VHD", "vpc")),
    (0x40, b"\x7f\x10\xda\xbe", _disk("VDI", "vdi")),
    (0, b"WithoutFreeSpace", _disk("Parallels", "parallels")),
    (0, b"WithouFreSpacExt", _disk("Parallels", "parallels")),
    (0, b"Bochs Virtual HD Image", _disk("Bochs", "bochs")),
    (0, b"\x1f\x8b\x08", Format("compressed by gzip", "`gunzip -c {0} > {1}`")),
    (0, b"\x28\xb5\x2f\xfd", Format("compressed by zstd", "`zstd -d {0} -o {1}`")),
    (0, b"\xfd7zXZ\0", Format("compressed by xz", "`xz -dc {0} > {1}`")),
    (0, b"BZh", Format("compressed by bzip2", "`bunzip2 -c {0} > {1}`")),
    (0, b"\x04\x22\x4d\x18", Format("compressed by lz4", "`lz4 -d {0} {1}`")),
    (0, b"\x89LZO\0\r\n\x1a\n", Format("compressed by lzop", "`lzop -dc {0} > {1}`")),
    (0, b"LZIP\1", Format("compressed by lzip", "`lzip -dc {0} > {1}`")),
    (0, b"PK\3\4", Format("a zip archive", "`unzip {0}`")),
    (0, b"7z\xbc\xaf\x27\x1c", Format("a 7z archive", "`7z x {0}`")),
    (0, b"Rar!\x1a\x07", Format("a rar archive", "`unrar x {0}`")),
    (257, b"ustar", Format("a tar archive", "`tar -xf {0}`")),
    (0, b"age-encryption.org/", Format("encrypted by age", "`age -d -o {1} {0}`")),
    (0, b"\0" + b"\xff" * 10 + b"\0", Format("a CD of raw sectors of 2352 bytes", "`bchunk`, with its .cue file,")),
)
"""The offset of the bytes, the bytes, and the format that has them there."""

_ENDINGS: Final[tuple[tuple[bytes, Format], ...]] = (
    (b"conectix", _disk("VHD", "vpc")),  # of a fixed size: the disk, and a last sector about it
    (b"koly", _disk("DMG", "dmg")),
)
"""How the last sector begins."""

_AFTER: Final[dict[bytes, Callable[[bytes], bool]]] = {
    b"BZh": lambda head: head[4:10] in {b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"},  # a block, or the end
}
"""What must follow if the beginning is short."""


def find_format(head: bytes, tail: bytes) -> Format | None:
    """Return a file's format by its first and last `HEAD_SIZE` bytes, or None if it may be a raw image."""
    for at, magic, found in _BEGINNINGS:
        if head.startswith(magic, at) and (magic not in _AFTER or _AFTER[magic](head)):
            return found
    return next((found for magic, found in _ENDINGS if tail.startswith(magic)), None)


def describe_refusal(path: str, found: Format) -> str:
    """Return the message that refuses a file because it is not a raw image."""
    cure = found.cure.format(shlex.quote(path), shlex.quote(f"{path}.raw"))
    return (
        f"image {path} is {found.name}, not a raw image; {cure} makes one of it; "
        'format = "raw" takes the bytes as they are'
    )
