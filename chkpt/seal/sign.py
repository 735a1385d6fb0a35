"""Signs the root digest of a snapshot, and says who has: signatures in the file, and those in `FILE.sig` beside it."""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from chkpt.errors import ExistsError, LimitError, NotFoundError, RefusedError, SealedError, SignatureError, naming
from chkpt.seal import curve
from chkpt.seal.key_files import missing
from chkpt.seal.keys import PublicKey, TrustedKeys, secret_key
from chkpt.snapshot import FORMAT, Reader, Sign, Signature
from chkpt.snapshot.signatures import MAX_FRAME, decode_signatures, encode_signatures, signed_message
from chkpt.snapshot.source import FileSource
from chkpt.store.files import new_file
from chkpt.store.publish import SIGNATURES


class Verdict(Enum):
    """What a signature is worth."""

    VALID = "valid"  # of a key that the caller trusts
    UNKNOWN = "unknown key"  # the holder of that key has signed, whoever it is
    INVALID = "invalid"  # not of that key, or not of this snapshot


@dataclass(frozen=True, slots=True)
class Signer:
    """One signature, checked. `place` is the path of the file that it was found in."""

    key: PublicKey
    verdict: Verdict
    place: str


# -- signing ----------------------------------------------------------------------------------------------------------


def signer(path: Path) -> tuple[PublicKey, Sign]:
    """Return whose the secret key at `path` is, and a function that signs a root digest, for `chkpt.snapshot.dump`.

    Raises as `chkpt.seal.keys.secret_key` does.
    """
    key = secret_key(path)
    public = key.public_key().public_bytes_raw()

    def sign(root_digest: bytes) -> bytes:
        return encode_signatures([Signature(public, key.sign(signed_message(root_digest, FORMAT)))])

    return PublicKey(public), sign


def sign_file(path: Path, key: Path) -> PublicKey:
    """Put a signature into the file of a snapshot, beside those that it has; return whose.

    Every byte is checked before. The file is written anew and replaced at once; an older signature of the same key is
    replaced. Beside it, in the directory, is a copy for a moment: so what is encrypted is not signed here.

    Others may work on the file meanwhile. Another signature is kept: this one begins anew. Another snapshot stays.

    Raises:
        SealedError: the file is encrypted.
        ExistsError: another snapshot has taken its place meanwhile, or it has been removed. That stays so.
        LimitError: it has as many signatures as a file may have.
        RefusedError: it is not a whole snapshot.
        ChkptError: as `signer` and `new_file` raise.
    """
    path = path.resolve()
    public, sign = signer(key)
    while not _signed_in(path, sign):
        pass
    return public


def _signed_in(path: Path, sign: Sign) -> bool:
    """Put a signature into a file. Return False, with nothing changed, if another has been put there meanwhile."""
    try:
        opened = Reader.open(path)
    except SealedError as exc:
        raise SealedError(
            f"{path}: encrypted, and a signature belongs inside: sign it when it is saved (save --sign --recipient), "
            "or beside it (--detached)"
        ) from exc
    with opened as reader:
        reader.verify()
        own = decode_signatures(sign(reader.root_digest))
        frame = encode_signatures(_merged(reader.signatures, own))

        with new_file(path) as file:
            for part in reader.unsigned():
                file.write(bytes(part))
            file.write(frame)
            file.write(reader.trailer(len(frame)))
            file.sync()
            with file.locked():
                with _still_there(path, reader.root_digest) as now:
                    if now.signatures != reader.signatures:
                        return False
                file.give_name(replace=True)
    return True


def _still_there(path: Path, root_digest: bytes) -> Reader:
    """Open the snapshot at `path`. Raise ExistsError unless it is the one with that digest."""
    try:
        now = Reader.open(path)
    except NotFoundError:
        raise ExistsError(f"{path}: it has been removed while it was signed; nothing has been changed") from None
    if now.root_digest != root_digest:
        now.close()
        raise ExistsError(f"{path}: it has been replaced while it was signed; nothing has been changed")
    return now


def sign_beside(reader: Reader, key: Path) -> tuple[PublicKey, Path]:
    """Put a signature into `FILE.sig`, beside those in it that are of this snapshot; return whose, and the path.

    Every byte of the snapshot is checked before. Raises as `sign_file` does, but for what is encrypted.
    """
    path = Path(reader.name + SIGNATURES)
    public, sign = signer(key)
    reader.verify()
    own = decode_signatures(sign(reader.root_digest))
    while not _signed_beside(path, reader, own):
        pass
    return public, path


def _signed_beside(path: Path, reader: Reader, own: Sequence[Signature]) -> bool:
    """Put signatures into a file of their own. Return False, with nothing changed, if that has changed meanwhile."""
    found = _detached(path)
    present = [each for each in found if _is_valid(each, reader.root_digest)]
    frame = encode_signatures(_merged(present, own))

    with new_file(path) as file:
        file.write(frame)
        file.sync()
        with file.locked():
            if not reader.is_at(reader.name):
                raise ExistsError(
                    f"{reader.name}: it has been replaced or removed while it was signed; nothing is signed"
                )
            if _detached(path) != found:
                return False
            file.give_name(replace=True)
    return True


def _merged(present: Sequence[Signature], own: Sequence[Signature]) -> list[Signature]:
    keys = {each.public_key for each in own}
    return [*(each for each in present if each.public_key not in keys), *own]


# -- checking ---------------------------------------------------------------------------------------------------------


def signers(reader: Reader, trusted: TrustedKeys) -> tuple[Signer, ...]:
    """Return who has signed an open snapshot, in the file and beside it.

    Raises:
        RefusedError: the file beside it holds no signatures, or too many.
        StorageError: it cannot be read.
        ChkptError: cryptography is not installed, and there is a signature to check.
    """
    beside = Path(reader.name + SIGNATURES)
    found = [(each, reader.name) for each in reader.signatures] + [(each, str(beside)) for each in _detached(beside)]
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
    """Return who has signed an open snapshot, one of them trusted; whatever it yields from now on is what was signed.

    A signature said to be of a trusted key must be valid, wherever it is. Those of unknown keys count for nothing.

    Raises:
        SignatureError: no trusted key has signed it, or a signature in the name of one is not valid.
        RefusedError, StorageError, ChkptError: see `signers`.
    """
    found = signers(reader, trusted)
    for each in found:
        if each.verdict is Verdict.INVALID and each.key.raw in trusted:
            raise SignatureError(
                f"{each.place}: the signature by {each.key} is not valid for this snapshot: "
                "it is damaged, forged, or that of another snapshot"
            )
    if not any(each.verdict is Verdict.VALID for each in found):
        by = ", ".join(f"{each.key}, {each.verdict.value}" for each in found)
        raise SignatureError(
            f"{reader.name}: not signed by any of the {len(trusted)} trusted keys; "
            + (f"the signatures: {by}" if by else "it has no signature")
        )
    return found


def _detached(path: Path) -> tuple[Signature, ...]:
    """Return the signatures in a file of their own; none where there is no such file."""
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
        missing("cryptography", "sign", exc)
    if curve.fault(signature.public_key):
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(signature.public_key)
        key.verify(signature.signature, signed_message(root_digest, FORMAT))
    except (InvalidSignature, ValueError):
        return False
    return True
