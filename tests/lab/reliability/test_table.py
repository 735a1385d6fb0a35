import importlib
import importlib.util
import logging
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.lab.reliability import __main__ as command
from tests.lab.reliability.__main__ import DOCUMENT, PARTS
from tests.lab.reliability.row import Row
from tests.lab.reliability.table import HEAD, marks, replace_table, table

ROW = Row("A | B", "a fault", 1234, "nothing came of it", held=True, qemu="nothing [run]")


def test_a_row_is_a_line_with_a_cell_for_each_column() -> None:
    head, rule, line = table([ROW]).splitlines()
    assert head.count("|") == rule.count("|") == len(HEAD) + 1
    assert line == r"| A \| B | a fault | 1,234 | nothing came of it | - | nothing [run] | - |"


def test_a_promise_that_did_not_hold_is_told_as_such() -> None:
    assert "| **not held**: nothing came of it |" in table([replace(ROW, held=False)])


@pytest.mark.parametrize("text", ["", "two\nlines"])
def test_a_text_that_is_not_one_line_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one line of text"):
        replace(ROW, outcome=text)


def test_the_tables_of_other_parts_stay_as_they_are() -> None:
    begin, end = marks("saves")
    other = "\n".join(marks("loads"))
    before = f"text\n{begin}\nold\n{end}\n{other}\n"
    assert replace_table(before, "saves", [ROW]) == f"text\n{begin}\n{table([ROW])}\n{end}\n{other}\n"


@pytest.mark.parametrize("marked", ["", "{0}", "{1}\n{0}", "{0}\n{1}\n{0}\n{1}", "{1}{0}\n{1}"])
def test_a_document_without_one_place_for_the_table_is_refused(marked: str) -> None:
    with pytest.raises(ValueError, match="once and in this order"):
        replace_table(marked.format(*marks("saves")), "saves", [ROW])


def test_the_document_has_a_place_for_each_part() -> None:
    document = DOCUMENT.read_text("utf-8")
    for part in PARTS:
        assert replace_table(document, part, [ROW])


def test_every_module_with_rows_is_a_part() -> None:
    files = Path("tests/lab/reliability").glob("*.py")
    found = {file.stem for file in files if "\ndef rows(" in file.read_text("utf-8")}
    assert found <= set(PARTS)
    assert all(importlib.util.find_spec(f"tests.lab.reliability.{part}") for part in found)


def test_the_package_goes_into_the_source_distribution() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
    assert "tests" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_a_part_that_comes_to_no_end_leaves_the_others_their_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "a.md"
    document.write_text("".join(f"{begin}\nold\n{end}\n" for begin, end in map(marks, PARTS)))

    def rows(name: str) -> list[Row]:
        if name == "loads":
            raise OSError("no room")
        order.append(name)
        return [ROW]

    order: list[str] = []
    monkeypatch.setattr(command, "DOCUMENT", document)
    monkeypatch.setattr(sys, "argv", ["reliability"])
    monkeypatch.setattr(
        importlib, "import_module", lambda name: SimpleNamespace(rows=lambda *_, **__: rows(name.rpartition(".")[2]))
    )
    try:
        assert command.main() == 1
    finally:
        logging.disable(logging.NOTSET)
    assert order == ["saves", "attacks", "service", "signatures", "fuzz"]
    assert document.read_text().count("old") == 1
    assert replace_table(document.read_text(), "loads", [ROW]).count("old") == 0
    assert "loads: came to no end" in capsys.readouterr().err
