"""The real commands in processes of their own: machines that are served and driven over qtest, each beside a twin.

The twin is the same machine in this process. It gets the same commands as the served one, and is never saved, loaded or
disturbed. As long as both give the same answers, the served one is unharmed.
"""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chkpt.cli.demo.stage import COMMAND
from chkpt.interop.qtest import QtestSession
from chkpt.machine import Machine
from chkpt.machine.config import read

PATIENCE: Final = 60.0
"""Seconds after which anything counts as hanging."""

PORTS: Final = (
    *(0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1, 0x40, 0x41, 0x42, 0x43, 0x61),
    *range(0x3F8, 0x400),
    *range(0x1F0, 0x1F8),
    0x3F6,
)
"""The ports that the tests use."""

MACHINE: Final = """\
name = "{name}"
memory = "{memory}"
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
size = "1M"
"""


class BrokenError(Exception):
    """A promise did not hold; the message says which."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


@dataclass(slots=True)
class Place:
    """A directory to work in, with a store, a runtime directory and the descriptions of machines."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make what is below it."""
        (self.path / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(self.path / "run"),
            "CHKPT_STORE": str(self.store),
            "PYTHONDONTWRITEBYTECODE": "1",  # the files that a fault may hit are the snapshot's
        }

    @property
    def store(self) -> Path:
        """Where its snapshots lie."""
        return self.path / "store"

    def description(self, name: str, memory: str) -> Path:
        """Write the TOML of a machine, and return its path."""
        path = self.path / f"{name}.toml"
        path.write_text(MACHINE.format(name=name, memory=memory))
        return path

    def start(self, *arguments: object, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """Start a command. `before` is a command that runs it, such as strace."""
        return subprocess.Popen(
            [*before, *COMMAND, *map(str, arguments)],
            cwd=self.path,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def chkpt(self, *arguments: object, before: Sequence[str] = ()) -> Ended:
        """Run a command to its end. `before` is a command that runs it, such as strace."""
        process = self.start(*arguments, before=before)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        if "Traceback" in err:
            raise BrokenError(f"chkpt {' '.join(map(str, arguments))} shows a traceback: {err}")
        return Ended(process.returncode, out, err)

    def temporaries(self) -> list[str]:
        """Return the names of the temporary files in the store."""
        return sorted(path.name for path in self.store.glob(".chkpt-*"))

    def left_running(self) -> list[str]:
        """Return what is left in the runtime directory, but for the lock that all machines share."""
        found = (self.path / "run").rglob("*")
        return sorted(path.name for path in found if path.name not in {"chkpt", ".lock"})


class Served:
    """A machine that `chkpt run` serves, its qtest connection, and its twin."""

    def __init__(self, place: Place, process: "subprocess.Popen[bytes]", client: socket.socket, twin: Machine) -> None:
        self.place = place
        self.process = process
        self.pid = process.pid
        self._client = client
        self._file = client.makefile("rwb", buffering=0)
        self.twin = twin
        self._session = QtestSession(twin)
        self._random = random.Random(twin.name)
        main = {self.pid}
        (self.loop_thread,) = self.threads() - main
        self._known = main | {self.loop_thread}

    def threads(self) -> set[int]:
        """Return the numbers of its threads."""
        return {int(name) for name in os.listdir(f"/proc/{self.pid}/task")}  # noqa: PTH208  numbers, no paths

    @property
    def worker_thread(self) -> int:
        """The thread that carries out long requests; it exists once there has been one."""
        (worker,) = self.threads() - self._known
        return worker

    def talk(self, commands: int = 20) -> None:
        """Send random commands. Raise BrokenError if the machine and its twin answer differently."""
        for _ in range(commands):
            self.say(self._command())

    def say(self, command: str) -> None:
        """Send one command. Raise BrokenError if the machine and its twin answer differently."""
        expected = self._session.feed(command.encode() + b"\n").decode().splitlines()
        self._file.write(command.encode() + b"\n")
        lines: list[str] = []
        while not lines or lines[-1].startswith("IRQ"):
            line = self._file.readline()
            if not line:
                raise BrokenError(f"the machine is gone at {command}")
            lines.append(line.decode().rstrip("\n"))
        if lines != expected:
            raise BrokenError(f"to {command} the machine answers {lines}, and one that was left alone {expected}")

    def twin_says(self, command: str) -> None:
        """Send one command to the twin alone."""
        self._session.feed(command.encode() + b"\n")

    def _command(self) -> str:
        choose = self._random
        kind = choose.random()
        if kind < 0.45:
            return f"outb 0x{choose.choice(PORTS):x} 0x{choose.randrange(256):x}"
        if kind < 0.85:
            return f"inb 0x{choose.choice(PORTS):x}"
        if kind < 0.95:
            return f"clock_step {choose.randrange(1, 3_000_000)}"
        return f"writel 0x{choose.randrange(0, 0xF000) & ~3:x} 0x{choose.randrange(1 << 32):x}"

    def fill(self, size: int) -> None:
        """Fill RAM with bytes that cannot be compressed."""
        for at in range(0, size, 1 << 16):
            data = random.Random(at).randbytes(min(1 << 16, size - at))
            self.say(f"write 0x{at:x} 0x{len(data):x} 0x{data.hex()}")

    def wait(self) -> int:
        """Wait for the end of the process and return its status."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Kill it, and forget the twin."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.communicate()
        self._file.close()
        self._client.close()
        self._session.close()
        self.twin.close()


@contextmanager
def serving(
    place: Place, name: str = "m", memory: str = "64K", *, before: Sequence[str] = (), options: Sequence[str] = ()
) -> Iterator[Served]:
    """Serve a machine until the block ends."""
    description = place.description(name, memory)
    address = place.path / f"{name}.sock"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(_short(address))
        listener.listen(1)
        listener.settimeout(PATIENCE)
        with (place.path / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*before, *COMMAND, "run", str(description), *options, "--qtest", f"unix:{address.name}"],
                cwd=place.path,
                env=place.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            client, _ = listener.accept()
            assert process.stdout is not None
            process.stdout.readline()  # its one line says that it is served
        except BaseException:
            process.kill()
            process.communicate()
            raise
    served = Served(place, process, client, Machine(read(description)))
    try:
        yield served
    finally:
        served.close()


def _short(path: Path) -> str:
    """Return a path that fits a Unix socket's address."""
    return os.path.relpath(path) if len(os.fsencode(os.path.relpath(path))) < len(os.fsencode(path)) else str(path)


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true. Raise BrokenError if that takes too long."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise BrokenError(f"{what} does not happen")
        time.sleep(0.002)
