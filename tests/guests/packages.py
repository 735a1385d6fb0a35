"""What tests run of other people's software: Debian packages by name, unpacked without root.

    tree = packages.package("grub-pc-bin")  # in a test or a fixture: skips where it cannot be had
    tree / "usr/lib/grub/i386-pc/boot.img"

A package that is installed is not fetched. `python3 tests/guests/packages.py` fetches all that are named here; it needs
nothing but the standard library, so that it can run before there is an environment.
"""

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

CACHE: Final = Path(__file__).parents[2] / ".guests"

NAMES: Final = (
    "seabios", "grub-pc-bin", "grub-common", "libdevmapper1.02.1", "memtest86+", "busybox-static",
    "linux-image-cloud-amd64", "bochsbios",
)  # fmt: skip
"""What the tests ask for."""

PATIENCE: Final = 100
"""Seconds for one download: less than a test has."""

_ONCE: Final = ("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20")


class UnavailableError(Exception):
    """A package cannot be had here. The message tells why."""


def unpacked(name: str, directory: Path) -> Path:
    """Return the root of the tree of a package's files, fetched at the first call: do not change what is there.

    Several processes may ask at once. A package that has no files of its own is followed to what it depends on.

    Raises:
        UnavailableError: it cannot be had.
    """
    if _installed(name):
        return Path("/")
    target = directory / name
    if not target.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / f"{name}.lock"):
            if not target.exists():
                _fetch(name, target)
    if _has_files(target):
        return target
    return unpacked(_dependency(name), directory)


@cache
def _tried(name: str) -> Path | str:
    """Return the tree, or why there is none: a network that is not there need not be found out twice."""
    try:
        return unpacked(name, CACHE)
    except UnavailableError as exc:
        return str(exc)


def package(name: str) -> Path:
    """Return the root of the tree of a package's files, or skip the test."""
    import pytest

    tree = _tried(name)
    if isinstance(tree, str):
        pytest.skip(tree)
    return tree


def tool(name: str, package_name: str) -> str:
    """Return the path of a program that the host has, or skip the test. Those of administrators are looked for, too."""
    import pytest

    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {package_name}")
    return found


def _installed(name: str) -> bool:
    """Whether the host has the package, with files of its own."""
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    if asked.returncode or asked.stdout != "installed":
        return False
    listed = subprocess.run(["dpkg-query", "--listfiles", name], capture_output=True, text=True, check=True)
    return any(_counts(Path(path)) for path in listed.stdout.splitlines())


def _fetch(name: str, target: Path) -> None:
    """Download and unpack a package beside `target`, and put it there when it is whole."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UnavailableError(f"Debian's package {name} is needed, and there is no {program} here")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{name}.") as place:
        _run(name, "apt-get", *_ONCE, "download", name, place=place)
        files = list(Path(place).glob("*.deb"))
        if len(files) != 1:
            raise UnavailableError(f"Debian's package {name} did not come with its download")
        tree = Path(place) / "tree"
        _run(name, "dpkg-deb", "-x", str(files[0]), str(tree), place=place)
        tree.rename(target)


def _run(name: str, *command: str, place: str) -> None:
    try:
        ended = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"Debian's package {name} did not come within {PATIENCE} s") from None
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.startswith(("E:", "dpkg-deb:"))]
        raise UnavailableError(
            f"Debian's package {name} cannot be had ({'; '.join(said) or command[0]}): "
            f"is there a network, and was there an `apt-get update`?"
        )


def _counts(path: Path) -> bool:
    """Whether it is a file, and no note of a package on itself, of which one that stands for another has some."""
    notes = ("/usr/share/doc/", "/usr/share/bug/", "/usr/share/lintian/")
    return path.is_file() and not path.is_symlink() and not any(note in str(path) for note in notes)


def _has_files(tree: Path) -> bool:
    return any(map(_counts, tree.rglob("*")))


def _dependency(name: str) -> str:
    """Return the first package that one without files stands for."""
    asked = subprocess.run(["apt-cache", "depends", name], capture_output=True, text=True, check=False)
    for line in asked.stdout.splitlines():
        kind, colon, other = line.strip().partition(": ")
        if colon and kind.lstrip("|") == "Depends" and not other.startswith("<"):
            return other
    raise UnavailableError(f"Debian's package {name} has no files, and apt-cache knows nothing that it depends on")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Fetch all; tell of each that cannot be had."""
    missing = 0
    for name in NAMES:
        try:
            print(f"{name}: {unpacked(name, CACHE)}")
        except UnavailableError as exc:
            print(exc, file=sys.stderr)
            missing += 1
    return min(missing, 1)


if __name__ == "__main__":
    sys.exit(main())
