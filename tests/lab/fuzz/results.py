"""What a run of the fuzzer was, and what came of it: `results.json`, which `make reliability` tells."""

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[3]
SOURCES: Final = ("chkpt", "devices", "tests/lab/fuzz")
"""What is fuzzed, and what fuzzes it."""

INPUTS: Final = "corpus.zip"
"""Is no code: a minimised corpus makes no results false."""

FILE: Final = "results.json"
LOCK: Final = "lock"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one target."""

    target: str
    seconds: int
    executions: int
    coverage: int  # edges of the instrumented code that were reached
    features: int
    corpus: int
    peak_rss_mb: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the fuzzer.

    Args:
        corpus: what it began with: "fresh" or "kept".
        seconds: what was asked for, for all targets together.
        jobs: how many targets were fuzzed at once.
        asked: the targets that were to be fuzzed.
        sources: the digest of the code, see `digest`.
        ended: whether every target had its time, and the code was the same all the while.
        results: what came of the targets that had their time.
    """

    corpus: str
    seconds: int
    jobs: int
    asked: tuple[str, ...]
    sources: str
    ended: bool = False
    results: tuple[Result, ...] = ()

    def unfit(self, sources: str, targets: Collection[str]) -> str:
        """Return why this says nothing of all of `targets` and of the code of such a digest; or nothing."""
        if not self.ended:
            return "the last run of the fuzzer did not come to its end"
        if self.sources != sources:
            return "the last run of the fuzzer was of other code"
        if missed := set(targets) - {result.target for result in self.results}:
            return f"the last run of the fuzzer left out {', '.join(sorted(missed))}"
        return ""


def digest(root: Path = ROOT) -> str:
    """Return the SHA-256 of all files of `SOURCES`, but for what Python makes of them and for the kept inputs."""
    found = hashlib.sha256()
    files = (path for name in SOURCES for path in (root / name).rglob("*") if path.is_file())
    for path in sorted(path for path in files if "__pycache__" not in path.parts and path.name != INPUTS):
        content = path.read_bytes()
        found.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def write(folder: Path, run: Run) -> None:
    """Write down how far a run has come."""
    temporary = folder / f"{FILE}.new"
    temporary.write_text(json.dumps(asdict(run), indent=2))
    temporary.replace(folder / FILE)


def read(folder: Path) -> Run | None:
    """Return the last run, or None where there was none, or none that is written down in this form."""
    try:
        table: dict[str, Any] = json.loads((folder / FILE).read_text())
        results = tuple(Result(**{**each, "findings": tuple(each["findings"])}) for each in table["results"])
        return replace(Run(**{**table, "asked": tuple(table["asked"])}), results=results)
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


@contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Keep other runs out of the folder; it is made.

    Raises:
        BlockingIOError: somebody else has it, and `wait` is not given.
    """
    folder.mkdir(exist_ok=True)
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)
