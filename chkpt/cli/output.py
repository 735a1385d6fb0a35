"""Printing results: plain lines, columns, JSON. Results go to stdout, everything else to stderr."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import typer

from chkpt.cli.json_text import json_text
from chkpt.errors import StorageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import SkipInfo


@contextmanager
def on_stdout() -> Iterator[None]:
    """Turn an OSError into a StorageError that names standard output.

    BrokenPipeError passes: if the reader has gone, the command ends without a message.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise StorageError(f"standard output: {exc.strerror or exc}") from exc


def show(line: str, *, err: bool = False, end: str = "\n") -> None:
    """Print one line on stdout, or with `err` on stderr. `end` follows it."""
    with nullcontext() if err else on_stdout():
        typer.echo(line + end, err=err, nl=False)


def show_json(value: object, *, err: bool = False) -> None:
    """Print `value` as indented JSON; see `chkpt.cli.json_text`."""
    for block in json_text(value):
        show(block, err=err, end="")
    show("", err=err)


GAP: Final = "  "
"""The space between two columns."""


def show_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, each column as wide as its widest cell. Control characters are shown escaped.

    If the terminal is too narrow, cells are wrapped between words. If a word would still be cut, each row becomes a
    paragraph of lines `HEAD: cell`. A file or a program always gets one line per row.
    """
    table = [head, *([escape(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if sys.stdout.isatty():
        width = get_terminal_size().columns
        if _total(widths) > width:
            _show_narrow(table, width)
            return
    for row in table:
        show(GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _show_narrow(table: Sequence[Sequence[str]], width: int) -> None:
    """Print a table that is wider than the terminal."""
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in zip(*table, strict=True)]
    if _total(words) > width:
        head, *rows = table
        for number, row in enumerate(rows):
            if number:
                show("")
            for name, cell in zip(head, row, strict=True):
                for line in wrap(f"{name}: {cell}", width, break_long_words=False, break_on_hyphens=False):
                    show(line)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    head, *rows = table
    narrow = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="")
    for name, word in zip(head, words, strict=True):
        narrow.add_column(name, min_width=word)
    for row in rows:
        narrow.add_row(*map(Text, row))
    console = Console(width=width, highlight=False)
    with console.capture() as lines:
        console.print(narrow)
    for line in lines.get().splitlines():
        show(line.rstrip())


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def show_skipped(what: str, skips: "Sequence[SkipInfo]") -> None:
    """Print one line for each skipped name, with the reason."""
    for skip in skips:
        show(escape(f"{what}: {skip['name']}: {skip['reason']}"))


def format_seconds(nanoseconds: int) -> str:
    """Return a time of a machine's clock in seconds, with nine decimals."""
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{'-' * (nanoseconds < 0)}{whole}.{rest:09} s"


def escape(text: str) -> str:
    """Escape every character that is not printable: the text stays on one line and cannot control a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
