"""The cost of `inspect` and `diff` for a file that is small on disk and large inside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.handmade import File, section
from tests.support.large import FILES, MIB, PROMISED, cost, write_pair


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(pytest.param(kind, [], id=kind) for kind in FILES),
        *(
            pytest.param(kind, ["--json"], id=f"{kind}, json", marks=[pytest.mark.long] * (kind != "many values"))
            for kind in FILES
        ),
    ],
)
def test_what_is_large_inside_costs_little_memory(kind: str, options: list[str], tmp_path: Path) -> None:
    a, b = write_pair(tmp_path, kind)
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
