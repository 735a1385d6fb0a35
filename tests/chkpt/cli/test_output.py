"""Columns on a narrow terminal: no word is cut, and a program always gets one line a row."""

import sys
from collections.abc import Callable

import pytest

from chkpt.cli.output import show_columns

HEAD = ("NAME", "VALUE")
ROWS = [("com1", "integer from zero to 65535"), ("ide0", "a table of drives")]
WORDS = {"NAME", "VALUE", *" ".join(cell for row in ROWS for cell in row).split()}


Print = Callable[[int], list[str]]


@pytest.fixture
def at_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Print:
    """A function that prints the table on a terminal of so many columns and returns its lines."""

    def show(columns: int) -> list[str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        show_columns(HEAD, ROWS)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return show


def test_table_that_fits_is_one_line_a_row(at_terminal: Print) -> None:
    assert at_terminal(32) == ["NAME  VALUE", "com1  integer from zero to 65535", "ide0  a table of drives"]


@pytest.mark.parametrize("columns", range(13, 32))
def test_cells_are_wrapped_between_words(columns: int, at_terminal: Print) -> None:
    lines = at_terminal(columns)
    assert len(lines) > 3
    assert all(len(line) <= columns for line in lines)
    assert {word for line in lines for word in line.split()} == WORDS
    assert lines[0] == "NAME  VALUE"


def test_row_whose_words_do_not_fit_side_by_side_becomes_a_paragraph(at_terminal: Print) -> None:
    assert at_terminal(12) == [
        *("NAME: com1", "VALUE:", "integer from", "zero to", "65535", ""),
        *("NAME: ide0", "VALUE: a", "table of", "drives"),
    ]


def test_program_gets_one_line_a_row_however_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    show_columns(HEAD, ROWS)
    assert len(capsys.readouterr().out.splitlines()) == 3
