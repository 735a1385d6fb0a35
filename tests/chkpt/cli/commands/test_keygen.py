"""`chkpt keygen` makes keys and overwrites none without --force."""

import json
from pathlib import Path

import pytest

from chkpt.seal import trusted_keys
from chkpt.seal.keys import secret_key
from tests.support.processes import chkpt, refused

Capture = pytest.CaptureFixture[str]


def test_a_key(home: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "keygen", "key")
    (key,) = trusted_keys([home / "key.pub"]).values()
    assert (ended.status, ended.out) == (0, f"key {key.id}: secret in key, public in key.pub\n")
    assert secret_key(home / "key").public_key().public_bytes_raw() == key.raw


def test_an_identity(home: Path, capsys: Capture) -> None:
    found = json.loads(chkpt(capsys, "keygen", "--age", "me", "--json").out)
    assert found == {
        "recipient": (home / "me.pub").read_text().strip(),
        "secret": str(home / "me"),
        "public": str(home / "me.pub"),
    }
    assert (home / "me").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", [[], ["--age"]])
def test_a_key_that_is_there_stays_unless_forced(home: Path, capsys: Capture, kind: list[str]) -> None:
    assert chkpt(capsys, "keygen", "key", *kind).status == 0
    before = (home / "key").read_bytes()
    message = refused(chkpt(capsys, "keygen", "key", *kind), 1)
    name, _, reason = message.partition(": ")
    assert name in {"key", "key.pub"}
    assert reason == "there is something of that name already; choose another name, or replace it (--force)"
    assert (home / "key").read_bytes() == before
    assert chkpt(capsys, "keygen", "key", "--force", *kind).status == 0
    assert (home / "key").read_bytes() != before


def test_a_directory_is_refused(home: Path, capsys: Capture) -> None:
    assert "directory" in refused(chkpt(capsys, "keygen", "."), 2)
    assert "does not exist" in refused(chkpt(capsys, "keygen", "absent/key"), 1)
