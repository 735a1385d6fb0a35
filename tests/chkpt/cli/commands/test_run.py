"""`chkpt run` as a process: how it starts, what it prints, how it ends, what it leaves."""

import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.service import directory
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import find, machines
from chkpt.snapshot import Reader, dumps
from tests.support.processes import PATIENCE, chkpt, line, refused, running, spawn
from tests.support.served import COM1, table

TOML = """
name = "traces"
memory = "64K"
[[device]]
type = "pic"
[[device]]
type = "pit"
[[device]]
type = "serial"
name = "com1"
port = 0x3f8
irq = 4
"""


def left() -> list[str]:
    """Return what ended machines have left."""
    return sorted(path.name for path in directory.root().iterdir() if path.name[0] != ".")


def save(path: Path, *devices: dict[str, object], name: str = "m") -> Path:
    """Save a machine of these devices that never ran."""
    machine = Machine(parse(table(*devices, name=name)))
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    machine.close()
    path.write_bytes(dumps(checkpoint))
    return path


def talk(stream: socket.socket, command: str) -> str:
    """Send one qtest command and return its answer line."""
    stream.sendall(command.encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = stream.recv(4096)
        assert piece, "qtest ended"
        answer += piece
    return answer.decode().rstrip("\n")


def test_it_says_when_it_is_ready_and_where(home: Path) -> None:
    (home / "machine.toml").write_text(TOML)
    with running("machine.toml") as machine:
        api = directory.root() / "traces" / "api.sock"
        assert machine.ready == f"machine traces is running, process {machine.process.pid}, API {api}\n"
        assert stat.S_IMODE(api.stat().st_mode) == 0o600
        assert stat.S_IMODE(api.parent.stat().st_mode) == 0o700
        info = find().machine()
        assert (info["name"], info["pid"], info["qtest"]) == ("traces", machine.process.pid, None)
        outcome = machine.end()
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert left() == []


def test_ready_line_in_json(home: Path) -> None:
    with running("--json", "--name", "j", "--paused") as machine:
        ready = json.loads(machine.ready)
        assert ready == {**find("j").machine(), "api": str(directory.root() / "j" / "api.sock")}
        assert ready["paused"] is True
        assert machine.end(signal.SIGINT).status == 0
    assert left() == []


def test_closed_terminal_ends_it_cleanly(home: Path) -> None:
    with running("--char", "com1=pty") as machine:
        assert machine.end(signal.SIGHUP).status == 0
    assert left() == []


def test_killed_machine_is_not_listed_and_its_name_is_free(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running("--name", "victim") as machine:
        machine.process.kill()
        machine.process.wait()
        assert left() == ["victim"]
        assert refused(chkpt(capsys, "save", "-m", "victim"), 5) == "no machine victim is running; running are: none"
        assert left() == []
    with running("--name", "victim") as machine:
        machine.process.kill()
        machine.process.wait()
        with running("--name", "victim") as again:
            assert [each.name for each in machines()] == ["victim"]
            assert again.end().status == 0


def test_two_machines_and_one_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running("--name", "a") as a, running("--name", "b"):
        second = spawn("run", "--name", "a")
        out, err = second.communicate(timeout=PATIENCE)
        assert (second.returncode, out) == (1, b"")
        assert err.decode() == (
            f"chkpt: machine a is running already, process {a.process.pid}; choose another --name\n"
        )
        message = refused(chkpt(capsys, "save"), 5)
        assert message == "several machines are running: a, b; name one with -m"
        assert chkpt(capsys, "save", "-m", "b", "x").status == 0
        assert chkpt(capsys, "stop", "-m", "b").out == "stopped machine b\n"
        assert chkpt(capsys, "pause").out == "paused machine a\n"


# -- qtest ------------------------------------------------------------------------------------------------------------


def test_qtest_on_stdio(home: Path) -> None:
    with running("--qtest", "stdio", ready_on_stderr=True) as machine:
        assert machine.ready.startswith("machine default is running")
        assert machine.process.stdin is not None
        machine.process.stdin.write(b"outb 0x3ff 0x5a\ninb 0x3ff\nclock_step 1000\n")
        machine.process.stdin.flush()
        answers = [line(machine.process.stdout) for _ in range(3)]
        assert answers == ["OK\n", "OK 0x005a\n", "OK 1000\n"]
        assert find().machine()["clock_ns"] == 1000
        outcome = machine.wait()
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert left() == []


def test_save_while_qtest_commands_flow(home: Path) -> None:
    path = home / "q.sock"
    with running("--qtest", f"unix:{path},server=on,wait=off") as machine, socket.socket(socket.AF_UNIX) as stream:
        stream.connect(str(path))
        stop = threading.Event()
        steps: list[int] = []

        def converse() -> None:
            while not stop.is_set():
                value = len(steps) & 0xFF
                assert talk(stream, f"outb 0x3ff {value}") == "OK"
                assert talk(stream, "inb 0x3ff") == f"OK 0x{value:04x}"
                steps.append(int(talk(stream, "clock_step 1000").split()[1]))

        thread = threading.Thread(target=converse)
        thread.start()
        client = find()
        assert client.machine()["qtest"] == f"unix:{path},server=on,wait=off"
        for number in range(10):
            client.save(SaveRequest(str(home / f"{number}.zst")))
            time.sleep(0.01)
        stop.set()
        thread.join()
        assert steps == list(range(1000, 1000 * (len(steps) + 1), 1000))
        for number in range(10):
            with Reader.open(home / f"{number}.zst") as reader:
                clock = reader.header["clock_ns"]
                assert isinstance(clock, int)
                assert reader.section("clock").values == {"now": clock}
                assert clock % 1000 == 0
                assert reader.section("devices/com1").values["scr"] in {clock // 1000 & 0xFF, clock // 1000 - 1 & 0xFF}
        # The load is as invisible to the conversation as the saves.
        client.load(home / "5.zst")
        with Reader.open(home / "5.zst") as reader:
            assert talk(stream, "clock_step 1") == f"OK {int(str(reader.header['clock_ns'])) + 1}"
        assert machine.end().status == 0
    assert not path.exists()


def test_machine_that_waits_for_its_qtest_client_is_served_meanwhile(home: Path) -> None:
    path, serial = home / "q.sock", home / "s.sock"
    with running("--qtest", f"unix:{path},server=on", "--char", f"com1=unix:{serial},server=on") as machine:
        assert find().machine()["paused"] is True
        with socket.socket(socket.AF_UNIX) as port, socket.socket(socket.AF_UNIX) as stream:
            port.connect(str(serial))
            port.sendall(b"Z")
            stream.connect(str(path))
            while talk(stream, "inb 0x3fd") != "OK 0x0061":
                time.sleep(0.01)
            assert talk(stream, "inb 0x3f8") == f"OK 0x{ord('Z'):04x}"
            assert find().machine()["paused"] is False
        assert machine.end().status == 0


def test_qtest_client_that_listens(home: Path) -> None:
    path = home / "q.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with running("--qtest", f"unix:{path}") as machine, listener.accept()[0] as stream:
            assert talk(stream, "inb 0x20") == "OK 0x0000"
            assert machine.end().status == 0


# -- from a snapshot --------------------------------------------------------------------------------------------------


def test_machine_from_a_snapshot_alone(home: Path) -> None:
    save(home / "a.zst", {"type": "pit"}, {**COM1, "backend": {"type": "pty"}}, name="past")
    with running("--load", "a.zst", "--paused") as machine:
        assert machine.ready.startswith("machine past is running")
        assert find().machine()["devices"] == ["pit", "com1"]
        assert find().devices()["devices"][1]["frontends"][0]["backend"] is None
        outcome = machine.end()
    assert outcome.err == (
        "chkpt: warning: com1: its backend is not taken from the snapshot; "
        "give one with --char com1=..., or --trust-config\n"
    )
    with running("--load", "a.zst", "--trust-config") as machine:
        backend = find().devices()["devices"][1]["frontends"][0]["backend"]
        assert backend is not None
        assert backend["type"] == "pty"
        assert machine.end().err == ""


def test_disk_image_of_a_snapshot_is_given_again(home: Path) -> None:
    (home / "old.img").write_bytes(bytes(1 << 16))
    ide = {"type": "ide", "name": "ide0", "port": 0x1F0, "control": 0x3F6, "irq": 14}
    drive = {**ide, "drive": [{"unit": 0, "media": "disk", "image": str(home / "old.img")}]}
    save(home / "a.zst", drive)
    (home / "old.img").rename(home / "new.img")
    without = spawn("run", "--load", "a.zst", cwd=home)
    out, err = without.communicate(timeout=PATIENCE)
    assert (without.returncode, out) == (2, b"")
    assert b"give it with --drive ide0.0=PATH" in err
    assert err.count(b"\n") == 1
    with running("--load", "a.zst", "--drive", "ide0.0=new.img") as machine:
        backend = find().devices()["devices"][0]["frontends"][0]["backend"]
        assert backend == {"type": "image", "path": str(home / "new.img")}
        assert machine.end().status == 0


# -- backends of the serial port -------------------------------------------------------------------------------------


def test_serial_port_on_stdio(home: Path) -> None:
    with running("--char", "com1=stdio", ready_on_stderr=True) as machine:
        assert machine.ready.startswith("machine default is running")
        backend = find().devices()["devices"][2]["frontends"][0]["backend"]
        assert backend == {"type": "stdio", "path": None}
        assert machine.end().out == ""


def test_serial_port_to_a_file(home: Path) -> None:
    path = home / "q.sock"
    with running("--char", "com1=file:log", "--qtest", f"unix:{path},server=on,wait=off") as machine:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(path))
            for byte in b"hi":
                assert talk(stream, f"outb 0x3f8 {byte}") == "OK"
        assert (home / "log").read_bytes() == b"hi"
        assert machine.end().status == 0


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_wrong_options(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "bad.toml").write_text("name = 3\n")
    (home / "none.toml").write_text("[[device]]\ntype = 'pti'\n")
    (home / "text").write_text("text" * 128)
    form = "write com1=pty, com1=null, com1=stdio, com1=file:PATH or com1=unix:PATH[,server=on]"
    table_of: list[tuple[list[str], int, str]] = [
        (["absent.toml"], 3, "absent.toml: no such file"),
        (["."], 1, "Is a directory"),
        (["text"], 2, "text: not TOML"),
        (["bad.toml"], 2, "bad.toml: machine: name"),
        (["none.toml"], 3, "did you mean pit?"),
        (["--name", "a/b"], 2, "machine: name"),
        (["--name", ""], 2, "machine: name"),
        (["--name", "x" * 65], 2, "machine: name"),
        (["--load", "absent"], 3, "absent.zst"),
        (["--load", "./text"], 4, "text"),
        (["--load", ".x"], 2, "dot"),
        (["--qtest", "tcp:1"], 2, "--qtest tcp:1: write unix:PATH"),
        (["--qtest", "unix:/nowhere/at/all"], 1, "/nowhere/at/all"),
        (["--drive", "ide0.0"], 2, "--drive ide0.0: write ide0.0=PATH"),
        (["--drive", "ide0.0=absent.img"], 1, "absent.img"),
        (["--drive", "ide9.0=text"], 3, "no device or drive ide9.0"),
        (["--drive", "com1=text"], 3, "no block frontend com1"),
        (["--char", "com1"], 2, f"--char com1: {form}"),
        (["--char", "com1=tty"], 2, f"--char com1=tty: {form}"),
        (["--char", "com1=file:"], 2, form),
        (["--char", "com1=unix:a,server=maybe"], 2, form),
        (["--char", "com1=unix:/nowhere/at/all"], 1, "/nowhere/at/all"),
        (["--char", "ide0.0=null"], 3, "no char frontend ide0.0"),
        (["--char", "com1=stdio", "--qtest", "stdio"], 2, "com1 and --qtest cannot both use standard input"),
    ]
    for args, status, words in table_of:
        message = refused(chkpt(capsys, "run", *args), status)
        assert words in message, (args, message)
        assert not directory.root().exists() or left() == [], args


def test_hostile_runtime_directory(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "elsewhere").mkdir()
    directory.root().symlink_to(home / "elsewhere")
    for args in (["run"], ["ps"], ["save"], ["stop", "-m", "x"]):
        message = refused(chkpt(capsys, *args), 1)
        assert "is a symbolic link" in message
        assert "set XDG_RUNTIME_DIR to a directory of your own" in message
    assert list((home / "elsewhere").iterdir()) == []


def test_runtime_directory_with_a_long_path(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = home / ("long" * 30)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with running("--name", "deep") as machine:
        assert len(machine.ready) > 120
        assert chkpt(capsys, "save", "x").status == 0
        assert machine.end().status == 0
    assert os.listdir(deep / "chkpt") == [".lock"]  # noqa: PTH208  a list of names is what is wanted
