"""Every command and every example in the README and in the guide does what it says."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chkpt.cli import COMMANDS
from chkpt.machine import Machine
from chkpt.machine.config import parse
from tests.support.sessions import commands, fits

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "GUIDE.md").read_text()
BIN = Path(sys.executable).parent


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def session() -> list[tuple[str, list[str]]]:
    return commands(next(block for block in blocks(README, "console") if block.startswith("$")))


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_session_is_as_shown(tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    (tmp_path / "run").mkdir(mode=0o700)
    started: list[subprocess.Popen[str]] = []
    try:
        for command, wanted in session():
            if command.endswith(" &"):
                process = subprocess.Popen(
                    command[:-2].split(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
                )
                started.append(process)
                assert process.stdout is not None
                output = process.stdout.readline()
            else:
                run = subprocess.run(
                    command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
                )
                assert run.returncode == 0, run.stderr
                output = run.stdout
            assert fits(wanted, output), f"{command}: {output}"
        assert [process.wait(10) for process in started] == [0] * len(started)
    finally:
        for process in started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def test_the_snapshots_are_signed_and_encrypted_as_shown(tmp_path: Path) -> None:
    chapter = GUIDE[GUIDE.index("## Sign and encrypt") : GUIDE.index("## Will it load?")]
    commands = [
        shlex.split(line, comments=True)
        for block in re.findall(r"^```console\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(commands) == 7
    (tmp_path / "run").mkdir(mode=0o700)
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    machine = subprocess.Popen(["chkpt", "run"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    try:
        assert machine.stdout is not None
        machine.stdout.readline()
        for command in (["chkpt", "save", "boot"], *commands):
            run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr
        assert (
            "signature: valid "
            in subprocess.run(
                commands[3], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
            ).stdout
        )
    finally:
        machine.kill()
        machine.communicate()


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = next(block for block in blocks(README, "python") if "import chkpt" in block)
    exec(compile(example, "README.md", "exec"), {})
    assert len([line for line in example.splitlines() if line]) == 7


def test_the_machine_is_one() -> None:
    table = tomllib.loads(next(block for block in blocks(GUIDE, "toml") if "[[device.drive]]" in block))
    machine = Machine(parse(table))
    assert [entry.name for entry in machine.devices] == ["pic", "pit", "com1", "ide0"]
    machine.close()


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\S+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_every_command_is_named() -> None:
    named = re.search(r"Commands: `([a-z \n]+)`", GUIDE)
    assert named is not None
    assert named[1].split() == list(COMMANDS)


def test_every_table_of_the_guide_that_has_a_processor_is_a_machine() -> None:
    tables = [tomllib.loads(block) for block in blocks(GUIDE, "toml")]
    with_processor = [parse(table) for table in tables if "cpu" in table]
    assert [(config.firmware is not None, config.kernel is not None) for config in with_processor] == [
        (True, False),
        (False, True),
    ]


@pytest.mark.long
def test_the_proof_of_the_guide_runs(tmp_path: Path) -> None:
    command = next(line for block in blocks(GUIDE, "console") for line in block.splitlines() if "chkpt prove" in line)
    examples = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "examples")}
    run = subprocess.run(
        shlex.split(command, comments=True),
        cwd=tmp_path,
        env=examples,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "no guest could" in run.stdout
