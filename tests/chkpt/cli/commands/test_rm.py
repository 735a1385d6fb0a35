"""`chkpt rm` removes all named snapshots, or none."""

from pathlib import Path

import pytest

from tests.chkpt.cli.looking import chkpt, write

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHKPT_STORE", raising=False)
    for name in ("a", "b", "c"):
        write(tmp_path / "snapshots" / f"{name}.zst")
    return tmp_path / "snapshots"


def left(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


def test_names_are_removed_from_the_store(store: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "rm", "a", "b")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == f"removed {store / 'a.zst'}\nremoved {store / 'b.zst'}\n"
    assert left(store) == ["c.zst"]


def test_paths_are_removed_wherever_they_are(store: Path, capsys: Capture) -> None:
    assert chkpt(capsys, "rm", "snapshots/a.zst", str(store / "b.zst"), "--store", "elsewhere").status == 0
    assert left(store) == ["c.zst"]


def test_a_store_is_chosen_by_option(store: Path, capsys: Capture) -> None:
    other = write(store.parent / "other" / "a.zst")
    assert chkpt(capsys, "rm", "a", "--store", "other").status == 0
    assert not other.exists()
    assert left(store) == ["a.zst", "b.zst", "c.zst"]


def test_the_same_twice_is_once(store: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "rm", "a", "snapshots/a.zst")
    assert ended.status == 0
    assert ended.out.count("removed") == 1


def test_one_that_the_system_does_not_remove_is_named_with_those_that_are_left(
    store: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "b.zst":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    ended = chkpt(capsys, "rm", "a", "b", "c")
    assert (ended.status, ended.out) == (1, f"removed {store / 'a.zst'}\n")
    assert ended.err == f"chkpt: {store / 'b.zst'}: Operation not permitted; not removed either: {store / 'c.zst'}\n"
    assert left(store) == ["b.zst", "c.zst"]


def test_if_one_is_missing_none_is_removed(store: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "rm", "a", "nothere", "b")
    assert ended.status == 3
    assert ended.out == ""
    assert "nothere.zst: there is no such snapshot; nothing has been removed" in ended.err
    assert left(store) == ["a.zst", "b.zst", "c.zst"]


def test_a_damaged_snapshot_can_be_removed(store: Path, capsys: Capture) -> None:
    (store / "a.zst").write_bytes(b"")
    assert chkpt(capsys, "rm", "a").status == 0
    assert left(store) == ["b.zst", "c.zst"]


def test_a_file_of_another_name_is_removed_only_if_it_is_a_snapshot(store: Path, capsys: Capture) -> None:
    odd = write(store / "odd.snapshot")
    text = store / "notes.txt"
    text.write_text("do not lose this")
    ended = chkpt(capsys, "rm", str(odd), str(text))
    assert ended.status == 4
    assert "notes.txt" in ended.err
    assert odd.exists()
    assert text.exists()
    assert chkpt(capsys, "rm", str(odd)).status == 0
    assert not odd.exists()


def test_a_directory_is_not_removed(store: Path, capsys: Capture) -> None:
    (store / "d.zst").mkdir()
    ended = chkpt(capsys, "rm", "a", "d")
    assert ended.status == 2
    assert "is a directory" in ended.err
    assert left(store) == ["a.zst", "b.zst", "c.zst", "d.zst"]


def test_of_a_link_the_link_is_removed(store: Path, capsys: Capture) -> None:
    (store / "link.zst").symlink_to(store / "a.zst")
    (store / "dangling.zst").symlink_to(store / "nowhere")
    assert chkpt(capsys, "rm", "link", "dangling").status == 0
    assert left(store) == ["a.zst", "b.zst", "c.zst"]


def test_a_refusal_of_the_system_is_reported(store: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    ended = chkpt(capsys, "rm", "a")
    assert ended.status == 1
    assert ended.err == f"chkpt: {store / 'a.zst'}: Permission denied\n"


@pytest.mark.parametrize("arguments", [[], [".hidden"], ["a\n"]])
def test_an_impossible_name_is_a_wrong_request(arguments: list[str], store: Path, capsys: Capture) -> None:
    assert chkpt(capsys, "rm", *arguments).status == 2
    assert left(store) == ["a.zst", "b.zst", "c.zst"]
