"""The shortest conversation that still differs: parts of it are left out for as long as the difference stays."""

from collections.abc import Callable, Sequence
from typing import Final

MAX_TRIALS: Final = 400
"""Trials after which what has been reached is good enough; each starts a QEMU."""


def shortest(
    commands: Sequence[str], still_differs: Callable[[list[str]], list[str] | None], trials: int = MAX_TRIALS
) -> list[str]:
    """Leave out what the difference does not need (Zeller's ddmin).

    Args:
        commands: a conversation that differs; its first command stays.
        still_differs: holds a conversation, and returns the commands up to the difference, or None where there is none.
        trials: how often to try at most.
    """
    first, rest = commands[0], list(commands[1:])
    size = len(rest) // 2
    while size >= 1:
        at = 0
        while at < len(rest):
            if not trials:
                return [first, *rest]
            trials -= 1
            left = still_differs([first, *rest[:at], *rest[at + size :]])
            if left is None:
                at += size
            else:
                rest = left[1:]
        size //= 2
    return [first, *rest]
