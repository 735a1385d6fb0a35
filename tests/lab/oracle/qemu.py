"""A real QEMU, asked over its qtest protocol: one process for one conversation, so that each begins at power-on.

QEMU takes its end of a socket pair, so there is no path, and nobody else can speak to it. Commands are put, and their
answers taken later, so that both machines work at once.
"""

import os
import socket
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chkpt.interop.trace import perform

PROGRAM: Final = "qemu-system-x86_64"

DEVICES: Final = {"pic0": "/machine/unattached/device[4]", "pic1": "/machine/unattached/device[5]"}
"""The QOM paths of the two 8259A in a machine of type isapc."""

PATIENCE: Final = 60.0
"""Seconds without an answer after which a QEMU counts as hung."""

MAX_POLLS: Final = 1_000_000
"""Polls of BSY after which a disk command counts as hung."""


class QemuError(Exception):
    """QEMU does not start, or does not answer as the protocol says."""


class Qemu:
    """The connection to one running QEMU."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        """Speak over `connection` to the QEMU that is `process`."""
        self._process = process
        self._connection = connection
        self._lines: deque[bytes] = deque()  # received, and not taken yet
        self._partial = b""
        self.commands = 0

    def put(self, command: str) -> None:
        """Send a plain command or a shorthand of a trace. Its answer is there to `take` after those put before it."""
        plain = plain_commands(command)
        self.commands += len(plain)
        try:
            self._connection.sendall("".join(f"{_with_paths(each)}\n" for each in plain).encode())
        except OSError as exc:
            raise QemuError(f"QEMU takes no command: {exc}") from exc

    def take(self, command: str) -> list[str]:
        """Return the answer lines of the command put first of those not taken yet, any `IRQ` lines first.

        `await_ready` must be the last one put: it polls on.

        Raises:
            QemuError: no answer comes, or a disk command does not end.
        """
        if not command.startswith("await_ready"):
            return perform(command, self._next)
        polls = 0

        def poll(plain: str) -> list[str]:
            nonlocal polls
            polls += 1
            if polls > MAX_POLLS:
                raise QemuError(f"{command}: still busy after {MAX_POLLS} polls")
            if polls > 1:  # the first was put with the command
                self.put(plain)
            return self._next(plain)

        return perform(command, poll)

    def send(self, command: str) -> list[str]:
        """Run one command or shorthand, and return its answer lines."""
        self.put(command)
        return self.take(command)

    def _next(self, _plain: str) -> list[str]:
        """Return the answer lines of the next plain command."""
        lines: list[str] = []
        while True:
            while not self._lines:
                self._receive()
            line = self._lines.popleft()
            lines.append(line.decode())
            if not line.startswith(b"IRQ"):
                return lines

    def _receive(self) -> None:
        try:
            more = self._connection.recv(1 << 16)
        except OSError as exc:
            raise QemuError(f"QEMU does not answer: {exc}") from exc
        if not more:
            raise QemuError(f"QEMU has ended with status {self._process.wait(PATIENCE)}")
        *lines, self._partial = (self._partial + more).split(b"\n")
        self._lines.extend(lines)


def plain_commands(command: str) -> list[str]:
    """Return the plain commands of a shorthand; of `await_ready` the first poll."""
    plain: list[str] = []

    def note(each: str) -> list[str]:
        plain.append(each)
        return ["OK 0x0"]

    perform(command, note)
    return plain


def _with_paths(plain: str) -> str:
    """Name the interrupt controllers as QEMU does."""
    if plain.startswith(("set_irq_in", "irq_intercept")):
        for name, path in DEVICES.items():
            plain = plain.replace(name, path)
    return plain


@contextmanager
def running(image: Path, modules: Path) -> Iterator[Qemu]:
    """Start a QEMU whose disk is `image`, which stays as it is, with the clock module in `modules`; end it.

    Raises:
        QemuError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(PATIENCE)
        with theirs:
            process = _start(image, modules, theirs)
        try:
            yield Qemu(process, ours)
        finally:
            process.kill()  # it has nothing to save
            process.wait()


def _start(image: Path, modules: Path, connection: socket.socket) -> subprocess.Popen[bytes]:
    arguments = [
        *(PROGRAM, "-M", "isapc", "-m", "16", "-nodefaults", "-display", "none", "-accel", "qtest"),
        *("-chardev", f"socket,id=qtest,fd={connection.fileno()}", "-qtest", "chardev:qtest", "-qtest-log", "none"),
        *("-serial", "null"),
        *("-drive", f"if=none,id=disk,file={image},format=raw,snapshot=on"),
        *("-device", "ide-hd,drive=disk,bus=ide.0,unit=0,model=CHKPT TEST DISK,serial=testdisk,ver=version"),
    ]
    environment = {**os.environ, "QEMU_MODULE_DIR": str(modules)}
    try:
        return subprocess.Popen(arguments, env=environment, pass_fds=(connection.fileno(),), stdin=subprocess.DEVNULL)
    except OSError as exc:
        raise QemuError(f"{PROGRAM} cannot be started: {exc}") from exc
