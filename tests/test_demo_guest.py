"""The guest that comes with chkpt runs the same way each time, and goes on from wherever it was cut."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from threading import Thread

import pytest

from chkpt.machine import Machine
from chkpt.machine.cpu.unicorn import UnicornCpu
from chkpt.machine.run.loop import RunLoop
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from chkpt.snapshot import dumps
from tests.guests import DEMO, HERE, asked, demo, ending, execution, key, output
from tests.support.processes import running, spawn
from tests.support.rig import saved

KEY = "1"
QUESTION = b"(q: quit)? "

Ending = Mapping[str, object]


@pytest.fixture(scope="module")
def uncut() -> tuple[Ending, int]:
    """What remains of a run that nobody stopped, from power-on through one round, and the tick of the key."""
    machine = asked()
    typed = execution(machine).cpu.ticks
    key(machine, KEY)
    result = ending(machine)
    machine.close()
    return result, typed


def test_the_uncut_run_has_done_its_work(uncut: tuple[Ending, int]) -> None:
    said = str(uncut[0]["output"])
    assert said.count("(q: quit)? ") == 2
    assert "total: 256 sectors checked, 0 wrong, 512 interrupts of the disk\r\n" in said


# -- determinism ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "bulk"),
    [("unicorn", True), ("unicorn", False), ("unicorn-portable", True)],
    ids=["twice", "no bulk", "py"],
)
def test_two_runs_are_one(model: str, bulk: bool, uncut: tuple[Ending, int]) -> None:
    machine = demo(model)
    cpu = execution(machine).cpu
    assert isinstance(cpu, UnicornCpu)
    cpu.bulk = bulk
    machine.run()
    key(machine, KEY)
    assert ending(machine) == uncut[0]
    machine.close()


def test_runs_in_the_loop_are_the_same_run(uncut: tuple[Ending, int]) -> None:
    """At pace free, whatever the host's clock does meanwhile."""
    machine = demo(cpu={"model": "unicorn", "pace": "free"})
    loop = RunLoop(machine, wall_clock=True)
    thread = Thread(target=loop.run)
    thread.start()
    try:
        while not output(machine).endswith(QUESTION):
            time.sleep(0.01)
        before = -1
        while (now := loop.submit(lambda: machine.clock.now).result()) != before:  # until it sleeps, time passes
            before = now
        backend = machine.devices.frontends["char"].backends["com1"]
        loop.submit(lambda: backend.feed(KEY.encode())).result()  # type: ignore[attr-defined]
        while output(machine).count(QUESTION) < 2:
            time.sleep(0.01)
    finally:
        loop.stop()
        thread.join()
    machine.run()
    assert ending(machine) == uncut[0]
    machine.close()


# -- cut anywhere -----------------------------------------------------------------------------------------------------


def goes_on(snapshot: Path, *keys: str) -> dict[str, object]:
    """Return how a snapshot ends in a process that knows nothing else."""
    command = [sys.executable, "-m", "tests.guests.resume_demo", str(snapshot), *keys]
    found = subprocess.run(command, check=True, capture_output=True, cwd=HERE.parents[1]).stdout
    result: dict[str, object] = json.loads(found)
    return result


def cut_and_go_on(seed: int, cuts: int, directory: Path, uncut: tuple[Ending, int]) -> None:
    """Save one run at random ticks; it goes on undisturbed, and so does each snapshot in a process of its own."""
    expected, typed = uncut
    choose, ticks = Random(seed), expected["ticks"]
    assert isinstance(ticks, int)
    machine, at_key = demo(), False
    for number, at in enumerate(sorted(choose.randrange(ticks) for _ in range(cuts))):
        if at >= typed and not at_key:
            machine.run()
            at_key = True
            backend = machine.devices.frontends["char"].backends["com1"]
            backend.feed(KEY.encode())  # type: ignore[attr-defined]
        machine.run(ticks=at)
        path = directory / f"{number}.zst"
        path.write_bytes(dumps(saved(machine)))
        result = goes_on(path, *([] if at_key else [KEY]))
        result["output"] = output(machine).decode() + str(result["output"])
        assert result == expected, f"cut at tick {at}"
    machine.run()
    assert ending(machine) == expected
    machine.close()


