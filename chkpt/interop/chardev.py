"""The connection to a qtest client, in QEMU's syntax: `unix:PATH`, `unix:PATH,server=on,wait=off`, `stdio`.

As in QEMU, `unix:PATH` connects to a client that listens. With `server=on` the machine listens; it waits for the first
client before it starts unless `wait=off`. It serves one client at a time; when that one goes, the next may connect.
"""

import logging
import os
import select
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chkpt import sockets
from chkpt.errors import StorageError, UsageError
from chkpt.interop.qtest import MAX_SPAN, QtestSession
from chkpt.machine import Machine

log = logging.getLogger("chkpt.qtest")

CHUNK = 1 << 16
"""Bytes taken from a client at once."""

SPINS = 40
"""How many reads without data the channel makes before the run loop sleeps.

To put a thread to sleep and wake it costs more than a command. Lock-step conversations run at 18,000 commands a second
without this and at 45,000 with it, on two cores (docs/decisions/0004-qtest-spins.md).
"""

MAX_UNREAD_IRQ = 1 << 20
"""Bytes of `IRQ` lines that a client may leave unread before the channel closes it."""

CONNECT_SECONDS = 10
"""How long to wait for a client that listens but does not accept."""

MAX_COMMAND = 2 * MAX_SPAN + 256
"""Bytes in the longest command: `write` with its data in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Chardev:
    """Where the client is: the path of a Unix socket, or None for standard input and output."""

    path: Path | None
    server: bool = False
    wait: bool = True


def parse_chardev(text: str) -> Chardev:
    """Parse QEMU's syntax. Raise UsageError for anything but `stdio` and `unix:PATH[,server=on|off][,wait=on|off]`."""
    if text == "stdio":
        return Chardev(None)
    kind, _, rest = text.partition(":")
    path, *options = rest.split(",")
    if kind != "unix" or not path:
        raise UsageError(f"--qtest {text}: write unix:PATH, unix:PATH,server=on,wait=off or stdio")
    switches = {"server": False, "wait": True}
    for option in options:
        name, _, value = option.partition("=")
        if name not in switches or value not in {"", "on", "off"}:
            raise UsageError(f"--qtest {text}: after the path write server=on|off or wait=on|off, not {option!r}")
        switches[name] = value != "off"
    return Chardev(Path(path), switches["server"], switches["wait"])


