"""The tutorial works as shown, from the first file to the last command."""

import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT, changed, play

PAGE = ROOT / "docs" / "TUTORIAL.md"


def test_every_file_and_every_command_of_the_tutorial_does_what_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("unicorn", reason="the tutorial's first machine has a processor")
    typed = play(PAGE, tmp_path)
    assert {command.split()[1] for command in typed if command.startswith("chkpt ")} >= {
        *("run", "list", "verify", "inspect", "ps", "step", "save", "diff", "load", "stop", "prove", "devices")
    }
    assert "python bite.py" in typed


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text()))))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (PAGE.parent / target).exists()


def test_a_page_that_shows_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ chkpt --version\nchkpt 0.0.0\n```\n")
    with pytest.raises(AssertionError, match="chkpt --version: chkpt"):
        play(page, tmp_path)


def test_a_command_that_fails_unannounced_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ chkpt inspect nothing\n...\n```\n")
    with pytest.raises(AssertionError, match="ended with 3"):
        play(page, tmp_path)


def test_a_change_of_what_is_not_there_once_is_found() -> None:
    assert changed("a\nb\n", "@@\n a\n-b\n+c\n") == "a\nc\n"
    with pytest.raises(AssertionError, match="0 times"):
        changed("a\n", "@@\n-b\n+c\n")
