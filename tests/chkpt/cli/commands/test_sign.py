"""`chkpt sign`, and how `inspect`, `verify`, `list` and `rm` handle signatures and encrypted snapshots."""

import json
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from chkpt.cli import COMMANDS
from chkpt.seal import generate_identity, sealing
from chkpt.snapshot import Reader, dump
from tests.chkpt.cli.looking import on_terminal
from tests.chkpt.cli.looking import write as write_plain
from tests.support.checkpoints import small
from tests.support.pairs import Pair, pair
from tests.support.processes import chkpt, refused

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def alice(home: Path) -> Pair:
    (home / "keys").mkdir()
    return pair(home / "keys", "alice")


def encrypted(path: Path, recipient: str, key: Path | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    seal = sealing(key, [recipient])
    with path.open("wb") as file, seal.wrapping(file) as plain:
        dump(small(), plain, sign=seal.sign)
    return path


# -- sign -------------------------------------------------------------------------------------------------------------


def test_sign_puts_a_signature_into_the_file(home: Path, capsys: Capture, alice: Pair) -> None:
    path = write_plain(home / "snapshots" / "a.zst")
    ended = chkpt(capsys, "sign", "a", "--key", alice.secret)
    assert (ended.status, ended.out) == (0, f"signed {path} with key {alice.id}\n")
    with Reader.open(path) as reader:
        assert [each.public_key for each in reader.signatures] == [alice.raw]


def test_sign_puts_a_signature_beside_the_file(home: Path, capsys: Capture, alice: Pair) -> None:
    path = write_plain(home / "a.zst")
    before = path.read_bytes()
    found = json.loads(chkpt(capsys, "sign", "./a.zst", "-k", alice.secret, "--detached", "--json").out)
    assert found == {"snapshot": str(path), "key": alice.id, "signature": f"{path}.sig"}
    assert path.read_bytes() == before
    assert chkpt(capsys, "verify", "./a.zst", "--require-signature", alice.public).status == 0


def no_key(directory: Path) -> Path:
    path = directory / "no-key"
    path.write_text("no key")
    path.chmod(0o600)
    return path


def test_sign_refuses(home: Path, capsys: Capture, alice: Pair) -> None:
    write_plain(home / "a.zst")
    assert "--key" in chkpt(capsys, "sign", "a.zst").err
    assert "no such key file" in refused(chkpt(capsys, "sign", "a.zst", "-k", "absent"), 3)
    assert "not a secret key" in refused(chkpt(capsys, "sign", "a.zst", "-k", no_key(home)), 2)
    alice.secret.chmod(0o644)
    assert "chmod 600" in refused(chkpt(capsys, "sign", "a.zst", "-k", alice.secret), 2)
    alice.secret.chmod(0o600)
    assert "no such snapshot" in refused(chkpt(capsys, "sign", "b", "-k", alice.secret), 3)


# -- verify -----------------------------------------------------------------------------------------------------------


def test_verify_requires_a_signature(home: Path, capsys: Capture, alice: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plain(home / "snapshots" / "a.zst")
    assert chkpt(capsys, "verify", "a").status == 0
    ended = chkpt(capsys, "verify", "a", "--require-signature", home / "keys")
    assert ended.status == 4
    assert "not signed by any of the 1 trusted keys; it has no signature" in ended.out
    chkpt(capsys, "sign", "a", "--key", alice.secret)
    bob = pair(home, "bob")
    for keys, status in ((str(home / "keys"), 0), (str(bob.public), 4), (f"{bob.public}:{home / 'keys'}", 0)):
        monkeypatch.setenv("CHKPT_REQUIRE_SIGNATURE", keys)
        assert chkpt(capsys, "verify", "a").status == status
    monkeypatch.setenv("CHKPT_REQUIRE_SIGNATURE", str(home / "absent"))
    assert "no such key file" in refused(chkpt(capsys, "verify", "a"), 3)


def test_the_commands_that_ask_for_signatures_are_those_that_the_guide_names() -> None:
    commands = {name: getattr(import_module(at), at.rpartition(".")[2]) for name, at in COMMANDS.items()}
    asking = {name for name, command in commands.items() if "require_signature" in signature(command).parameters}
    assert asking == {"run", "load", "verify"}
    text = " ".join((Path(__file__).parents[4] / "docs" / "GUIDE.md").read_text().split())
    assert "CHKPT_REQUIRE_SIGNATURE does what that option does, for `run`, `load` and `verify`" in text


def test_commands_that_only_look_ask_for_no_signature(
    home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, alice: Pair
) -> None:
    write_plain(home / "snapshots" / "a.zst")
    looks = [("compat", "a", "a"), ("diff", "a", "a"), ("inspect", "a"), ("list",)]
    before = [chkpt(capsys, *each) for each in looks]
    monkeypatch.setenv("CHKPT_REQUIRE_SIGNATURE", str(alice.public))
    assert [chkpt(capsys, *each) for each in looks] == before
    assert chkpt(capsys, "verify", "a").status == 4
    assert "not signed by any of the 1 trusted keys" in refused(chkpt(capsys, "run", "--load", "a"), 4)


def test_verify_reads_what_is_encrypted_with_the_identity(home: Path, capsys: Capture, alice: Pair) -> None:
    recipient, _ = generate_identity(home / "me")
    write_plain(home / "snapshots" / "plain.zst")
    encrypted(home / "snapshots" / "secret.zst.age", recipient, alice.secret)
    ended = chkpt(capsys, "verify")
    assert ended.status == 1
    assert ended.out == "plain: good\nsecret.zst.age: not checked: encrypted, give --identity\n"
    assert ended.err == "chkpt: 1 of 2 snapshots not checked: secret.zst.age: encrypted, give --identity\n"
    found = json.loads(chkpt(capsys, "verify", "--json").out)
    assert [(each["ok"], each["checked"], each["problem"]) for each in found] == [
        (True, True, ""),
        (False, False, "encrypted, give --identity"),
    ]
    generate_identity(home / "other")
    ended = chkpt(capsys, "verify", "--identity", "other")  # what was given does not open it
    assert (ended.status, "secret.zst.age: bad: " in ended.out) == (4, True)
    (home / "snapshots" / "plain.zst").write_bytes(b"no snapshot")
    assert chkpt(capsys, "verify").status == 4  # that one is bad weighs more than that one was not checked
    write_plain(home / "snapshots" / "plain.zst")
    assert chkpt(capsys, "verify", "--identity", "me").status == 0
    assert chkpt(capsys, "verify", "secret", "--identity", "me", "--require-signature", alice.public).status == 0


# -- inspect ----------------------------------------------------------------------------------------------------------


def test_inspect_says_who_signed_and_what_that_is_worth(home: Path, capsys: Capture, alice: Pair) -> None:
    path = write_plain(home / "snapshots" / "a.zst")
    assert "signature" not in chkpt(capsys, "inspect", "a").out
    bob = pair(home, "bob")
    for key in (alice, bob):
        chkpt(capsys, "sign", "a", "--key", key.secret)
    lines = [line for line in chkpt(capsys, "inspect", "a").out.splitlines() if line.startswith("signature: ")]
    assert sorted(lines) == sorted(f"signature: unknown key {key.id}" for key in (alice, bob))
    (home / "snapshots" / "b.zst").write_bytes(path.read_bytes())
    found = json.loads(chkpt(capsys, "inspect", "b", "--trust", alice.public, "--json").out)
    assert found["format"] == 2
    assert {(each["key"], each["name"], each["verdict"], each["place"]) for each in found["signatures"]} == {
        (alice.id, "alice.pub", "valid", str(home / "snapshots" / "b.zst")),
        (bob.id, "", "unknown key", str(home / "snapshots" / "b.zst")),
    }


def test_inspect_shows_a_signature_that_is_not_valid(home: Path, capsys: Capture, alice: Pair) -> None:
    write_plain(home / "a.zst")
    chkpt(capsys, "sign", "a.zst", "--key", alice.secret, "--detached")
    other = small()
    other.header["machine"] = "another"
    path = write_plain(home / "a.zst", other)
    out = chkpt(capsys, "inspect", "a.zst", "--trust", alice.public).out
    assert f"signature: invalid {alice.id} (alice.pub) in {path}.sig\n" in out
    Path(f"{path}.sig").write_bytes(b"nonsense")
    ended = chkpt(capsys, "inspect", "a.zst")
    assert (ended.status, "signature: not checked: " in ended.out) == (0, True)


def test_inspect_shows_signatures_in_the_tree(home: Path, alice: Pair, capsys: Capture) -> None:
    path = write_plain(home / "a.zst")
    chkpt(capsys, "sign", path, "--key", alice.secret)
    ended = on_terminal("inspect", str(path), "--trust", str(alice.public))
    assert f"valid {alice.id} (alice.pub)" in ended.out


def test_inspect_reads_what_is_encrypted(home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    recipient, _ = generate_identity(home / "me")
    encrypted(home / "snapshots" / "a.zst.age", recipient)
    assert "--identity" in refused(chkpt(capsys, "inspect", "a"), 4)
    assert "clock.now: 27462701" in chkpt(capsys, "inspect", "a", "clock", "--identity", "me").out
    monkeypatch.setenv("CHKPT_IDENTITY", "me")
    assert "clock.now: 27462701" in chkpt(capsys, "inspect", "a", "clock").out


# -- list and rm ------------------------------------------------------------------------------------------------------


def test_list_shows_what_is_encrypted(home: Path, capsys: Capture) -> None:
    recipient, _ = generate_identity(home / "me")
    path = encrypted(home / "snapshots" / "secret.zst.age", recipient)
    write_plain(home / "snapshots" / "plain.zst")
    Path(f"{home / 'snapshots' / 'plain.zst'}.sig").write_bytes(b"")
    lines = [line.split() for line in chkpt(capsys, "list").out.splitlines()]
    assert [line[0] for line in lines] == ["NAME", "plain", "secret"]
    assert lines[2] == ["secret", str(path.stat().st_size), "encrypted", "-", "-"]
    found = json.loads(chkpt(capsys, "list", "--json").out)
    assert [(each["encrypted"], each["problem"], each["path"]) for each in found] == [
        (False, "", str(home / "snapshots" / "plain.zst")),
        (True, "", str(path)),
    ]


def test_rm_takes_signatures_along(home: Path, capsys: Capture, alice: Pair) -> None:
    recipient, _ = generate_identity(home / "me")
    write_plain(home / "snapshots" / "a.zst")
    chkpt(capsys, "sign", "a", "--key", alice.secret, "--detached")
    encrypted(home / "snapshots" / "b.zst.age", recipient)
    assert len([*(home / "snapshots").iterdir()]) == 3
    assert chkpt(capsys, "rm", "a", "b").status == 0
    assert [*(home / "snapshots").iterdir()] == []


def test_one_name_for_two_files_is_refused(home: Path, capsys: Capture) -> None:
    recipient, _ = generate_identity(home / "me")
    encrypted(home / "snapshots" / "a.zst.age", recipient)
    write_plain(home / "snapshots" / "a.zst")
    for command in ("inspect", "verify", "rm"):
        assert "has both a.zst and a.zst.age" in chkpt(capsys, command, "a").err
    assert chkpt(capsys, "rm", "snapshots/a.zst").status == 0
    assert chkpt(capsys, "inspect", "a", "--identity", "me").status == 0
