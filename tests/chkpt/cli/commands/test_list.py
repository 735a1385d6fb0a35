"""`chkpt list` lists the store, damaged snapshots too."""

import errno
import json
import os
from pathlib import Path

import pytest

from chkpt.context import Checkpoint
from chkpt.snapshot import Reader
from tests.chkpt.cli.looking import chkpt, flip_piece, flip_section, is_harmless, on_terminal, write

Capture = pytest.CaptureFixture[str]


def test_snapshots_are_listed_by_name(tmp_path: Path, capsys: Capture) -> None:
    for name in ("zeta", "alpha"):
        path = write(tmp_path / f"{name}.zst")
    (tmp_path / "README.md").write_text("no snapshot")
    with Reader.open(path) as reader:
        size, digest = reader.size, reader.root_digest.hex()[:12]
    ended = chkpt(capsys, "list", "--store", str(tmp_path))
    assert (ended.status, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["NAME", "SIZE", "CREATED", "MACHINE", "DIGEST", "PROBLEM"],
        ["alpha", str(size), "2026-11-23T09:04:12.345678Z", "small", digest],
        ["zeta", str(size), "2026-11-23T09:04:12.345678Z", "small", digest],
    ]


def test_json_has_path_and_whole_digest(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "store" / "a.zst")
    monkeypatch.chdir(tmp_path)
    with Reader.open(path) as reader:
        digest = reader.root_digest.hex()
    assert json.loads(chkpt(capsys, "list", "--store", "store", "--json").out) == [
        {
            "name": "a",
            "path": str(path),
            "size": path.stat().st_size,
            "created": "2026-11-23T09:04:12.345678Z",
            "machine": "small",
            "digest": digest,
            "problem": "",
            "encrypted": False,
        }
    ]


def test_a_damaged_snapshot_is_listed_with_its_problem(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "cut.zst")
    path.write_bytes(path.read_bytes()[:-3])
    write(tmp_path / "good.zst")
    ended = chkpt(capsys, "list", "--store", str(tmp_path))
    assert ended.status == 0
    _, cut, good = ended.out.splitlines()
    assert cut.split()[:5] == ["cut", str(path.stat().st_size), "-", "-", "-"]
    assert "trailer" in cut
    assert good.startswith("good ")
    found = json.loads(chkpt(capsys, "list", "--store", str(tmp_path), "--json").out)
    assert ["trailer" in each["problem"] for each in found] == [True, False]
    assert found[0]["digest"] == ""


def test_a_list_does_not_read_sections_and_pieces(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "a.zst")
    flip_section(path, "devices/pit")
    flip_piece(path)
    assert json.loads(chkpt(capsys, "list", "--store", str(tmp_path), "--json").out)[0]["problem"] == ""


@pytest.mark.parametrize("store", ["empty", "none"])
def test_an_empty_store_is_not_an_error_and_is_not_made(store: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    ended = chkpt(capsys, "list", "--store", str(tmp_path / store))
    assert (ended.status, ended.out) == (0, "")
    assert "no snapshots in" in ended.err
    ended = chkpt(capsys, "list", "--store", str(tmp_path / store), "--json")
    assert (ended.status, ended.out, ended.err) == (0, "[]\n", "")
    assert not (tmp_path / "none").exists()


def test_a_store_that_is_a_file_is_a_wrong_request(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "a.zst")
    assert chkpt(capsys, "list", "--store", str(path)).status == 2


def test_a_terminal_gets_sizes_for_people_and_nothing_harmful(tmp_path: Path) -> None:
    write(tmp_path / "a.zst", Checkpoint({"machine": "\x1b[31mred", "created": "\x07"}))
    ended = on_terminal("list", environment={"CHKPT_STORE": str(tmp_path)})
    assert ended.status == 0
    assert is_harmless(ended.out)
    assert r"\x1b[31mred" in ended.out
    assert " bytes " in ended.out


def test_a_store_that_cannot_be_read_is_not_an_invalid_option(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: object) -> object:  # the tests may run as root, who can read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "snapshots").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHKPT_STORE", raising=False)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(os, "scandir", denied)
    ended = chkpt(capsys, "list")
    assert (ended.status, ended.out, ended.err) == (1, "", "chkpt: snapshots: Permission denied\n")
