"""Counts the outcomes of many faults of one kind while they are injected."""

import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.lab.reliability.row import Row
from tests.lab.reliability.served import BrokenError

SHOWN: Final = 3
"""How many broken promises a row shows; all are printed."""

WIDTH: Final = 200
"""Characters of each of them in a row."""


class Tally:
    """Outcomes, counted; and the faults after which a promise did not hold."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.broken: list[str] = []

    def count(self, outcome: str) -> None:
        """Count one fault with an outcome that was promised."""
        self.outcomes[outcome] += 1

    def attempt(self, fault: str, run: Callable[[], str | None]) -> None:
        """Inject one fault. `run` returns the outcome, or None if the fault was never reached."""
        try:
            outcome = run()
        except BrokenError as exc:
            self.broken.append(f"{fault}: {exc}")
            print(f"broken by {fault}: {exc}", flush=True)
        else:
            if outcome is not None:
                self.count(outcome)

    @property
    def total(self) -> int:
        """How many faults were injected."""
        return self.outcomes.total() + len(self.broken)

    def row(self, promise: str, tried: str, *, firecracker: str = "-", qemu: str = "-", restic: str = "-") -> Row:
        """Return the counts as a row of the table."""
        outcome = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items())) or "nothing"
        if self.broken:
            shown = [textwrap.shorten(each, WIDTH, placeholder=" ...") for each in self.broken[:SHOWN]]
            outcome = "; ".join([f"{len(self.broken)} broke it", *shown, outcome])
        return Row(
            promise,
            tried,
            self.total,
            " ".join(outcome.split()),
            held=not self.broken and self.total > 0,
            firecracker=firecracker,
            qemu=qemu,
            restic=restic,
        )


def skipped_row(promise: str, tried: str, reason: str) -> Row:
    """Return the row of a promise that cannot be tried here."""
    return Row(promise, tried, 0, f"not tried: {reason}", held=True)
