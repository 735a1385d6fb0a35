"""Reads files with keys: secret ones, which only their owner may read, and public ones."""

import os
import stat
from pathlib import Path
from typing import Final, NoReturn

from chkpt.errors import ChkptError, KeyFileError, NotFoundError, StorageError
from chkpt.extras import install
from chkpt.regular_file import NotRegularError, open_regular

MAX_KEY_FILE: Final = 1 << 16
"""Bytes in the longest file of keys."""

_OF_OTHERS: Final = 0o077


def read_secret(path: Path) -> bytes:
    """Return the content of a file that only its owner can read.

    Raises:
        NotFoundError: there is no such file.
        KeyFileError: others may read or write it, it is not a regular file, or it is longer than `MAX_KEY_FILE`.
        StorageError: it cannot be read.
    """
    return _read(path, secret=True)


def read_public(path: Path) -> bytes:
    """Return the content of a file of public keys, which others may read. Raises as `read_secret` does otherwise."""
    return _read(path, secret=False)


def _read(path: Path, *, secret: bool) -> bytes:
    try:
        file = open_regular(path)
        try:
            status = os.fstat(file)
            if secret and status.st_mode & _OF_OTHERS:
                raise KeyFileError(
                    f"{path}: other users can read or write this secret key (mode {stat.S_IMODE(status.st_mode):04o}),"
                    " so it is not used; chmod 600 it, and replace the key if one of them may have read it"
                )
            data = os.read(file, MAX_KEY_FILE + 1)
        finally:
            os.close(file)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError("there is no such key file", where=str(path)) from None
    except (NotRegularError, IsADirectoryError) as exc:
        raise KeyFileError("not a regular file", where=str(path)) from exc
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
    if len(data) > MAX_KEY_FILE:
        raise KeyFileError(f"not a file of keys, as it has more than {MAX_KEY_FILE} bytes", where=str(path))
    return data


def raise_missing(package: str, extra: str, exc: ModuleNotFoundError) -> NoReturn:
    """Raise a ChkptError that says how to install `package`, or `exc` if another package is missing."""
    if exc.name is None or exc.name.partition(".")[0] != package:
        raise exc
    raise ChkptError(f"{package} is not installed, which this needs: {install(extra)}") from exc
