"""Keys whose secret halves every test may know."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: TID253  the tests need it
from cryptography.hazmat.primitives.serialization import (  # noqa: TID253  the same
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from chkpt.context import Checkpoint
from chkpt.seal.keys import PublicKey
from chkpt.seal.sign import signer
from chkpt.snapshot import dumps
from tests.support.checkpoints import small


@dataclass(frozen=True)
class Pair:
    """A secret key's file, and the public one's."""

    secret: Path
    public: Path
    raw: bytes

    @property
    def id(self) -> str:
        return PublicKey(self.raw).id


def pair(directory: Path, name: str = "alice") -> Pair:
    """Write a pair of keys; a name always has the same ones."""
    key = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"\0"))
    secret, public = directory / name, directory / f"{name}.pub"
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    secret.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return Pair(secret, public, key.public_key().public_bytes_raw())


def public_pem(raw: bytes) -> bytes:
    """Return 32 bytes as a public key in PEM, whatever they are (RFC 8410, 4)."""
    from base64 import b64encode

    der = bytes.fromhex("302a300506032b6570032100") + raw
    return b"-----BEGIN PUBLIC KEY-----\n" + b64encode(der) + b"\n-----END PUBLIC KEY-----\n"


def signed(path: Path, *keys: Pair, checkpoint: Checkpoint | None = None) -> Path:
    """Write a snapshot that the first key has signed, the others after it."""
    from chkpt.seal.sign import sign_file

    first, *others = keys
    path.write_bytes(dumps(small() if checkpoint is None else checkpoint, sign=signer(first.secret)[1]))
    for each in others:
        sign_file(path, each.secret)
    return path
