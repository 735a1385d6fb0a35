"""docs/ARCHITECTURE.md names what is there, and draws the imports that are held."""

import importlib.util
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest

import chkpt

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text()


def test_every_package_is_in_the_table() -> None:
    packages = {each.name for each in pkgutil.walk_packages(chkpt.__path__, "chkpt.") if each.ispkg}
    assert packages | {"chkpt_devices"} <= set(re.findall(r"^\| `([a-z_.]+)` \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bchkpt(?:_devices)?(?:\.[a-z][a-z0-9_]*)+", PAGE))))
def test_every_module_that_is_named_is_there(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


def test_the_layers_are_drawn_as_the_contract_has_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    drawn = [line.split() for line in PAGE.split("## Which way imports go")[1].split("```")[1].splitlines()[1:]]
    assert drawn == [layer.split(" : ") for layer in contract["layers"]]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", PAGE))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).exists()
