"""What has been verified is what is read, whatever becomes of the path; what is encrypted is whole or refused."""

import io
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chkpt.context import Checkpoint, Context, SparseBlob, blob_bytes
from chkpt.errors import (
    ChkptError,
    CorruptError,
    KeyFileError,
    LimitError,
    NotFoundError,
    RefusedError,
    SealedError,
    SignatureError,
    StorageError,
)
from chkpt.seal import generate_identity, open_snapshot, sealing, sign_beside, sign_file, trusted_keys
from chkpt.seal.age import decrypt, encrypt, read_recipients
from chkpt.snapshot import Reader, dump, dumps
from chkpt.snapshot.source import MemorySource
from tests.support.checkpoints import plain, small
from tests.support.pairs import pair, signed

CHUNK = 64 << 10
"""Bytes of plaintext that age encrypts at a time (age-encryption.org/v1, "Payload")."""

TAG = 16


def large() -> Checkpoint:
    """Return a checkpoint whose file is some chunks of age long."""
    choose = Random(5)
    noise = {number: choose.randbytes(1 << 16) for number in range(4)}
    return Checkpoint(
        {"machine": "large"}, {"memory": Context("", 0, {}, {"ram": SparseBlob(1 << 18, 1 << 16, noise)})}
    )


def write(path: Path, checkpoint: Checkpoint, *recipients: str, key: Path | None = None) -> Path:
    seal = sealing(key, read_recipients(recipients))
    with path.open("wb") as file, seal.wrapping(file) as plain:
        dump(checkpoint, plain, sign=seal.sign)
    return path


@pytest.fixture
def me(tmp_path: Path) -> tuple[Path, str]:
    recipient, _ = generate_identity(tmp_path / "me")
    return tmp_path / "me", recipient


# -- the path and the file --------------------------------------------------------------------------------------------


def test_a_file_put_in_place_of_the_verified_one_is_not_read(tmp_path: Path) -> None:
    alice = pair(tmp_path)
    path = signed(tmp_path / "s.zst", alice)
    evil = small()
    evil.contexts["clock"].values["now"] = 666
    with open_snapshot(path, trusted=trusted_keys([alice.public])) as reader:
        (tmp_path / "evil").write_bytes(dumps(evil))
        (tmp_path / "evil").rename(path)
        assert plain(reader.checkpoint().contexts) == plain(small().contexts)
    with pytest.raises(SignatureError):
        open_snapshot(path, trusted=trusted_keys([alice.public]))


def test_bytes_overwritten_in_the_verified_file_are_found(tmp_path: Path) -> None:
    alice = pair(tmp_path)
    path = signed(tmp_path / "s.zst", alice)
    with open_snapshot(path, trusted=trusted_keys([alice.public])) as reader:
        entry = reader.sections[0]
        with path.open("r+b") as file:
            file.seek(entry.offset + entry.stored_size - 2)
            file.write(b"??")
        with pytest.raises(CorruptError, match="do not match their digest"):
            reader.section(entry.path)


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    alice = pair(tmp_path)
    (tmp_path / "s.zst").write_bytes(dumps(small()))
    with pytest.raises(SignatureError, match="it has no signature"):
        open_snapshot(tmp_path / "s.zst", trusted=trusted_keys([alice.public]))
    with pytest.raises(NotFoundError):
        open_snapshot(tmp_path / "absent.zst", trusted=trusted_keys([alice.public]))


# -- encrypted --------------------------------------------------------------------------------------------------------


def test_what_is_encrypted_comes_back(tmp_path: Path, me: tuple[Path, str]) -> None:
    identity, recipient = me
    path = write(tmp_path / "s.zst.age", large(), recipient)
    assert b"memory" not in path.read_bytes()
    with open_snapshot(path, identity=identity) as reader:
        reader.verify()
        ram = reader.checkpoint().contexts["memory"].blobs["ram"]
        assert blob_bytes(ram) == blob_bytes(large().contexts["memory"].blobs["ram"])
    with pytest.raises(StorageError, match="closed"):
        reader.verify()


