"""The commands in examples/linux/README.md do what they show."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests import linux, packages
from tests.support.sessions import commands, fits

DIRECTLY, FROM_A_DISK = re.split(r"^## From a disk.*$", (linux.EXAMPLE / "README.md").read_text(), flags=re.MULTILINE)
BIN = Path(sys.executable).parent


def session(part: str) -> list[tuple[str, list[str]]]:
    """Return each command of a part of the file with the output lines below it."""
    return commands("".join(re.findall(r"^```console\n(.*?)^```", part, re.MULTILINE | re.DOTALL)))


def check(place: Path, part: str) -> None:
    """Run the commands of a part, and compare what they print."""
    (place / "run").mkdir(mode=0o700)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(place / "run")}
    for command, wanted in session(part):
        ended = subprocess.run(
            shlex.split(command), cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        said = ended.stdout.replace("\r", "")
        if said and not said.endswith("\n"):
            said += "\n"
        assert fits(wanted, said), f"{command}\n{said}"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    packages.tool("mke2fs", "e2fsprogs")
    for name, package in (("kernel", "linux-image-cloud-amd64"), ("busybox", "busybox-static")):
        (tmp_path / name).symlink_to(packages.package(package))
    for path in linux.EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.long  # tests/examples/test_linux.py boots the same machine from the same files
@pytest.mark.timeout(900)
def test_the_session_is_as_shown(place: Path) -> None:
    check(place, DIRECTLY)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_session_from_a_disk_is_as_shown(place: Path) -> None:
    linux.chain_packages(place / "pc")
    subprocess.run([sys.executable, "build.py", "kernel", "busybox"], cwd=place, check=True)
    check(place, FROM_A_DISK)
