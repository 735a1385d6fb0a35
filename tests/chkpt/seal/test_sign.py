"""Signatures over the root digest: whose they are, and what an attacker can make of a signed file."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.errors import CorruptError, ExistsError, KeyFileError, LimitError, RefusedError, SignatureError
from chkpt.seal import Verdict, generate_identity, open_snapshot, require, sign_beside, sign_file, signers, trusted_keys
from chkpt.seal.age import encrypt
from chkpt.seal.keys import TrustedKeys, secret_key
from chkpt.snapshot import Reader, dumps
from chkpt.snapshot.frames import TRAILER_SIZE
from chkpt.snapshot.signatures import Signature, encode_signatures, signed_message
from chkpt.store.publish import publishing, remove_snapshot
from tests.support.checkpoints import small
from tests.support.pairs import Pair, pair, signed


@pytest.fixture
def alice(tmp_path: Path) -> Pair:
    return pair(tmp_path, "alice")


@pytest.fixture
def bob(tmp_path: Path) -> Pair:
    return pair(tmp_path, "bob")


@pytest.fixture
def mallory(tmp_path: Path) -> Pair:
    return pair(tmp_path, "mallory")


def trust(*keys: Pair) -> TrustedKeys:
    return trusted_keys([key.public for key in keys])


def opened(path: Path, *keys: Pair) -> list[tuple[str, Verdict]]:
    """Open a snapshot that one of the keys must have signed, read all of it, and return the signers."""
    with open_snapshot(path, trusted=trust(*keys)) as reader:
        reader.verify()
        return [(each.key.name, each.verdict) for each in signers(reader, trust(*keys))]


def framed(path: Path, *signatures: Signature) -> Path:
    """Put a frame with just these signatures into a file."""
    with Reader.open(path) as reader:
        frame = encode_signatures(signatures) if signatures else b""
        data = b"".join([*map(bytes, reader.unsigned()), frame, reader.trailer(len(frame))])
    path.write_bytes(data)
    return path


def signature_of(path: Path) -> Signature:
    with Reader.open(path) as reader:
        return reader.signatures[0]


# -- what should be ---------------------------------------------------------------------------------------------------


def test_what_is_signed_is_opened(tmp_path: Path, alice: Pair, bob: Pair) -> None:
    path = signed(tmp_path / "s.zst", alice)
    assert opened(path, alice) == [("alice.pub", Verdict.VALID)]
    assert opened(path, bob, alice) == [("alice.pub", Verdict.VALID)]


def test_several_may_sign_and_the_snapshot_keeps_its_digest(tmp_path: Path, alice: Pair, bob: Pair) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    with Reader.open(path) as plain:
        digest = plain.root_digest
    assert sign_file(path, alice.secret).id == alice.id
    assert sign_file(path, bob.secret).id == bob.id
    once = path.read_bytes()
    sign_file(path, alice.secret)
    assert path.read_bytes() == once  # to sign again changes nothing
    for key in (alice, bob):
        assert (f"{key.public.name}", Verdict.VALID) in opened(path, key)
    with Reader.open(path) as reader:
        assert (reader.root_digest, len(reader.signatures)) == (digest, 2)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_detached_signature_leaves_the_file_alone(tmp_path: Path, alice: Pair, bob: Pair) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    before = path.read_bytes()
    for key in (alice, bob, alice):
        with Reader.open(path) as reader:
            assert sign_beside(reader, key.secret)[1] == tmp_path / "s.zst.sig"
    assert path.read_bytes() == before
    assert sorted(opened(path, alice, bob)) == [("alice.pub", Verdict.VALID), ("bob.pub", Verdict.VALID)]


def test_a_detached_signature_of_an_older_file_of_that_name_is_dropped(tmp_path: Path, alice: Pair, bob: Pair) -> None:
    path = tmp_path / "s.zst"
    for change, key in ((1, alice), (2, bob)):
        checkpoint = small()
        checkpoint.header["n"] = change
        path.write_bytes(dumps(checkpoint))
        with Reader.open(path) as reader:
            sign_beside(reader, key.secret)
    assert opened(path, alice, bob) == [("bob.pub", Verdict.VALID)]


def test_a_symbolic_link_is_followed_and_stays(tmp_path: Path, alice: Pair) -> None:
    (tmp_path / "real.zst").write_bytes(dumps(small()))
    (tmp_path / "link.zst").symlink_to("real.zst")
    sign_file(tmp_path / "link.zst", alice.secret)
    assert (tmp_path / "link.zst").is_symlink()
    assert opened(tmp_path / "real.zst", alice)


# -- attacks ----------------------------------------------------------------------------------------------------------


def stripped(path: Path, _: Pair) -> Path:
    return framed(path)


def cut_off(path: Path, _: Pair) -> Path:
    path.write_bytes(path.read_bytes()[:-TRAILER_SIZE])
    return path


def signed_by_another(path: Path, mallory: Pair) -> Path:
    framed(path)
    sign_file(path, mallory.secret)
    return path


def another_machine_with_the_signature(path: Path, _: Pair) -> Path:
    signature = signature_of(path)
    changed = small()
    changed.contexts["clock"].values["now"] = 1
    path.write_bytes(dumps(changed))
    return framed(path, signature)


def another_machine_with_the_signature_beside(path: Path, _: Pair) -> Path:
    signature = signature_of(path)
    changed = small()
    changed.contexts["clock"].values["now"] = 1
    path.write_bytes(dumps(changed))
    Path(f"{path}.sig").write_bytes(encode_signatures([signature]))
    return path


def in_the_name_of_alice(path: Path, mallory: Pair) -> Path:
    """Sign with one key, and say that it was the other."""
    key = signature_of(path).public_key
    with Reader.open(path) as reader:
        forged = secret_key(mallory.secret).sign(signed_message(reader.root_digest, 1))
    return framed(path, Signature(key, forged))


def signature_over_the_bare_digest(path: Path, mallory: Pair) -> Path:
    """What alice signs elsewhere without our context is no signature of a snapshot."""
    with Reader.open(path) as reader:
        elsewhere = secret_key(path.parent / "alice").sign(reader.root_digest)
    return framed(path, Signature(signature_of(path).public_key, elsewhere))


def signature_for_another_format(path: Path, mallory: Pair) -> Path:
    with Reader.open(path) as reader:
        other = secret_key(path.parent / "alice").sign(signed_message(reader.root_digest, 2))
    return framed(path, Signature(signature_of(path).public_key, other))


def downgraded_to_detached(path: Path, mallory: Pair) -> Path:
    """Take the signature off the file, and leave one of one's own beside it."""
    framed(path)
    with Reader.open(path) as reader:
        sign_beside(reader, mallory.secret)
    return path


