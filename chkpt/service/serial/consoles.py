"""The consoles attached to a serial port: a Unix socket that carries the port's bytes, for any number of readers.

Each connection gets what the guest sends from then on, and may type. A connection that does not read loses the oldest
of what waits for it, never the guest's time; one that types waits while the port has no room.

One stream may be of this process's own, for the terminal of `chkpt run --console`. It loses nothing: where it is far
behind the machine waits for it, and its clock stands still, as for the standard output of a run with an end.
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
"""Milliseconds in which this process's own stream must take something more of the last that the guest has sent."""

MAX_CONNECTIONS: Final = 32
"""Connections at one port; a further one is closed at once."""


class Connection:
    """One console. `over` is set once nothing more can come from it or go to it."""

    def __init__(self, stream: socket.socket, *, loses: bool = True) -> None:
        """Take a non-blocking stream; with `loses` the oldest of more than `MAX_UNSENT` bytes that wait is dropped."""
        self.stream = stream
        self._loses = loses
        self.unsent = bytearray()
        self.may_type = True  # until the other side has ended its half
        self.hung_up = False  # nobody reads any more; what was typed before may still be there
        self.over = False

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
        """Wait for room, and send what then fits; return whether there was any."""
        poller = select.poll()
        poller.register(self.stream, select.POLLOUT)
        if not poller.poll(milliseconds):
            return False
        self.flush()
        return True

    def hang_up(self) -> None:
        """Note that nobody reads any more. What was typed before that and not yet taken stays."""
        self.hung_up = True
        try:
            self.may_type = self.may_type and bool(self.stream.recv(1, socket.MSG_PEEK))
        except OSError:
            self.may_type = False
        self.over = not self.may_type

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
            self.over = self.hung_up
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
        """Take connections from `listener`, which is closed with this.

        Args:
            listener: a non-blocking socket that listens.
            tap: the serial port's.
            paused: whether the machine takes no input now.
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
        """Return a blocking stream of this process's own, which gets all that the guest sends from now on. Once.

        Before the run loop runs, or in its thread. `called` tells that the loop must not wait for the stream now.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._own = self._connections[ours.fileno()] = Connection(ours, loses=False)
        self._called = called
        return theirs

    def conclude(self) -> None:
        """Let the stream of `attach` have the last of the output, and end. Once the loop has ended."""
        own, self._own = self._own, None
        if own is not None and not own.over:
            while own.unsent and own.wait(LAST_MS):
                pass
            self._drop(own.stream.fileno())

    # -- Pollable -----------------------------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """Return one descriptor for all of them; it waits for input only while the port has room for it."""
        if self._connections:
            room = not self._paused() and self._tap.room() > 0
            for fd, connection in list(self._connections.items()):
                if connection.over:
                    self._drop(fd)
                else:
                    self._wait(fd, connection, room=room)
        return self._epoll.fileno()

    def wants_write(self) -> bool:
        """Return False: the descriptor becomes readable for that, too."""
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
        """Close all connections and the listening socket; its file goes with the machine's directory."""
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
        except OSError:  # it is gone again, or somebody else's, or there is no descriptor for it
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            stream.close()
            return
        stream.setblocking(False)
        self._connections[stream.fileno()] = Connection(stream)

    def _wait(self, fd: int, connection: Connection, *, room: bool) -> None:
        """Register for what can be done now. A hang-up is told of for ever, so it may not even be registered."""
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
