"""Every attack, and how far a reader gets with it."""

from enum import Enum
from typing import Final

from chkpt.errors import RefusedError
from chkpt.snapshot import Reader
from tests.attacks.inside import INSIDE
from tests.attacks.outside import OUTSIDE
from tests.attacks.parts import Attack
from tests.attacks.values import VALUES

ATTACKS: Final[tuple[Attack, ...]] = tuple(sorted((*OUTSIDE, *VALUES, *INSIDE), key=lambda attack: attack.rule))


class Level(Enum):
    """Which part of the file an attack is in: who does not read that part does not see it."""

    OPEN = "open"
    SECTION = "section"
    PIECE = "piece"
    NAMES = (
        "names"  # of the context `devices`: not the reader of a file knows the rule, but who loads it or verifies it
    )


def level_of(data: bytes) -> Level:
    """Return where the library refuses a file: the earliest that can, as docs/FORMAT.md says what is checked when."""
    try:
        reader = Reader(data)
    except RefusedError:
        return Level.OPEN
    try:
        for entry in reader.sections:
            reader.section(entry.path)
    except RefusedError:
        return Level.SECTION
    try:
        reader.verify()
    except RefusedError:
        return Level.PIECE
    return Level.NAMES
