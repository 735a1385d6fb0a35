"""The API reference is built from the docstrings without a warning, and the attributes of a machine are in it."""

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from chkpt.machine import Machine
from chkpt.machine.config import parse

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()


def documented() -> list[str]:
    found = re.search(r"^DOCUMENTED := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert found is not None
    return found[1].replace("\\\n", " ").split()


def docstrings(cls: type) -> dict[str, str]:
    """Return the attributes that a class declares, with the docstrings below them."""
    body = ast.parse(dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        declared.target.id: text.value.value
        for declared, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(declared, ast.AnnAssign)
        and isinstance(declared.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def test_every_attribute_of_a_machine_is_declared_and_documented() -> None:
    machine = Machine(parse({"name": "m"}))
    declared = docstrings(Machine)
    assert set(declared) == {name for name in vars(machine) if not name.startswith("_")}
    assert all(text.endswith(".") for text in declared.values())
    machine.close()


@pytest.mark.skipif(importlib.util.find_spec("pdoc") is None, reason="pdoc is not installed; `make docs` installs it")
def test_the_reference_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pdoc", "--docformat", "google", "-o", str(tmp_path)]
    run = subprocess.run([*command, *documented()], capture_output=True, text=True, check=False, cwd=ROOT, timeout=100)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    pages = {".".join(path.relative_to(tmp_path).with_suffix("").parts) for path in tmp_path.rglob("*.html")}
    assert pages >= {*documented(), "index"}
    assert 'id="Machine.half_loaded"' in (tmp_path / "chkpt.html").read_text()
