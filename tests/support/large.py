"""Files that are small on disk and large inside, and what a command takes to look at one.

They break no rule of docs/FORMAT.md. What docs/RELIABILITY.md promises of hostile files holds for them too.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chkpt.snapshot import dumps
from tests.support.checkpoints import small
from tests.support.handmade import Blob, File, Piece, section

MIB: Final = 1 << 20

PROMISED: Final = 64 * MIB
"""Bytes that a file may cost beyond a good small one (docs/RELIABILITY.md)."""

_COST: Final = """
import os, sys
from chkpt.cli import main

def ended(small):
    try:
        main([(sys.argv[1] if small and os.path.isfile(each) else each) for each in sys.argv[2:]])
    except SystemExit as exc:
        return exc.code

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

ended(True)  # imports everything
sys.stdout.flush()
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = peak()
status = ended(False)
print(status, peak() - before, file=sys.stderr)
"""


def _repeated(one: bytes, other: bytes) -> File:
    """Return a file with 200 pieces of 1 MiB, two in turn."""
    numbers = [at % 2 for at in range(200)]
    return File(
        sections=[section("a")],
        blobs=[Blob(["a"], "b", 200 * MIB, MIB, [*range(200)], numbers)],
        pieces=[Piece(one), Piece(other)],
    )


def _sparse_changes(byte: int) -> bytes:
    return (bytes([byte]) + b"x" * 31) * (MIB // 32)


FILES: Final[dict[str, Callable[[int], File]]] = {
    "long bytes": lambda byte: File(
        sections=[section(f"s{at}", values={"x": bytes([byte]) * (16 * MIB - 50)}) for at in range(4)]
    ),
    "long bytes with many ranges": lambda byte: File(
        sections=[section(f"s{at}", values={"x": _sparse_changes(byte) * 15}) for at in range(4)]
    ),
    "long texts": lambda byte: File(
        sections=[section(f"s{at:02}", values={"x": chr(byte) * (MIB - 99) + "\U0001f600"}) for at in range(60)]
    ),
    "many values": lambda byte: File(sections=[section(f"s{at}", values={"x": [byte] * 40_000}) for at in range(2)]),
    "many contexts": lambda byte: File(sections=[section(f"s{at:04}", version=byte) for at in range(5000)]),
    "pieces in turn": lambda byte: _repeated(bytes([byte]) * MIB, bytes([byte + 10]) * MIB),
}
"""Files that hold much: of each kind two, which differ in everything."""


def cost(directory: Path, *arguments: str) -> tuple[int, int]:
    """Return the exit status of a command, and the bytes that it takes beyond what it takes for a small file."""
    good = directory / "small.zst"
    good.write_bytes(dumps(small()))
    run = subprocess.run(
        [sys.executable, "-c", _COST, str(good), *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True, timeout=60,
    )  # fmt: skip
    status, taken = map(int, run.stderr.split())
    return status, taken


def write_pair(directory: Path, kind: str) -> tuple[str, str]:
    """Write the two files of a kind."""
    paths = [directory / "a.zst", directory / "b.zst"]
    for path, byte in zip(paths, (1, 2), strict=True):
        path.write_bytes(FILES[kind](byte).build())
    return str(paths[0]), str(paths[1])
