"""`make quick` runs no test that starts a process or loads the processor's engine, also where a mark is missing."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.guests import demo
from tests.support.kinds import mark
from tests.support.processes import spawn
from tests.support.rig import rig

ROOT = Path(__file__).parents[1]


class Item:
    """As much of a test as is looked at."""

    def __init__(self, nodeid: str, **names: object) -> None:
        self.nodeid = nodeid
        self.module = ModuleType("m")
        vars(self.module).update(names)
        self.marks: set[str] = set()

    def add_marker(self, name: str) -> None:
        self.marks.add(name)


@pytest.mark.parametrize(
    ("item", "marks"),
    [
        (Item("tests/test_a.py", subprocess=subprocess), {"process"}),
        (Item("tests/test_a.py", spawn=spawn), {"process"}),
        (Item("tests/test_a.py", demo=demo), {"guest"}),
        (Item("tests/guests/test_a.py"), {"guest"}),
        (Item("tests/guests/test_a.py", spawn=spawn), {"guest", "process"}),
        (Item("tests/test_a.py", rig=rig, sys=sys), set()),
    ],
    ids=["subprocess", "a helper", "a guest", "a folder", "both", "neither"],
)
def test_a_test_is_marked_by_what_its_module_imports(item: Any, marks: set[str]) -> None:
    mark(item)
    assert item.marks == marks


@pytest.mark.parametrize(
    ("body", "event"),
    [("os.fork()", "os.fork"), ("os.posix_spawn('/bin/true', ['true'], {})", "os.posix_spawn")],
)
def test_a_test_that_starts_a_process_unmarked_fails_in_quick_only(body: str, event: str, tmp_path: Path) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(f"import os\ndef test_it():\n    if {body} == 0:\n        os._exit(0)\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(path)]
    command = [*command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    quick, other = (
        subprocess.run([*command, *extra], check=False, capture_output=True, text=True, cwd=ROOT, timeout=100)
        for extra in (("-m", "not process and not guest"), ())
    )
    assert f"RuntimeError: {event} in a test that tests/support/kinds.py does not mark" in quick.stdout
    assert "1 failed" in quick.stdout
    assert "1 passed" in other.stdout
