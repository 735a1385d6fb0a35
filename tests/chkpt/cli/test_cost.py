"""What it costs to look at a file that is small on disk and large inside, with `inspect` and `diff`.

The files break no rule of docs/FORMAT.md. What docs/RELIABILITY.md promises of hostile files holds for them too.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chkpt.cli.looking import write
from tests.support.handmade import Blob, File, Piece, section

MIB = 1 << 20

PROMISED = 64 * MIB
"""Bytes that a file may cost beyond a good small one (docs/RELIABILITY.md)."""

COST = """
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


def repeated(one: bytes, other: bytes) -> File:
    """Return a file with 200 pieces of 1 MiB, two in turn."""
    numbers = [at % 2 for at in range(200)]
    return File(
        sections=[section("a")],
        blobs=[Blob(["a"], "b", 200 * MIB, MIB, [*range(200)], numbers)],
        pieces=[Piece(one), Piece(other)],
    )


def sparse_changes(byte: int) -> bytes:
    return (bytes([byte]) + b"x" * 31) * (MIB // 32)


FILES: dict[str, Callable[[int], File]] = {
    "long bytes": lambda byte: File(
        sections=[section(f"s{at}", values={"x": bytes([byte]) * (16 * MIB - 50)}) for at in range(4)]
    ),
    "long bytes with many ranges": lambda byte: File(
        sections=[section(f"s{at}", values={"x": sparse_changes(byte) * 15}) for at in range(4)]
    ),
    "long texts": lambda byte: File(
        sections=[section(f"s{at:02}", values={"x": chr(byte) * (MIB - 99) + "\U0001f600"}) for at in range(60)]
    ),
    "many values": lambda byte: File(sections=[section(f"s{at}", values={"x": [byte] * 40_000}) for at in range(2)]),
    "many contexts": lambda byte: File(sections=[section(f"s{at:04}", version=byte) for at in range(5000)]),
    "pieces in turn": lambda byte: repeated(bytes([byte]) * MIB, bytes([byte + 10]) * MIB),
}
"""Files that hold much: of each kind two, which differ in everything."""


def cost(directory: Path, *arguments: str) -> tuple[int, int]:
    """Return the exit status of a command, and the bytes that it takes beyond what it takes for a small file."""
    small = write(directory / "small.zst")
    run = subprocess.run(
        [sys.executable, "-c", COST, str(small), *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True, timeout=60,
    )  # fmt: skip
    status, taken = map(int, run.stderr.split())
    return status, taken


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["", "json"])
@pytest.mark.parametrize("kind", FILES)
def test_what_is_large_inside_costs_little_memory(kind: str, options: list[str], tmp_path: Path) -> None:
    paths = [tmp_path / "a.zst", tmp_path / "b.zst"]
    for path, byte in zip(paths, (1, 2), strict=True):
        path.write_bytes(FILES[kind](byte).build())
    a, b = map(str, paths)
    status, taken = cost(tmp_path, "inspect", a, "/", *options)
    assert status == 0
    assert taken < PROMISED
    status, taken = cost(tmp_path, "diff", a, b, *options)
    assert status == 1
    assert taken < PROMISED


def test_a_file_that_is_refused_leaves_no_half_of_a_document(tmp_path: Path) -> None:
    """Each section is read before the first byte is written."""
    path, other = tmp_path / "a.zst", tmp_path / "b.zst"
    sections = [section(f"s{at}", values={"x": bytes(MIB)}) for at in range(4)]
    other.write_bytes(File(sections=[section("s0", values={"x": 1}), *sections[1:]]).build())
    sections[3].stored = b"bad"
    path.write_bytes(File(sections=sections).build())
    for arguments in (["inspect", str(path), "/"], ["diff", str(path), str(other)]):
        run = subprocess.run(
            [sys.executable, "-m", "chkpt", *arguments, "--json"], capture_output=True, check=False, timeout=60
        )
        assert run.returncode == 4, arguments
        assert run.stdout == b""


def test_a_long_document_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    content = bytes(range(256)) * 4096
    path.write_bytes(File(sections=[section("a", values={"x": content})]).build())
    run = subprocess.run(
        [sys.executable, "-m", "chkpt", "inspect", str(path), "/", "--json"],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(run.stdout)["contexts"]["a"]["values"] == {"x": {"hex": content.hex()}}
    assert run.stdout.endswith(b"}\n")
