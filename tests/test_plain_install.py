"""An installation without any extra runs, saves, loads and inspects machines."""

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import PATIENCE, line

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

BLOCKER = """
import sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self._finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def installed_with(requirements: list[str]) -> set[str]:
    """Return the names of all packages that pip installs for these requirements, without any extra."""
    found: set[str] = set()
    left = [*map(Requirement, requirements)]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            left += map(Requirement, requires(name) or [])
    return found


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place to work in, for commands that find no package but those of a plain installation."""
    present = installed_with(PROJECT["dependencies"]) | {PROJECT["name"]}
    homes = packages_distributions()
    absent = {name for name, owners in homes.items() if present.isdisjoint(map(canonicalize_name, owners))}
    assert {"unicorn", "cryptography", "pyrage", "lz4", "pytest"} <= absent
    assert {"typer", "msgpack"}.isdisjoint(absent)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(f"ABSENT = {absent!r}\n{BLOCKER}")
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{ROOT}")
        monkeypatch.delenv("CHKPT_STORE", raising=False)
        monkeypatch.chdir(tmp_path)
        yield tmp_path


def chkpt(*args: str, status: int = 0) -> str:
    """Run a command and return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "chkpt", *args],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def run(*args: str) -> "subprocess.Popen[bytes]":
    """Start a machine, and return once it answers."""
    process = subprocess.Popen([sys.executable, "-m", "chkpt", "run", *args], stdout=subprocess.PIPE, bufsize=0)
    try:
        assert " is running" in line(process.stdout)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return process


def test_a_plain_installation_runs_saves_loads_and_inspects(plain: Path) -> None:
    with run() as machine:
        try:
            assert "saved machine default" in chkpt("save", "boot")
            assert "devices/pit" in chkpt("inspect", "boot")
            assert "loaded machine default" in chkpt("load", "boot")
            assert "running" in chkpt("ps")
            chkpt("verify", "boot")
            chkpt("diff", "boot", "boot")
            chkpt("compat", "boot")
            chkpt("stop")
        finally:
            machine.kill()
    with run("--load", "boot", "--name", "again") as machine:
        try:
            chkpt("stop", "-m", "again")
        finally:
            machine.kill()
    assert chkpt("list").startswith("NAME")
    assert "serial" in chkpt("devices")


def test_what_a_plain_installation_lacks_names_the_extra(plain: Path) -> None:
    (plain / "cpu.toml").write_text('name = "m"\nmemory = "1M"\n[cpu]\n')
    assert "pip install 'chkpt-machines[guest]'" in chkpt("run", "cpu.toml", status=2)
    assert "pip install 'chkpt-machines[guest]'" in chkpt("demo", status=1)
    assert "pip install 'chkpt-machines[sign]'" in chkpt("keygen", "me", status=1)
    assert "pip install 'chkpt-machines[age]'" in chkpt("keygen", "--age", "me", status=1)


def test_names_of_extras_that_commands_know_stay() -> None:
    assert {"serve", "sign", "age", "guest"} <= set(PROJECT["optional-dependencies"])
    named = {Requirement(each).name for each in PROJECT["dependencies"]}
    assert "unicorn" not in named  # for its licence
