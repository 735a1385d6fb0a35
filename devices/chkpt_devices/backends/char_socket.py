"""The backend `socket`: a Unix or TCP stream, listening or connecting."""

import errno
import os
import select
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from chkpt.device import U16, Length
from chkpt.errors import ConfigError, StorageError
from chkpt_devices.backends.char_line import HostLine, Readiness, is_ready

SUN_PATH_MAX = 107  # unix(7): 108 bytes with the NUL
CONNECT_SECONDS = 10
LOCALHOST = "127.0.0.1"
HELD_SIZE = 1 << 16  # bytes that peers left behind: more than a user types ahead, and little for the host


@dataclass(frozen=True, slots=True)
class SocketConfig:
    """A Unix socket's `path`, or a TCP `port` (listening on 0: any free one) at `host`, the local one if left out."""

    path: Annotated[str, Length(1, 4096)] | None = None
    host: Annotated[str, Length(1, 255)] | None = None
    port: U16 | None = None
    listen: bool = True


class Socket(HostLine):
    """One peer at a time; further peers wait until it has gone. `address` is what a peer connects to.

    Without a peer, output is dropped, as in QEMU. While a peer does not read, output waits in the UART. When the peer
    ends its side, the backend closes the connection, even if the guest does not read. A listening socket then takes the
    next peer; a connecting one stays without a peer. The guest reads what a peer has sent before it reads from the
    next one: up to HELD_SIZE bytes wait here. If there are more, the connection stays open until the rest fits. A byte
    stream cannot carry a break, so none is sent.

    Raises:
        ConfigError: neither or both of path and port, or a path too long for a socket.
        StorageError: the address cannot be listened on or connected to.
    """

    def __init__(self, config: SocketConfig) -> None:
        super().__init__()
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._deaf = False  # the peer does not read any more, but may still send
        self._ended = False  # the peer has ended its side, but what it sent does not fit into `_held` yet
        self._held = bytearray()  # what peers that have ended their side left for the guest
        self._own: tuple[int, int] | None = None  # device and inode of the Unix socket that we made
        self._path = config.path
        self._readiness = Readiness()
        self._reserve = Reserve()
        check(config)
        if not config.listen:
            self._peer = connect(config)
            self._take(self._peer)
            self.address = short_address(self._peer.getpeername())
            return
        self._listener = listen(config)
        self._listener.setblocking(False)
        self._reserve.fill()
        self.address = short_address(self._listener.getsockname())
        if self._path is not None:
            self._own = file_id(self._path)

    def write(self, data: bytes, /) -> int:
        """Send as much as the peer's buffer has room for. Without a peer, drop the data."""
        if self._peer is None or self._deaf:
            return len(data)
        try:
            taken = self._peer.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            taken = 0
        except OSError:
            self._deaf = True
            self._blocked = False  # all output is taken from now on, and the frontend is just sending
            if has_ended(self._peer):
                self._hold_rest(self._peer)
            return len(data)
        self._blocked = taken < len(data)
        return taken

    def fileno(self) -> int | None:
        """Return the descriptor to wait on: for a peer, for its end, and for its input while there is room.

        A connection that has ended stays ready, so it is waited for only while `_held` has room for its rest.
        """
        room = self._room()
        wanted = {}
        if self._peer is not None:
            events = select.EPOLLOUT if self._blocked else 0
            if not self._ended:
                events |= select.EPOLLRDHUP | (select.EPOLLIN if room else 0)
            elif len(self._held) < HELD_SIZE:
                events |= select.EPOLLRDHUP
            if events:
                wanted[self._peer.fileno()] = events
        elif self._listener is not None:
            wanted[self._listener.fileno()] = select.EPOLLIN
        return self._readiness.want(wanted, now=bool(room and self._held))

    def poll(self) -> None:
        """Accept a peer, or close one that has ended. Send waiting output; read as much input as there is room for."""
        if self._peer is None and self._listener is not None:
            peer = self._reserve.accept(self._listener)
            if peer is not None:
                self._take(peer)
        if self._peer is not None and has_ended(self._peer):
            self._hold_rest(self._peer)
        if self._peer is not None:
            self._unblock()
        room = self._room()
        if self._frontend is None or not room:
            return
        if self._held:
            data = bytes(self._held[:room])
            del self._held[:room]
        else:
            data = self._read(room)
        if data:
            self._frontend.receive(data)

    def close(self) -> None:
        """Close the connection, and remove the Unix socket if it is still ours. A second call does nothing."""
        self._readiness.close()
        self._reserve.close()
        for each in (self._peer, self._listener):
            if each is not None:
                each.close()
        self._peer = self._listener = None
        self._held.clear()
        if self._path is not None and self._own is not None and file_id(self._path) == self._own:
            with suppress(OSError):
                Path(self._path).unlink()
        self._own = None

    def _take(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer = peer
        self._deaf = self._ended = False

    def _read(self, room: int) -> bytes:
        """Return at most `room` bytes of what the peer has sent. Close the connection if it has ended its side."""
        if self._peer is None:
            return b""
        try:
            data = self._peer.recv(room)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._lose_peer()
        return data

    def _hold_rest(self, peer: socket.socket) -> None:
        """Hold the rest of a peer that has ended its side and close the connection, unless the rest is too large."""
        self._ended = True
        while space := HELD_SIZE - len(self._held):
            try:
                data = peer.recv(space)
            except OSError:  # it was reset, so nothing more comes
                data = b""
            if not data:
                self._lose_peer()
                return
            self._held += data

    def _lose_peer(self) -> None:
        """Close the connection. Output that waited for the peer is dropped."""
        if self._peer is not None:
            self._readiness.forget(self._peer.fileno())
            self._peer.close()
            self._peer = None
        self._unblock()


class Reserve:
    """A spare descriptor, to refuse a peer when the process has no other left.

    A waiting peer would keep the listening socket ready and make the run loop spin.
    """

    def __init__(self) -> None:
        self._spare: int | None = None

    def fill(self) -> None:
        """Open the descriptor, if the process may have one more."""
        if self._spare is None:
            with suppress(OSError):
                self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def accept(self, listener: socket.socket) -> socket.socket | None:
        """Return a peer, or None if there is no peer or no descriptor for it."""
        self.fill()
        try:
            return listener.accept()[0]
        except OSError as exc:
            if exc.errno in {errno.EMFILE, errno.ENFILE} and self._spare is not None:
                self.close()
                with suppress(OSError):
                    listener.accept()[0].close()
                self.fill()
            return None

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None


def has_ended(peer: socket.socket) -> bool:
    """Whether the peer has ended its side or reset the connection, so nothing more comes."""
    return is_ready(peer.fileno(), select.POLLRDHUP)


def check(config: SocketConfig) -> None:
    """Raise ConfigError if the configuration names no address, or two."""
    if (config.path is None) == (config.port is None):
        raise ConfigError("backend socket: give either path, for a Unix socket, or port, for TCP")
    if config.path is not None and config.host is not None:
        raise ConfigError("backend socket: host goes with port, not with path")
    if config.path is not None and len(os.fsencode(config.path)) > SUN_PATH_MAX:
        raise ConfigError(f"backend socket: {config.path} is longer than the {SUN_PATH_MAX} bytes a socket may have")


def connect(config: SocketConfig) -> socket.socket:
    """Return a socket connected to the configured address. Raise StorageError."""
    if config.path is None:
        address = (config.host or LOCALHOST, config.port or 0)
        try:
            return socket.create_connection(address, CONNECT_SECONDS)
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise StorageError(f"{address[0]}:{address[1]}: {reason}; is the other side listening?") from exc
    peer = socket.socket(socket.AF_UNIX)
    try:
        peer.settimeout(CONNECT_SECONDS)
        peer.connect(config.path)
    except OSError as exc:
        peer.close()
        raise StorageError(f"{exc.strerror or exc}; is the other side listening?", where=config.path) from exc
    return peer


def listen(config: SocketConfig) -> socket.socket:
    """Return a socket listening on the configured address. Raise StorageError."""
    if config.path is None:
        host, port = config.host or LOCALHOST, config.port or 0
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((host, port), family=family, backlog=1)
        except OSError as exc:
            raise StorageError(f"{host}:{port}: {exc.strerror or exc}; name an address of this host") from exc
    listener = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind, so that it is never open to others (unix(7))
        if is_abandoned(config.path):
            Path(config.path).unlink()
        listener.bind(config.path)
        listener.listen(1)
    except OSError as exc:
        listener.close()
        raise StorageError(f"{exc.strerror}; remove it or name another path", where=config.path) from exc
    return listener


def is_abandoned(path: str) -> bool:
    """Whether `path` is a Unix socket on which no process listens, such as a killed process leaves behind."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def file_id(path: str) -> tuple[int, int] | None:
    """Return what distinguishes one file at `path` from another, or None if there is no file."""
    try:
        found = Path(path).lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def short_address(address: str | tuple[str, int] | tuple[str, int, int, int]) -> str | tuple[str, int]:
    """Return a socket's address without the two fields that IPv6 adds."""
    return address if isinstance(address, str) else (address[0], address[1])
