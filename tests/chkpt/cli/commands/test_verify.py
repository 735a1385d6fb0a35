"""`chkpt verify` reads everything, and names every snapshot that is bad."""

import fcntl
import json
from pathlib import Path

import pytest

from tests.attacks.all import ATTACKS
from tests.chkpt.cli.looking import chkpt, flip, flip_piece, flip_section, is_harmless, write

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHKPT_STORE", str(tmp_path / "store"))
    for name in ("a", "b", "c"):
        write(tmp_path / "store" / f"{name}.zst")
    return tmp_path / "store"


def test_without_arguments_the_whole_store_is_verified(store: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "verify")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == "a: good\nb: good\nc: good\n"


def test_every_bad_one_is_named(store: Path, capsys: Capture) -> None:
    flip_section(store / "a.zst", "devices/pit")
    flip_piece(store / "c.zst")
    ended = chkpt(capsys, "verify")
    assert ended.status == 4
    a, b, c = ended.out.splitlines()
    assert a.startswith(f"a: bad: {store / 'a.zst'}: section devices/pit ")
    assert b == "b: good"
    assert c.startswith("c: bad: ")
    assert "blocks" in c
    assert ended.err == "chkpt: 2 of 3 snapshots failed: a, c\n"


def test_only_the_named_ones_are_read(store: Path, capsys: Capture) -> None:
    flip_piece(store / "a.zst")
    path = write(store.parent / "elsewhere.zst")
    ended = chkpt(capsys, "verify", "b", str(path), "b")
    assert ended.status == 0
    assert ended.out == f"b: good\n{path}: good\n"
    assert chkpt(capsys, "verify", "b", "--store", str(store.parent)).status == 3


def test_every_flipped_bit_is_found(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "x.zst")
    whole = path.read_bytes()
    for offset in range(0, len(whole), 7):
        path.write_bytes(whole)
        flip(path, offset)
        assert chkpt(capsys, "verify", str(path)).status == 4, offset
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert chkpt(capsys, "verify", str(path)).status == 4, size


def test_json_has_each_snapshot(store: Path, capsys: Capture) -> None:
    flip_piece(store / "b.zst")
    ended = chkpt(capsys, "verify", "a", "b", "--json")
    assert ended.status == 4
    good, bad = json.loads(ended.out)
    assert good == {"snapshot": "a", "path": str(store / "a.zst"), "ok": True, "checked": True, "problem": ""}
    assert (bad["snapshot"], bad["ok"]) == ("b", False)
    assert "blocks" in bad["problem"]


def test_bad_counts_more_than_missing_and_missing_more_than_unreadable(store: Path, capsys: Capture) -> None:
    flip_piece(store / "a.zst")
    ended = chkpt(capsys, "verify", "none", "a", "b")
    assert ended.status == 4
    assert "none: bad: " in ended.out
    assert chkpt(capsys, "verify", "none", "b", f"{store}/").status == 3
    assert chkpt(capsys, "verify", f"{store}/").status == 1


def test_an_empty_store_has_nothing_bad(tmp_path: Path, capsys: Capture) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        ended = chkpt(capsys, "verify", "--store", str(directory))
        assert (ended.status, ended.out) == (0, "")
    assert json.loads(chkpt(capsys, "verify", "--store", str(tmp_path), "--json").out) == []


def test_a_hostile_name_in_a_problem_is_harmless(store: Path, capsys: Capture) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == "an escape")
    (store / "a.zst").write_bytes(attack.make())
    ended = chkpt(capsys, "verify", "a")
    assert ended.status == 4
    assert is_harmless(ended.out)
    assert r"\x1b[2J" in ended.out


def test_a_table_of_names_that_a_load_refuses_is_bad(store: Path, capsys: Capture) -> None:
    for attack in (attack for attack in ATTACKS if attack.rule in {55, 56, 62}):
        (store / "a.zst").write_bytes(attack.make())
        ended = chkpt(capsys, "verify", "a")
        assert ended.status == 4
        assert ended.out.startswith(f"a: bad: {store / 'a.zst'}: ")
        assert attack.message in ended.out.replace("\\\\", "\\")
        assert ended.out.endswith("; restore it from a copy\n")
        assert chkpt(capsys, "inspect", "a", "/").status == 0  # inspect can still show its content


def test_repair_removes_what_killed_saves_left_and_no_snapshot(store: Path, capsys: Capture) -> None:
    flip_piece(store / "b.zst")
    left = store / ".chkpt-00000000000000aa"
    left.write_bytes(b"half a snapshot")
    assert chkpt(capsys, "verify", "a").status == 0
    assert left.exists()
    ended = chkpt(capsys, "verify", "--repair")
    assert ended.status == 4
    assert ended.out.splitlines()[0] == "a: good"
    assert ended.out.splitlines()[-1] == f"removed {left}, which a killed save left"
    assert sorted(path.name for path in store.iterdir()) == ["a.zst", "b.zst", "c.zst"]


def test_repair_looks_where_the_named_snapshots_lie(store: Path, capsys: Capture) -> None:
    path = write(store.parent / "elsewhere.zst")
    for directory in (store, path.parent):
        (directory / ".chkpt-00000000000000aa").write_bytes(b"")
    left = str(path.parent / ".chkpt-00000000000000aa")
    ended = chkpt(capsys, "verify", str(path), "--repair", "--json")
    assert ended.status == 0
    document = json.loads(ended.out)
    assert (document["removed"], document["kept"], len(document["snapshots"])) == ([left], {}, 1)
    assert [each.name for each in store.glob(".chkpt-*")] == [".chkpt-00000000000000aa"]


def test_repair_leaves_what_a_living_writer_writes(store: Path, capsys: Capture) -> None:
    live = store / ".chkpt-00000000000000aa"
    with live.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ended = chkpt(capsys, "verify", "a", "--repair")
        assert ended.out == f"a: good\nkept {live}: its writer is at work\n"
        assert live.exists()
    assert chkpt(capsys, "verify", "a", "--repair").status == 0
    assert not live.exists()


def test_a_store_that_is_not_there_needs_no_repair(tmp_path: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "verify", "--repair", "--store", str(tmp_path / "none"))
    assert (ended.status, ended.out) == (0, "")
    assert not (tmp_path / "none").exists()
