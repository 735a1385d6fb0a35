"""Pages whose files are written and whose commands are run, one after the other, as their reader would.

A block below a line that ends with "`NAME`:" is the file NAME, whole; a `diff` block there changes it. In a `console`
block what follows `$ ` is typed, and the lines below it are what is seen, see `tests.support.sessions`. A command has
to succeed, unless `$ echo $?` follows it and shows another status. One that ends with ` &` goes on in the background
once it has said its first line. Other blocks are read, and nothing is done with them.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.sessions import commands, fits

ROOT: Final = Path(__file__).parents[2]
BIN: Final = Path(sys.executable).parent
BLOCK: Final = re.compile(
    r"(?:^(?P<before>[^\n]+)\n+)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
NAMED: Final = re.compile(r"`([\w.@~/-]+)`:$")


def files(page: Path) -> dict[str, str]:
    """Return the files that a page shows whole, by name."""
    blocks = ((NAMED.search(block["before"] or ""), block) for block in BLOCK.finditer(page.read_text()))
    return {name[1]: block["text"] for name, block in blocks if name is not None and block["language"] != "diff"}


def play(page: Path, directory: Path, commands: Path | None = None) -> list[str]:
    """Do all that a page says, in a directory; return the commands that were typed.

    `commands` is a directory whose programs take the place of the installed ones. Files whose names have a `/` in them
    are for elsewhere, and are not written.

    Raises:
        AssertionError: a command did not end as shown, or showed something else.
    """
    typed: list[str] = []
    with reader(directory, commands) as reads:
        for block in BLOCK.finditer(page.read_text()):
            name = NAMED.search(block["before"] or "")
            if block["language"] == "console":
                typed += reads.type(block["text"])
            elif name is not None and block["language"] == "diff":
                path = directory / name[1]
                path.write_text(changed(path.read_text(), block["text"]))
            elif name is not None and "/" not in name[1]:
                (directory / name[1]).write_text(block["text"])
    return typed


def changed(old: str, diff: str) -> str:
    """Return `old` with the hunks of `diff`, each below a line `@@`; what a hunk replaces is there once."""
    for hunk in diff.split("@@\n")[1:]:
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        assert old.count(before) == 1, f"{old.count(before)} times in the file:\n{before}"
        old = old.replace(before, after)
    return old


class Reader:
    """Types the commands of a page in one directory. Machines have their sockets there, too."""

    def __init__(self, directory: Path, commands: Path | None) -> None:
        self.directory = directory
        self.machines: list[subprocess.Popen[str]] = []
        (directory / "run").mkdir(mode=0o700)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("CHKPT_")}
        paths = [*([] if commands is None else [commands]), BIN, os.environ["PATH"]]
        self._environment |= {"PATH": ":".join(map(str, paths)), "XDG_RUNTIME_DIR": str(directory / "run")}
        self._environment |= {"XDG_CACHE_HOME": str(directory / "cache"), "COLUMNS": "120", "NO_COLOR": "1"}

    def type(self, session: str) -> list[str]:
        """Type the commands of a session and compare what is seen with what is shown."""
        steps = commands(session)
        for number, (command, wanted) in enumerate(steps):
            if command == "echo $?":
                continue
            if command.endswith(" &"):
                assert fits(wanted, self._begin(command.removesuffix(" &"))), command
                continue
            status, output = self._run(command)
            following = steps[number + 1 : number + 2]
            shown = int(following[0][1][0]) if following and following[0][0] == "echo $?" else 0
            assert status == shown, f"{command} ended with {status}: {output}"
            assert fits(wanted, output), f"{command}: {output}"
        return [command for command, _ in steps]

    def _begin(self, command: str) -> str:
        machine = subprocess.Popen(
            shlex.split(command), cwd=self.directory, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        self.machines.append(machine)
        assert machine.stdout is not None
        return machine.stdout.readline()

    def _run(self, command: str) -> tuple[int, str]:
        if command == "pip install --editable .":
            self._install()
            return 0, ""
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=100,
        )
        return run.returncode, run.stdout if not run.stdout or run.stdout.endswith("\n") else run.stdout + "\n"

    def _install(self) -> None:
        """Make the modules and entry points of the project in the directory known, without an index or a build."""
        project = tomllib.loads((self.directory / "pyproject.toml").read_text())["project"]
        metadata = self.directory / f"{project['name']}-{project['version']}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
        groups = project["entry-points"].items()
        (metadata / "entry_points.txt").write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
                for group, entries in groups
            )
        )
        self._environment["PYTHONPATH"] = str(self.directory)


@contextmanager
def reader(directory: Path, commands: Path | None = None) -> Iterator[Reader]:
    """Yield a reader; at the end every machine has ended by itself, or is ended."""
    made = Reader(directory, commands)
    try:
        yield made
        assert [machine.wait(30) for machine in made.machines] == [0] * len(made.machines)
    finally:
        for machine in made.machines:
            machine.kill()
            machine.communicate()
