"""`chkpt save` and `chkpt load` between two processes give the same as in one: conversations, and what is saved."""

import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chkpt.cli import main
from chkpt.interop.qtest import QtestSession
from chkpt.interop.trace import Player, Trace, disk
from chkpt.machine import Machine
from chkpt.machine.config import read
from chkpt.snapshot import Reader, dumps, loads
from chkpt.snapshot.diff import compare
from tests.support.recorded import KINDS, through, trace
from tests.support.rig import saved

MACHINE = """
name = "traces"
memory = "16M"
[[device]]
type = "pic"
[[device]]
type = "pit"
[[device]]
type = "serial"
name = "com1"
[[device]]
type = "ide"
name = "ide0"
[[device.drive]]
unit = 0
media = "disk"
image = "disk.img"
model = "CHKPT TEST DISK"
serial = "testdisk"
firmware = "version"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("machine")
    (place / "machine.toml").write_text(MACHINE)
    (place / "disk.img").write_bytes(disk())
    return place


@pytest.fixture(autouse=True)
def _runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("CHKPT_STORE", str(tmp_path / "store"))
        yield


class Connection:
    """A qtest client of a machine in a process of its own, over a Unix socket."""

    def __init__(self, client: socket.socket) -> None:
        self._file = client.makefile("rwb", buffering=0)

    def send(self, command: str) -> list[str]:
        self._file.write(command.encode() + b"\n")
        lines: list[str] = []
        while not lines or lines[-1].startswith("IRQ"):
            line = self._file.readline()
            assert line, f"the machine is gone after {command}"
            lines.append(line.decode().rstrip("\n"))
        return lines

    def close(self) -> None:
        self._file.close()


@contextmanager
def machine(place: Path, *args: str) -> Iterator[Connection]:
    """Run a machine in a process of its own, connected to the test's qtest socket; kill it in the end."""
    with tempfile.TemporaryDirectory(prefix="chkpt-test-") as sockets, socket.socket(socket.AF_UNIX) as listener:
        path = Path(sockets) / "q.sock"
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(30)
        command = [sys.executable, "-m", "chkpt", "run", *args, "--qtest", f"unix:{path}"]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        process = subprocess.Popen(command, cwd=place, env=env, stdout=subprocess.PIPE)
        try:
            client, _ = listener.accept()
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"machine traces is running")
            with client:
                connection = Connection(client)
                yield connection
                connection.close()
        finally:
            process.kill()
            process.communicate()


def command(*args: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*args])
    assert ended.value.code == 0


def play(conversation: Trace, player: Player, first: int, last: int) -> None:
    for number in range(first, last):
        difference = player.play(number)
        assert difference is None, str(difference)


EACH = [*(f"{kind}-{at:03}" for at, kind in enumerate(KINDS, 7)), "demo"]


@pytest.mark.parametrize(
    ("way", "name"),
    [
        *(pytest.param("run --load", name, marks=[pytest.mark.long] if at % 2 else []) for at, name in enumerate(EACH)),
        *(pytest.param("load", name, marks=[] if at % 2 else [pytest.mark.long]) for at, name in enumerate(EACH)),
    ],
)
def test_a_conversation_goes_on_in_another_process(place: Path, name: str, way: str) -> None:
    conversation = trace(name)
    end = len(conversation.exchanges)
    at = conversation.cuts[0] if conversation.cuts else random.Random(name).randrange(end // 4, 3 * end // 4)
    with machine(place, "machine.toml") as first:
        player = Player(conversation, first.send)
        play(conversation, player, 0, at)
        command("save", "cut")
    again = ["machine.toml", "--load", "cut"] if way == "run --load" else ["machine.toml"]
    with machine(place, *again) as second:
        if way == "load":
            command("load", "cut", "--strict")
        player.connect(second.send)
        play(conversation, player, at, end)


def test_what_is_saved_by_the_command_is_what_is_saved_in_process(place: Path, tmp_path: Path) -> None:
    conversation = trace("demo")
    at = conversation.cuts[0]
    with machine(place, "machine.toml") as there:
        play(conversation, Player(conversation, there.send), 0, at)
        command("save", "there")
    here = Machine(read(place / "machine.toml"))
    play(conversation, Player(conversation, through(QtestSession(here))), 0, at)
    checkpoint = loads(dumps(saved(here)))
    here.close()
    with Reader.open(tmp_path / "store" / "there.zst") as reader:
        assert not compare(reader.checkpoint(), checkpoint)
