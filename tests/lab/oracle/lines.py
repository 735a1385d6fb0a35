"""The interrupt lines as both sides tell of them: which edges have their partner, and which wait for one."""

from collections import defaultdict, deque
from collections.abc import Sequence

Edge = tuple[int, str]
"""The number of a line, and "raise" or "lower"."""


def edges(answer: Sequence[str]) -> list[Edge]:
    """Return the edges that the `IRQ` lines of an answer tell."""
    told = (line.split(" ") for line in answer if line.startswith("IRQ "))
    return [(int(number), verb) for _, verb, number in told]


class Lines:
    """The edges of one group of lines that one side has told and the other has not."""

    def __init__(self) -> None:
        """Begin with all edges matched."""
        self._ours: defaultdict[int, deque[str]] = defaultdict(deque)
        self._theirs: defaultdict[int, deque[str]] = defaultdict(deque)

    def match(self, ours: Sequence[Edge], theirs: Sequence[Edge], *, in_order: bool = True) -> bool:
        """Take the edges of one command; return False where they can never match: two edges in the same place differ.

        With `in_order`, and where none waited before, edges of different lines must have come in the same order, too.
        """
        in_order = in_order and not self.waiting
        for told, waits in ((ours, self._ours), (theirs, self._theirs)):
            for number, verb in told:
                waits[number].append(verb)
        for number in self._ours.keys() & self._theirs.keys():
            here, there = self._ours[number], self._theirs[number]
            while here and there:
                if here.popleft() != there.popleft():
                    return False
        return not in_order or bool(self.waiting) or list(ours) == list(theirs)

    @property
    def waiting(self) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The edges without a partner, ours and QEMU's, by the number of their line."""
        numbers = [number for side in (self._ours, self._theirs) for number, waits in side.items() if waits]
        return {number: (tuple(self._ours[number]), tuple(self._theirs[number])) for number in sorted(set(numbers))}
