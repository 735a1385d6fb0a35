"""A running machine is saved signed and encrypted, and loads only what a trusted key has signed."""

import json
import sys
from pathlib import Path

import pytest

from chkpt.seal import generate_identity, open_snapshot
from chkpt.snapshot import Reader
from tests.support.pairs import pair
from tests.support.processes import chkpt, refused, running, spawn
from tests.support.served import launch, serving

Capture = pytest.CaptureFixture[str]


def test_save_signed_and_load_only_signed(home: Path, capsys: Capture) -> None:
    alice, bob = pair(home, "alice"), pair(home, "bob")
    with serving(launch()):
        assert chkpt(capsys, "save", "plain").status == 0
        said = chkpt(capsys, "save", "a", "--sign", "alice")
        assert said.out.endswith(f"bytes, signed with key {alice.id}\n")
        found = json.loads(chkpt(capsys, "load", "a", "--require-signature", "alice.pub", "--json").out)
        assert found["signed_by"] == [alice.id]
        assert f"signed with key {alice.id}" in chkpt(capsys, "load", "a", "--require-signature", "alice.pub").out
        for name, keys in (("a", "bob.pub"), ("plain", "alice.pub")):
            assert "not signed by any of the 1 trusted keys" in refused(
                chkpt(capsys, "load", name, "--require-signature", keys), 4
            )
        assert chkpt(capsys, "load", "plain").status == 0
        assert "key file" in refused(chkpt(capsys, "save", "b", "--sign", "absent"), 3)
        assert not (home / "snapshots" / "b.zst").exists()
    with Reader.open(home / "snapshots" / "a.zst") as reader:
        assert [each.public_key for each in reader.signatures] == [alice.raw]
    assert bob.id != alice.id


def test_save_encrypted_and_load_it(home: Path, capsys: Capture) -> None:
    alice = pair(home, "alice")
    recipient, _ = generate_identity(home / "me")
    with serving(launch()) as machine:
        found = json.loads(chkpt(capsys, "save", "a", "--recipient", recipient, "--sign", "alice", "--json").out)
        path = home / "snapshots" / "a.zst.age"
        assert (found["path"], found["encrypted"], found["signed_by"]) == (str(path), True, [alice.id])
        assert found["size"] == path.stat().st_size
        assert path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in path.parent.iterdir()] == ["a.zst.age"]
        assert "--identity" in refused(chkpt(capsys, "load", "a"), 4)
        generate_identity(home / "other")
        assert "not for the identity" in refused(chkpt(capsys, "load", "a", "--identity", "other"), 4)
        before = machine.machine()["clock_ns"]
        assert chkpt(capsys, "load", "a", "--identity", "me", "--require-signature", "alice.pub").status == 0
        assert machine.machine()["clock_ns"] < before + 10**12
    with open_snapshot(path, identity=home / "me") as reader:
        reader.verify()
        assert reader.root_digest.hex() == found["digest"]


def test_a_forced_save_removes_old_signatures_and_says_so(home: Path, capsys: Capture) -> None:
    alice = pair(home, "alice")
    beside = home / "snapshots" / "a.zst.sig"
    with serving(launch()):
        assert chkpt(capsys, "save", "a").status == 0
        assert chkpt(capsys, "sign", "a", "--key", alice.secret, "--detached").status == 0
        said = chkpt(capsys, "save", "a", "--force")
        assert said.out.endswith(f"bytes; {beside} is removed: its signatures were for the replaced snapshot\n")
        assert not beside.exists()
        words = refused(chkpt(capsys, "load", "a", "--require-signature", alice.public), 4)
        assert words.endswith("it has no signature")
        assert chkpt(capsys, "sign", "a", "--key", alice.secret, "--detached").status == 0
        assert chkpt(capsys, "load", "a", "--require-signature", alice.public).status == 0
        found = json.loads(chkpt(capsys, "save", "a", "--force", "--sign", alice.secret, "--json").out)
        assert found["removed"] == [str(beside)]
        assert chkpt(capsys, "load", "a", "--require-signature", alice.public).status == 0


def test_names_of_encrypted_snapshots(home: Path, capsys: Capture) -> None:
    recipient, _ = generate_identity(home / "me")
    with serving(launch()):
        assert "ends in .zst.age" in refused(chkpt(capsys, "save", "./a.zst", "--recipient", recipient), 2)
        assert chkpt(capsys, "save", "./a.zst.age", "--recipient", "me.pub").status == 0
        assert chkpt(capsys, "save", "b", "--recipient", "me.pub").status == 0
        assert "snapshot of that name already" in refused(chkpt(capsys, "save", "b"), 1)
        assert "something of that name already" in refused(chkpt(capsys, "save", "b", "-r", "me.pub"), 1)
        assert chkpt(capsys, "save", "b", "-r", "me.pub", "--force").status == 0
        assert chkpt(capsys, "save", "c").status == 0
        assert "snapshot of that name already" in refused(chkpt(capsys, "save", "c", "-r", "me.pub"), 1)
        assert "no such key file" in refused(chkpt(capsys, "save", "d", "-r", "absent"), 3)
        assert "is not a recipient" in refused(chkpt(capsys, "save", "d", "-r", "age1x"), 2)


def test_a_machine_that_requires_signatures_does_so_for_every_client(home: Path, capsys: Capture) -> None:
    alice = pair(home, "alice")
    recipient, _ = generate_identity(home / "me")
    with serving(launch()):
        assert chkpt(capsys, "save", "plain").status == 0
        assert chkpt(capsys, "save", "s", "--sign", "alice", "--recipient", recipient).status == 0
    trusting = ("--require-signature", "alice.pub")
    process = spawn("run", "--load", "plain", *trusting)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, b"")
    assert b"not signed by any of the 1 trusted keys" in err
    with running("--load", "s", "--identity", "me", *trusting) as machine:
        assert "not signed" in refused(chkpt(capsys, "load", "plain"), 4)
        assert chkpt(capsys, "load", "s", "--identity", "me").status == 0
        machine.end()
    assert alice.id


def test_encrypted_snapshots_are_compared_with_an_identity(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    recipient, _ = generate_identity(home / "me")
    generate_identity(home / "other")
    with serving(launch()) as machine:
        machine.pause()
        chkpt(capsys, "save", "plain")
        chkpt(capsys, "save", "a", "--recipient", recipient)
        machine.step(ns=1)
        chkpt(capsys, "save", "b", "--recipient", recipient)
    for old, new in (("a", "b"), ("plain", "b")):
        outcome = chkpt(capsys, "diff", old, new, "--identity", "me")
        assert (outcome.status, outcome.err) == (1, "")
        assert "~ clock.now" in outcome.out
    assert chkpt(capsys, "diff", "plain", "a", "--identity", "me").status == 0
    assert "--identity" in refused(chkpt(capsys, "diff", "a", "b"), 4)
    assert "not for the identity" in refused(chkpt(capsys, "diff", "a", "plain", "--identity", "other"), 4)
    monkeypatch.setitem(sys.modules, "pyrage", None)
    assert "chkpt-machines[age]" in refused(chkpt(capsys, "diff", "a", "b", "--identity", "me"), 2)
