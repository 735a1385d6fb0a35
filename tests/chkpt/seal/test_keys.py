"""Files of keys: made, read, and refused where they are not what they should be or not kept secret."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: TID253
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: TID253
from cryptography.hazmat.primitives.serialization import (  # noqa: TID253
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from chkpt.errors import ChkptError, ExistsError, KeyFileError, NotFoundError
from chkpt.seal import generate_identity, generate_key, trusted_keys
from chkpt.seal.key_files import MAX_KEY_FILE
from chkpt.seal.keys import secret_key
from tests.support.pairs import pair, public_pem


def test_a_key_is_made_with_its_public_half(tmp_path: Path) -> None:
    public, beside = generate_key(tmp_path / "key")
    assert beside == tmp_path / "key.pub"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(beside.stat().st_mode) == 0o644
    assert secret_key(tmp_path / "key").public_key().public_bytes_raw() == public.raw
    assert [*trusted_keys([beside]).values()] == [public]
    assert len(public.id) == 32
    assert generate_key(tmp_path / "other")[0].raw != public.raw


@pytest.mark.parametrize("there", ["key", "key.pub"])
@pytest.mark.parametrize("generate", [generate_key, generate_identity])
def test_a_key_that_is_there_is_not_overwritten(tmp_path: Path, there: str, generate: object) -> None:
    assert callable(generate)
    (tmp_path / there).write_text("precious")
    with pytest.raises(ExistsError):
        generate(tmp_path / "key")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "precious")]
    generate(tmp_path / "key", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]
    assert (tmp_path / there).read_text() != "precious"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_secret_key_that_others_can_reach_is_not_used(tmp_path: Path, mode: int) -> None:
    key = pair(tmp_path).secret
    key.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"{key}: other users .*\(mode 0{mode:o}\).*chmod 600"):
        secret_key(key)
    key.chmod(0o400)
    secret_key(key)


def test_what_is_no_secret_key_is_refused(tmp_path: Path) -> None:
    alice = pair(tmp_path)
    key = Ed25519PrivateKey.generate()
    bad = {
        "public": alice.public.read_bytes(),
        "empty": b"",
        "cut": alice.secret.read_bytes()[:60],
        "other": X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "long": alice.secret.read_bytes() + bytes(MAX_KEY_FILE),
        "locked": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(KeyFileError, match=str(tmp_path / name)):
            secret_key(tmp_path / name)
    with pytest.raises(KeyFileError, match="passphrase"):
        secret_key(tmp_path / "locked")
    with pytest.raises(NotFoundError, match="there is no such key file"):
        secret_key(tmp_path / "absent")
    with pytest.raises(NotFoundError):
        secret_key(Path("a\0b"))
    with pytest.raises(KeyFileError, match="not a regular file"):
        secret_key(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        secret_key(tmp_path / "fifo")


def test_keys_of_a_directory_and_of_a_file_with_several(tmp_path: Path) -> None:
    ring, more = tmp_path / "ring", tmp_path / "more"
    ring.mkdir()
    more.mkdir()
    alice, bob, carol, dave = pair(ring, "alice"), pair(ring, "bob"), pair(more, "carol"), pair(more, "dave")
    (ring / "README").write_text("not a key, and not looked at")
    both = tmp_path / "both.pem"
    both.write_bytes(b"# carol and dave\n" + carol.public.read_bytes() + dave.public.read_bytes())
    keys = trusted_keys([ring, both])
    assert set(keys) == {alice.raw, bob.raw, carol.raw, dave.raw}
    assert {key.name for key in keys.values()} == {"alice.pub", "bob.pub", "both.pem"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a public key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\n", "a secret key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        (public_pem(bytes(31)), "cannot be read"),
        (public_pem(b"\1" + bytes(31)), "small order"),
        (public_pem(b"\2" + bytes(31)), "not a point of the curve"),
        (public_pem(b"\xff" * 32), "not in canonical form"),
        (
            X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "not an Ed25519 key",
        ),
    ],
)
def test_what_is_no_public_key_is_refused_also_in_a_directory(tmp_path: Path, data: bytes, message: str) -> None:
    pair(tmp_path)
    (tmp_path / "bad.pub").write_bytes(data)
    for path in (tmp_path / "bad.pub", tmp_path):
        with pytest.raises(KeyFileError, match=rf"bad\.pub: .*{message}"):
            trusted_keys([path])


def test_no_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no public key in this directory"):
        trusted_keys([tmp_path])
    with pytest.raises(NotFoundError):
        trusted_keys([tmp_path / "absent"])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_openssl_reads_our_keys_and_we_read_its(tmp_path: Path) -> None:
    public, _ = generate_key(tmp_path / "key")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key", "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    assert shown.stdout.endswith(public.raw)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "theirs"], check=True)
    (tmp_path / "theirs").chmod(0o600)
    secret_key(tmp_path / "theirs")


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [
        ("cryptography", "sign", "chkpt.seal.generate_key(Path('k'))"),
        ("cryptography", "sign", "chkpt.seal.trusted_keys([Path('k')])"),
        ("pyrage", "age", "chkpt.seal.generate_identity(Path('k'))"),
        ("pyrage", "age", "chkpt.seal.sealing(None, ['age1xxx'])"),
    ],
)
def test_a_missing_extra_is_named(tmp_path: Path, package: str, extra: str, call: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\nfrom pathlib import Path\nimport chkpt.seal\n"
        f"try:\n    {call}\nexcept chkpt.errors.ChkptError as exc:\n    print(exc)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == f"{package} is not installed, which this needs: pip install 'chkpt-machines[{extra}]'\n"


def test_errors_are_chkpts_own() -> None:
    assert KeyFileError.exit_status == 2
    assert issubclass(KeyFileError, ChkptError)