def key_of_small_order(path: Path, _: Pair) -> Path:
    neutral = b"\1" + bytes(31)
    return framed(path, Signature(neutral, neutral + bytes(32)))


ATTACKS: list[Callable[[Path, Pair], Path]] = [
    stripped,
    signed_by_another,
    another_machine_with_the_signature,
    another_machine_with_the_signature_beside,
    in_the_name_of_alice,
    signature_over_the_bare_digest,
    signature_for_another_format,
    downgraded_to_detached,
    key_of_small_order,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda each: each.__name__)
def test_what_the_trusted_key_has_not_signed_is_refused(
    tmp_path: Path, alice: Pair, bob: Pair, mallory: Pair, attack: Callable[[Path, Pair], Path]
) -> None:
    path = attack(signed(tmp_path / "s.zst", alice), mallory)
    with open_snapshot(path) as reader:
        reader.verify()  # it is a whole snapshot, only not alice's
    with pytest.raises(SignatureError, match=r"2 trusted keys|not valid for this snapshot"):
        opened(path, alice, bob)


def test_a_file_cut_off_before_its_trailer_is_refused_as_such(tmp_path: Path, alice: Pair, mallory: Pair) -> None:
    with pytest.raises(CorruptError):
        opened(cut_off(signed(tmp_path / "s.zst", alice), mallory), alice)


def test_swapped_sections_are_refused(tmp_path: Path, alice: Pair) -> None:
    """Two frames change places: the index, which is signed, has other digests."""
    path = signed(tmp_path / "s.zst", alice)
    data = path.read_bytes()
    with Reader.open(path) as reader:
        first, second = reader.sections[:2]
    a = data[first.offset :][: first.stored_size]
    b = data[second.offset :][: second.stored_size]
    path.write_bytes(data[: first.offset] + b + a + data[second.offset + second.stored_size :])
    with pytest.raises(CorruptError, match="do not match their digest"):
        opened(path, alice)


