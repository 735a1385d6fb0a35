"""docs/CLI.md is what the commands say."""

import re

import pytest
import typer

from chkpt.cli import COMMANDS, reference


@pytest.mark.skipif(
    not typer.__version__.startswith("0.28."),
    reason="the page is made with typer 0.28; others write choices otherwise",
)
def test_the_page_is_the_one_that_the_commands_give() -> None:
    assert reference.FILE.read_text() == reference.text(), "run `make cli-docs`"


def test_the_page_is_the_same_in_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    page = reference.text()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("CHKPT_STORE", "/elsewhere")
    assert reference.text() == page
    assert max(map(len, page.splitlines())) <= reference.WIDTH


def test_every_command_and_every_option_is_there() -> None:
    page = reference.text()
    assert re.findall(r"^## chkpt (\S+)$", page, re.MULTILINE) == list(COMMANDS)
    for name in COMMANDS:
        chapter = page[page.index(f"\n## chkpt {name}\n") :]
        assert "- `-h, --help`: Show this message and exit." in chapter.split("\n## ")[1]
    save = page[page.index("\n## chkpt save\n") :].split("\n## ")[1]
    assert set(re.findall(r"--[a-z]+", save)) >= {"--machine", "--force", "--sign", "--recipient", "--store", "--json"}


def test_lines_that_a_help_keeps_are_kept() -> None:
    assert "```text\nExit status:\n  0  done\n  1  failed\n" in reference.text()
