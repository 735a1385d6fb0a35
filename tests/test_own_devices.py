"""A project may call its own modules as our folders are called: chkpt takes two import names and no more."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import devices
from chkpt import Machine

machine = Machine()
machine.ports.outb(0x43, 0x34)
print(devices.MINE, len(machine.devices))
"""


@pytest.mark.parametrize("path", ["devices.py", "devices/__init__.py"])
def test_a_project_with_devices_of_its_own_makes_a_machine(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("MINE = 'mine'\n")
    (tmp_path / "main.py").write_text(PROGRAM)
    ran = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("mine 4\n", "")


def test_the_wheel_takes_two_import_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert [Path(package).name for package in packages] == ["chkpt", "chkpt_devices"]
