"""Writes docs/CLI.md from the commands themselves, so that the page and `--help` say the same.

`make cli-docs` calls this; a test compares the page with what it writes.
"""

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import typer
from typer.core import TyperCommand

from chkpt.cli import COMMANDS, SETTINGS, Commands, app

FILE: Final = Path(__file__).parents[2] / "docs" / "CLI.md"
"""The page, in a checkout of the sources."""

WIDTH: Final = 100
"""The longest line. It is fixed, so that the page does not depend on the terminal in which it is made."""

UNWRAPPED: Final = "\b"
"""The first line of a paragraph whose lines stay as they are: click's convention."""

HEAD: Final = """\
# Commands

This page is made from the commands by `make cli-docs`. `chkpt COMMAND --help` shows the same text.
"""


def text() -> str:
    """Return the page."""
    group = typer.main.get_command(app)
    assert isinstance(group, Commands)
    settings: dict[str, Any] = {**SETTINGS}
    context = typer.Context(group, info_name="chkpt", **settings)
    parts = [HEAD, *_body(group, context)]
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts += [f"## chkpt {name}\n", *_body(command, typer.Context(command, info_name=name, parent=context))]
    return "\n".join(parts).rstrip() + "\n"


def _body(command: Commands | TyperCommand, context: typer.Context) -> Iterator[str]:
    """Yield the parts of a command: its usage, its help, its arguments and options, and what follows them."""
    usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
    yield f"```text\n{usage}\n```\n"
    yield from _paragraphs(command.help or "")
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        parameters = [each for each in command.get_params(context) if each.param_type_name == kind]
        records = [each.get_help_record(context) for each in parameters]
        if any(records):
            items = [_item(*record) for record in records if record is not None]
            yield "\n".join((f"{title}:\n", *items, ""))
    yield from _paragraphs(command.epilog or "")


def _paragraphs(help_text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; one that keeps its lines becomes a block of plain text."""
    for paragraph in cleandoc(help_text).split("\n\n"):
        first, *rest = paragraph.splitlines() or [""]
        if first.strip() == UNWRAPPED:
            yield "\n".join(("```text", *(line.rstrip() for line in rest), "```\n"))
        elif first:
            yield _wrap(paragraph) + "\n"


def _item(name: str, meaning: str) -> str:
    """Return one argument or option as an item of a list."""
    return _wrap(f"- `{' '.join(name.split())}`: {' '.join(meaning.split())}", indent="  ")


def _wrap(paragraph: str, indent: str = "") -> str:
    """Return a paragraph in lines of `WIDTH`, those after the first begun with `indent`."""
    # No break within a word: an option or a path must stay whole to be found.
    lines = wrap(paragraph, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


if __name__ == "__main__":
    FILE.write_text(text())
