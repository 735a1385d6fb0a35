"""Printing results: plain lines, columns, JSON. Results go to stdout, everything else to stderr."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import typer

from chkpt.errors import StorageError

if TYPE_CHECKING:
    from chkpt.service.messages import SkipInfo


@contextmanager
def on_stdout() -> Iterator[None]:
    """Turn what the operating system refuses into a StorageError that names standard output.

    That the reader has gone (BrokenPipeError) goes through: it ends the command without a word.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise StorageError(f"standard output: {exc.strerror or exc}") from exc


def show(line: str, *, err: bool = False) -> None:
    """Print one line of the result, or with `err` one that belongs to stderr."""
    with nullcontext() if err else on_stdout():
        typer.echo(line, err=err)


def show_json(value: object, *, err: bool = False) -> None:
    """Print `value` as JSON, indented, for a program and for a reader."""
    show(json.dumps(value, indent=2), err=err)


def show_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, each column as wide as its widest cell. Control characters are shown escaped."""
    table = [head, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        show("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_skipped(what: str, skips: "Sequence[SkipInfo]") -> None:
    """Print one line for each name that was passed over, with the reason."""
    for skip in skips:
        show(plain(f"{what}: {skip['name']}: {skip['reason']}"))


def seconds(nanoseconds: int) -> str:
    """Return a time of a machine's clock in seconds, to the nanosecond."""
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{'-' * (nanoseconds < 0)}{whole}.{rest:09} s"


def plain(text: str) -> str:
    """Return `text` on one line, without anything that would move the cursor or change a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
