"""Fuzz every target for its share of the time, and report what came of it.

`make fuzz` runs it; `python -m tests.lab.fuzz --help` shows its options.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.lab.fuzz import corpus, results
from tests.lab.fuzz.results import Result, Run

FOLDER: Final = Path(".fuzz")
"""Where a run leaves its corpus, its logs, what it found, and `results.json`."""

RSS_LIMIT_MB: Final = 768
TIMEOUT: Final = 10
"""Seconds for one input, with atheris's instruments, which make it several times as slow."""

LONGEST: Final = 4096
"""Bytes of an input; what is longer is the business of tests/attacks."""

WEIGHTS: Final = {"snapshot": 5, "commands": 2, "configuration": 2}
"""How many shares of the time a target gets, where it is not one."""

KEPT_INPUTS: Final = 250
"""Inputs of one target that are kept at most, the shortest."""


def fuzz(target: str, seconds: int, *, with_kept: bool) -> Result:
    """Fuzz one target in a process of its own."""
    folder = FOLDER / "corpus" / target
    folder.mkdir(parents=True)
    for content in corpus.seeds(target):
        _put(folder, content)
    for name, _, content in corpus.kept() if with_kept else ():
        if name == target:
            _put(folder, content)
    log = FOLDER / f"{target}.log"
    prefix = FOLDER / "findings" / f"{target}-"
    prefix.parent.mkdir(exist_ok=True)
    options = [
        f"-max_total_time={seconds}", f"-rss_limit_mb={RSS_LIMIT_MB}", f"-timeout={TIMEOUT}", f"-max_len={LONGEST}",
        f"-artifact_prefix={prefix}", "-print_final_stats=1",
    ]  # fmt: skip
    with log.open("wb") as output:
        status = _launch(target, [*options, str(folder)], output)
    text = log.read_text("utf-8", "replace")
    found = sorted(str(path) for path in prefix.parent.glob(f"{target}-*"))
    if status and not found:
        found = [f"it ended with status {status}: see {log}"]
    lines = re.findall(r"cov: (\d+) ft: (\d+)", text)
    coverage, features = map(int, lines[-1]) if lines else (0, 0)
    return Result(
        target, seconds, _stat(text, "number_of_executed_units"), coverage, features,
        len(list(folder.iterdir())), _stat(text, "peak_rss_mb"), tuple(found),
    )  # fmt: skip


def _launch(target: str, arguments: Sequence[str], output: object) -> int:
    command = [sys.executable, "-m", "tests.lab.fuzz.launch", target, *arguments]
    return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode  # type: ignore[call-overload,no-any-return]  # a file


def _put(folder: Path, content: bytes) -> None:
    (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


def _stat(text: str, name: str) -> int:
    found = re.findall(rf"stat::{name}:\s+(\d+)", text)
    return int(found[-1]) if found else 0


def minimise(names: Sequence[str]) -> None:
    """Keep of the last run's corpora what no shorter inputs cover."""
    chosen: dict[str, list[bytes]] = {}
    for target in names:
        source, merged = FOLDER / "corpus" / target, FOLDER / "merged" / target
        if not source.is_dir():
            continue
        merged.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f"{target}.merge.log").open("wb") as output:
            _launch(target, ["-merge=1", f"-timeout={TIMEOUT}", str(merged), str(source)], output)
        contents = sorted((path.read_bytes() for path in merged.iterdir()), key=len)
        chosen[target] = contents[:KEPT_INPUTS]
        print(f"{target}: {len(chosen[target])} of {len(list(source.iterdir()))} inputs kept", flush=True)
    corpus.keep(chosen)


def main() -> int:
    """Run it, and return the exit status: 1 where anything was found."""
    from tests.lab.fuzz.targets import targets

    known = list(targets())
    parser = argparse.ArgumentParser(prog="python -m tests.lab.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(known)}; all where none is named")
    parser.add_argument("--seconds", type=int, default=1800, help="for all of them together")
    parser.add_argument("--kept", action="store_true", help="begin with the kept inputs, not with a fresh corpus")
    parser.add_argument("--minimise", action="store_true", help="only keep the last run's corpus, minimised")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(known):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install --group fuzz")
    names = arguments.targets or known
    if arguments.minimise:
        minimise(names)
        return 0
    try:
        with results.locked(FOLDER, wait=False):
            return _run(names, arguments.seconds, with_kept=arguments.kept)
    except BlockingIOError:
        parser.error(f"another run fuzzes in {FOLDER.resolve()}: wait for its end")


def _run(names: Sequence[str], seconds: int, *, with_kept: bool) -> int:
    """Fuzz these targets one after the other, write down what came of it, and return the exit status."""
    for left in FOLDER.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        elif left.name != results.LOCK:
            left.unlink()
    run = Run("kept" if with_kept else "fresh", seconds, 1, tuple(names), results.digest())
    share = seconds / sum(WEIGHTS.get(name, 1) for name in names)
    print(f"{'target':22}{'seconds':>8}{'executions':>12}{'edges':>8}{'inputs':>8}{'MB':>6}  findings", flush=True)
    for name in names:
        result = fuzz(name, max(1, int(share * WEIGHTS.get(name, 1))), with_kept=with_kept)
        run = replace(run, results=(*run.results, result))
        print(
            f"{result.target:22}{result.seconds:8}{result.executions:12}{result.coverage:8}{result.corpus:8}"
            f"{result.peak_rss_mb:6}  {', '.join(result.findings) or 'none'}",
            flush=True,
        )
        results.write(FOLDER, run)
    if results.digest() != run.sources:
        print("the code was changed meanwhile: this run tells nothing of either", file=sys.stderr)
        return 1
    results.write(FOLDER, replace(run, ended=True))
    return 1 if any(result.findings for result in run.results) else 0


sys.exit(main())
