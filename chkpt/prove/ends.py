"""The backends of a machine on the bench: they do what the experiment asks, and log what they see.

An entry of a log is one event that the outside world could notice: a byte sent, a level that changed, a sector written.
"""

from collections.abc import Hashable
from errno import EIO
from typing import Final

from chkpt.device import (
    SECTOR_SIZE,
    BlockBackend,
    CharBackend,
    CharFrontend,
    ConsoleBackend,
    DiskState,
    NetBackend,
)

NO_LEVELS: Final = (False, False, False)
"""DTR, RTS and break of a line that nothing drives."""


class SerialEnd(CharBackend):
    """A serial line that takes `room` more bytes; None for any number."""

    def __init__(self) -> None:
        self.log: list[Hashable] = []
        self.room: int | None = None
        self.levels = NO_LEVELS
        self._frontend: CharFrontend | None = None
        self._blocked = False

    def attach(self, frontend: CharFrontend, /) -> None:
        """Use `frontend` from now on."""
        self._frontend = frontend

    def write(self, data: bytes, /) -> int:
        """Take what there is room for."""
        taken = len(data) if self.room is None else min(self.room, len(data))
        if self.room is not None:
            self.room -= taken
        self.log += data[:taken]
        self._blocked = taken < len(data)
        return taken

    def make_room(self, room: int | None) -> None:
        """Set the room to `room` bytes, and ask the frontend for the bytes that wait."""
        self.room = room
        if self._blocked and self._frontend is not None and room != 0:
            self._blocked = False
            self._frontend.writable()

    def follow(self, other: "BenchEnd", *, whole: bool) -> None:  # noqa: ARG002  what it has sent is not state
        """Copy from the end of another machine what no state contains."""
        assert isinstance(other, SerialEnd)
        self.room = other.room

    def set_break(self, level: bool, /) -> None:
        """Log the begin or end of a break."""
        self._become((*self.levels[:2], level))

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        """Log a change of DTR or RTS."""
        self._become((dtr, rts, self.levels[2]))

    def _become(self, levels: tuple[bool, bool, bool]) -> None:
        if levels != self.levels:
            self.levels = levels
            self.log.append(levels)

    def fileno(self) -> None:
        """Return None: nothing is to be polled."""

    def wants_write(self) -> bool:
        """Return False: nothing is to be polled."""
        return False

    def poll(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def _stamp(offset: int, data: bytes) -> bytes:
    """Return the sectors at `offset`, each XORed with the pattern of its number modulo 256."""
    first, count = offset // SECTOR_SIZE, len(data) // SECTOR_SIZE
    marks = b"".join(_MARKS[(first + at) & 0xFF] for at in range(count))
    return (int.from_bytes(data, "little") ^ int.from_bytes(marks, "little")).to_bytes(len(data), "little")


_MARKS: Final = [bytes((sector * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(SECTOR_SIZE)) for sector in range(256)]


class DiskEnd(BlockBackend):
    """A disk on top of another one. It fails at every access unless it `works`.

    Neighbouring sectors always differ, even on a disk of zeros, so that a read from a wrong place shows.
    """

    def __init__(self, disk: BlockBackend) -> None:
        self.log: list[Hashable] = []
        self.works = True
        self._disk = disk

    def follow(self, other: "BenchEnd", *, whole: bool) -> None:
        """Copy from the disk of another machine what no state contains: all of it (`whole`) if it is in no drive."""
        assert isinstance(other, DiskEnd)
        self.works = other.works
        if whole:
            self._disk.load(other._disk.save())

    def differs(self, other: "DiskEnd") -> bool:
        """Return whether another disk with the same base has other content."""
        ours, theirs = self._disk.save(), other._disk.save()
        return any(
            [*one.pieces()] != [*other.pieces()]
            for one, other in ((ours.changed, theirs.changed), (ours.blocks, theirs.blocks))
        )

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._disk.size

    @property
    def read_only(self) -> bool:
        """Whether every write fails."""
        return self._disk.read_only

    def _access(self) -> None:
        if not self.works:
            raise OSError(EIO, "the medium fails, as the experiment asks")

    def read(self, offset: int, length: int, /) -> bytes:
        """Read from the disk below."""
        self._access()
        return _stamp(offset, self._disk.read(offset, length))

    def write(self, offset: int, data: bytes, /) -> None:
        """Write to the disk below, and log it."""
        self._access()
        self._disk.write(offset, _stamp(offset, data))
        self.log.append((offset, data))

    def flush(self) -> None:
        """Flush the disk below, and log it."""
        self._access()
        self._disk.flush()
        self.log.append("flush")

    def save(self) -> DiskState:
        """Return the state of the disk below."""
        return self._disk.save()

    def check(self, state: DiskState, /) -> None:
        """Check a state with the disk below."""
        self._disk.check(state)

    def load(self, state: DiskState, /) -> None:
        """Load the disk below."""
        self._disk.load(state)

    def close(self) -> None:
        """Close the disk below."""
        self._disk.close()


class NetEnd(NetBackend):
    """A network that takes every frame."""

    def __init__(self) -> None:
        self.log: list[Hashable] = []

    def follow(self, other: "BenchEnd", *, whole: bool) -> None:
        """Do nothing: it is like any other."""

    def send(self, frame: bytes, /) -> None:
        """Log a frame."""
        self.log.append(frame)

    def close(self) -> None:
        """Do nothing."""


class ScreenEnd(ConsoleBackend):
    """A text screen."""

    def __init__(self) -> None:
        self.log: list[Hashable] = []

    def follow(self, other: "BenchEnd", *, whole: bool) -> None:
        """Do nothing: it is like any other."""

    def draw(self, row: int, column: int, cells: bytes, /) -> None:
        """Log what is drawn."""
        self.log.append((row, column, cells))

    def move_cursor(self, row: int, column: int, /) -> None:
        """Log the new place of the cursor."""
        self.log.append((row, column))

    def resize(self, rows: int, columns: int, /) -> None:
        """Log the size."""
        self.log.append(("size", rows, columns))

    def close(self) -> None:
        """Do nothing."""


BenchEnd = SerialEnd | DiskEnd | NetEnd | ScreenEnd
