"""Encryption with age (age-encryption.org/v1): to recipients, and back with an identity.

pyrage reads and writes streams. Here the whole plaintext is in memory: a snapshot is read by position, and age
authenticates the whole of it only when it is read to its end. So an encrypted save or load takes as much memory as the
snapshot's file has bytes, and no plaintext is ever in a file. age does not compress, so a small file stays small.

Three traps of pyrage: it reports damage in the payload as a plain OSError; it turns an error of our reader or writer
into one of its own; and it loses an error of the writer at the last chunk.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from chkpt.errors import CorruptError, KeyFileError, LimitError, RefusedError, SealedError
from chkpt.seal.key_files import raise_missing, read_public, read_secret
from chkpt.seal.key_pairs import write_pair
from chkpt.snapshot import Source, Writable

Recipient: TypeAlias = Any  # pyrage ships no types
Identity: TypeAlias = Any

_RECIPIENT: Final = re.compile(r"(age1|ssh-(ed25519|rsa) )\S+( .*)?")
_STEP: Final = 1 << 16

MAX_RECIPIENTS: Final = 256
"""Stanzas in the largest header, one for each recipient. The library takes time quadratic in their number."""

MAX_HEADER: Final = 128 << 10
"""Bytes of the longest header: 256 stanzas of RSA keys of 2048 bits fit. The time is quadratic in these, too."""


def generate_identity(path: Path, *, force: bool = False) -> tuple[str, Path]:
    """Make an identity at `path` with mode 0600, and beside it its recipient as `NAME.pub`, as `age-keygen` does.

    Return the recipient and the path of its file.

    Raises:
        ExistsError: one of the files exists, and `force` is not set.
        StorageError: the operating system refused.
        ChkptError: pyrage is not installed.
    """
    try:
        from pyrage import x25519  # type: ignore[import-untyped]  # the package ships no types
    except ModuleNotFoundError as exc:
        raise_missing("pyrage", "age", exc)
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    secret = f"# public key: {recipient}\n{identity}\n".encode()
    return recipient, write_pair(path, secret, f"{recipient}\n".encode(), force=force)


def read_recipients(texts: Iterable[str]) -> list[str]:
    """Return the recipients in `texts`: each text is a recipient, or names a file with one recipient a line.

    Raises:
        NotFoundError: there is no such file.
        KeyFileError: a file has no recipient, or one that is neither age's own kind nor an SSH key.
        StorageError: a file cannot be read.
        ChkptError: pyrage is not installed.
    """
    found: list[str] = []
    for text in texts:
        if _RECIPIENT.fullmatch(text):
            found.append(text)
            continue
        lines = _read_lines(read_public(Path(text)), text)
        if not lines:
            raise KeyFileError(f"{text}: no recipient in it")
        found += lines
    check_recipients(found)
    return found


def check_recipients(recipients: Iterable[str]) -> None:
    """Raise KeyFileError if one of them is not a recipient, ChkptError if pyrage is not installed."""
    for each in recipients:
        _parse_recipient(each)


def encrypt(plain: io.BytesIO, file: Writable, recipients: Sequence[str]) -> None:
    """Write the content of `plain` to `file` so that only the recipients can read it.

    Raises:
        KeyFileError: a recipient is not valid, or there is none.
        StorageError: the file cannot be written.
        ChkptError: pyrage is not installed.
    """
    try:
        import pyrage
    except ModuleNotFoundError as exc:
        raise_missing("pyrage", "age", exc)
    keys = [_parse_recipient(each) for each in recipients]
    if not keys:
        raise KeyFileError("encryption needs a recipient")
    if len(keys) >= MAX_RECIPIENTS:  # the library adds a stanza without a meaning (age, "grease")
        raise KeyFileError(f"{len(keys)} recipients; the limit is {MAX_RECIPIENTS - 1}")
    plain.seek(0)
    writer = _Writer(file)
    try:
        pyrage.encrypt_io(plain, writer, keys)
    except (pyrage.EncryptError, OSError) as exc:
        if writer.error is not None:
            raise writer.error from exc
        raise KeyFileError(f"the snapshot cannot be encrypted to {', '.join(recipients)}: {exc}") from exc
    if writer.error is not None:
        raise writer.error


def decrypt(source: Source, identity: Path) -> memoryview:
    """Return the whole plaintext of an encrypted file, authenticated.

    Raises:
        SealedError: no identity in the file at `identity` opens it.
        CorruptError: it was cut short or changed.
        LimitError: its header is longer than chkpt ever writes.
        NotFoundError, KeyFileError, StorageError: the file at `identity` cannot be used.
        ChkptError: pyrage is not installed.
    """
    try:
        import pyrage
    except ModuleNotFoundError as exc:
        raise_missing("pyrage", "age", exc)
    identities = _read_identities(identity)
    _check_header(source)
    reader, plain = _Reader(source), io.BytesIO()
    try:
        pyrage.decrypt_io(reader, plain, identities)
    except (pyrage.DecryptError, OSError, MemoryError) as exc:
        if reader.error is not None:
            raise reader.error from exc
        raise _make_error(exc, source.name, identity) from exc
    return plain.getbuffer()


def _check_header(source: Source) -> None:
    """Raise LimitError for a header that would take the library too long. A header ends with a line `--- MAC`."""
    begin = bytes(source.read(0, min(source.size, MAX_HEADER)))
    end = begin.find(b"\n---")
    if end < 0 and source.size > MAX_HEADER:
        raise LimitError(f"encrypted, but its header has no end in {MAX_HEADER} bytes, the limit", where=source.name)
    stanzas = begin.count(b"\n->", 0, len(begin) if end < 0 else end)
    if stanzas > MAX_RECIPIENTS:
        raise LimitError(f"encrypted for {stanzas} recipients; the limit is {MAX_RECIPIENTS}", where=source.name)


def _make_error(exc: Exception, name: str, identity: Path) -> RefusedError:
    """Return the error to raise for one of pyrage's. pyrage has one class for all of them; only the texts differ."""
    if isinstance(exc, MemoryError):
        return RefusedError("not enough memory to hold it while it is read", where=name)
    if "No matching keys" in str(exc):
        return SealedError(f"encrypted, but not for the identity in {identity}; or its header is damaged", where=name)
    if "xcessive work" in str(exc):
        return SealedError("encrypted with a passphrase; use age to decrypt it", where=name)
    return CorruptError(f"encrypted, but cut short or changed since ({exc}); restore it from a copy", where=name)


