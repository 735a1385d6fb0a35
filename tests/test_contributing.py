"""CONTRIBUTING.md names every folder, and what it names is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
PATHS = sorted(set(re.findall(r"`((?:chkpt|devices|docs|examples|tests)/[\w./-]*)`", PAGE)))


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", PAGE))))
def test_every_make_target_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_every_folder_is_named() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("git does not know which files are of the project")
    files = [Path(line) for line in listed.stdout.splitlines()]
    # Below chkpt/ and tests/ the folders that have a row of their own, elsewhere those at the top.
    rooms = {"/".join(path.parts[:2]) for path in files if path.parts[0] == "chkpt" and len(path.parts) > 2}
    rooms |= {"/".join(path.parts[:3]) for path in files if path.parts[:2] == ("tests", "lab") and len(path.parts) > 3}
    rooms |= {path.parts[0] for path in files if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    rooms -= {"snapshots"}  # where a user's own go
    named = {path.rstrip("/") for path in PATHS} | {"devices"}
    assert rooms <= named
