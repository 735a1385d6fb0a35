"""Make mutants of the files named on the command line, or of all that pyproject.toml names, and tell which survive."""

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.lab.mutation.equivalents import table
from tests.lab.mutation.report import report
from tests.lab.mutation.results import FOLDER


def mutated_files() -> list[str]:
    """Return the files of `only_mutate`, the smallest first."""
    with Path("pyproject.toml").open("rb") as source:
        patterns = tomllib.load(source)["tool"]["mutmut"]["only_mutate"]
    files = {file for pattern in patterns for file in Path().glob(pattern)}
    return [str(file) for file in sorted(files, key=lambda file: (file.stat().st_size, file))]


def run(files: Sequence[str], workers: int) -> None:
    """Let mutmut try the mutants of these files. Its folder is made anew, so that no result is older than a test."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    log = FOLDER / "run.log"
    print(f"mutmut is at work; {log} tells how far it is", flush=True)
    command = [sys.executable, "-m", "tests.lab.mutation.launch", str(workers), *files]
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        sys.exit(f"mutmut failed with status {status}; {log} tells why")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.mutation", description=__doc__)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--workers", type=int, default=2, help="how many mutants are tried at a time")
    parser.add_argument("--report", action="store_true", help="print what the last run found, and run nothing")
    arguments = parser.parse_args()
    known = mutated_files()
    if unknown := set(arguments.files) - set(known):
        parser.error(f"{', '.join(sorted(unknown))}: not in only_mutate of [tool.mutmut] in pyproject.toml")
    files = [file for file in known if not arguments.files or file in arguments.files]
    if not arguments.report:
        run(files, arguments.workers)
    sys.exit(0 if report(files, table()) else 1)


main()
