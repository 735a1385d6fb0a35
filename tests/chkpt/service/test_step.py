"""Steps of a paused machine over the service."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.errors import ConfigError, UsageError
from chkpt.machine.config import parse
from chkpt.service.api.messages import CpuInfo, MachineInfo
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from chkpt.service.launch import Launch
from chkpt.snapshot import Reader, dumps
from tests.guests import busy, execution, shell_table
from tests.support.rig import saved
from tests.support.served import COM1, ask, launch, serving


@pytest.fixture
def paused(tmp_path: Path) -> Iterator[MachineClient]:
    """A paused machine that is about to run busy.asm."""
    path = tmp_path / "begin.zst"
    path.write_bytes(dumps(saved(busy(rounds=20))))
    with serving(Launch(busy().config, load=Reader.open(path), paused=True)) as client:
        yield client


def cpu(info: MachineInfo) -> CpuInfo:
    assert info["cpu"] is not None
    return info["cpu"]


def test_steps_of_all_kinds_lead_where_one_run_does(paused: MachineClient, tmp_path: Path) -> None:
    machine = busy(rounds=20)
    before = cpu(paused.machine())
    assert before == {"ticks": 0, "activity": "active", "at": "0000:8000", "stands_still": "", "pace": "idle"}
    machine.run(ticks=1)
    step = paused.step()
    assert (step["outcome"], step["machine"]["paused"]) == ("enough", True)
    assert cpu(step["machine"])["ticks"] == execution(machine).cpu.ticks
    for _ in range(7):
        machine.run(ticks=execution(machine).cpu.ticks + 1)
    assert cpu(paused.step(blocks=7)["machine"])["ticks"] == execution(machine).cpu.ticks
    machine.run(ticks=execution(machine).cpu.ticks + 40_000)
    assert cpu(paused.step(ticks=40_000)["machine"])["ticks"] == execution(machine).cpu.ticks
    machine.run(until=machine.clock.now + 3_000_000)
    assert paused.step(ns=3_000_000)["machine"]["clock_ns"] == machine.clock.now
    plain = busy(rounds=20)
    plain.run(until=machine.clock.now)
    paused.save(SaveRequest(str(tmp_path / "end.zst")))
    with Reader.open(tmp_path / "end.zst") as reader:
        assert reader.sections == Reader(dumps(saved(plain))).sections


def test_a_machine_that_stands_still_tells_why(paused: MachineClient) -> None:
    step = paused.step(ticks=1 << 40)
    assert step["outcome"] == "dead"
    assert cpu(step["machine"])["stands_still"] == cpu(paused.machine())["stands_still"] == "halted with interrupts off"


def test_the_service_answers_during_a_long_step_and_a_pause_ends_it() -> None:
    with serving(Launch(parse(shell_table()), paused=True)) as client:
        ended: list[str] = []
        thread = threading.Thread(target=lambda: ended.append(client.step(ns=1 << 60)["outcome"]))
        thread.start()
        while cpu(client.machine())["ticks"] == 0:
            time.sleep(0.001)
        with pytest.raises(UsageError, match="step already"):
            client.step()
        client.pause()
        thread.join()
        assert ended == ["interrupted"]
        ticks = cpu(client.machine())["ticks"]
        assert cpu(client.machine())["ticks"] == ticks


def test_an_end_of_the_machine_ends_a_step() -> None:
    with serving(Launch(parse(shell_table()), paused=True)) as client:
        ended: list[str] = []
        thread = threading.Thread(target=lambda: ended.append(client.step(ns=1 << 60)["outcome"]))
        thread.start()
        while cpu(client.machine())["ticks"] == 0:
            time.sleep(0.001)
        client.stop()
        thread.join()
        assert ended == ["interrupted"]


def test_a_machine_without_a_cpu_steps_its_clock_only() -> None:
    with serving(launch(COM1, paused=True)) as client:
        assert client.step(ns=1234)["machine"]["clock_ns"] == 1234
        assert client.machine()["cpu"] is None
        with pytest.raises(ConfigError, match="has no CPU to run"):
            client.step()


def test_what_cannot_be_is_refused(paused: MachineClient) -> None:
    with pytest.raises(UsageError, match="not several"):
        paused.step(ticks=1, ns=1)
    for bad in (0, -1, True, "1", 1 << 63):
        status, error = ask(paused, "POST", "/v1/step", {"ticks": bad})
        assert (status, error["error"]) == (400, "UsageError")
    paused.resume()
    with pytest.raises(UsageError, match="pause it before a step"):
        paused.step()


def test_a_load_ends_a_step(tmp_path: Path) -> None:
    with serving(Launch(parse(shell_table()), paused=True)) as client:
        client.save(SaveRequest(str(tmp_path / "a.zst")))
        ended: list[str] = []
        thread = threading.Thread(target=lambda: ended.append(client.step(ns=1 << 60)["outcome"]))
        thread.start()
        while cpu(client.machine())["ticks"] == 0:
            time.sleep(0.001)
        client.load(tmp_path / "a.zst")
        thread.join()
        assert ended == ["interrupted"]
        assert cpu(client.machine())["ticks"] == 0
