"""Files with keys: secret ones that nobody else can read, public ones that everybody may."""

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
        KeyFileError: others may read or write it, or it is no regular file, or longer than `MAX_KEY_FILE`.
        StorageError: it cannot be read.
    """
    return _read(path, secret=True)


def read_public(path: Path) -> bytes:
    """Return the content of a file of public keys. Raises as `read_secret` does, but for who may read it."""
    return _read(path, secret=False)


def _read(path: Path, *, secret: bool) -> bytes:
    try:
        file = open_regular(path)
        try:
            status = os.fstat(file)
            if secret and status.st_mode & _OF_OTHERS:
                raise KeyFileError(
                    f"{path}: mode {stat.S_IMODE(status.st_mode):04o} lets others at a secret key, so it is not used; "
                    f"chmod 600 it, and think of who may have read it"
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
        raise KeyFileError(f"longer than any file of keys ({MAX_KEY_FILE} bytes)", where=str(path))
    return data


def missing(package: str, extra: str, exc: ModuleNotFoundError) -> NoReturn:
    """Raise what is to be done where the package of an extra is not installed, or `exc` where it is another one."""
    if exc.name is None or exc.name.partition(".")[0] != package:
        raise exc
    raise ChkptError(f"{package} is not installed, which this needs: {install(extra)}") from exc
