"""The consoles attached to a serial port: a Unix socket that carries the port's bytes, for several connections at once.

Each connection gets what the guest sends from then on, and may type. If it does not read, it loses the oldest of the
bytes that wait for it, and the guest does not wait. If it types while the port has no room, it waits.

The process itself may attach one stream, for the terminal of `chkpt run --console`. It loses nothing: if it is far
behind, the machine waits for it and its clock stands still, as for the standard output of a run with a goal.
"""

import select
import socket
from collections.abc import Callable
from typing import Final

from chkpt.service.serial.tap import Tap
from chkpt.sockets import Listener

MAX_UNSENT: Final = 1 << 16
"""Bytes that wait for one connection, besides those in its socket."""

LAST_MS: Final = 5000
"""Milliseconds that this process's own stream may take nothing, while the last of the guest's output waits for it."""

MAX_CONNECTIONS: Final = 32
"""Connections at one port. Further ones are closed at once."""


class Connection:
    """One console. `is_over` is set once nothing more can be read from it or sent to it."""

    def __init__(self, stream: socket.socket, *, loses: bool = True) -> None:
        """Take a non-blocking stream. With `loses`, at most `MAX_UNSENT` bytes wait; older ones are dropped."""
        self.stream = stream
        self._loses = loses
        self.unsent = bytearray()
        self.may_type = True  # until the other side ends its half
        self.hung_up = False  # the other side does not read any more; typed bytes may still wait here
        self.is_over = False

    def put(self, data: bytes) -> None:
        """Send `data`, or keep it until the connection takes it."""
        if not self.unsent:
            data = data[self._send(data) :]
        if data:
            self.unsent += data
            if self._loses:
                del self.unsent[: max(0, len(self.unsent) - MAX_UNSENT)]

    def flush(self) -> None:
        """Send what waits."""
        if self.unsent:
            del self.unsent[: self._send(bytes(self.unsent))]

    def wait(self, milliseconds: int) -> bool:
        """Wait for room, and send what fits; return whether there was room."""
        poller = select.poll()
        poller.register(self.stream, select.POLLOUT)
        if not poller.poll(milliseconds):
            return False
        self.flush()
        return True

    def hang_up(self) -> None:
        """Note that the other side does not read any more. Bytes that it typed before stay until they are taken."""
        self.hung_up = True
        try:
            self.may_type = self.may_type and bool(self.stream.recv(1, socket.MSG_PEEK))
        except OSError:
            self.may_type = False
        self.is_over = not self.may_type

    def take(self, room: int) -> bytes:
        """Return at most `room` bytes that were typed."""
        try:
            data = self.stream.recv(room)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.may_type = False
            self.is_over = self.hung_up
        return data

    def _send(self, data: bytes) -> int:
        if self.hung_up:
            return len(data)
        try:
            return self.stream.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self.hang_up()
            return len(data)


class Consoles:
    """All consoles of one serial port. The machine's run loop polls it."""

    def __init__(self, listener: Listener, tap: Tap, paused: Callable[[], bool]) -> None:
        """Take connections from `listener`. `close` closes it, too.

        Args:
            listener: a non-blocking socket that listens.
            tap: the serial port's.
            paused: says whether the machine takes no input now.
        """
        self._listener = listener
        self._tap = tap
        self._paused = paused
        self._own: Connection | None = None
        self._called: Callable[[], bool] = bool  # False
        self._connections: dict[int, Connection] = {}
        self._waits: dict[int, int] = {}  # descriptor -> the events it is registered for
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        tap.listen(self._put)

    def attach(self, called: Callable[[], bool]) -> socket.socket:
        """Return a blocking stream for this process itself. It gets all that the guest sends from now on.

        Call it once, before the run loop runs or in its thread. `called` says whether the loop must not wait for the
        stream now.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._own = self._connections[ours.fileno()] = Connection(ours, loses=False)
        self._called = called
        return theirs

    def conclude(self) -> None:
        """Send the last of the output to the stream of `attach`, then end it. Call it once the loop has ended."""
        own, self._own = self._own, None
        if own is not None and not own.is_over:
            while own.unsent and own.wait(LAST_MS):
                pass
            self._drop(own.stream.fileno())

    # -- Pollable -----------------------------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Return one descriptor for all connections. It waits for input only while the port has room."""
        if self._connections:
            room = not self._paused() and self._tap.room() > 0
            for fd, connection in list(self._connections.items()):
                if connection.is_over:
                    self._drop(fd)
                else:
                    self._wait(fd, connection, room=room)
        return self._epoll.fileno()

    def wants_write(self) -> bool:
        """Return False: the descriptor of `fileno` becomes readable when a connection can take more."""
        return False

    def poll(self) -> None:
        """Take new connections, and move what can be moved without waiting."""
        for fd, events in self._epoll.poll(0):
            connection = self._connections.get(fd)
            if connection is None:
                self._accept()
                continue
            if events & select.EPOLLOUT:
                connection.flush()
            if events & (select.EPOLLHUP | select.EPOLLERR):
                connection.hang_up()
            room = self._tap.room()
            if events & select.EPOLLIN and room and not self._paused():
                data = connection.take(room)
                if data:
                    self._tap.type(data)

    def close(self) -> None:
        """Close all connections and the listening socket. Its file is removed with the machine's directory."""
        for fd in list(self._connections):
            self._drop(fd)
        self._epoll.close()
        self._listener.close()

    def _put(self, data: bytes) -> None:
        for connection in self._connections.values():
            connection.put(data)
        own = self._own
        while own is not None and len(own.unsent) > MAX_UNSENT and not own.hung_up and not self._called():
            own.wait(100)

    def _accept(self) -> None:
        try:
            stream, _ = self._listener.accept()
        except OSError:  # it has gone again, or is another user's, or there is no descriptor for it
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            stream.close()
            return
        stream.setblocking(False)
        self._connections[stream.fileno()] = Connection(stream)

    def _wait(self, fd: int, connection: Connection, *, room: bool) -> None:
        """Register for what can be done now; for nothing after a hang-up, which epoll would report again and again."""
        wanted = select.EPOLLIN if room and connection.may_type else 0
        if connection.unsent and not connection.hung_up:
            wanted |= select.EPOLLOUT
        before = self._waits.get(fd)
        if connection.hung_up and not wanted:
            if before is not None:
                self._epoll.unregister(fd)
                del self._waits[fd]
        elif before is None:
            self._epoll.register(fd, wanted)
            self._waits[fd] = wanted
        elif before != wanted:
            self._epoll.modify(fd, wanted)
            self._waits[fd] = wanted

    def _drop(self, fd: int) -> None:
        connection = self._connections.pop(fd)
        if self._waits.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        connection.stream.close()
