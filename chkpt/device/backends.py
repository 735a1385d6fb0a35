"""Frontends, which are a device's side, and backends, which are the host's side."""

from dataclasses import dataclass
from enum import IntFlag, StrEnum
from typing import Annotated, ClassVar, Final, Protocol, runtime_checkable

from chkpt.context import Blob, SparseBlob
from chkpt.device.fields import U32, U64, Length, StateDict, Upgrade


class FrontendKind(StrEnum):
    """The four kinds of frontend, as in Palacios."""

    BLOCK = "block"
    NET = "net"
    CHAR = "char"
    CONSOLE = "console"


SECTOR_SIZE: Final = 512
"""Bytes in a sector of a block backend."""


def _upgrade_to_2(old: StateDict, /) -> StateDict:
    """Return the state of a disk in version 2: with the bits in a blob, and the digest under the name `identity`."""
    state = {**old, "identity": old["digest"]}
    del state["digest"]
    changed = old["changed"]
    if not isinstance(changed, bytes):
        raise TypeError("changed is not bytes")
    pieces = {at // 0x10000: changed[at : at + 0x10000] for at in range(0, len(changed), 0x10000)}
    held = {number: piece for number, piece in pieces.items() if any(piece)}
    state["changed"] = SparseBlob(len(changed), 0x10000, held)
    return state


@dataclass(frozen=True, slots=True)
class DiskState:
    """The part of a disk that is state: which disk it is, and what has changed on it since the base image.

    `changed` has one bit per block, bit i of byte j for block 8 * j + i. `blocks` is as long as the disk and holds each
    changed block at its own place. `identity` identifies the base image: it is empty for a scratch disk, whose base is
    zeros; else its backend recognizes the kind of identity by the bytes.

    In version 1 `changed` was a value, which is too small for a disk of more than 512 GiB, and `identity` was named
    `digest`: the BLAKE3-256 of the image.
    """

    VERSION: ClassVar[int] = 2
    FIXED: ClassVar[tuple[str, ...]] = ("size", "identity")
    UPGRADES: ClassVar[dict[int, Upgrade]] = {1: _upgrade_to_2}

    size: U64
    identity: Annotated[bytes, Length(0, 64)]
    block_size: U32
    changed: Blob
    blocks: Blob


class BlockBackend(Protocol):
    """What is behind a drive. Offsets and lengths are in bytes, and multiples of `SECTOR_SIZE`."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def read_only(self) -> bool:
        """Whether every write fails."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes. Raise OSError if the medium fails."""

    def write(self, offset: int, data: bytes, /) -> None:
        """Replace the bytes at `offset`. If the medium fails, write nothing and raise OSError."""

    def flush(self) -> None:
        """Make earlier writes durable. Raise OSError if the medium fails."""

    def save(self) -> DiskState:
        """Return the disk's identity and its changes. Later writes do not alter the returned state."""

    def check(self, state: DiskState, /) -> None:
        """Raise StateError if `state` is of another disk. Change nothing."""

    def load(self, state: DiskState, /) -> None:
        """Check `state`, then replace the present changes by those in it."""

    def close(self) -> None:
        """Give back the host's resources."""


@runtime_checkable
class Identifies(Protocol):
    """A block backend whose base takes long to identify. Another thread does it while the machine runs.

    `like` is the identity in the state that is to be loaded. It is empty if the disk is to be saved.
    """

    def is_identified(self, like: bytes, /) -> bool:
        """Return whether the identity is known, so that `save`, or `check` of a state with `like`, need not wait."""

    def identify(self, like: bytes, /) -> None:
        """Wait until the identity is known. Any thread may call this. Raise StorageError if it cannot be found."""

    def end_identifying(self) -> None:
        """Let every wait for an identity fail, now and later, as the machine ends. Any thread may call this."""


class BlockFrontend(Protocol):
    """A drive that takes a disk."""

    def connect(self, backend: BlockBackend, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend. The drive is then empty, or absent."""

    def retry(self) -> None:
        """Try again what waits for a failed backend. The machine calls this when it is resumed."""


@runtime_checkable
class RemovableFrontend(BlockFrontend, Protocol):
    """A drive whose medium can be changed while the machine runs: it has a tray, which the guest may lock."""

    leaves_out: bool
    """Whether a state with a medium may be loaded into a drive without one: the guest then finds the medium removed."""

    @property
    def tray_open(self) -> bool:
        """Whether the tray is open."""

    @property
    def locked(self) -> bool:
        """Whether the guest has locked the closed tray."""

    def eject(self) -> None:
        """Open the tray, locked or not."""

    def request_eject(self) -> None:
        """Report to the guest, which has locked the tray, that the user wants to open it."""


class LineError(IntFlag):
    """What was wrong with a received character, in the bits of the 16550's LSR (NS16550D, table II)."""

    NONE = 0
    PARITY = 0x04
    FRAMING = 0x08
    BREAK = 0x10


class ModemLine(IntFlag):
    """The modem's lines as the terminal sees them, in the bits of the 16550's MSR."""

    CTS = 0x10
    DSR = 0x20
    RI = 0x40
    DCD = 0x80


class CharBackend(Protocol):
    """What is behind a serial port."""

    def attach(self, frontend: "CharFrontend", /) -> None:
        """Deliver what arrives to `frontend` from now on."""

    def write(self, data: bytes, /) -> int:
        """Take as much of `data` as fits and return how many bytes; 0 when blocked.

        After a short write the backend calls the frontend's `writable` once there is room.
        """

    def set_break(self, level: bool, /) -> None:
        """Begin or end a break condition on the outgoing line."""

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        """Show the state of the terminal's two modem outputs."""

    def fileno(self) -> int | None:
        """Return the descriptor whose readiness matters to `poll`; None if there is none now."""

    def wants_write(self) -> bool:
        """Return whether `poll` should also be called when the descriptor becomes writable."""

    def poll(self) -> None:
        """Do what needs no waiting: read from the host, call `receive` or `writable` of the frontend."""

    def close(self) -> None:
        """Give back the host's resources."""


class CharFrontend(Protocol):
    """A serial port that a character backend can be connected to."""

    def connect(self, backend: CharBackend, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend. What the guest sends is then lost."""

    def room(self) -> int:
        """Return how many bytes `receive` would take now without losing any."""

    def receive(self, data: bytes, errors: LineError = LineError.NONE, /) -> None:
        """Take characters from the line, each with these errors. Characters that do not fit are an overrun."""

    def set_modem(self, lines: ModemLine, /) -> None:
        """Take the levels of the four modem inputs."""

    def writable(self) -> None:
        """Send what waits: the backend has room again."""


class NetBackend(Protocol):
    """What is behind a network card."""

    def send(self, frame: bytes, /) -> None:
        """Send one Ethernet frame, without its check sequence."""

    def close(self) -> None:
        """Give back the host's resources."""


class NetFrontend(Protocol):
    """A network card that a network backend can be connected to."""

    def connect(self, backend: NetBackend, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend. The link is then down."""

    def receive(self, frame: bytes, /) -> bool:
        """Take one Ethernet frame. Return False if it had to be dropped."""


class ConsoleBackend(Protocol):
    """What shows a text screen."""

    def draw(self, row: int, column: int, cells: bytes, /) -> None:
        """Show cells from this place on, each two bytes: a character and an attribute."""

    def move_cursor(self, row: int, column: int, /) -> None:
        """Show the cursor here."""

    def resize(self, rows: int, columns: int, /) -> None:
        """Change the size of the screen, in cells."""

    def close(self) -> None:
        """Give back the host's resources."""


class ConsoleFrontend(Protocol):
    """A display adapter that a console backend can be connected to."""

    def connect(self, backend: ConsoleBackend, /) -> None:
        """Use `backend` from now on, and draw the whole screen on it."""

    def disconnect(self) -> None:
        """Forget the backend."""