def test_sections_swapped_with_an_index_that_says_so_are_another_snapshot(
    tmp_path: Path, alice: Pair, mallory: Pair
) -> None:
    path = signed(tmp_path / "s.zst", alice)
    signature = signature_of(path)
    swapped = small()
    contexts = swapped.contexts["devices"].contexts
    assert isinstance(contexts, dict)
    contexts["pit"], contexts["ide0"] = contexts["ide0"], contexts["pit"]
    path.write_bytes(dumps(swapped))
    with pytest.raises(SignatureError, match="not valid for this snapshot"):
        opened(framed(path, signature), alice)


def test_signatures_of_strangers_count_for_nothing(tmp_path: Path, alice: Pair, mallory: Pair) -> None:
    path = signed(tmp_path / "s.zst", alice, mallory)
    own = next(each for each in Reader(path.read_bytes()).signatures if each.public_key == alice.raw)
    framed(path, own, Signature(mallory.raw, bytes(64)))
    assert sorted(opened(path, alice)) == [("", Verdict.INVALID), ("alice.pub", Verdict.VALID)]
    with pytest.raises(SignatureError, match=rf"{mallory.id} \(mallory.pub\) is not valid"):
        opened(path, alice, mallory)  # a trusted key in whose name something is forged: not taken at all


def test_a_key_that_anyone_could_sign_with_is_no_signer(tmp_path: Path, alice: Pair, mallory: Pair) -> None:
    with Reader.open(key_of_small_order(signed(tmp_path / "s.zst", alice), mallory)) as reader:
        assert [each.verdict for each in signers(reader, trust(alice))] == [Verdict.INVALID]


def test_a_bad_file_of_signatures_beside_is_refused(tmp_path: Path, alice: Pair) -> None:
    path = signed(tmp_path / "s.zst", alice)
    beside = tmp_path / "s.zst.sig"
    for data, error in ((b"", CorruptError), (bytes(500), CorruptError), (bytes(1 << 20), LimitError)):
        beside.write_bytes(data)
        with pytest.raises(error, match=r"s\.zst\.sig: "):
            opened(path, alice)
    beside.unlink()
    os.mkfifo(beside)
    with pytest.raises(Exception, match="not a regular file"):
        opened(path, alice)


def test_nothing_is_trusted_where_no_key_is(tmp_path: Path, alice: Pair) -> None:
    with open_snapshot(signed(tmp_path / "s.zst", alice)) as reader, pytest.raises(SignatureError):
        require(reader, {})


# -- what is not signed -----------------------------------------------------------------------------------------------


def test_a_damaged_snapshot_is_not_signed(tmp_path: Path, alice: Pair) -> None:
    path = tmp_path / "s.zst"
    data = bytearray(dumps(small()))
    with Reader(bytes(data)) as reader:
        data[reader.sections[-1].offset + 9] ^= 1
    path.write_bytes(data)
    with pytest.raises(RefusedError):
        sign_file(path, alice.secret)
    with Reader.open(path) as reader, pytest.raises(RefusedError):
        sign_beside(reader, alice.secret)
    assert path.read_bytes() == data
    assert not (tmp_path / "s.zst.sig").exists()


def test_a_bad_key_changes_nothing(tmp_path: Path, alice: Pair) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    alice.secret.chmod(0o644)
    before = sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir())
    with pytest.raises(KeyFileError):
        sign_file(path, alice.secret)
    assert sorted((each.name, each.read_bytes()) for each in tmp_path.iterdir()) == before


def test_the_seventeenth_signature_is_refused(tmp_path: Path) -> None:
    keys = [pair(tmp_path, f"key{number}") for number in range(17)]
    path = signed(tmp_path / "s.zst", *keys[:16])
    before = path.read_bytes()
    with pytest.raises(LimitError, match="17 signatures; the limit is 16"):
        sign_file(path, keys[16].secret)
    assert path.read_bytes() == before


