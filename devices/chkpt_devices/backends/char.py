"""The character backends: what may be behind a serial port.

All follow `chkpt.device.CharBackend`: no call waits. Input stays with the host while the frontend has no room. Output
that the host does not take yet stays in the UART. If there is no other end, output is dropped.
"""

from dataclasses import dataclass
from typing import Final

from chkpt.device import U32, BackendType, FrontendKind
from chkpt_devices.backends.char_line import HostLine, Readiness
from chkpt_devices.backends.char_pty import Pty, PtyConfig
from chkpt_devices.backends.char_socket import Socket, SocketConfig
from chkpt_devices.backends.char_stream import FileConfig, StdioConfig, open_file, open_stdio


@dataclass(frozen=True, slots=True)
class NullConfig:
    """The backend `null` has no options."""


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """The number of bytes at which the line is blocked until some are taken out of `output`; None: never."""

    capacity: U32 | None = None


class Null(HostLine):
    """Takes everything and brings nothing."""

    def __init__(self, _config: NullConfig) -> None:
        super().__init__()

    def write(self, data: bytes, /) -> int:
        """Drop the data."""
        return len(data)


class Memory(HostLine):
    """Keeps in `output` what is sent, and delivers what `feed` gets. For tests, and for programs with a machine."""

    def __init__(self, config: MemoryConfig) -> None:
        super().__init__()
        self.output = bytearray()
        self._capacity = config.capacity
        self._input = bytearray()
        self._readiness = Readiness()

    def feed(self, data: bytes) -> None:
        """Send `data` to the frontend: now as much as fits, the rest when it has room and `poll` is called."""
        self._input += data
        self._deliver()

    def write(self, data: bytes, /) -> int:
        """Keep as many bytes as fit."""
        taken = data if self._capacity is None else data[: max(0, self._capacity - len(self.output))]
        self.output += taken
        self._blocked = len(taken) < len(data)
        return len(taken)

    def fileno(self) -> int | None:
        """Return a descriptor that is readable, or None while `poll` has nothing to do."""
        return self._readiness.want({}, now=bool(self._input and self._room()) or self._has_room_again())

    def poll(self) -> None:
        """Let the frontend send what waits and now fits; deliver what was fed and now fits."""
        if self._has_room_again():
            self._unblock()
        self._deliver()

    def close(self) -> None:
        """Close the descriptor; `output` stays."""
        self._readiness.close()

    def _has_room_again(self) -> bool:
        return self._blocked and self._capacity is not None and len(self.output) < self._capacity

    def _deliver(self) -> None:
        room = min(self._room(), len(self._input))
        if self._frontend is not None and room:
            data = bytes(self._input[:room])
            del self._input[:room]
            self._frontend.receive(data)


NULL: Final = BackendType(FrontendKind.CHAR, "null", Null, NullConfig)
MEMORY: Final = BackendType(FrontendKind.CHAR, "memory", Memory, MemoryConfig)
FILE: Final = BackendType(FrontendKind.CHAR, "file", open_file, FileConfig)
PTY: Final = BackendType(FrontendKind.CHAR, "pty", Pty, PtyConfig)
SOCKET: Final = BackendType(FrontendKind.CHAR, "socket", Socket, SocketConfig)
STDIO: Final = BackendType(FrontendKind.CHAR, "stdio", open_stdio, StdioConfig)
