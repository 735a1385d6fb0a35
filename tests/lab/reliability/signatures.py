"""Signed and encrypted snapshots: a changed one must be refused."""

from pathlib import Path
from random import Random
from typing import Final

from chkpt.context import Checkpoint
from chkpt.errors import RefusedError, SignatureError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.seal import generate_identity, generate_key, open_snapshot, sealing, sign_file, trusted_keys
from chkpt.seal.keys import TrustedKeys
from chkpt.snapshot import Reader, dump
from tests.lab.reliability.row import Row
from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.tally import Tally

FIRECRACKER: Final = "integrity and authenticity are the user's (docs/snapshotting/snapshot-support.md)"
RESTIC: Final = "AES-256-CTR with Poly1305-AES over all data, by one shared key (doc/design.rst)"

CHUNK: Final = (64 << 10) + 16
"""Bytes that age stores of 64 KiB (age-encryption.org/v1, "Payload")."""


def rows(scratch: Path, *, sample: bool) -> list[Row]:
    """Change signed and encrypted snapshots, and return the outcomes."""
    generate_key(scratch / "alice")
    generate_key(scratch / "mallory")
    recipient, _ = generate_identity(scratch / "me")
    trusted = trusted_keys([scratch / "alice.pub"])
    return [
        _flipped(scratch, trusted, step=307 if sample else 1),
        _forged(scratch, trusted, count=3 if sample else 60),
        _sealed(scratch, recipient, step=20011 if sample else 61),
    ]


def _write(scratch: Path, name: str, number: int, key: str | None = None, recipient: str | None = None) -> Path:
    """Save a machine whose clock shows the number."""
    machine = Machine(parse({"name": "signed", "memory": "256K", "device": [{"type": "pit"}, {"type": "pic"}]}))
    if recipient is not None:  # some chunks of age
        machine.memory.write(0, Random(number).randbytes(3 << 16))
    machine.step(1 + number)
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    machine.close()
    seal = sealing(None if key is None else scratch / key, [] if recipient is None else [recipient])
    path = scratch / name
    with path.open("wb") as file, seal.wrapping(file) as plain:
        dump(checkpoint, plain, sign=seal.sign)
    return path


def _refused(path: Path, trusted: TrustedKeys | None, identity: Path | None = None) -> str:
    """Return how a changed file is refused. Raise BrokenError if it is accepted."""
    try:
        with open_snapshot(path, trusted=trusted, identity=identity) as reader:
            reader.verify()
    except SignatureError:
        return "refused as not signed"
    except RefusedError:
        return "refused as damaged"
    raise BrokenError(f"{path.name} was taken")


def _flipped(scratch: Path, trusted: TrustedKeys, *, step: int) -> Row:
    """Flip a bit of each byte of a signed file."""
    tally = Tally()
    path = _write(scratch, "signed.zst", 0, "alice")
    data = path.read_bytes()
    for at in range(0, len(data), step):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        tally.attempt(f"byte {at}", lambda: _refused(path, trusted))
    return tally.row(
        "A signed file is read as it was signed, or refused",
        f"one bit flipped, in each of the bytes of a signed file (step {step})",
        firecracker=FIRECRACKER,
        restic=RESTIC,
    )


def _forged(scratch: Path, trusted: TrustedKeys, *, count: int) -> Row:
    """Put signatures of others, or of other snapshots, into a file, or take the signature away."""
    tally = Tally()
    for number in range(count):
        signed, other = _write(scratch, "a.zst", 2 * number, "alice"), _write(scratch, "b.zst", 2 * number + 1)
        with Reader.open(signed) as a, Reader.open(other) as b:
            frame = signed.read_bytes()[sum(map(len, a.unsigned())) : -len(a.trailer())]
            files = {
                "stripped": b"".join(map(bytes, a.unsigned())) + a.trailer(),
                "of another snapshot": b"".join(map(bytes, b.unsigned())) + frame + b.trailer(len(frame)),
            }
        for name, data in files.items():
            path = scratch / "forged.zst"
            path.write_bytes(data)
            tally.attempt(name, lambda path=path: _refused(path, trusted))  # type: ignore[misc]  # bound at once
        sign_file(other, scratch / "mallory")
        tally.attempt("by another key", lambda other=other: _refused(other, trusted))  # type: ignore[misc]  # the same
    return tally.row(
        "Only a snapshot that a trusted key has signed is opened",
        "signatures stripped, moved from another snapshot, made with another key",
        firecracker=FIRECRACKER,
    )


def _sealed(scratch: Path, recipient: str, *, step: int) -> Row:
    """Flip bits of an encrypted file, cut it short at its chunks, and open it with another identity."""
    tally = Tally()
    path = _write(scratch, "sealed.zst.age", 0, "alice", recipient)
    data = path.read_bytes()
    cases = {
        f"byte {at}": data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :] for at in range(0, len(data), step)
    }
    cases |= {f"cut at {at}": data[:at] for at in (*range(len(data) % CHUNK, len(data), CHUNK), len(data) - 1)}
    for name, changed in cases.items():
        path.write_bytes(changed)
        tally.attempt(name, lambda: _refused(path, None, scratch / "me"))
    path.write_bytes(data)
    generate_identity(scratch / "other")
    tally.attempt("another identity", lambda: _refused(path, None, scratch / "other"))
    return tally.row(
        "An encrypted file is opened whole, and only by its recipients",
        f"one bit flipped (step {step}), cut short between and in chunks, another identity",
        restic=RESTIC,
    )
