"""Packages of Debian are unpacked once, whole, and their absence is told; here by an apt that is made up."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.guests import packages
from tests.guests.packages import UnavailableError, unpacked

APT_GET = """#!/bin/sh
eval name=\\${$#}
echo "$name" >> $HERE/downloads
case "$name" in
    nothing) echo "E: Unable to locate package nothing" >&2; exit 100 ;;
    silent) exit 0 ;;
esac
touch ${name}_1_all.deb
"""
DPKG_DEB = """#!/bin/sh
case "$2" in
    *meta*) mkdir -p $3/usr/share/doc/meta; echo hello > $3/usr/share/doc/meta/README ;;
    *broken*) mkdir -p $3/usr; echo half > $3/usr/half; echo "dpkg-deb: error: lzma error" >&2; exit 2 ;;
    *) mkdir -p $3/usr/bin; sleep 0.05; echo data > $3/usr/bin/data ;;
esac
"""
APT_CACHE = """#!/bin/sh
echo "$2"
case "$2" in meta) echo "  Depends: <made-up>"; echo "  Depends: real-1.2"; esac
"""
DPKG_QUERY = """#!/bin/sh
case "$1:$*" in
    --show:*installed) printf installed ;;
    --listfiles:*) echo $HERE/file ;;
    *) exit 1 ;;
esac
"""


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the programs; return an empty place for packages."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "file").touch()
    made_up = {"apt-get": APT_GET, "dpkg-deb": DPKG_DEB, "apt-cache": APT_CACHE, "dpkg-query": DPKG_QUERY}
    for name, text in made_up.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("HERE", str(tmp_path))
    return tmp_path / "cache"


def downloads(debian: Path) -> list[str]:
    return (debian.parent / "downloads").read_text().split()


def left(debian: Path) -> set[str]:
    """Return what is in the place of packages, but for locks."""
    return {each.name for each in debian.iterdir() if each.suffix != ".lock"}


def test_a_package_is_fetched_once_and_unpacked(debian: Path) -> None:
    assert (unpacked("plain", debian) / "usr/bin/data").read_text() == "data\n"
    assert unpacked("plain", debian) == debian / "plain"
    assert downloads(debian) == ["plain"]
    assert left(debian) == {"plain"}


def test_many_who_ask_at_once_get_one_download(debian: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(lambda _: (unpacked("plain", debian) / "usr/bin/data").read_text(), range(8)))
    assert trees == ["data\n"] * 8
    assert downloads(debian) == ["plain"]


def test_a_package_without_files_is_followed_to_the_one_it_stands_for(debian: Path) -> None:
    assert unpacked("meta", debian) == debian / "real-1.2"


def test_an_installed_package_is_not_fetched(debian: Path) -> None:
    assert unpacked("installed", debian) == Path("/")
    assert not debian.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"nothing cannot be had \(E: Unable to locate package nothing\): is there a network"),
        ("silent", "silent did not come with its download"),
        ("broken", r"broken cannot be had \(dpkg-deb: error: lzma error\)"),
    ],
)
def test_a_package_that_cannot_be_had_leaves_nothing_and_says_why(debian: Path, name: str, message: str) -> None:
    with pytest.raises(UnavailableError, match=message):
        unpacked(name, debian)
    assert left(debian) == set()


def test_a_package_without_files_that_stands_for_none_is_told(debian: Path) -> None:
    (debian / "empty").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="empty has no files"):
        unpacked("empty", debian)


def test_where_there_is_no_apt_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="there is no apt-get here"):
        unpacked("plain", tmp_path / "cache")


def test_a_test_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    packages._tried.cache_clear()
    with pytest.raises(pytest.skip.Exception, match="there is no apt-get here"):
        packages.package("made-up-name")
    packages._tried.cache_clear()
    with pytest.raises(pytest.skip.Exception, match="frobnicate is not installed: apt-get install frob"):
        packages.tool("frobnicate", "frob")


def test_the_script_runs_without_an_environment() -> None:
    script = Path(packages.__file__)
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='other')"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, cwd="/")
