"""Every error chkpt raises on purpose, and the exit status each one ends the command with.

    ChkptError                      1  failed
    ├── UsageError                  2  the request itself is wrong
    │   ├── ConfigError                a machine's TOML, or a configuration in a snapshot
    │   └── KeyFileError               a key, a recipient or an identity that cannot be used
    ├── NotFoundError               3  no such snapshot, context, device or frontend
    ├── RefusedError                4  the snapshot is not taken
    │   ├── CorruptError               bytes that are not what was written
    │   ├── VersionError               written by something newer than this
    │   ├── LimitError                 more than a reader is willing to hold
    │   ├── StateError                 a value no such device can have
    │   ├── SignatureError             not signed by whom the caller trusts
    │   ├── SealedError                encrypted, and not for the identity that is given
    │   └── StrictError                something would be skipped, and `strict` was asked for
    ├── NoMachineError              5  no such running machine, or more than one
    ├── ExistsError                 1  the name is taken
    ├── DeviceError                 1  a device failed
    │   ├── ConflictError              two owners of one port, MSR, address or line
    │   ├── SaveError                  a device's `save` raised
    │   └── LoadError                  a load failed; the machine is as it was
    │       └── HalfLoadedError            and could not be taken back; a served machine ends
    └── StorageError                1  the operating system refused a read or a write

A message names the file, the path of the context and the offset where it knows them, and says what to do. The place
alone, without the text, is the error's `where`. Only this module puts the two together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Self


class ChkptError(Exception):
    """Root of the tree: everything the caller can cause and may want to catch."""

    exit_status: ClassVar[int] = 1

    where: str
    """The place the error is about: a file, a path in a snapshot, or `FILE: PATH`; empty when it is not known."""

    def __init__(self, text: str = "", /, *, where: str = "", subject: str = "") -> None:
        """Put the message together.

        Args:
            text: what is wrong.
            where: the place, which stands before the text: `a.toml: not TOML`.
            subject: the place, if the text is a sentence about it: `devices/pit.count is missing`.
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
    """Name `place` in the errors of these kinds that leave the block; see `ChkptError.within`."""
    try:
        yield
    except kinds as exc:
        raise exc.within(place, advice=advice) from exc


class UsageError(ChkptError):
    """The request itself is wrong: an option, a name or a value that cannot be."""

    exit_status = 2


class ConfigError(UsageError):
    """A machine's configuration does not describe a machine."""


class KeyFileError(UsageError):
    """A key, a recipient or an identity cannot be used: not one, not of a kind known here, or not kept secret."""


class NotFoundError(ChkptError):
    """There is no such snapshot, context, device type, device or frontend."""

    exit_status = 3


class RefusedError(ChkptError):
    """The snapshot cannot be taken as it is; nothing has been changed."""

    exit_status = 4


class CorruptError(RefusedError):
    """The bytes are not those that were written."""


class VersionError(RefusedError):
    """The file, or one device's state in it, is newer than this chkpt understands."""


class LimitError(RefusedError):
    """The file asks for more memory, depth or items than a reader will give."""


class StateError(RefusedError):
    """A value is missing, of the wrong kind, or out of its range."""


class SignatureError(RefusedError):
    """No key that the caller trusts has signed the snapshot, or a signature said to be of one is not."""


class SealedError(RefusedError):
    """The snapshot is encrypted, and cannot be opened with what was given."""


class StrictError(RefusedError):
    """Something would have been skipped, and the caller asked that nothing be."""


class NoMachineError(ChkptError):
    """There is no such running machine, or several and none was named."""

    exit_status = 5


class ExistsError(ChkptError):
    """The name is taken."""


class DeviceError(ChkptError):
    """A device, or what it is connected to, failed."""


class ConflictError(DeviceError):
    """Two owners claim the same port, MSR, address or line; or a machine does not take a change now."""


class SaveError(DeviceError):
    """A device could not be saved, so nothing was."""


class LoadError(DeviceError):
    """A device could not be loaded; every device is as it was before, unless it is a HalfLoadedError."""


class HalfLoadedError(LoadError):
    """A load failed, and what it had done could not be undone: the machine is neither, and must not run on."""


class StorageError(ChkptError):
    """The operating system refused a read or a write."""
