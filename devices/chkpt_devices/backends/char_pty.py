"""The backend `pty`: a pseudo-terminal for a terminal program to open."""

import os
import select
import tty
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from chkpt.device import Length
from chkpt.errors import StorageError
from chkpt_devices.backends.char_line import HostLine, Readiness

TERMINALS = "/dev/pts/"


@dataclass(frozen=True, slots=True)
class PtyConfig:
    """A symbolic link to the terminal, whose own name is a number that changes from run to run."""

    link: Annotated[str, Length(1, 4096)] | None = None


class Pty(HostLine):
    """A pseudo-terminal in raw mode; `path` is what a reader opens.

    While no reader has it open, output is dropped, as in QEMU. While a reader does not read, output waits in the UART.
    A reader may hang up and come back: the next reader gets what the last one left unread.

    Raises:
        StorageError: the system has no pseudo-terminal to give, or the link cannot be made.
    """

    def __init__(self, config: PtyConfig) -> None:
        super().__init__()
        try:
            self._master, slave = os.openpty()
        except OSError as exc:
            raise StorageError(f"no pseudo-terminal to be had: {exc.strerror}; is /dev/pts mounted?") from exc
        self.path = os.ttyname(slave)
        os.fchmod(slave, 0o600)  # the system lets its group `tty` write, which would let the group type
        tty.setraw(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._open = True
        self._link: Path | None = None
        self._hung_up = True  # as of the last read: a hang-up stays readable until the next reader
        self._hang_up = select.poll()
        self._hang_up.register(self._master, 0)
        self._readiness = Readiness()
        if config.link is not None:
            try:
                link(Path(config.link), self.path)
            except StorageError:
                self.close()
                raise
            self._link = Path(config.link)

    def write(self, data: bytes, /) -> int:
        """Write as much as the reader's queue has room for. Without a reader, drop the data."""
        if self._hang_up.poll(0):
            return len(data)
        try:
            taken = os.write(self._master, data)
        except BlockingIOError:
            taken = 0
        except OSError:  # the reader hung up in between
            return len(data)
        self._blocked = taken < len(data)
        return taken

    def fileno(self) -> int | None:
        """Return the descriptor to wait on while there is room for input, or output waits.

        After a hang-up it is ready only for changes: the hang-up itself lasts, and would make the run loop spin.
        """
        events = (select.EPOLLIN if self._room() else 0) | (select.EPOLLOUT if self._blocked else 0)
        if events and self._hung_up:
            events |= select.EPOLLET
        return self._readiness.want({self._master: events} if events else {})

    def poll(self) -> None:
        """Write waiting output, and read as much input as there is room for."""
        self._readiness.acknowledge()
        self._unblock()
        room = self._room()
        if self._frontend is None or not room:
            return
        try:
            data = os.read(self._master, room)
        except BlockingIOError:
            self._hung_up = False
        except OSError:  # EIO: no reader
            self._hung_up = True
        else:
            self._hung_up = False
            self._frontend.receive(data)

    def close(self) -> None:
        """Hang up, and remove the link if it is still ours. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        if self._link is not None:
            with suppress(OSError):
                if str(self._link.readlink()) == self.path:
                    self._link.unlink()
        self._readiness.close()
        os.close(self._master)


def link(path: Path, terminal: str) -> None:
    """Make a symbolic link to `terminal`, and replace one to a terminal that an earlier run left behind.

    Raises:
        StorageError: the path is something else, or the system refuses.
    """
    try:
        if path.is_symlink() and str(path.readlink()).startswith(TERMINALS):
            path.unlink()
        path.symlink_to(terminal)
    except FileExistsError as exc:
        raise StorageError(
            "exists and is not a link to a terminal; remove it or name another link", where=str(path)
        ) from exc
    except OSError as exc:
        raise StorageError(
            f"{exc.strerror}; name a link in a directory that this user may write", where=str(path)
        ) from exc
