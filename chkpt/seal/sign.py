"""Signs the root digest of a snapshot, and checks signatures: those in the file, and those in `FILE.sig` beside it."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from chkpt.errors import ExistsError, LimitError, NotFoundError, RefusedError, SealedError, SignatureError, naming
from chkpt.seal import curve
from chkpt.seal.key_files import raise_missing
from chkpt.seal.keys import PublicKey, TrustedKeys, secret_key
from chkpt.snapshot import FORMAT, Reader, Sign, Signature
from chkpt.snapshot.signatures import MAX_FRAME, decode_signatures, encode_signatures, signed_message
from chkpt.snapshot.source import FileSource
from chkpt.store.files import new_file
from chkpt.store.publish import SIGNATURES


class Verdict(Enum):
    """The result of checking a signature."""

    VALID = "valid"  # by a key that the caller trusts
    UNKNOWN = "unknown key"  # by a key that the caller does not know
    INVALID = "invalid"  # not by that key, or not of this snapshot


@dataclass(frozen=True, slots=True)
class Signer:
    """One signature and its verdict. `place` is the path of the file that holds the signature."""

    key: PublicKey
    verdict: Verdict
    place: str


# -- signing ----------------------------------------------------------------------------------------------------------


def signer(path: Path) -> tuple[PublicKey, Sign]:
    """Return the public key of the secret key at `path`, and the function that signs, for `chkpt.snapshot.dump`.

    Raises as `chkpt.seal.keys.secret_key` does.
    """
    key = secret_key(path)
    public = key.public_key().public_bytes_raw()

    def sign(root_digest: bytes) -> bytes:
        return encode_signatures([Signature(public, key.sign(signed_message(root_digest, FORMAT)))])

    return PublicKey(public), sign


def sign_file(path: Path, key: Path) -> PublicKey:
    """Add a signature to the file of a snapshot; return the public key.

    First every byte is checked. Then a new file is written, with the signature, and replaces the old one at once. An
    older signature by the same key is replaced. An encrypted file is refused: the new file would hold its plaintext for
    a moment.

    If another process adds a signature meanwhile, this call keeps it and begins anew. If another process replaces or
    removes the snapshot, this call changes nothing.

    Raises:
        SealedError: the file is encrypted.
        ExistsError: the snapshot has been replaced or removed meanwhile.
        LimitError: it has as many signatures as a file may have.
        RefusedError: it is not a whole snapshot.
        ChkptError: as `signer` and `new_file` raise.
    """
    path = path.resolve()
    public, sign = signer(key)
    while not _try_sign_file(path, sign):
        pass
    return public


def _try_sign_file(path: Path, sign: Sign) -> bool:
    """Add a signature to a file. Return False, with nothing changed, if another one has been added meanwhile."""
    try:
        opened = Reader.open(path)
    except SealedError as exc:
        raise SealedError(
            f"{path}: the snapshot is encrypted, and its signature belongs inside: sign it when you save it"
            " (save --sign --recipient), or put the signature beside it (--detached)"
        ) from exc
    with opened as reader:
        reader.verify()
        own = decode_signatures(sign(reader.root_digest))
        frame = encode_signatures(_merge(reader.signatures, own))

        with new_file(path) as file:
            for part in reader.unsigned():
                file.write(bytes(part))
            file.write(frame)
            file.write(reader.trailer(len(frame)))
            file.sync()
            with file.locking():
                with _open_same(path, reader.root_digest) as now:
                    if now.signatures != reader.signatures:
                        return False
                file.give_name(replace=True)
    return True


def _open_same(path: Path, root_digest: bytes) -> Reader:
    """Open the snapshot at `path`. Raise ExistsError unless it has this digest."""
    try:
        now = Reader.open(path)
    except NotFoundError:
        raise ExistsError(f"{path}: it was removed while it was signed; nothing has been changed") from None
    if now.root_digest != root_digest:
        now.close()
        raise ExistsError(f"{path}: it was replaced while it was signed; nothing has been changed")
    return now


def sign_beside(reader: Reader, key: Path) -> tuple[PublicKey, Path]:
    """Add a signature to `FILE.sig`; return the public key and the path. Signatures of another snapshot are removed.

    First every byte of the snapshot is checked. The snapshot may be encrypted; else this raises as `sign_file` does.
    """
    path = Path(reader.name + SIGNATURES)
    public, sign = signer(key)
    reader.verify()
    own = decode_signatures(sign(reader.root_digest))
    while not _try_sign_beside(path, reader, own):
        pass
    return public, path


def _try_sign_beside(path: Path, reader: Reader, own: Sequence[Signature]) -> bool:
    """Write a file of detached signatures. Return False, with nothing changed, if the file has changed meanwhile."""
    found = _read_detached(path)
    present = [each for each in found if _is_valid(each, reader.root_digest)]
    frame = encode_signatures(_merge(present, own))

    with new_file(path) as file:
        file.write(frame)
        file.sync()
        with file.locking():
            if not reader.is_at(reader.name):
                raise ExistsError(
                    f"{reader.name}: it was replaced or removed while it was signed; nothing has been changed"
                )
            if _read_detached(path) != found:
                return False
            file.give_name(replace=True)
    return True


def _merge(present: Sequence[Signature], own: Sequence[Signature]) -> list[Signature]:
    keys = {each.public_key for each in own}
    return [*(each for each in present if each.public_key not in keys), *own]


# -- checking ---------------------------------------------------------------------------------------------------------


def signers(reader: Reader, trusted: TrustedKeys) -> tuple[Signer, ...]:
    """Return the signatures of an open snapshot with their verdicts: those in the file and those beside it.

    Raises:
        RefusedError: the file beside it does not hold signatures, or holds too many.
        StorageError: it cannot be read.
        ChkptError: cryptography is not installed, and there is a signature to check.
    """
    beside = Path(reader.name + SIGNATURES)
    found = [(each, reader.name) for each in reader.signatures]
    found += [(each, str(beside)) for each in _read_detached(beside)]
    result = []
    for signature, place in found:
        key = trusted.get(signature.public_key)
        if not _is_valid(signature, reader.root_digest):
            verdict = Verdict.INVALID
        else:
            verdict = Verdict.UNKNOWN if key is None else Verdict.VALID
        result.append(Signer(key or PublicKey(signature.public_key), verdict, place))
    return tuple(result)


def require(reader: Reader, trusted: TrustedKeys) -> tuple[Signer, ...]:
    """Return the signatures of an open snapshot, once a trusted key has signed it. The reader yields what was signed.

    Every signature in the name of a trusted key must be valid. Signatures by unknown keys are ignored.

    Raises:
        SignatureError: no trusted key has signed it, or a signature in the name of one is not valid.
        RefusedError, StorageError, ChkptError: see `signers`.
    """
    found = signers(reader, trusted)
    for each in found:
        if each.verdict is Verdict.INVALID and each.key.raw in trusted:
            raise SignatureError(
                f"{each.place}: the signature by {each.key} is not valid for this snapshot: "
                "it is damaged, forged, or of another snapshot"
            )
    if not any(each.verdict is Verdict.VALID for each in found):
        by = ", ".join(f"{each.key}, {each.verdict.value}" for each in found)
        raise SignatureError(
            f"{reader.name}: not signed by any of the {len(trusted)} trusted keys; "
            + (f"its signatures: {by}" if by else "it has no signature")
        )
    return found


def _read_detached(path: Path) -> tuple[Signature, ...]:
    """Return the signatures in a file of detached ones; none if there is no such file."""
    try:
        source = FileSource(path)
    except NotFoundError:
        return ()
    with closing(source), naming(os.fspath(path), RefusedError, advice="remove it, or get it again"):
        if source.size > MAX_FRAME:
            raise LimitError(f"{source.size} bytes of signatures; the limit is {MAX_FRAME}")
        return decode_signatures(source.read(0, source.size))


def _is_valid(signature: Signature, root_digest: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as exc:
        raise_missing("cryptography", "sign", exc)
    if curve.find_fault(signature.public_key):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(signature.public_key)
        key.verify(signature.signature, signed_message(root_digest, FORMAT))
    except (InvalidSignature, ValueError):
        return False
    return True
