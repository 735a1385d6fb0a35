"""The common ground: commands after which QEMU and a datasheet part for longer than an answer are not sent.

Each limit is narrow: it looks at what the command would meet, and the conversation goes on without that one command.
"""

from typing import Final

from tests.lab.oracle.case import Case
from tests.lab.oracle.ground import ide, pic, pit, serial
from tests.lab.oracle.ground.limit import Limit

LIMITS: Final = (*pit.LIMITS, *pic.LIMITS, *serial.LIMITS, *ide.LIMITS)


def held_back(case: Case) -> Limit | None:
    """Return the first limit that keeps a command from being sent, or None."""
    for limit in LIMITS:
        if case.before.has(limit.device) and limit.holds_back(case):
            return limit
    return None
