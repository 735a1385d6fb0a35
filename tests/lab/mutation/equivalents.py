"""The mutants that nobody could tell from the original, each with the reason."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.mutation.results import Mutant

TABLE: Final = Path(__file__).with_name("equivalents.toml")

CAST: Final = re.compile(r'\bcast\(("[^"]*"|None|[\w.]+), ')
CODEC: Final = re.compile(r'\.(en|de)code\("(\w+)"\)')


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Changes of some lines of a function that cannot be noticed."""

    file: str
    function: str
    was: str
    now: frozenset[str]
    because: str

    def stale(self, mutants: Iterable[Mutant]) -> Iterable[str]:
        """Yield what is wrong with the entry: a change that no mutant makes, or that a test notices after all."""
        found = {each.now: each for each in mutants if each.key == self.key}
        for now in sorted(self.now):
            if now not in found:
                yield f"{self.file} {self.function}: no mutant makes {now!r} of {self.was!r}"
            elif not found[now].survived:
                yield f"{self.file} {self.function}: a test notices {now!r} in place of {self.was!r}"

    @property
    def key(self) -> tuple[str, str, str]:
        """The file, the function and the line."""
        return self.file, self.function, self.was


def is_alike(mutant: Mutant) -> bool:
    """Tell whether a mutant changes what Python does not look at: the type of a cast, the case of a codec's name."""

    def looked_at(text: str) -> str:
        return CODEC.sub(lambda found: found[0].lower(), CAST.sub("cast(", text))

    return looked_at(mutant.was) == looked_at(mutant.now)


def table(path: Path = TABLE) -> list[Equivalent]:
    """Return the entries of the table."""
    with path.open("rb") as source:
        entries = tomllib.load(source)["equivalent"]
    return [
        Equivalent(each["file"], each["function"], each["was"], frozenset(each["now"]), each["because"])
        for each in entries
    ]
