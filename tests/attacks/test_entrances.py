"""Each hostile file is refused at every entrance that reads the bad part of it, at little cost, and does no harm."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chkpt.errors import RefusedError
from chkpt.service.http.client import find
from tests.attacks.all import ATTACKS, Level, level_of
from tests.attacks.entrances import CPU, ENTRANCES, MEMORY, TRIES, cost, second, sees, write
from tests.attacks.parts import Attack
from tests.support.processes import chkpt, refused, running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("attacks")
    write(directory)
    return directory


@pytest.fixture(scope="module")
def levels(files: Path) -> list[Level]:
    return [level_of((files / f"{number}.zst").read_bytes()) for number in range(len(ATTACKS))]


def outcomes(entrance: str, files: Path) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.attacks.entrances", entrance, files],
        check=True, capture_output=True, text=True, timeout=100, cwd=ROOT,
    )  # fmt: skip
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


LONG = {
    "verify",
    "inspect",
    "inspect --verify",
    "inspect all",
    "diff",
    "diff the other way",
    "run --load",
}  # which read as others do

EACH = [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in ENTRANCES]


@pytest.mark.parametrize("entrance", EACH)
def test_an_attack_is_refused_at_little_cost(entrance: str, files: Path, levels: list[Level]) -> None:
    found = outcomes(entrance, files)
    assert [outcome["attack"] for outcome in found] == list(range(len(ATTACKS)))
    wrong = []
    for outcome, attack, level in zip(found, ATTACKS, levels, strict=True):
        told = attack.message in outcome["said"].replace("\\\\", "\\")
        if level in sees(entrance):
            right = told and outcome["status"] == (0 if entrance == "list" else 4)
        else:
            right = outcome["status"] == (1 if entrance.startswith("diff") else 0)
        if not right or "Traceback" in outcome["said"] or outcome["memory"] > MEMORY:
            wrong.append((str(attack), level, outcome))
    assert wrong == []
    assert max(outcome["cpu"] for outcome in found) < CPU


def test_a_running_machine_refuses_them_all_and_runs_on(files: Path, levels: list[Level], home: Path) -> None:
    toml = home / "machine.toml"
    toml.write_text('name = "attacked"\nmemory = 4096\n[[device]]\ntype = "dma_page"\n')
    with running(toml, "--paused") as machine:
        service = find("attacked")
        service.load(files / "good.zst")
        process = Path(f"/proc/{machine.process.pid}")
        (process / "clear_refs").write_text("5")
        before, pace, longest = peak(process), second(), 0.0
        for number, attack in enumerate(ATTACKS):

            def spend(number: int = number, attack: Attack = attack) -> float:
                began = cpu(process)
                with pytest.raises(RefusedError) as caught:
                    service.load(files / f"{number}.zst")
                assert attack.message in str(caught.value)
                return cpu(process) - began

            longest = max(longest, cost(spend, pace))
        assert peak(process) - before < MEMORY
        assert longest < CPU
        assert service.machine()["clock_ns"] == 5
        assert service.load(files / "good.zst")["loaded"] == ["dma_page"]


def test_a_cost_is_too_much_only_where_it_is_so_each_time() -> None:
    spent = iter([90.0, 70.0, 0.5 * second(), 80.0])
    assert 0 < cost(lambda: next(spent), 1.0) < CPU
    assert next(spent) == 80.0
    asked: list[float] = []

    def always() -> float:
        asked.append(900.0)
        return asked[-1]

    assert cost(always, 1.0) > CPU
    assert len(asked) == TRIES


def peak(process: Path) -> int:
    """Return the most memory that a process has had, in bytes."""
    lines = (process / "status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def cpu(process: Path) -> float:
    """Return the seconds that a process has run."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("level", [Level.OPEN, Level.SECTION, Level.PIECE, Level.NAMES])
def test_the_command_load_ends_with_4_and_one_line(
    level: Level,
    files: Path,
    levels: list[Level],
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = levels.index(level)
    with running("--name", "attacked", "--load", files / "good.zst"):
        message = refused(chkpt(capsys, "load", files / f"{number}.zst"), 4)
    assert ATTACKS[number].message in message