def test_a_snapshot_that_is_replaced_meanwhile_is_not_lost(
    tmp_path: Path, alice: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    newer = small()
    newer.header["machine"] = "newer"

    (tmp_path / "new").write_bytes(dumps(newer))
    real_verify = Reader.verify

    def verify(reader: Reader) -> None:
        real_verify(reader)
        (tmp_path / "new").rename(path)

    monkeypatch.setattr(Reader, "verify", verify)
    with pytest.raises(ExistsError, match="replaced while it was signed"):
        sign_file(path, alice.secret)
    assert path.read_bytes() == dumps(newer)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["alice", "alice.pub", "s.zst"]


# -- what others do to the file while it is signed --------------------------------------------------------------------


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something be done, once, at the last moment: while the signer waits for the disk, before the name changes."""

    def meanwhile(act: Callable[[], object]) -> None:
        fsync = os.fsync
        acts = [act]

        def act_and_sync(descriptor: int) -> None:
            if acts:
                acts.pop()()
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", act_and_sync)

    return meanwhile


Meanwhile = Callable[[Callable[[], object]], None]


def sign(path: Path, key: Pair, *, detached: bool) -> None:
    if detached:
        with Reader.open(path) as reader:
            sign_beside(reader, key.secret)
    else:
        sign_file(path, key.secret)


def newer() -> bytes:
    content = small()
    content.header["machine"] = "newer"
    return dumps(content)


either = pytest.mark.parametrize("detached", [False, True])


@either
def test_a_snapshot_that_was_saved_meanwhile_is_not_lost(
    tmp_path: Path, alice: Pair, meanwhile: Meanwhile, detached: bool
) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))

    def save() -> None:
        with publishing(path, force=True) as file:
            file.write(newer())

    meanwhile(save)
    with pytest.raises(ExistsError, match="replaced"):
        sign(path, alice, detached=detached)
    assert path.read_bytes() == newer()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["alice", "alice.pub", "s.zst"]


@either
def test_a_snapshot_that_was_removed_meanwhile_does_not_come_back(
    tmp_path: Path, alice: Pair, meanwhile: Meanwhile, detached: bool
) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    meanwhile(lambda: remove_snapshot(path))
    with pytest.raises(ExistsError, match="removed while it was signed"):
        sign(path, alice, detached=detached)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["alice", "alice.pub"]


@either
def test_of_two_who_sign_at_once_both_have_signed(
    tmp_path: Path, alice: Pair, bob: Pair, meanwhile: Meanwhile, detached: bool
) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    meanwhile(lambda: sign(path, bob, detached=detached))
    sign(path, alice, detached=detached)
    assert sorted(opened(path, alice, bob)) == [("alice.pub", Verdict.VALID), ("bob.pub", Verdict.VALID)]


def test_of_two_who_sign_at_once_inside_and_beside_both_have_signed(
    tmp_path: Path, alice: Pair, bob: Pair, meanwhile: Meanwhile
) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    meanwhile(lambda: sign(path, bob, detached=False))
    sign(path, alice, detached=True)
    assert sorted(opened(path, alice, bob)) == [("alice.pub", Verdict.VALID), ("bob.pub", Verdict.VALID)]


@either
def test_processes_that_sign_at_once_have_all_signed(tmp_path: Path, detached: bool) -> None:
    path = tmp_path / "s.zst"
    path.write_bytes(dumps(small()))
    keys = [pair(tmp_path, f"key{number}") for number in range(4)]
    more = ["--detached"] if detached else []
    command = [sys.executable, "-m", "chkpt", "sign", str(path), *more, "--key"]
    root = Path(__file__).parents[3]
    processes = [subprocess.Popen([*command, str(key.secret)], cwd=root, stdout=subprocess.DEVNULL) for key in keys]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(opened(path, *keys)) == 4


def test_an_encrypted_snapshot_that_was_replaced_meanwhile_has_no_signature_of_the_old_one(
    tmp_path: Path, alice: Pair, meanwhile: Meanwhile
) -> None:
    identity = tmp_path / "me"
    recipient, _ = generate_identity(identity)
    path = tmp_path / "s.zst.age"

    def save() -> None:
        with path.with_suffix(".new").open("wb") as file:
            encrypt(io.BytesIO(dumps(small())), file, [recipient])
        path.with_suffix(".new").replace(path)

    save()
    meanwhile(save)
    with open_snapshot(path, identity=identity) as reader, pytest.raises(ExistsError, match="replaced"):
        sign_beside(reader, alice.secret)
    assert not Path(f"{path}.sig").exists()
