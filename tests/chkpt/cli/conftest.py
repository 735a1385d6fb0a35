import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chkpt.cli.terminals import Launcher, Terminal
from tests.guests import HERE

SHELL = f"""
name = "shell"
memory = "1M"
[cpu]
[firmware]
bios = "{HERE / "shell.bin"}"
[[device]]
type = "pic"
[[device]]
type = "pit"
[[device]]
type = "serial"
name = "com1"
port = 0x3f8
irq = 4
[[device]]
type = "isa_debug_exit"
"""


@pytest.fixture
def toml(home: Path) -> Path:
    """A machine whose guest sends ready, obeys some letters, and sends others back as capitals."""
    path = home / "shell.toml"
    path.write_text(SHELL)
    return path


@pytest.fixture
def at_terminal() -> Iterator[Launcher]:
    """Commands on terminals, none of which outlives the test."""
    made: list[Terminal] = []

    def launch(*args: object) -> Terminal:
        made.append(Terminal(*args))
        return made[-1]

    yield launch
    for each in made:
        each.end()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:  # pytest makes tmp_path before
    """A directory for temporary files. At the end it must be empty and no process may use it."""
    with tempfile.TemporaryDirectory(prefix="ckd") as path:
        monkeypatch.setenv("TMPDIR", path)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(path)
        assert list(Path(path).iterdir()) == []
        assert processes(path) == []


def processes(path: str) -> list[str]:
    """Return the command lines of the processes that use a directory."""
    found: list[str] = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = each.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if path in line:
            found.append(line)
    return found
