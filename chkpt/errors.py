"""Every error chkpt raises on purpose, and the exit status each one ends the command with.

    ChkptError                      1  failed
    ├── UsageError                  2  the request itself is wrong
    │   ├── ConfigError                a machine's TOML, or a configuration in a snapshot
    │   └── KeyFileError               a key, a recipient or an identity that cannot be used
    ├── NotFoundError               3  no such snapshot, context, device or frontend
    ├── RefusedError                4  the snapshot is refused
    │   ├── CorruptError               the bytes are not those that were written
    │   ├── VersionError               a newer chkpt has written it
    │   ├── LimitError                 more than a reader accepts
    │   ├── StateError                 a value that the device cannot have
    │   ├── SignatureError             not signed by a key that the caller trusts
    │   ├── SealedError                encrypted, and not for the given identity
    │   └── StrictError                something would be skipped, and `strict` is set
    ├── NoMachineError              5  no such running machine, or more than one
    ├── ExistsError                 1  the name is taken
    ├── DeviceError                 1  a device failed
    │   ├── ConflictError              two owners of one port, MSR, address or line
    │   ├── SaveError                  a device's `save` raised
    │   └── LoadError                  a load failed; the machine is as it was
    │       └── HalfLoadedError            a load failed and could not be undone; a served machine ends
    └── StorageError                1  the operating system refused a read or a write

A message names the file, the path of the context and the offset, if they are known, and says what to do. The error's
`where` is the place without the text. Only this module joins the two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Self


class ChkptError(Exception):
    """Root of the tree: every error that the caller can cause and may want to catch."""

    exit_status: ClassVar[int] = 1

    where: str
    """The place of the error: a file, a path in a snapshot, or `FILE: PATH`; empty if it is not known."""

    def __init__(self, text: str = "", /, *, where: str = "", subject: str = "") -> None:
        """Join the place and the text to the message.

        Args:
            text: what is wrong.
            where: the place, which the message begins with: `a.toml: not TOML`.
            subject: the place, if it is the subject of the text: `devices/pit.count is missing`.
        """
        sentence = f"{subject} {text}" if subject else text
        super().__init__(f"{where}: {sentence}" if where else sentence)
        self.where = ": ".join(place for place in (where, subject) if place)

    def within(self, place: str, *, advice: str = "") -> Self:
        """Return a new error with `place`, such as the file, before its own place, and `advice` after its text.

        `place` is not named twice: it is left out if the message begins with it.
        """
        text = f"{self}; {advice}" if advice else str(self)
        if text.startswith(f"{place}: "):
            named = type(self)(text)
            named.where = self.where or place
            return named
        named = type(self)(text, where=place)
        if self.where:
            named.where = f"{place}: {self.where}"
        return named


@contextmanager
def naming(place: str, *kinds: type[ChkptError], advice: str = "") -> Iterator[None]:
    """Add `place` to the errors of these kinds that leave the block; see `ChkptError.within`."""
    try:
        yield
    except kinds as exc:
        raise exc.within(place, advice=advice) from exc


class UsageError(ChkptError):
    """The request itself is wrong: an option, a name or a value is not allowed."""

    exit_status = 2


class ConfigError(UsageError):
    """A machine's configuration does not describe a machine."""


class KeyFileError(UsageError):
    """A key, a recipient or an identity cannot be used: it is not one, of an unknown kind, or not kept secret."""


class NotFoundError(ChkptError):
    """There is no such snapshot, context, device type, device or frontend."""

    exit_status = 3


class RefusedError(ChkptError):
    """The snapshot is refused. Nothing has changed."""

    exit_status = 4


class CorruptError(RefusedError):
    """The bytes are not those that were written."""


class VersionError(RefusedError):
    """The file, or a device's state in it, is of a newer version than this chkpt can read."""


class LimitError(RefusedError):
    """The file needs more memory, depth or items than a reader allows."""


class StateError(RefusedError):
    """A value is missing, of the wrong kind, or out of its range."""


class SignatureError(RefusedError):
    """No key that the caller trusts has signed the snapshot, or the signature of such a key is wrong."""


class SealedError(RefusedError):
    """The snapshot is encrypted, and the given identity cannot open it."""


class StrictError(RefusedError):
    """The load would skip something, and the caller asked for `strict`."""


class NoMachineError(ChkptError):
    """There is no such running machine, or there are several and the request names none."""

    exit_status = 5


class ExistsError(ChkptError):
    """The name is taken."""


class DeviceError(ChkptError):
    """A device, or what it is connected to, failed."""


class ConflictError(DeviceError):
    """Two owners claim the same port, MSR, address or line; or a machine does not accept a change now."""


class SaveError(DeviceError):
    """A device could not be saved, so nothing was."""


class LoadError(DeviceError):
    """A device could not be loaded; every device is as it was before, unless it is a HalfLoadedError."""


class HalfLoadedError(LoadError):
    """A load failed and could not be undone: the machine is half loaded, and must not run."""


class StorageError(ChkptError):
    """The operating system refused a read or a write."""
