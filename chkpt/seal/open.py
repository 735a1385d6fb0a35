"""Opens snapshots: decrypts those that are encrypted, and checks signatures if the caller asks for it."""

import os
from pathlib import Path

from chkpt.errors import StorageError
from chkpt.seal.age import decrypt
from chkpt.seal.keys import TrustedKeys
from chkpt.seal.sign import require
from chkpt.snapshot import Reader
from chkpt.snapshot.reader import is_encrypted
from chkpt.snapshot.source import FileSource, Source


class Plaintext:
    """The plaintext of an encrypted file, in memory until it is closed. A `chkpt.snapshot.Source`."""

    __slots__ = ("_data", "file_id", "name", "size")

    def __init__(self, data: memoryview, file: FileSource) -> None:
        self._data: memoryview | None = data
        self.file_id = file.file_id
        self.name = file.name
        self.size = len(data)

    def read(self, offset: int, size: int, /) -> memoryview:
        """Return a view. Raise StorageError after `close`."""
        if self._data is None:
            raise StorageError("the snapshot has been closed", where=self.name)
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Free the memory, once no view from `read` is in use."""
        self._data = None


def open_snapshot(
    path: str | os.PathLike[str], *, identity: Path | None = None, trusted: TrustedKeys | None = None
) -> Reader:
    """Open the snapshot at `path`; decrypt it and check its signatures first.

    The file is opened once. So the reader yields what has been checked, even if another file gets the path meanwhile.
    The plaintext of an encrypted file is in memory until the reader is closed.

    Args:
        path: the snapshot's file.
        identity: the file with the identity that opens an encrypted snapshot; not read if the snapshot is plain.
        trusted: one of these keys must have signed it; None to ask for no signature.

    Raises:
        NotFoundError: there is no such file.
        SealedError: it is encrypted, and `identity` is missing or does not open it.
        SignatureError: see `chkpt.seal.sign.require`.
        RefusedError: see `Reader`.
        KeyFileError: `identity` cannot be used.
        StorageError: a file cannot be read.
        ChkptError: an extra that this needs is not installed.
    """
    file = FileSource(path)
    try:
        source: Source = file
        if identity is not None and is_encrypted(file):
            source = Plaintext(decrypt(file, identity), file)
            file.close()
        reader = Reader(source)
        if trusted is not None:
            require(reader, trusted)
    except BaseException:
        file.close()
        raise
    return reader
