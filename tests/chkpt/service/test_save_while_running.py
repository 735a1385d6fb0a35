"""A save does not disturb a running guest, and the progress of a save or a load is shown."""

import os
import threading
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.service import control as running_module
from chkpt.service.api.messages import WorkInfo
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient, find
from chkpt.service.launch import Launch, serve
from chkpt.service.until import Until
from chkpt.snapshot import Reader, dump, dumps
from tests.guests import busy, execution, output
from tests.lab.reliability import counting
from tests.support.rig import saved
from tests.support.served import COM1, launch, serving

ROUNDS = 300
END = 20_000_000
ENDLESS = 0xFFFF  # rounds: minutes of work


@pytest.fixture
def begin(tmp_path: Path) -> Path:
    path = tmp_path / "begin.zst"
    path.write_bytes(dumps(saved(busy(rounds=ROUNDS))))
    return path


def test_a_guest_saved_many_times_while_it_runs_ends_as_one_never_saved(begin: Path, tmp_path: Path) -> None:
    saves: list[int] = []

    def save_often() -> None:
        client = find("machine")
        while not over.is_set():
            try:
                client.save(SaveRequest(str(tmp_path / "again.zst"), force=True))
                with Reader.open(tmp_path / "again.zst") as reader:
                    reader.verify()
                saves.append(1)
            except Exception:  # noqa: BLE001  the machine has reached its end meanwhile
                return

    def begin_saving() -> None:
        for saver in savers:
            saver.start()

    over = threading.Event()
    savers = [threading.Thread(target=save_often) for _ in range(2)]
    with (tmp_path / "out").open("wb") as out:
        until = Until(ticks=END, save=SaveRequest(str(tmp_path / "end.zst")))
        end = serve(
            Launch(busy().config, load=Reader.open(begin), until=until, output=out.fileno()),
            lambda *_: begin_saving(),
        )
        over.set()
    for saver in savers:
        saver.join()
    plain = busy(rounds=ROUNDS)
    plain.run(ticks=END)
    assert len(saves) > 3
    assert end.why == "reached"
    assert (tmp_path / "out").read_bytes() == output(plain)
    with Reader.open(tmp_path / "end.zst") as reader:
        never = Reader(dumps(saved(plain)))
        assert reader.sections == never.sections
        assert [[*blob.digests()] for blob in reader.blobs] == [[*blob.digests()] for blob in never.blobs]


def test_the_snapshot_is_of_the_moment_though_the_machine_has_run_on() -> None:
    machine, other = busy(), busy()
    machine.run(ticks=30_000)
    other.run(ticks=30_000)
    checkpoint = Checkpoint()
    machine.save(checkpoint, copy=True)
    machine.run(ticks=90_000)
    checkpoint.header["created"] = "then"
    plain = saved(other)
    plain.header["created"] = "then"
    assert dumps(checkpoint) == dumps(plain)


def test_a_save_through_the_service_is_of_the_moment_of_the_copy_though_the_guest_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*args: object, **more: object) -> object:
        client = find("machine")
        copied = ticks_of(client)
        while ticks_of(client) < copied + 100_000:  # five ticks of IRQ 0, each of which the guest counts in RAM
            pass
        return dump(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(running_module, "dump", late)
    begin, path = busy(rounds=ENDLESS), tmp_path / "a.zst"
    with serving(Launch(begin.config, load=Reader(dumps(saved(begin))))) as client:
        client.save(SaveRequest(str(path)))
    loaded = busy()
    with Reader.open(path) as reader:
        loaded.load(reader.checkpoint())
    # to a tick of work: of the same tick a halted processor is at many times, and the snapshot is of one of them
    end = execution(loaded).save().ticks + 200_000
    loaded.run(ticks=end)
    begin.run(ticks=end)
    went_on, never = Reader(dumps(saved(loaded))), Reader(dumps(saved(begin)))
    assert went_on.sections == never.sections
    assert [[*blob.digests()] for blob in went_on.blobs] == [[*blob.digests()] for blob in never.blobs]


def ticks_of(client: MachineClient) -> int:
    """Return how far the processor of a served machine is."""
    cpu = client.machine()["cpu"]
    assert cpu is not None
    return cpu["ticks"]


@pytest.mark.long
def test_no_save_of_a_guest_that_writes_ram_all_the_time_is_torn(tmp_path: Path) -> None:
    counting.write_bios(tmp_path / "bios.bin")
    table = {"name": "m", "memory": "2M", "cpu": {}, "firmware": {"bios": str(tmp_path / "bios.bin")}, "device": [COM1]}
    config = parse(table)
    counts = []
    with serving(Launch(config)) as client:
        for number in range(100):
            client.save(SaveRequest(str(tmp_path / f"{number}.zst")))
    for number in range(100):
        machine = Machine(config)
        with Reader.open(tmp_path / f"{number}.zst") as reader:
            machine.load(reader.checkpoint(), strict=True)
        assert counting.find_torn(machine) == "", number
        counts.append(execution(machine).save().rbp)
        machine.close()
    assert counts[0] < counts[-1]


def test_a_save_that_takes_long_leaves_the_machine_running_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[WorkInfo]] = []

    def slow(*args: object, **more: object) -> object:
        client = find("m")
        more["progress"](5, 10)  # type: ignore[operator]  # as in the middle of it
        before = client.machine()
        shown.append(before["work"])
        while client.machine()["clock_ns"] == before["clock_ns"]:
            pass
        return dump(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(running_module, "dump", slow)
    with serving(launch(COM1)) as client:
        client.save(SaveRequest(str(tmp_path / "a.zst")))
        assert shown == [[{"what": "save", "done": 5, "total": 10}]]
        assert client.machine()["work"] == []


def test_a_load_reads_the_ram_while_the_machine_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[WorkInfo]] = []
    prepare = Machine.prepare

    def slow(machine: Machine, checkpoint: Checkpoint, progress: object) -> None:
        prepare(machine, checkpoint, progress)  # type: ignore[arg-type]
        shown.append(find("m").machine()["work"])

    monkeypatch.setattr(Machine, "prepare", slow)
    with serving(Launch(parse({"name": "m", "memory": "16M", "device": [COM1]}))) as client:
        client.save(SaveRequest(str(tmp_path / "a.zst")))
        assert client.load(tmp_path / "a.zst")["loaded"] == ["com1"]
    assert shown in ([[]], [[{"what": "load", "done": 0, "total": 16 << 20}]])


def test_a_load_of_ram_of_another_size_is_refused_as_before(tmp_path: Path) -> None:
    machine = Machine(parse({"memory": "8M", "device": [COM1]}))
    machine.memory.write(0, os.urandom(1 << 20))
    (tmp_path / "a.zst").write_bytes(dumps(saved(machine)))
    with serving(launch(COM1)) as client, pytest.raises(Exception, match="this machine has 4096 bytes of RAM"):
        client.load(tmp_path / "a.zst")
