"""One measured figure, and how it is taken."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A median, the middle half of its samples, what it should be, and what it stands beside."""

    what: str
    median: float
    low: float
    high: float
    unit: str
    target: str
    baseline: str
    met: bool | None = None


def seconds(call: Callable[[], object], *, number: int, samples: int = 30) -> list[float]:
    """Return how long one call took, in `samples` runs of `number` calls each, after one run to warm up."""
    for _ in range(number):
        call()
    taken: list[float] = []
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(number):
            call()
        taken.append((time.perf_counter() - start) / number)
    return taken


def figure(
    what: str,
    samples: list[float],
    *,
    unit: str,
    target: float | None,
    baseline: str = "",
    most: bool = True,
    scale: float = 1.0,
) -> Figure:
    """Sum samples up. `target` is the most that is wanted, or with `most=False` the least; None where none is set."""
    values = sorted(sample * scale for sample in samples)
    median = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4)
    if target is None:
        return Figure(what, median, low, high, unit, "-", baseline)
    met = median <= target if most else median >= target
    shown = f"{'at most' if most else 'at least'} {target:,.6g}"
    return Figure(what, median, low, high, unit, shown, baseline, met)
