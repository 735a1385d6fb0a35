"""Ed25519 keys in PEM (RFC 8410): PKCS#8 and SubjectPublicKeyInfo, as `openssl genpkey -algorithm ed25519` makes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from blake3 import blake3

from chkpt.errors import KeyFileError, StorageError
from chkpt.seal import curve
from chkpt.seal.key_files import raise_missing, read_public, read_secret
from chkpt.seal.key_pairs import write_pair

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_SUFFIX: Final = ".pub"
"""The ending of the names of public key files in a directory of trusted keys."""

_PUBLIC: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
_SECRET: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key, and its name here: that of the file it was read from, or nothing."""

    raw: bytes
    name: str = ""

    @property
    def id(self) -> str:
        """The id that users see: the first half of the key's BLAKE3-256, in hexadecimal. Whole keys are compared."""
        return blake3(self.raw).hexdigest()[:32]

    def __str__(self) -> str:
        return f"{self.id} ({self.name})" if self.name else self.id


TrustedKeys: TypeAlias = Mapping[bytes, PublicKey]
"""The keys that the caller trusts, by their 32 bytes."""


def generate_key(path: Path, *, force: bool = False) -> tuple[PublicKey, Path]:
    """Make a key: the secret half at `path` with mode 0600, the public one beside it as `NAME.pub`.

    Return the public key and the path of its file.

    Raises:
        ExistsError: one of the files exists, and `force` is not set.
        StorageError: the operating system refused.
        ChkptError: cryptography is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    except ModuleNotFoundError as exc:
        raise_missing("cryptography", "sign", exc)
    key = Ed25519PrivateKey.generate()
    public = key.public_key()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    beside = write_pair(path, secret, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), force=force)
    return PublicKey(public.public_bytes_raw(), beside.name), beside


def secret_key(path: Path) -> "Ed25519PrivateKey":
    """Read a secret key.

    Raises:
        NotFoundError: there is no such file.
        KeyFileError: it is not an Ed25519 key, or is encrypted, or others may read the file.
        StorageError: it cannot be read.
        ChkptError: cryptography is not installed.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError as exc:
        raise_missing("cryptography", "sign", exc)
    data = read_secret(path)
    try:
        key = load_pem_private_key(data, None)
    except TypeError as exc:
        raise KeyFileError(
            "the key is encrypted with a passphrase; decrypt it first, as chkpt does not ask for one", where=str(path)
        ) from exc
    except Exception as exc:  # the library does not document what it raises: ValueError, UnsupportedAlgorithm, ...
        raise KeyFileError("not a secret key in PEM; chkpt keygen makes one", where=str(path)) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError("not an Ed25519 key; chkpt keygen makes one", where=str(path))
    return key


def trusted_keys(paths: Iterable[Path]) -> TrustedKeys:
    """Read the public keys in files, and in the files `*.pub` of directories.

    Raises:
        NotFoundError: there is no such file or directory.
        KeyFileError: a file has no public key or a bad one, or a directory has no such file.
        StorageError: a file or directory cannot be read.
        ChkptError: cryptography is not installed.
    """
    keys: dict[bytes, PublicKey] = {}
    for path in paths:
        for file in _list_files(path):
            for raw in _read_public_keys(file):
                keys.setdefault(raw, PublicKey(raw, file.name))
    return keys


def _list_files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        files = sorted(each for each in path.iterdir() if each.name.endswith(PUBLIC_SUFFIX))
    except OSError as exc:
        raise StorageError(str(exc.strerror or exc), where=str(path)) from exc
    except ValueError:  # a NUL: the reader reports it
        return [path]
    if not files:
        raise KeyFileError(f"no public key in this directory; their files end in {PUBLIC_SUFFIX}", where=str(path))
    return files


def _read_public_keys(path: Path) -> Iterator[bytes]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ModuleNotFoundError as exc:
        raise_missing("cryptography", "sign", exc)
    data = read_public(path)
    blocks = _PUBLIC.findall(data)
    if not blocks:
        what = "this is a secret key" if _SECRET.search(data) else "not a public key in PEM"
        raise KeyFileError(f"{what}; give the public key, the .pub file of chkpt keygen", where=str(path))
    for block in blocks:
        try:
            key = load_pem_public_key(block)
        except Exception as exc:  # as above
            raise KeyFileError(f"a public key in it cannot be read ({exc})", where=str(path)) from exc
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError("a public key in it is not an Ed25519 key", where=str(path))
        raw = key.public_bytes_raw()
        if fault := curve.find_fault(raw):
            raise KeyFileError(f"the public key {raw.hex()} {fault}", where=str(path))
        yield raw
