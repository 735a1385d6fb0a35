"""A raw image on the host, and its identity, which a thread computes beside the machine.

To identify a large image takes as long as to read it. The thread begins when the image is opened. A caller that needs
the identity waits for it; a caller that must not wait asks `is_identified` first.
`chkpt_devices.backends.identity_cache` remembers it from one process to the next.
"""

import errno
import os
import stat
from contextlib import suppress
from functools import partial
from threading import Event, Lock, Thread
from typing import Final

from chkpt_devices.backends.identity import Kind, extents_of, identity_of
from chkpt_devices.backends.identity_cache import Stamp, recall, remember, stamp_of

SMALL: Final = 4 << 20
"""Bytes of an image that is identified when it is asked for, in a few milliseconds, without a thread and a cache."""

_ATTEMPTS: Final = 3  # to identify an image that changes meanwhile
_PATIENCE: Final = 2.0  # seconds to wait for the end of a thread, which may hang on a dead disk


class _Work:
    """A thread's work: one identity of a file as it is when the work begins."""

    def __init__(self, kind: Kind, stamp: Stamp) -> None:
        self.kind = kind
        self.stamp = stamp
        self.done = Event()
        self.identity = b""
        self.error: OSError | None = None
        self.thread: Thread | None = None


class Image:
    """A raw image, opened for reading only. Identities may be asked for by any thread, all else by the owner."""

    def __init__(self, path: str) -> None:
        """Open the image. Raise OSError if it cannot be opened."""
        self._path = path
        # O_NONBLOCK: a FIFO without a writer would wait for one; it changes nothing for files and block devices.
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._works: dict[Kind, _Work] = {}
        self._lock = Lock()  # around the table of works, and the file's end
        self._ended = False

    @property
    def kind(self) -> int:
        """The type of the file, as in its mode (inode(7))."""
        return stat.S_IFMT(os.fstat(self._file).st_mode)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return os.lseek(self._file, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at `offset`. Raise OSError if it cannot be read, or has become shorter."""
        return self._read(self._file, offset, length)

    def _read(self, file: int, offset: int, length: int) -> bytes:
        data = os.pread(file, length, offset)
        while len(data) < length:
            more = os.pread(file, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, f"{self._path} has become shorter")
            data += more
        return data

    def close(self) -> None:
        """Close the image, and end the threads of its identities. A second call does nothing."""
        self.end_identifying()
        for work in list(self._works.values()):
            if work.thread is not None:
                work.thread.join(_PATIENCE)
        with self._lock:
            file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    # -- its identity -------------------------------------------------------------------------------------------------

    def begin_identifying(self) -> None:
        """Begin to compute the identity that a save needs, unless that takes no time."""
        if self.size > SMALL:
            with suppress(OSError):  # the caller that needs the identity gets the error
                self._work(Kind.PIECES)

    def is_identified(self, kind: Kind) -> bool:
        """Whether `identity` would return at once: the identity is known, or cannot be computed."""
        with suppress(OSError):
            work = self._works.get(kind)
            if work is None:
                return self.size <= SMALL
            return work.done.is_set() and (work.error is not None or work.stamp == stamp_of(self._file))
        return True

    def identity(self, kind: Kind) -> bytes:
        """Return the identity of the image as it is now, and wait if it must be computed.

        Raises:
            OSError: it cannot be read, or it keeps changing, or `end_identifying` has been called.
        """
        for _ in range(_ATTEMPTS):
            work = self._work(kind)
            work.done.wait()
            if work.error is not None:
                with self._lock:
                    if self._works.get(kind) is work:
                        del self._works[kind]  # a later call tries again
                raise work.error
            if work.stamp == stamp_of(self._file):
                return work.identity
        raise OSError(errno.EBUSY, "it changes while it is read")

    def end_identifying(self) -> None:
        """Make all calls that wait for an identity fail, now and later: the machine ends."""
        self._ended = True

    def _work(self, kind: Kind) -> _Work:
        """Return the work for an identity of the file as it is now; begin it if there is none."""
        with self._lock:
            stamp = stamp_of(self._file)
            work = self._works.get(kind)
            if work is not None and (not work.done.is_set() or work.error is not None or work.stamp == stamp):
                return work
            work = self._works[kind] = _Work(kind, stamp)
            if self.size > SMALL and self.kind == stat.S_IFREG:
                work.identity = recall(stamp).get(kind, b"")
            if work.identity:
                work.done.set()
                return work
            compute = partial(self._compute, work, os.dup(self._file), self.size)
            if self.size > SMALL:
                work.thread = Thread(target=compute, name=f"identity of {self._path}", daemon=True)
                try:
                    work.thread.start()
                except RuntimeError:  # the system has no thread left
                    work.thread = None
                    compute()
                return work
        compute()
        return work

    def _compute(self, work: _Work, file: int, size: int) -> None:
        """Compute an identity. It reads from a descriptor of its own, which `close` of the image leaves open."""

        def check() -> None:
            if self._ended:
                raise OSError(errno.ECANCELED, "it is being closed")

        try:
            work.identity = identity_of(work.kind, size, partial(self._read, file), extents_of(file, size), check)
            if size > SMALL and stamp_of(file) == work.stamp and stat.S_ISREG(os.fstat(file).st_mode):
                _remember(work)
        except OSError as exc:
            work.error = exc
        except MemoryError:
            work.error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        finally:
            os.close(file)
            work.done.set()


def _remember(work: _Work) -> None:
    if work.stamp.is_settled:
        remember(work.stamp, {**recall(work.stamp), work.kind: work.identity})
