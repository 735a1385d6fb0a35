"""Encode and decode the frame of signatures of a root digest. This module does not check them: `chkpt.seal` does.

    frame magic, payload size | magic | (public key, signature) ... | CRC-32

A skippable zstd frame (RFC 8878, 3.1.2), all numbers little-endian. It lies between the index and the trailer of a
file in format 2, or is a file of its own beside the snapshot. The signatures cover the root digest, which does not
cover this frame. So a signature can be added or removed, and the snapshot keeps its root digest.
"""

import struct
import zlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

from chkpt.errors import CorruptError, LimitError

MAX_SIGNATURES: Final = 16
"""Signatures in one frame."""

PUBLIC_KEY_SIZE: Final = 32
"""Bytes in an Ed25519 public key (RFC 8032, 5.1.5)."""

SIGNATURE_SIZE: Final = 64
"""Bytes in an Ed25519 signature (RFC 8032, 5.1.6)."""

_HEAD: Final = struct.Struct("<II8s")
_CHECK: Final = struct.Struct("<I")
_SKIPPABLE: Final = 0x184D2A5B  # the trailer's is ...5C
_MAGIC: Final = b"\x89CHKSIG\n"
_ENTRY_SIZE: Final = PUBLIC_KEY_SIZE + SIGNATURE_SIZE
_OVERHEAD: Final = _HEAD.size + _CHECK.size

MAX_FRAME: Final = _OVERHEAD + MAX_SIGNATURES * _ENTRY_SIZE
"""Bytes in the longest frame."""

_CONTEXT: Final = b"chkpt snapshot signature 1\0"


class Signature(NamedTuple):
    """One signature, and the public key that it claims."""

    public_key: bytes
    signature: bytes


def signed_message(root_digest: bytes, content_format: int) -> bytes:
    """Return the bytes to sign: a text that begins no other signed message, the format, and the digest.

    The format is the one in the header. It defines what a root digest covers.
    """
    return _CONTEXT + content_format.to_bytes(4, "little") + root_digest


def encode_signatures(signatures: Iterable[Signature]) -> bytes:
    """Return the frame that holds `signatures`, rising by key.

    Raises:
        LimitError: more than `MAX_SIGNATURES`.
        ValueError: there is none, two are of one key, or a length is not Ed25519's.
    """
    ordered = sorted(signatures)
    if len(ordered) > MAX_SIGNATURES:
        raise LimitError(f"{len(ordered)} signatures; the limit is {MAX_SIGNATURES}")
    if not ordered or len({each.public_key for each in ordered}) != len(ordered):
        raise ValueError("no signature, or two of one key")
    if any(len(key) != PUBLIC_KEY_SIZE or len(signature) != SIGNATURE_SIZE for key, signature in ordered):
        raise ValueError("a key or a signature is not as long as Ed25519's")
    entries = b"".join(key + signature for key, signature in ordered)
    payload = len(_MAGIC) + len(entries) + _CHECK.size
    covered = _HEAD.pack(_SKIPPABLE, payload, _MAGIC) + entries
    return covered + _CHECK.pack(zlib.crc32(covered))


def decode_signatures(frame: bytes | memoryview) -> tuple[Signature, ...]:
    """Decode `frame`, which must be exactly one frame.

    Raises:
        CorruptError: it is not such a frame, not a whole one, or its keys do not rise.
        LimitError: more signatures than `MAX_SIGNATURES`.
    """
    if len(frame) > MAX_FRAME:
        raise LimitError(f"{len(frame)} bytes of signatures; the limit is {MAX_FRAME}")
    count, rest = divmod(len(frame) - _OVERHEAD, _ENTRY_SIZE)
    if count < 1 or rest:
        raise CorruptError(f"{len(frame)} bytes are not a whole frame of signatures")
    data = bytes(frame)
    if _HEAD.unpack_from(data) != (_SKIPPABLE, len(data) - 8, _MAGIC):
        raise CorruptError("not a frame of signatures")
    if _CHECK.unpack_from(data, len(data) - _CHECK.size)[0] != zlib.crc32(data[: -_CHECK.size]):
        raise CorruptError("the signatures do not match their checksum")
    starts = range(_HEAD.size, _HEAD.size + count * _ENTRY_SIZE, _ENTRY_SIZE)
    entries = tuple(
        Signature(data[at : at + PUBLIC_KEY_SIZE], data[at + PUBLIC_KEY_SIZE : at + _ENTRY_SIZE]) for at in starts
    )
    if any(later.public_key <= former.public_key for former, later in pairwise(entries)):
        raise CorruptError("the signatures do not rise by key, or one key has signed twice")
    return entries
