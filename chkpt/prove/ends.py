"""What is behind a machine's frontends on the bench: ends that follow the experiment and write down what they see.

A mark in a log is one thing that the outside world could notice: a byte sent, a level that changed, a sector written.
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


class Line(CharBackend):
    """A serial line that takes as many bytes as it has `room` for; None: as many as come."""

    def __init__(self) -> None:
        self.log: list[Hashable] = []
        self.room: int | None = None
        self.levels = NO_LEVELS
        self._frontend: CharFrontend | None = None
        self._blocked = False

    def attach(self, frontend: CharFrontend, /) -> None:
        """Bring what is received to `frontend`."""
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
        """Have room for `room` more bytes, and ask for those that wait."""
        self.room = room
        if self._blocked and self._frontend is not None and room != 0:
            self._blocked = False
            self._frontend.writable()

    def follow(self, other: "End", *, whole: bool) -> None:  # noqa: ARG002  what it has sent is not state
        """Become like the end of another machine, as far as no state has it."""
        assert isinstance(other, Line)
        self.room = other.room

    def set_break(self, level: bool, /) -> None:
        """Note where a break begins or ends."""
        self._become((*self.levels[:2], level))

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        """Note where DTR or RTS changes."""
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
    """Return sectors at `offset` combined with what marks each of 256 of them; done twice, it is undone."""
    first, count = offset // SECTOR_SIZE, len(data) // SECTOR_SIZE
    marks = b"".join(_MARKS[(first + at) & 0xFF] for at in range(count))
    return (int.from_bytes(data, "little") ^ int.from_bytes(marks, "little")).to_bytes(len(data), "little")


_MARKS: Final = [bytes((sector * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(SECTOR_SIZE)) for sector in range(256)]


class Medium(BlockBackend):
    """A disk over another one, which fails at every access unless it `works`.

    No two sectors next to each other look alike, even on a disk of zeros: a read from a wrong place must show.
    """

    def __init__(self, disk: BlockBackend) -> None:
        self.log: list[Hashable] = []
        self.works = True
        self._disk = disk

    def follow(self, other: "End", *, whole: bool) -> None:
        """Become like the medium of another machine: `whole` where it is in no drive, whose state would have it."""
        assert isinstance(other, Medium)
        self.works = other.works
        if whole:
            self._disk.load(other._disk.save())

    def differs(self, other: "Medium") -> bool:
        """Return whether the content of another medium over an equal base is another."""
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
        """Write to the disk below, and note it."""
        self._access()
        self._disk.write(offset, _stamp(offset, data))
        self.log.append((offset, data))

    def flush(self) -> None:
        """Flush the disk below, and note it."""
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


class Cable(NetBackend):
    """A network that takes every frame."""

    def __init__(self) -> None:
        self.log: list[Hashable] = []

    def follow(self, other: "End", *, whole: bool) -> None:
        """Do nothing: it is like any other."""

    def send(self, frame: bytes, /) -> None:
        """Note a frame."""
        self.log.append(frame)

    def close(self) -> None:
        """Do nothing."""


class Screen(ConsoleBackend):
    """A text screen."""

    def __init__(self) -> None:
        self.log: list[Hashable] = []

    def follow(self, other: "End", *, whole: bool) -> None:
        """Do nothing: it is like any other."""

    def draw(self, row: int, column: int, cells: bytes, /) -> None:
        """Note what is drawn."""
        self.log.append((row, column, cells))

    def move_cursor(self, row: int, column: int, /) -> None:
        """Note where the cursor goes."""
        self.log.append((row, column))

    def resize(self, rows: int, columns: int, /) -> None:
        """Note the size."""
        self.log.append(("size", rows, columns))

    def close(self) -> None:
        """Do nothing."""


End = Line | Medium | Cable | Screen
