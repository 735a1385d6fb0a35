"""What a save or a load did with each device."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from chkpt.errors import StrictError


@dataclass(frozen=True, slots=True)
class Skip:
    """The name of a device that was skipped, and the reason."""

    name: str
    reason: str


def strict_reasons(skipped: Iterable[Skip], unknown: Iterable[str]) -> list[str]:
    """Return what a strict load refuses: devices that would be skipped, and the paths of tags without a field."""
    return [f"{skip.name}: {skip.reason}" for skip in skipped] + [f"{path}: unknown tag" for path in unknown]


def refuse_strictly(reasons: Iterable[str]) -> None:
    """Raise StrictError with all reasons, if there are any. A load calls it once, before anything changes."""
    text = "; ".join(reasons)
    if text:
        raise StrictError(f"refused by strict, nothing has changed: {text}")


@dataclass(frozen=True, slots=True)
class SaveReport:
    """What a save did: every device of the machine is in one of the lists."""

    saved: tuple[str, ...]
    skipped: tuple[Skip, ...]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did: every name of the snapshot and every device of the machine is in one of the lists.

    `loaded` and `left` are names of the machine, `skipped` are names of the snapshot. `unknown` are the paths of tags
    for which the states have no field. `dated` are the names of the loaded devices whose dates the load has moved on: a
    list, as the report is made before the load.
    """

    loaded: tuple[str, ...]
    skipped: tuple[Skip, ...]
    left: tuple[Skip, ...]
    unknown: tuple[str, ...]
    dated: list[str] = field(default_factory=list)
