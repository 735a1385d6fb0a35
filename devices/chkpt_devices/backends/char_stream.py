"""The backends `file` and `stdio`: bytes in from one descriptor, out to another."""

import atexit
import logging
import os
import select
import stat
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from chkpt.device import Length
from chkpt.errors import StorageError
from chkpt_devices.backends.char_line import HostLine, Readiness, is_ready

log = logging.getLogger(__name__)

PATH_MAX = 4096


@dataclass(frozen=True, slots=True)
class FileConfig:
    """The file that output is appended to, and the one that input is read from, to its end."""

    path: Annotated[str, Length(1, PATH_MAX)]
    input: Annotated[str, Length(1, PATH_MAX)] | None = None


@dataclass(frozen=True, slots=True)
class StdioConfig:
    """Standard input and output have no options."""


class Stream(HostLine):
    """Reads `source` (None: nothing to read) and writes `sink`. Neither needs to be non-blocking.

    It writes a byte at a time, when the host reports that the write does not wait. It cannot make a terminal or pipe
    non-blocking, because other processes share it. If the host refuses (disk full, pipe closed), output is dropped with
    one warning: the guest must not hang because of its log.
    """

    def __init__(self, name: str, source: int | None, sink: int, give_back: Callable[[], None]) -> None:
        super().__init__()
        self._name = name
        self._source = source
        self._sink = sink
        self._give_back: Callable[[], None] | None = give_back
        self._failing = False
        self._readiness = Readiness()

    def write(self, data: bytes, /) -> int:
        """Write as much as the host takes now."""
        for at in range(len(data)):
            try:
                taken = os.write(self._sink, data[at : at + 1]) if is_ready(self._sink, select.POLLOUT) else 0
            except BlockingIOError:
                taken = 0
            except OSError as exc:
                if not self._failing:
                    log.warning("%s: output is dropped: %s", self._name, exc.strerror)
                self._failing = True
                return len(data)
            if not taken:
                self._blocked = True
                return at
            self._failing = False
        return len(data)

    def fileno(self) -> int | None:
        """Return the descriptor to wait on while there is input to read and room for it, or output waits."""
        wanted = {}
        if self._source is not None and self._room():
            wanted[self._source] = select.EPOLLIN
        if self._blocked:
            wanted[self._sink] = wanted.get(self._sink, 0) | select.EPOLLOUT
        return self._readiness.want(wanted)

    def poll(self) -> None:
        """Write waiting output, and read as much input as there is room for."""
        self._unblock()
        room = self._room()
        if self._source is None or self._frontend is None or not room or not is_ready(self._source, select.POLLIN):
            return
        try:
            data = os.read(self._source, room)
        except BlockingIOError:
            return
        except OSError:  # a terminal that went away
            data = b""
        if data:
            self._frontend.receive(data)
        else:
            self._readiness.forget(self._source)
            self._source = None

    def close(self) -> None:
        """Restore the descriptors and close those of ours. A second call does nothing."""
        if self._give_back is not None:
            self._readiness.close()
            self._give_back()
            self._give_back = None


def open_file(config: FileConfig) -> Stream:
    """Open the backend `file`. Both paths may also name a FIFO or a device.

    Raises:
        StorageError: a path cannot be opened.
    """
    sink = _open(config.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        source = None if config.input is None else _open_input(config.input)
    except StorageError:
        os.close(sink)
        raise
    descriptors = [sink] if source is None else [sink, source]

    def give_back() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return Stream(config.path, source, sink, give_back)


def _open_input(path: str) -> int:
    """Open a file to read. A FIFO is opened for reading and writing, else it would end whenever it has no writer."""
    try:
        both = stat.S_ISFIFO(Path(path).stat().st_mode)
    except OSError:
        both = False
    return _open(path, os.O_RDWR if both else os.O_RDONLY)


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    except OSError as exc:
        raise StorageError(f"{exc.strerror}; name a file that this user may open", where=path) from exc


def open_stdio(_config: StdioConfig, source: int = 0, sink: int = 1) -> Stream:
    """Open the backend `stdio`. A terminal passes every key on, except those that make signals for this process.

    Raises:
        StorageError: standard input or output is closed.
    """
    for name, descriptor in (("input", source), ("output", sink)):
        try:
            os.fstat(descriptor)
        except OSError as exc:
            raise StorageError(f"standard {name} is closed; redirect it to /dev/null or use another backend") from exc
    if not os.isatty(source):
        return Stream("standard output", source, sink, lambda: None)
    before = termios.tcgetattr(source)
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(source)
    iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
    iflag &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    cc[termios.VMIN] = 1
    cc[termios.VTIME] = 0
    termios.tcsetattr(source, termios.TCSANOW, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])

    def give_back() -> None:
        atexit.unregister(give_back)
        with suppress(termios.error):  # the terminal went away
            termios.tcsetattr(source, termios.TCSANOW, before)

    atexit.register(give_back)  # a shell cannot use a terminal in this mode
    return Stream("standard output", source, sink, give_back)