def test_several_recipients_by_value_and_by_file(tmp_path: Path, me: tuple[Path, str]) -> None:
    others = [generate_identity(tmp_path / name) for name in ("a", "b")]
    (tmp_path / "team").write_text("# the team\n\n" + "\n".join(recipient for recipient, _ in others) + "\n")
    path = write(tmp_path / "s.zst.age", small(), me[1], str(tmp_path / "team"))
    for name in ("me", "a", "b"):
        open_snapshot(path, identity=tmp_path / name).close()


def test_an_ssh_key_is_a_recipient_and_an_identity(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    (tmp_path / "id").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (tmp_path / "id").chmod(0o600)
    path = write(tmp_path / "s.zst.age", small(), f"{public} me@home")
    open_snapshot(path, identity=tmp_path / "id").close()


def test_it_is_signed_inside(tmp_path: Path, me: tuple[Path, str]) -> None:
    alice, bob = pair(tmp_path, "alice"), pair(tmp_path, "bob")
    path = write(tmp_path / "s.zst.age", small(), me[1], key=alice.secret)
    assert alice.raw not in path.read_bytes()
    open_snapshot(path, identity=me[0], trusted=trusted_keys([alice.public])).close()
    with pytest.raises(SignatureError):
        open_snapshot(path, identity=me[0], trusted=trusted_keys([bob.public]))
    plain_path = write(tmp_path / "again.zst.age", small(), me[1])  # anyone can encrypt: that is no signature
    with pytest.raises(SignatureError):
        open_snapshot(plain_path, identity=me[0], trusted=trusted_keys([alice.public]))


def test_what_is_encrypted_is_signed_beside_only_and_never_copied(tmp_path: Path, me: tuple[Path, str]) -> None:
    alice = pair(tmp_path)
    path = write(tmp_path / "s.zst.age", small(), me[1])
    with pytest.raises(SealedError, match="signature belongs inside"):
        sign_file(path, alice.secret)
    with open_snapshot(path, identity=me[0]) as reader:
        sign_beside(reader, alice.secret)
    open_snapshot(path, identity=me[0], trusted=trusted_keys([alice.public])).close()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["alice", "alice.pub", "me", "me.pub", "s.zst.age", "s.zst.age.sig"]


def test_without_the_identity_it_is_refused(tmp_path: Path, me: tuple[Path, str]) -> None:
    path = write(tmp_path / "s.zst.age", small(), me[1])
    generate_identity(tmp_path / "other")
    with pytest.raises(SealedError, match=r"encrypted with age; .* \(--identity\)"):
        open_snapshot(path)
    with pytest.raises(SealedError, match="not for the identity in"):
        open_snapshot(path, identity=tmp_path / "other")
    with pytest.raises(NotFoundError, match="no such key file"):
        open_snapshot(path, identity=tmp_path / "absent")


def header_size(data: bytes) -> int:
    """Return where age's header ends: behind the line of its MAC (age-encryption.org/v1, "Header")."""
    return data.index(b"\n", data.index(b"\n--- ") + 1) + 1


def test_a_flipped_bit_in_the_header_and_in_every_chunk_is_refused(tmp_path: Path, me: tuple[Path, str]) -> None:
    identity, recipient = me
    path = write(tmp_path / "s.zst.age", large(), recipient)
    data = path.read_bytes()
    start = header_size(data)
    chunks = range(start + 16, len(data), CHUNK + TAG)
    assert len(chunks) >= 5
    places = [*range(start + 16), *chunks, *(min(at + CHUNK + TAG, len(data)) - 1 for at in chunks)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(RefusedError, match=r"s\.zst\.age: (encrypted, but|not a chkpt snapshot)"):
            open_snapshot(path, identity=identity)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused(tmp_path: Path, me: tuple[Path, str], where: float, bit: int) -> None:
    whole = write(tmp_path / "s.zst.age", small(), me[1]).read_bytes()  # of another length each time: age sees to that
    changed = bytearray(whole)
    changed[int(where * len(whole))] ^= 1 << bit
    (tmp_path / "s.zst.age").write_bytes(changed)
    with pytest.raises(RefusedError):
        open_snapshot(tmp_path / "s.zst.age", identity=me[0])


def test_a_file_cut_short_is_refused_also_between_chunks(tmp_path: Path, me: tuple[Path, str]) -> None:
    path = write(tmp_path / "s.zst.age", large(), me[1])
    data = path.read_bytes()
    start = header_size(data)
    ends = [start + 16 + number * (CHUNK + TAG) for number in range(5)]
    for size in (1, 10, 22, start - 1, start, start + 15, *ends, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(RefusedError, match=r"s\.zst\.age: "):
            open_snapshot(path, identity=me[0])
    path.write_bytes(data + b"x")
    with pytest.raises(CorruptError, match="cut short or changed"):
        open_snapshot(path, identity=me[0])


def test_chunks_that_change_places_are_refused(tmp_path: Path, me: tuple[Path, str]) -> None:
    path = write(tmp_path / "s.zst.age", large(), me[1])
    data = path.read_bytes()
    at, size = header_size(data) + 16, CHUNK + TAG
    path.write_bytes(data[:at] + data[at + size : at + 2 * size] + data[at : at + size] + data[at + 2 * size :])
    with pytest.raises(CorruptError):
        open_snapshot(path, identity=me[0])


def test_what_was_encrypted_and_is_no_snapshot_is_refused(tmp_path: Path, me: tuple[Path, str]) -> None:
    with (tmp_path / "s.zst.age").open("wb") as file:
        encrypt(io.BytesIO(b"some other secret"), file, [me[1]])
    with pytest.raises(CorruptError, match="not a chkpt snapshot"):
        open_snapshot(tmp_path / "s.zst.age", identity=me[0])


# -- recipients, identities, and files that fail ----------------------------------------------------------------------


def test_a_machine_reads_no_file_of_recipients(tmp_path: Path) -> None:
    """A request to save has recipients, not the name of a file whose content an error would show."""
    (tmp_path / "team").write_text("a secret line\n")
    with pytest.raises(KeyFileError) as caught:
        sealing(None, [str(tmp_path / "team")])
    assert "a secret line" not in str(caught.value)


@pytest.mark.parametrize("text", ["age1qqq", "ssh-ed25519 AAAA", "age1\N{SNOWMAN}"])
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(KeyFileError, match="is not a recipient"):
        read_recipients([text])


def test_files_that_hold_no_recipient_or_identity_are_refused(tmp_path: Path, me: tuple[Path, str]) -> None:
    path = write(tmp_path / "s.zst.age", small(), me[1])
    for name, data in {
        "empty": b"# nothing\n",
        "binary": b"\xff\xfe",
        "word": b"word\n",
        "plugin": b"AGE-PLUGIN-X-1Q",
    }.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(KeyFileError):
            read_recipients([str(tmp_path / name)])
        with pytest.raises(KeyFileError):
            open_snapshot(path, identity=tmp_path / name)
    with pytest.raises(NotFoundError):
        read_recipients([str(tmp_path / "absent")])
    (tmp_path / "me").chmod(0o644)
    with pytest.raises(KeyFileError, match="other users can read"):
        open_snapshot(path, identity=tmp_path / "me")


class Full:
    """A file on a disk that is full after some writes."""

    name = "full.zst.age"

    def __init__(self, writes: int = 0) -> None:
        self.left = writes

    def write(self, data: bytes, /) -> int:
        self.left -= 1
        if self.left >= 0:
            return len(data)
        raise StorageError("full.zst.age: No space left on device")


@pytest.mark.parametrize("size", [0, 1000, CHUNK, 3 * CHUNK + 5])
@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_full_disk_is_told_as_such(me: tuple[Path, str], size: int, taken: int) -> None:
    """Also where only the last chunk finds no room, of which age says nothing."""
    file = Full(taken if size > CHUNK else 0)
    with pytest.raises(StorageError, match="No space left"):
        encrypt(io.BytesIO(bytes(size)), file, [me[1]])


def test_nothing_is_encrypted_to_nobody() -> None:
    with pytest.raises(KeyFileError, match="needs a recipient"):
        encrypt(io.BytesIO(b"x"), Full(), [])


class Failing(MemorySource):
    """A file that can no longer be read."""

    __slots__ = ()

    def read(self, offset: int, size: int, /) -> memoryview:
        raise StorageError(f"{self.name}: Input/output error")


def test_a_file_that_cannot_be_read_is_told_as_such(me: tuple[Path, str]) -> None:
    with pytest.raises(StorageError, match="s: Input/output error"):
        decrypt(Failing(b"age-encryption.org/v1\n", "s"), me[0])


# -- age itself -------------------------------------------------------------------------------------------------------

needs_age = pytest.mark.skipif(shutil.which("age") is None, reason="the age command is not installed")


@needs_age
def test_age_decrypts_ours_and_we_decrypt_its(tmp_path: Path) -> None:
    subprocess.run(["age-keygen", "-o", tmp_path / "id"], check=True, capture_output=True)
    recipient = subprocess.run(
        ["age-keygen", "-y", tmp_path / "id"], check=True, capture_output=True, text=True
    ).stdout.strip()
    ours = write(tmp_path / "ours.zst.age", large(), recipient)
    back = subprocess.run(["age", "-d", "-i", tmp_path / "id", ours], check=True, capture_output=True).stdout
    Reader(back).verify()
    (tmp_path / "theirs.zst").write_bytes(dumps(large()))
    subprocess.run(["age", "-r", recipient, "-o", tmp_path / "theirs.zst.age", tmp_path / "theirs.zst"], check=True)
    with open_snapshot(tmp_path / "theirs.zst.age", identity=tmp_path / "id") as reader:
        reader.verify()


@needs_age
def test_age_takes_our_identities(tmp_path: Path, me: tuple[Path, str]) -> None:
    path = write(tmp_path / "s.zst.age", small(), me[1])
    back = subprocess.run(["age", "-d", "-i", me[0], path], check=True, capture_output=True).stdout
    Reader(back).verify()
    shown = subprocess.run(["age-keygen", "-y", me[0]], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == me[1]


def test_all_errors_have_status_4_or_less() -> None:
    assert {SealedError.exit_status, SignatureError.exit_status} == {4}
    assert issubclass(SealedError, ChkptError)


# -- a header that costs too much -------------------------------------------------------------------------------------


KEY = b64encode(b"\x07" * 32).decode().rstrip("=")


def hostile(stanzas: str) -> bytes:
    return f"age-encryption.org/v1\n{stanzas}--- {KEY}\n".encode() + bytes(100)


HOSTILE = {
    "many recipients": f"-> X25519 {KEY}\n{KEY}\n",
    "many small ones": "-> g\n\n",
}


@pytest.mark.parametrize("stanza", HOSTILE.values(), ids=HOSTILE.keys())
def test_more_recipients_than_the_limit_are_refused_before_the_library_sees_them(
    tmp_path: Path, me: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, stanza: str
) -> None:
    path = tmp_path / "s.zst.age"
    path.write_bytes(hostile(stanza * 257))
    with monkeypatch.context() as patch:
        patch.setattr("pyrage.decrypt_io", lambda *_: pytest.fail("the library has seen it"))
        with pytest.raises(LimitError, match=r"s\.zst\.age: .* 257 recipients; .* 256"):
            open_snapshot(path, identity=me[0])
    path.write_bytes(hostile(stanza * 256))
    with pytest.raises(SealedError, match="not for the identity"):
        open_snapshot(path, identity=me[0])


def test_a_header_without_end_is_refused_before_the_library_sees_it(
    tmp_path: Path, me: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zst.age"
    path.write_bytes(hostile("-> grease\n" + ("A" * 64 + "\n") * 2048))
    monkeypatch.setattr("pyrage.decrypt_io", lambda *_: pytest.fail("the library has seen it"))
    with pytest.raises(LimitError, match=r"header has no end in 131072 bytes"):
        open_snapshot(path, identity=me[0])


def test_a_snapshot_is_encrypted_for_as_many_as_can_open_it(tmp_path: Path, me: tuple[Path, str]) -> None:
    path = tmp_path / "s.zst.age"
    with path.open("wb") as file:
        encrypt(io.BytesIO(dumps(small())), file, [me[1]] * 255)  # the library adds a stanza that means nothing
    with open_snapshot(path, identity=me[0]) as reader:
        reader.verify()
    with pytest.raises(KeyFileError, match="256 recipients; the limit is 255"):
        encrypt(io.BytesIO(b""), io.BytesIO(), [me[1]] * 256)