class _Writer:
    """Passes on what is written, and keeps its own error, which pyrage would replace."""

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
    """Reads a source from its beginning, and keeps its own error, which pyrage would replace."""

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


def _read_lines(data: bytes, name: str) -> list[str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as exc:
        raise KeyFileError("not a file of keys, as it is not text", where=name) from exc
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _parse_recipient(text: str) -> Recipient:
    try:
        from pyrage import RecipientError, ssh, x25519
    except ModuleNotFoundError as exc:
        raise_missing("pyrage", "age", exc)
    try:
        if text.startswith("age1"):
            return x25519.Recipient.from_str(text)
        if _RECIPIENT.fullmatch(text):
            return ssh.Recipient.from_str(text)
    except RecipientError as exc:
        raise KeyFileError(f"{text!r} is not a recipient: {exc}") from exc
    raise KeyFileError(f"{text!r} is not a recipient: one of age begins with age1, one of SSH with ssh-")


def _read_identities(path: Path) -> list[Identity]:
    try:
        from pyrage import IdentityError, ssh, x25519
    except ModuleNotFoundError as exc:
        raise_missing("pyrage", "age", exc)
    data = read_secret(path)
    try:
        if data.startswith(b"-----BEGIN "):
            return [ssh.Identity.from_buffer(data)]
        identities = [x25519.Identity.from_str(line) for line in _read_lines(data, str(path))]
    except IdentityError as exc:
        raise KeyFileError(f"not an identity that chkpt can use, of age or SSH ({exc})", where=str(path)) from exc
    if not identities:
        raise KeyFileError("no identity in it", where=str(path))
    return identities
