"""Inputs: those that a fresh run begins with, and those that are kept, minimised, in one compressed file."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Final

from chkpt.machine.config import DEFAULT
from chkpt.snapshot import dumps
from tests.lab.fuzz.snapshots import parts_of
from tests.lab.fuzz.trees import pack
from tests.support.checkpoints import small

KEPT: Final = Path(__file__).parent / "corpus.zip"
"""The kept inputs: `TARGET/NAME`, where the name is a digest of the input."""

SNAPSHOTS: Final = Path(__file__).parents[3] / "tests" / "snapshots"
"""The kept files of every format."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # so that equal inputs give an equal file


def seeds(target: str) -> list[bytes]:
    """Return what a fresh run of a target begins with."""
    if target in {"snapshot", "commands"}:
        files = [path.read_bytes() for path in sorted(SNAPSHOTS.glob("*.zst"))]
        return [parts_of(dumps(small())), *map(parts_of, files), *files, pack({"header": 0})]
    if target == "codec":
        return [pack({"path": ["a"], "values": {"x": [1, -1, 0.5, None, True, b"b", "t"]}}), dumps(small())[4:80]]
    if target == "configuration":
        drive = {"unit": 1, "media": "cdrom", "backend": {"type": "scratch", "size": "1M"}}
        other = {"name": "o", "memory": "1M", "cpu": {"model": "unicorn"}, "device": [{"type": "pic"}, {"type": "ide"}]}
        one = {"device": [{"type": "ide", "drive": [drive]}, {"type": "serial", "backend": {"type": "null"}}]}
        return [pack(DEFAULT), pack(other), pack(one)]
    choose = Random(target)
    return [choose.randbytes(size) for size in (8, 64, 256, 512) for _ in range(4)]


def kept() -> Iterable[tuple[str, str, bytes]]:
    """Yield target, name and content of each kept input."""
    with zipfile.ZipFile(KEPT) as archive:
        for name in archive.namelist():
            target, _, entry = name.partition("/")
            yield target, entry, archive.read(name)


def keep(inputs: Mapping[str, Iterable[bytes]]) -> None:
    """Write the kept inputs of these targets anew, and leave those of others."""
    every = {(target, content) for target, _, content in kept()} if KEPT.exists() else set()
    every = {each for each in every if each[0] not in inputs}
    every |= {(target, content) for target, contents in inputs.items() for content in contents}
    with zipfile.ZipFile(KEPT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for target, content in sorted(every):
            info = zipfile.ZipInfo(f"{target}/{hashlib.sha256(content).hexdigest()[:16]}", _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
