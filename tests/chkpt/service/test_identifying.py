"""A machine whose image is being identified answers, goes on and ends; what needs the identity waits for it."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from chkpt.service.launch import Launch
from chkpt.snapshot import dumps
from tests.support.rig import saved
from tests.support.served import COM1, serving, table
from tests.support.slow import Gate, sparse


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """A machine with a large image, which no cache knows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    drive = {"unit": 0, "image": str(sparse(tmp_path / "disk.img"))}
    ide = {"type": "ide", "name": "ide0", "drive": [drive]}
    return Launch(parse(table(COM1, ide)))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def begun(act: Callable[[], object]) -> tuple[threading.Thread, list[ChkptError]]:
    """Begin something in a thread, and return that and the list of what comes of it: nothing, or an error."""
    failed: list[ChkptError] = []

    def run() -> None:
        try:
            act()
        except ChkptError as exc:
            failed.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failed


def goes_on(machine: MachineClient) -> None:
    """See the machine's clock move several times, by its own answers."""
    for _ in range(3):
        now = machine.machine()["clock_ns"]
        while machine.machine()["clock_ns"] == now:
            pass


def test_a_save_waits_for_the_identity_and_the_machine_does_not(launch: Launch, gate: Gate, tmp_path: Path) -> None:
    with serving(launch) as machine:
        assert gate.entered.wait(60)
        saves, failed = begun(lambda: machine.save(SaveRequest(str(tmp_path / "a.zst"))))
        goes_on(machine)
        assert saves.is_alive()
        gate.opened.set()
        saves.join()
        assert not failed
        machine.load(tmp_path / "a.zst")


def test_a_load_waits_for_the_identity_and_the_machine_does_not(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(launch.config)
    (tmp_path / "a.zst").write_bytes(dumps(saved(machine)))
    machine.close()
    gate = Gate(monkeypatch)
    with serving(launch) as client:
        assert gate.entered.wait(60)
        loads, failed = begun(lambda: client.load(tmp_path / "a.zst"))
        goes_on(client)
        assert loads.is_alive()
        gate.opened.set()
        loads.join()
        assert not failed


@pytest.mark.usefixtures("gate")
def test_a_machine_ends_though_a_save_waits_for_an_identity(launch: Launch, gate: Gate, tmp_path: Path) -> None:
    with serving(launch) as machine:
        assert gate.entered.wait(60)
        saves, failed = begun(lambda: machine.save(SaveRequest(str(tmp_path / "a.zst"))))
        goes_on(machine)
    saves.join()
    assert len(failed) == 1
    assert not (tmp_path / "a.zst").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_machine_that_is_loaded_while_its_image_is_hashed(
    number: signal.Signals, tmp_path: Path
) -> None:
    """The snapshot wants the digest of another whole image, so to wait for it would end with status 4."""
    image = sparse(tmp_path / "disk.img", 1 << 42)
    size = image.stat().st_size
    script = (
        "import sys\n"
        "from chkpt_devices.backends.identity import Kind\n"
        "from chkpt_devices.backends import image\n"
        "real = image.identity_of\n"
        "def told(kind, *rest):\n"
        "    print(kind, flush=True) if kind is Kind.WHOLE else None\n"
        "    return real(kind, *rest)\n"
        "image.identity_of = told\n"
        "from chkpt.cli import main\n"
        "main()\n"
    )
    snapshot = old_snapshot(tmp_path, image, size)
    command = [sys.executable, "-c", script, "run", "--load", str(snapshot), "--drive", f"ide0.0={image}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"  # it hashes
        process.send_signal(number)
        _, errors = process.communicate()
    assert (process.returncode, "Traceback" in errors) == (128 + number, False)


def old_snapshot(place: Path, image: Path, size: int) -> Path:
    """Write a snapshot as an older version did: its disk is known by a digest of the whole image, which is not ours."""
    drive = {"unit": 0, "image": str(image)}
    machine = Machine(parse(table(COM1, {"type": "ide", "name": "ide0", "drive": [drive]}, name="old")))
    checkpoint = saved(machine)
    machine.close()
    disk = checkpoint.contexts["devices"].contexts["ide0"].contexts["drive0"].contexts["disk"]
    assert disk.values["size"] == size
    disk.values["identity"] = bytes(32)
    path = place / "old.zst"
    path.write_bytes(dumps(checkpoint))
    return path


def test_a_load_that_brings_an_image_waits_for_its_identity_and_the_machine_does_not(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Machine(launch.config)
    (tmp_path / "a.zst").write_bytes(dumps(saved(machine)))
    machine.close()
    moved = sparse(tmp_path / "moved.img")
    with serving(launch) as client:
        client.save(SaveRequest(str(tmp_path / "before.zst")))  # the identity of its own image is known now
        gate = Gate(monkeypatch)
        loads, failed = begun(lambda: client.load(tmp_path / "a.zst", drives={"ide0.0": moved}))
        assert gate.entered.wait(60)
        goes_on(client)
        assert loads.is_alive()
        gate.opened.set()
        loads.join()
        assert not failed
        loads, failed = begun(lambda: client.load(tmp_path / "a.zst", drives={"ide0.0": moved}))
        loads.join()
        assert not failed


def test_a_machine_ends_though_a_load_waits_for_the_image_that_it_brings(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = sparse(tmp_path / "moved.img")
    with serving(launch) as client:
        client.save(SaveRequest(str(tmp_path / "a.zst")))
        gate = Gate(monkeypatch)
        loads, failed = begun(lambda: client.load(tmp_path / "a.zst", drives={"ide0.0": moved}))
        assert gate.entered.wait(60)
        goes_on(client)
    loads.join()
    assert len(failed) == 1


def test_a_save_that_waits_for_a_disc_goes_on_when_that_is_ejected(gate: Gate, launch: Launch, tmp_path: Path) -> None:
    drive = {"unit": 1, "media": "cdrom", "image": str(tmp_path / "disk.img")}
    machines = Launch(parse(table({"type": "ide", "name": "ide0", "drive": [drive]}, name=launch.config.name)))
    with serving(machines) as machine:
        assert gate.entered.wait(60)
        saves, failed = begun(lambda: machine.save(SaveRequest(str(tmp_path / "a.zst"))))
        goes_on(machine)
        machine.change_medium("ide0.1", None)
        saves.join()
        assert not failed
