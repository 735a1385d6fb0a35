"""What a save or a load did with each device."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Skip:
    """One name that was passed over, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SaveReport:
    """What a save did: every device of the machine is in one of the lists."""

    saved: tuple[str, ...]
    skipped: tuple[Skip, ...]


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did: every name of the snapshot and every device of the machine is in one of the lists.

    `loaded` and `left` are names of the machine, `skipped` are names of the snapshot, `unknown` are the paths of tags
    that no field of a state took, and `dated` the names of the loaded devices whose dates have gone on: a list, as the
    report is made before anything changes, and only the load itself finds out.
    """

    loaded: tuple[str, ...]
    skipped: tuple[Skip, ...]
    left: tuple[Skip, ...]
    unknown: tuple[str, ...]
    dated: list[str] = field(default_factory=list)
