"""Our names: what a hint tells a user to install is ours and is there, and the version is written once."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

import chkpt
from chkpt.extras import DISTRIBUTION, UNICORN, install

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT: dict[str, Any] = PYPROJECT["project"]


def texts() -> Iterator[Path]:
    """Yield what a user reads: the code, for its messages, and the pages. The changelog has the names of its time."""
    for folder in ("chkpt", "devices", "docs", "examples"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md", ".toml"})
    yield from (ROOT / "README.md", ROOT / "CONTRIBUTING.md")


def test_the_distribution_is_not_the_other_project_of_the_index() -> None:
    assert PROJECT["name"] == DISTRIBUTION == "chkpt-machines"


def test_the_import_name_and_the_command_stay() -> None:
    assert chkpt.__name__ == "chkpt"
    assert PROJECT["scripts"] == {"chkpt": "chkpt.__main__:main"}


def test_no_hint_names_the_other_project() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in texts()
        for line in path.read_text().splitlines()
        if re.search(r"\bchkpt\[[a-z]|pip install (-\S+ )*'?chkpt(?![-\w])", line)
    ]
    assert wrong == []


def test_every_extra_that_is_named_exists() -> None:
    named = {extra for path in texts() for extra in re.findall(r"chkpt-machines\[(\w+)\]", path.read_text())}
    named |= {extra for path in texts() for extra in re.findall(r"\binstall\(['\"](\w+)['\"]\)", path.read_text())}
    assert {"guest", "sign", "age"} <= named
    assert named <= set(PROJECT["optional-dependencies"])
    assert install("guest") == "pip install 'chkpt-machines[guest]'"


def test_the_release_of_unicorn_is_the_one_of_the_extra() -> None:
    assert UNICORN in PROJECT["optional-dependencies"]["guest"]
    assert UNICORN in PYPROJECT["dependency-groups"]["dev"]


def test_the_version_is_written_once() -> None:
    assert "version" not in PROJECT
    literal = re.compile(rf"\b{re.escape(chkpt.__version__)}\b")
    found = [path for path in (ROOT / "chkpt").rglob("*.py") if literal.search(path.read_text())]
    assert found == [ROOT / "chkpt" / "version.py"]


def test_the_installed_version_is_the_one_of_the_code() -> None:
    assert version(DISTRIBUTION) == chkpt.__version__


def test_the_oldest_versions_are_those_that_the_decision_says_were_tried() -> None:
    page = (ROOT / "docs" / "decisions" / "0031-what-is-pinned.md").read_text()
    tried = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \| [\d.]+ \|", page, re.MULTILINE))
    wanted = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    ranges = {each.name: each.specifier for each in map(Requirement, wanted) if each.name != "unicorn"}
    assert ranges.keys() == tried.keys()
    oldest = {name: min(Version(each.version) for each in specifiers) for name, specifiers in ranges.items()}
    assert oldest == {name: Version(each) for name, each in tried.items()}
