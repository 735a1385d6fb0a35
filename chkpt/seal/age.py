"""Encryption with age (age-encryption.org/v1): to recipients, and back with an identity.

pyrage reads and writes streams. Here the plaintext is in memory, whole: a snapshot is read by position, and what has
not been read to its end has not been authenticated to its end. So an encrypted save or load holds the snapshot's file
once, and no plaintext is ever in a file. age compresses nothing: there are no bombs.

Three traps: damage in the payload is a plain OSError there; an error of our own reader or writer comes back as one of
age's; and one of the writer's at the last chunk does not come back at all.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from chkpt.errors import CorruptError, KeyFileError, LimitError, RefusedError, SealedError
from chkpt.seal.key_files import missing, read_public, read_secret
from chkpt.seal.key_pairs import write_pair
from chkpt.snapshot import Source, Writable

Recipient: TypeAlias = Any  # pyrage ships no types
Identity: TypeAlias = Any

_RECIPIENT: Final = re.compile(r"(age1|ssh-(ed25519|rsa) )\S+( .*)?")
_STEP: Final = 1 << 16

MAX_RECIPIENTS: Final = 256
"""A header has so many stanzas at most. One is for each recipient. The library takes time quadratic in them."""

MAX_HEADER: Final = 128 << 10
"""Bytes of the longest header: 256 stanzas of RSA keys of 2048 bits fit. It takes time quadratic in these, too."""


def generate_identity(path: Path, *, force: bool = False) -> tuple[str, Path]:
    """Make an identity at `path` with mode 0600, and beside it its recipient as `NAME.pub`, as `age-keygen` does.

    Return the recipient and the path of its file.

    Raises:
        ExistsError: one of the files is there, and `force` is not set.
        StorageError: the operating system refused.
        ChkptError: pyrage is not installed.
    """
    try:
        from pyrage import x25519  # type: ignore[import-untyped]  # the package ships no types
    except ModuleNotFoundError as exc:
        missing("pyrage", "age", exc)
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    secret = f"# public key: {recipient}\n{identity}\n".encode()
    return recipient, write_pair(path, secret, f"{recipient}\n".encode(), force=force)


def read_recipients(texts: Iterable[str]) -> list[str]:
    """Return the recipients that `texts` are, or that are in the files they name, a line each.

    Raises:
        NotFoundError: there is no such file.
        KeyFileError: no recipient, or one that is not of age's own kind or an SSH key.
        StorageError: a file cannot be read.
        ChkptError: pyrage is not installed.
    """
    found: list[str] = []
    for text in texts:
        if _RECIPIENT.fullmatch(text):
            found.append(text)
            continue
        lines = _lines(read_public(Path(text)), text)
        if not lines:
            raise KeyFileError(f"{text}: no recipient in it")
        found += lines
    check_recipients(found)
    return found


def check_recipients(recipients: Iterable[str]) -> None:
    """Raise KeyFileError where one of them is no recipient itself, ChkptError where pyrage is not installed."""
    for each in recipients:
        _recipient(each)


def encrypt(plain: io.BytesIO, file: Writable, recipients: Sequence[str]) -> None:
    """Write what is in `plain` to `file` so that only the recipients can read it.

    Raises:
        KeyFileError: a recipient cannot be one, or there is none.
        StorageError: the file refuses.
        ChkptError: pyrage is not installed.
    """
    try:
        import pyrage
    except ModuleNotFoundError as exc:
        missing("pyrage", "age", exc)
    keys = [_recipient(each) for each in recipients]
    if not keys:
        raise KeyFileError("to encrypt needs a recipient")
    if len(keys) >= MAX_RECIPIENTS:  # the library adds a stanza that means nothing (age, "grease")
        raise KeyFileError(f"{len(keys)} recipients; the limit is {MAX_RECIPIENTS - 1}")
    plain.seek(0)
    writer = _Writer(file)
    try:
        pyrage.encrypt_io(plain, writer, keys)
    except (pyrage.EncryptError, OSError) as exc:
        if writer.error is not None:
            raise writer.error from exc
        raise KeyFileError(f"cannot be encrypted to {', '.join(recipients)}: {exc}") from exc
    if writer.error is not None:
        raise writer.error


def decrypt(source: Source, identity: Path) -> memoryview:
    """Return the plaintext of an encrypted file, whole and authenticated.

    Raises:
        SealedError: no identity in the file at `identity` opens it.
        CorruptError: it was cut short or changed.
        LimitError: its header is longer than that of any file that chkpt encrypts.
        NotFoundError, KeyFileError, StorageError: the file at `identity` cannot be used.
        ChkptError: pyrage is not installed.
    """
    try:
        import pyrage
    except ModuleNotFoundError as exc:
        missing("pyrage", "age", exc)
    identities = _identities(identity)
    _check_header(source)
    reader, plain = _Reader(source), io.BytesIO()
    try:
        pyrage.decrypt_io(reader, plain, identities)
    except (pyrage.DecryptError, OSError, MemoryError) as exc:
        if reader.error is not None:
            raise reader.error from exc
        raise _refusal(exc, source.name, identity) from exc
    return plain.getbuffer()


def _check_header(source: Source) -> None:
    """Raise LimitError or CorruptError for a header that the library should not see. It ends with a line `--- MAC`."""
    begin = bytes(source.read(0, min(source.size, MAX_HEADER)))
    end = begin.find(b"\n---")
    if end < 0 and source.size > MAX_HEADER:
        raise LimitError(f"encrypted, and its header has no end in {MAX_HEADER} bytes, the limit", where=source.name)
    stanzas = begin.count(b"\n->", 0, len(begin) if end < 0 else end)
    if stanzas > MAX_RECIPIENTS:
        raise LimitError(f"encrypted for {stanzas} recipients; the limit is {MAX_RECIPIENTS}", where=source.name)


def _refusal(exc: Exception, name: str, identity: Path) -> RefusedError:
    """Return what to tell of an error of pyrage, which has a class for none of them and a text for each."""
    if isinstance(exc, MemoryError):
        return RefusedError("not enough memory to hold it while it is read", where=name)
    if "No matching keys" in str(exc):
        return SealedError(f"encrypted, and not for the identity in {identity}; or its header is damaged", where=name)
    if "xcessive work" in str(exc):
        return SealedError("encrypted with a passphrase; use age to decrypt it", where=name)
    return CorruptError(f"encrypted, and cut short or changed since ({exc}); restore it from a copy", where=name)


class _Writer:
    """Passes on what is written, and keeps the error that age would give another face."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        try:
            taken = self._file.write(data)
        except BaseException as exc:
            self.error = exc
            raise
        return len(data) if taken is None else taken

    def flush(self) -> None:
        """Do nothing: the file is flushed by its owner."""


