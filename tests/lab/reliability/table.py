"""Rows as tables of Markdown, between two marks in a document: one pair of marks for each part."""

from collections.abc import Sequence
from typing import Final

from tests.lab.reliability.row import Row

HEAD: Final = ("Promise", "Tried", "Count", "Outcome", "Firecracker", "QEMU", "restic")


def marks(part: str) -> tuple[str, str]:
    """Return the lines before and after the table of a part."""
    return f"<!-- {part}: made by `make reliability` -->", f"<!-- end of {part} -->"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of Markdown."""
    lines = [_line(HEAD), _line(["---"] * len(HEAD))]
    for row in rows:
        outcome = row.outcome if row.held else f"**not held**: {row.outcome}"
        cells = (row.promise, row.tried, f"{row.count:,}", outcome, row.firecracker, row.qemu, row.restic)
        lines.append(_line(cells))
    return "\n".join(lines)


def replace_table(document: str, part: str, rows: Sequence[Row]) -> str:
    """Return the document with a new table of `part`.

    Raises:
        ValueError: the document lacks the marks of the part, or has them twice or in the wrong order.
    """
    begin, end = marks(part)
    before, found, rest = document.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed or begin in rest or end in before + after:
        raise ValueError(f"the document must have the lines {begin} and {end}, once and in this order")
    return f"{before}{begin}\n{table(rows)}\n{end}{after}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
