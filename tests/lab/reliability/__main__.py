"""Inject the faults of the given parts, or of all, and put the outcomes into docs/RELIABILITY.md."""

import argparse
import importlib
import importlib.util
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol, cast

from tests.lab.reliability.row import Row
from tests.lab.reliability.table import replace_table, table

PARTS: Final = ("saves", "loads", "attacks", "fuzz", "service", "signatures")
"""In the order of the document. Each is `tests/lab/reliability/PART.py`, with a function `rows`."""

LAST: Final = ("fuzz",)
"""It waits for the end of a `make fuzz` that still runs."""

DOCUMENT: Final = Path("docs/RELIABILITY.md")


class Part(Protocol):
    """A module `tests/lab/reliability/PART.py`."""

    def rows(self, scratch: Path, *, sample: bool) -> list[Row]:
        """Try to break the promises, and return the outcomes.

        Args:
            scratch: an empty directory for this part, on a disk; it is removed afterwards.
            sample: try a few faults of each kind, in seconds; else all, in minutes.
        """


def main() -> int:
    """Run, and return the exit status: 0 all promises held, 1 one did not."""
    given = _arguments()
    logging.disable(logging.CRITICAL)  # every fault would be logged
    held = True
    parts = given.parts or [part for part in PARTS if importlib.util.find_spec(f"tests.lab.reliability.{part}")]
    for name in sorted(parts, key=LAST.__contains__):
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"chkpt-{name}-") as scratch:
            part = cast("Part", importlib.import_module(f"tests.lab.reliability.{name}"))
            try:
                rows = part.rows(Path(scratch), sample=given.sample)
            except Exception:  # noqa: BLE001  the other parts still get their tables
                print(f"{name}: came to no end\n{traceback.format_exc()}", file=sys.stderr, flush=True)
                held = False
                continue
        _print_rows(name, rows, time.monotonic() - began)
        held = held and all(row.held for row in rows)
        if not given.sample:
            document = replace_table(DOCUMENT.read_text("utf-8"), name, rows)
            DOCUMENT.write_text(document, "utf-8")
    return 0 if held else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.reliability", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all that are here)")
    parser.add_argument("--sample", action="store_true", help="try a few of each kind, and write nothing down")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; the parts are: {', '.join(PARTS)}")
    return given


def _print_rows(name: str, rows: Sequence[Row], seconds: float) -> None:
    print(f"{name}: {sum(row.count for row in rows):,} faults and inputs in {seconds:.0f} s\n{table(rows)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