def test_a_snapshot_at_any_tick_goes_on_to_the_same_end_in_a_new_process(
    tmp_path: Path, uncut: tuple[Ending, int]
) -> None:
    cut_and_go_on(0, 2, tmp_path, uncut)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 21))
def test_a_snapshot_at_each_of_200_ticks_goes_on_to_the_same_end_in_a_new_process(
    seed: int, tmp_path: Path, uncut: tuple[Ending, int]
) -> None:
    cut_and_go_on(seed, 10, tmp_path, uncut)


def test_a_snapshot_of_the_beginning_and_of_the_boot_goes_on(tmp_path: Path, uncut: tuple[Ending, int]) -> None:
    expected, typed = uncut
    for at in (0, typed // 2):
        machine = demo()
        machine.run(ticks=at)
        said = output(machine).decode()
        (tmp_path / "cut.zst").write_bytes(dumps(saved(machine)))
        result = goes_on(tmp_path / "cut.zst", KEY)
        result["output"] = said + str(result["output"])
        assert result == expected, f"cut at tick {at}"
        machine.close()


# -- through the service, and by the command line ---------------------------------------------------------------------


def write_asked(path: Path, *, typed: bool) -> Machine:
    """Write a snapshot of the guest at its question, or with the key just typed."""
    machine = asked()
    if typed:
        backend = machine.devices.frontends["char"].backends["com1"]
        backend.feed(KEY.encode())  # type: ignore[attr-defined]
    path.write_bytes(dumps(saved(machine)))
    return machine


@pytest.mark.usefixtures("runtime")
def test_saves_through_the_service_disturb_nothing_and_go_on(tmp_path: Path, uncut: tuple[Ending, int]) -> None:
    write_asked(tmp_path / "asked.zst", typed=False).close()
    with running(DEMO, "--load", tmp_path / "asked.zst") as machine:
        api = Path(machine.ready.rpartition(" API ")[2].strip())
        client = MachineClient("demo", api.parent)
        with client.console("com1") as console:
            console.settimeout(60)
            console.sendall(KEY.encode())
            text = b""
            paths: list[Path] = []
            while not text.endswith(QUESTION):
                text += console.recv(1000)  # before the first save, which could else come before the key does
                if len(paths) < 3:
                    paths.append(tmp_path / f"{len(paths)}.zst")
                    client.save(SaveRequest(str(paths[-1])))
            client.save(SaveRequest(str(tmp_path / "end.zst")))
        assert text.decode() == str(uncut[0]["output"]).partition("(q: quit)? ")[2]
    assert goes_on(tmp_path / "end.zst") == {**uncut[0], "output": ""}
    for path in paths:
        result = goes_on(path)
        assert {**result, "output": ""} == {**uncut[0], "output": ""}
        assert text.endswith(str(result["output"]).encode())


@pytest.mark.usefixtures("runtime")
def test_by_the_command_line_alone_a_run_is_cut_and_goes_on(tmp_path: Path) -> None:
    typed = tmp_path / "typed.zst"
    write_asked(typed, typed=True).close()

    def chkpt(*arguments: object) -> str:
        process = spawn(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        text: str = out.decode()
        return text

    def run(begin: Path, until: str, end: str) -> str:
        return chkpt("run", DEMO, "--load", begin, "--until", until, "--save", tmp_path / end)

    whole = run(typed, "(q: quit)? ", "whole.zst")
    first = run(typed, "+12345678", "cut.zst")
    second = run(tmp_path / "cut.zst", "(q: quit)? ", "parts.zst")
    assert first + second == whole
    assert chkpt("diff", tmp_path / "whole.zst", tmp_path / "parts.zst") == ""
