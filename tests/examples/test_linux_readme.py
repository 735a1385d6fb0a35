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

README = (linux.EXAMPLE / "README.md").read_text()
BIN = Path(sys.executable).parent


def session() -> list[tuple[str, list[str]]]:
    """Return each command with the output lines below it."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def fits(wanted: list[str], output: str) -> bool:
    """Tell whether the output is the one shown; `...` stands for anything, a line of its own for any lines."""
    lines = [r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n" for line in wanted]
    return re.fullmatch("".join(lines), output) is not None


@pytest.mark.long  # tests/examples/test_linux.py boots the same machine from the same files
@pytest.mark.timeout(900)
def test_the_session_is_as_shown(tmp_path: Path) -> None:
    packages.tool("mke2fs", "e2fsprogs")
    for name, package in (("kernel", "linux-image-cloud-amd64"), ("busybox", "busybox-static")):
        (tmp_path / name).symlink_to(packages.package(package))
    for name in ("build.py", "init", "machine.toml"):
        shutil.copy(linux.EXAMPLE / name, tmp_path)
    (tmp_path / "run").mkdir(mode=0o700)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    for command, wanted in session():
        ended = subprocess.run(
            shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        said = ended.stdout.replace("\r", "")
        if said and not said.endswith("\n"):
            said += "\n"
        assert fits(wanted, said), f"{command}\n{said}"
