"""What mutmut has found, read from the folder in which it works."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path("mutants")

# What mutmut keeps for a mutant: pytest's exit status, or a number of its own (its table `status_by_exit_code`)
KILLED: Final = frozenset({1, 3})
TIMED_OUT: Final = frozenset({24, -24, 36, 152, 255})


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed function, and what became of it."""

    file: str
    function: str  # with its class in front
    was: str  # the lines that the mutation changes
    now: str  # and what they become
    status: int

    @property
    def key(self) -> tuple[str, str, str]:
        """The file, the function and the line."""
        return self.file, self.function, self.was

    @property
    def killed(self) -> bool:
        """Whether a test failed."""
        return self.status in KILLED

    @property
    def timed_out(self) -> bool:
        """Whether a test never came to its end."""
        return self.status in TIMED_OUT

    @property
    def survived(self) -> bool:
        """Whether every test passed that reaches the function, or none does."""
        return not self.killed and not self.timed_out


def mutants_of(file: str) -> Iterator[Mutant]:
    """Yield the mutants of a source file, as far as they have been run."""
    meta, spans = (FOLDER / f"{file}.{kind}" for kind in ("meta", "spans"))
    if not meta.exists():
        return
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    where: dict[str, tuple[int, int]] = json.loads(spans.read_bytes())["spans"]
    for key, status in json.loads(meta.read_bytes())["exit_code_by_key"].items():
        if status is None:
            continue
        name = key.rpartition(".")[2]  # x_function__mutmut_1, or xǁClassǁmethod__mutmut_1
        stem = name.rpartition("__mutmut_")[0]
        function = stem[2:].replace("ǁ", ".")
        texts = []
        for each in (f"{stem}__mutmut_orig", name):
            first, last = where[each]
            texts.append([line.replace(each, function.rpartition(".")[2]).strip() for line in lines[first - 1 : last]])
        was, now = change(*texts)
        yield Mutant(file, function, was, now, status)


def change(original: list[str], mutated: list[str]) -> tuple[str, str]:
    """Return the lines in which two texts differ, of each text joined to one line."""
    least = min(len(original), len(mutated))
    head = next((at for at in range(least) if original[at] != mutated[at]), least)
    tail = next((at for at in range(least - head) if original[-1 - at] != mutated[-1 - at]), least - head)
    return " ".join(original[head : len(original) - tail]), " ".join(mutated[head : len(mutated) - tail])
