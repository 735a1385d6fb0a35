"""A real QEMU, where there is one; and what is said where there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.oracle import qemu
from tests.lab.oracle.phrases import KINDS
from tests.lab.oracle.run import Bench, tally
from tests.lab.oracle.tools import PACKAGES, MissingToolsError, build, find_tools

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    try:
        find_tools()
        return Bench(*build(tmp_path_factory.mktemp("oracle")))
    except MissingToolsError as exc:
        pytest.skip(str(exc))


@pytest.mark.parametrize("kind", KINDS)
def test_qemu_answers_as_we_do_but_for_the_rules(kind: str, bench: Bench) -> None:
    told: list[str] = []
    result = tally(bench, kind, "tests", 800, told.append)
    assert (told, result.trace) == ([], "")
    assert (result.commands, result.conversations) == (800, 2)


def test_a_difference_in_qemu_is_found_and_shortened(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.oracle.rules.RULES", ())
    told: list[str] = []
    result = tally(bench, "serial", "tests", 400, told.append)
    assert len(told) == 1
    assert result.trace.count("\n> ") <= 5


def test_a_qemu_that_ends_is_told(bench: Bench) -> None:
    with qemu.running(bench.image, bench.modules) as running:
        running.send("inb 0x1f7")
        running._process.kill()
        with pytest.raises(qemu.QemuError, match=r"has ended|takes no command|does not answer"):
            running.send("inb 0x1f7")


@pytest.mark.parametrize("program", PACKAGES)
def test_a_missing_tool_is_named_with_its_package(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else f"/usr/bin/{name}")
    with pytest.raises(MissingToolsError) as caught:
        find_tools()
    assert str(caught.value) == f"{program} not found: apt-get install --no-install-recommends {PACKAGES[program]}"


def test_another_qemu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in PACKAGES:
        path = tmp_path / program
        path.write_text("#!/bin/sh\necho 'QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0)'\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(MissingToolsError, match=r"8\.2\.2.*is for Debian 12's QEMU 7\.2"):
        find_tools()


@pytest.mark.parametrize(("arguments", "status", "begin"), [(["--allow-skip"], 0, "skipped: "), ([], 1, "no oracle: ")])
def test_without_tools_it_fails_unless_it_may_skip(arguments: list[str], status: int, begin: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.lab.oracle", *arguments],
        cwd=ROOT,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (status, "")
    assert run.stderr.startswith(f"{begin}qemu-system-x86_64, gcc, nm not found: apt-get install")
