"""A machine's process from an empty directory to the last socket removed."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import (
    ChkptError,
    ConfigError,
    DeviceError,
    ExistsError,
    NoMachineError,
    NotFoundError,
    RefusedError,
    StorageError,
)
from chkpt.interop.chardev import parse_chardev
from chkpt.machine import Machine, MachineConfig
from chkpt.machine.config import parse
from chkpt.machine.run.loop import RunLoop
from chkpt.manager import BackendTypes
from chkpt.service import directory
from chkpt.service import launch as server
from chkpt.service.api.requests import SaveRequest
from chkpt.service.control import RunningMachine
from chkpt.service.http.client import find, machines
from chkpt.service.launch import Launch, serve
from chkpt.snapshot import dumps
from tests.support.descriptors import none_left, open_descriptors
from tests.support.served import COM1, launch, serving, table


def never(*_: object) -> None:
    pytest.fail("it was never ready")


def test_machine_has_a_socket_for_its_service_and_one_for_each_serial_port() -> None:
    with serving(launch(COM1, {**COM1, "name": "a b", "port": 0x2F8, "irq": 3})) as machine:
        names = sorted(path.name for path in machine.path.iterdir())
        assert names == ["a b.console", "api.sock", "com1.console", "lock"]


def test_nothing_is_left_at_the_end(runtime: Path) -> None:
    with serving(launch()):
        pass
    before = {*threading.enumerate()}
    with none_left(), serving(launch()):
        pass
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]
    assert {*threading.enumerate()} <= before


def test_name_that_runs_is_refused_and_the_one_that_runs_is_not_hurt() -> None:
    with serving(launch()) as machine:
        with pytest.raises(ExistsError, match="machine m is running already, process"):
            serve(launch(), never)
        assert machine.machine()["name"] == "m"


def test_two_machines_run_side_by_side() -> None:
    with serving(launch(name="a")) as a, serving(launch(name="b")) as b:
        assert [machine.name for machine in machines()] == ["a", "b"]
        assert find("b").machine() | {"clock_ns": 0} == b.machine() | {"clock_ns": 0}
        with pytest.raises(NoMachineError, match="several machines are running: a, b; name one with -m"):
            find()
        with pytest.raises(NoMachineError, match="no machine c is running; running are: a, b"):
            find("c")
        assert a.machine()["name"] == "a"


@pytest.mark.parametrize(
    ("what", "error"),
    [
        (launch({"type": "nothing"}), NotFoundError),
        (launch({"type": "pit", "surprise": 1}), ConfigError),
        (launch({"type": "pit"}, {"type": "pit", "name": "again"}), ChkptError),
        (launch({**COM1, "backend": {"type": "file", "path": "/nowhere/at/all"}}), ChkptError),
        (Launch(parse(table()), qtest=parse_chardev("unix:/nowhere/at/all")), ChkptError),
        (Launch(parse(table()), qtest=parse_chardev("unix:/nowhere/at/all,server=on")), ChkptError),
    ],
)
def test_machine_that_cannot_start_leaves_nothing(runtime: Path, what: Launch, error: type[ChkptError]) -> None:
    before = len(open_descriptors())
    with pytest.raises(error):
        serve(what, never)
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]
    assert len(open_descriptors()) <= before + 2  # a loop that never ran has its wake-up pipe until it is collected


def test_snapshot_that_is_refused_leaves_nothing(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "s.zst").write_bytes(dumps(Checkpoint()))
    with pytest.raises(RefusedError, match="no context devices"):
        serve(launch(load=tmp_path / "s.zst"), never)
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_machine_begins_from_a_snapshot_with_its_clock(tmp_path: Path) -> None:
    machine = Machine(parse(table(COM1)))
    machine.step(5_000_000_000)
    machine.ports.outb(0x3FF, 0x5A)
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    machine.close()
    (tmp_path / "s.zst").write_bytes(dumps(checkpoint))
    with serving(launch(COM1, load=tmp_path / "s.zst", paused=True)) as client:
        assert client.machine()["clock_ns"] == 5_000_000_000
        assert client.machine()["paused"] is True
        client.save(SaveRequest(str(tmp_path / "again.zst")))
    begin = time.monotonic_ns()
    with serving(launch(COM1, load=tmp_path / "s.zst")) as client:
        now = client.machine()["clock_ns"]
        assert 5_000_000_000 < now < 5_000_000_000 + time.monotonic_ns() - begin


def test_serial_port_talks_to_a_console() -> None:
    with serving(launch({**COM1, "backend": {"type": "null"}})) as machine, machine.console("com1") as stream:
        stream.sendall(b"x")
        with pytest.raises(FileNotFoundError):
            machine.console("com9")
        assert stream.fileno() >= 0


class Broken(Machine):
    """A machine that cannot be reset."""

    def reset(self) -> None:
        raise OSError(5, "the bus has melted")


def test_errors_in_the_loop_go_to_whoever_asked() -> None:
    running = RunningMachine(RunLoop(Broken(parse(table())), wall_clock=False))
    thread = threading.Thread(target=running.loop.run)
    thread.start()
    with pytest.raises(OSError, match="melted"):
        running.reset().result()
    assert running.info().result()["pid"] == os.getpid()
    running.loop.stop()
    thread.join()
    with pytest.raises(NoMachineError, match="machine m has ended"):
        running.info().result()


class Failing(Machine):
    """A machine with a mistake in it, which shows after a while."""

    def __init__(self, config: MachineConfig, backend_types: BackendTypes, *, boot: bool) -> None:
        super().__init__(config, backend_types=backend_types, boot=boot)
        self.clock.timer(self.fail).arm(1_000_000)

    def fail(self) -> None:
        raise RuntimeError("a mistake")


def test_loop_that_fails_ends_the_service_with_an_error(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "Machine", Failing)
    with pytest.raises(DeviceError, match="machine m failed: RuntimeError"):
        serve(launch(), lambda *_: None)
    assert "the run loop failed" in caplog.text
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_failing_word_of_readiness_ends_the_machine(runtime: Path) -> None:
    def refuse(*_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        serve(launch(), refuse)
    assert directory.running() == {}
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_while_the_machine_is_made_leaves_nothing(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def make(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        pytest.fail("the signal did not arrive")

    before = signal.getsignal(number)
    monkeypatch.setattr(server, "Machine", make)
    with pytest.raises(SystemExit) as ended:
        serve(launch(), never)
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is before
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_signal_while_the_directory_is_made_waits_until_it_can_be_removed(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = directory.claim

    def interrupted(name: str) -> directory.MachineDirectory:
        claimed = claim(name)
        os.kill(os.getpid(), signal.SIGTERM)
        return claimed

    monkeypatch.setattr(directory, "claim", interrupted)
    with pytest.raises(SystemExit) as ended:
        serve(launch(), never)
    assert ended.value.code == 128 + signal.SIGTERM
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_signal_while_a_failed_start_is_taken_down_does_not_disturb_it(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = directory.MachineDirectory.remove

    def interrupted(claimed: directory.MachineDirectory) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        remove(claimed)

    def fail(*_: object, **__: object) -> None:
        raise StorageError("no")

    monkeypatch.setattr(directory.MachineDirectory, "remove", interrupted)
    monkeypatch.setattr(server, "Machine", fail)
    with pytest.raises(StorageError, match=r"^no$"):
        serve(launch(), never)
    assert [path.name for path in (runtime / "chkpt").iterdir()] == [".lock"]


def test_signals_that_are_ignored_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen: list[object] = []

    def ready(*_: object) -> None:
        seen.append(signal.getsignal(signal.SIGHUP))
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        serve(launch(), ready)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIG_IGN]