class QtestChannel:
    """Carries qtest between one client at a time and a machine. The run loop polls it."""

    def __init__(
        self, machine: Machine, chardev: Chardev, *, called: Callable[[], bool], ended: Callable[[], None]
    ) -> None:
        """Connect or listen.

        Args:
            machine: what the commands access.
            chardev: where the client is.
            called: returns whether the run loop has other work, so that a burst of commands should end.
            ended: called when standard input ends. A socket waits for the next client instead.

        Raises:
            StorageError: the socket cannot be made or reached.
        """
        self._machine = machine
        self._chardev = chardev
        self._called = called
        self._ended = ended
        self._listener: sockets.Listener | None = None
        self._socket_file: tuple[int, int] | None = None  # to recognise our socket's file, if another has replaced it
        self._client: _Stream | None = None
        self._session: QtestSession | None = None
        self._unsent = bytearray()
        self._irq_bytes = 0  # bytes of IRQ lines since the client last took all
        self._closing = False
        if chardev.path is None:
            self._begin(_Stream(os.dup(0), os.dup(1)))
        elif chardev.server:
            self._listener = _listen(chardev.path)
            self._socket_file = sockets.file_id(chardev.path)
        else:
            self._begin(_connect(chardev.path))

    def wait(self) -> None:
        """Wait for the first client if the machine listens and `wait` is on."""
        if self._listener is not None and self._chardev.wait and self._client is None:
            select.select([self._listener], [], [])
            self._accept()

    # -- Pollable -----------------------------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Return the client's descriptor, or the listener's."""
        if self._client is not None:
            return self._client.write_fd if self.wants_write() else self._client.read_fd
        return None if self._listener is None else self._listener.fileno()

    def wants_write(self) -> bool:
        """Whether answers wait to be sent, or commands to be run."""
        return bool(self._unsent) or (self._session is not None and self._session.has_backlog)

    def poll(self) -> None:
        """Run commands and answer them, as long as they come without a pause."""
        if self._client is None:
            self._accept()
            return
        try:
            if self._unsent:
                self._send(b"")
            if not self._unsent:
                self._converse(self._client)
        except (BrokenPipeError, ConnectionError) as exc:
            log.info("the qtest client has gone: %s", exc)
            self._end()

    def close(self) -> None:
        """End the conversation, stop listening, and remove the socket's file."""
        self._closing = True
        if self._session is not None:
            self._end()
        if self._listener is not None and self._chardev.path is not None:
            if (
                sockets.file_id(self._chardev.path) == self._socket_file
            ):  # before the close: after it another process may replace the file
                self._chardev.path.unlink(missing_ok=True)
            self._listener.close()
            self._listener = None

    def _converse(self, client: "_Stream") -> None:
        session = self._session
        assert session is not None
        misses = 0
        while misses < SPINS:
            data = b""
            if not session.has_backlog:
                try:
                    data = os.read(client.read_fd, CHUNK)
                except BlockingIOError:
                    misses += 1
                    continue
                if not data:
                    self._end()
                    return
            answer = session.feed(data)
            if answer:
                self._send(answer)
            if session.pending > MAX_COMMAND:
                log.warning(
                    "the qtest client has sent a line of more than %d bytes; its connection is closed", MAX_COMMAND
                )
                self._end()
                return
            if self._unsent or self._called():
                return
            misses = 0

    def _queue_irq_line(self, line: bytes) -> None:
        """Queue an `IRQ` line that no command caused. A device calls this, so it never fails."""
        self._unsent += line
        self._irq_bytes += len(line)
        if self._irq_bytes > MAX_UNREAD_IRQ:
            log.warning(
                "the qtest client does not read; its connection is closed with %d bytes of IRQ lines unsent",
                self._irq_bytes,
            )
            self._end()

    def _send(self, data: bytes) -> None:
        assert self._client is not None
        self._unsent += data
        try:
            del self._unsent[: os.write(self._client.write_fd, self._unsent)]
        except BlockingIOError:
            return
        if not self._unsent:
            self._irq_bytes = 0

    def _accept(self) -> None:
        if self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except OSError:  # the client has gone, another user's process connects, or no descriptor is free
                return
            self._begin(_make_stream(client))

    def _begin(self, client: "_Stream") -> None:
        os.set_blocking(client.read_fd, False)
        os.set_blocking(client.write_fd, False)
        self._client = client
        self._session = QtestSession(self._machine, self._queue_irq_line)
        self._unsent.clear()
        self._irq_bytes = 0

    def _end(self) -> None:
        assert self._client is not None
        assert self._session is not None
        self._session.close()
        self._session = None
        self._client.close()
        self._client = None
        self._unsent.clear()
        if self._chardev.path is None and not self._closing:
            self._ended()


@dataclass(frozen=True, slots=True)
class _Stream:
    """A client's two descriptors; for a socket they are the same."""

    read_fd: int
    write_fd: int

    def close(self) -> None:
        if self.write_fd != self.read_fd:  # standard input and output, which other processes go on using
            os.set_blocking(self.read_fd, True)
            os.set_blocking(self.write_fd, True)
            os.close(self.write_fd)
        os.close(self.read_fd)


def _make_stream(client: socket.socket) -> _Stream:
    fd = client.detach()
    return _Stream(fd, fd)


def _connect(path: Path) -> _Stream:
    try:
        return _make_stream(sockets.connect(path, CONNECT_SECONDS))
    except OSError as exc:
        raise StorageError(
            f"no client listens there: {exc.strerror or exc}; start the client first, or use server=on", where=str(path)
        ) from exc


def _listen(path: Path) -> sockets.Listener:
    """Return a socket that listens at `path`. It replaces a socket's file at which no process listens any more."""
    if sockets.is_answering(path):
        raise StorageError("another process listens there already; choose another path", where=str(path))
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
    else:
        if not stat.S_ISSOCK(found):
            raise StorageError("is not a socket; choose another path", where=str(path))
        path.unlink(missing_ok=True)
    return sockets.listen(path, 1)