class _Reader:
    """Reads a source from its beginning, and keeps the error that age would give another face."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        left = self._source.size - self._at
        size = min(left, _STEP if size < 0 else size)
        try:
            data = bytes(self._source.read(self._at, size))
        except BaseException as exc:
            self.error = exc
            raise
        self._at += size
        return data


# -- recipients and identities ----------------------------------------------------------------------------------------


def _lines(data: bytes, name: str) -> list[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise KeyFileError("not text, and so no file of keys", where=name) from exc
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _recipient(text: str) -> Recipient:
    try:
        from pyrage import RecipientError, ssh, x25519
    except ModuleNotFoundError as exc:
        missing("pyrage", "age", exc)
    try:
        if text.startswith("age1"):
            return x25519.Recipient.from_str(text)
        if _RECIPIENT.fullmatch(text):
            return ssh.Recipient.from_str(text)
    except RecipientError as exc:
        raise KeyFileError(f"{text!r} is no recipient: {exc}") from exc
    raise KeyFileError(f"{text!r} is no recipient: one of age begins with age1, one of SSH with ssh-")


def _identities(path: Path) -> list[Identity]:
    try:
        from pyrage import IdentityError, ssh, x25519
    except ModuleNotFoundError as exc:
        missing("pyrage", "age", exc)
    data = read_secret(path)
    try:
        if data.startswith(b"-----BEGIN "):
            return [ssh.Identity.from_buffer(data)]
        identities = [x25519.Identity.from_str(line) for line in _lines(data, str(path))]
    except IdentityError as exc:
        raise KeyFileError(f"not an identity that chkpt can use, of age or SSH ({exc})", where=str(path)) from exc
    if not identities:
        raise KeyFileError("no identity in it", where=str(path))
    return identities
