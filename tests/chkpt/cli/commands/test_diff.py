"""`chkpt diff` says by its exit status whether two snapshots differ, and by its lines how."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.context import Checkpoint, Context, SparseBlob
from tests.chkpt.cli.looking import chkpt, flip_section, is_harmless, on_terminal, write
from tests.support.checkpoints import small

Capture = pytest.CaptureFixture[str]
Change = Callable[[Checkpoint], None]


def pair(directory: Path, change: Change) -> tuple[str, str]:
    """Write a small snapshot and a changed one."""
    changed = small()
    change(changed)
    return str(write(directory / "a.zst")), str(write(directory / "b.zst", changed))


def much(checkpoint: Checkpoint) -> None:
    """Change something of every kind."""
    checkpoint.header["clock_ns"] = 5
    checkpoint.contexts["rtc"] = Context("rtc", 1)
    del checkpoint.contexts["clock"]
    devices = checkpoint.contexts["devices"].contexts
    pit, ide = devices["pit"], devices["ide0"]
    pit.version = 2
    pit.values["irq"] = False
    pit.values["new"] = [1, 2]
    del pit.values["deadline"]
    ide.contexts["drive"].blobs["blocks"] = SparseBlob(2500, 1024, {1: bytes(range(256)) * 4, 2: b"x" * 451 + b"y"})
    checkpoint.contexts["memory"].blobs["rom"] = SparseBlob(10, 10)
    del checkpoint.contexts["memory"].blobs["ram"]


LINES = """\
~ header.clock_ns: 27462701 (0x1a30c2d) -> 5
- clock
+ rtc
~ devices/pit: type pit, version 1 -> type pit, version 2
~ devices/pit.irq: true -> false
- devices/pit.deadline: nil
+ devices/pit.new: [1, 2]
~ devices/ide0/drive.blocks at 0x9c3-0x9c3: 1 byte
- memory.ram: blob of 4096 bytes
+ memory.rom: blob of 10 bytes
"""


def test_equal_snapshots_end_with_0_and_say_nothing(tmp_path: Path, capsys: Capture) -> None:
    def written_later(checkpoint: Checkpoint) -> None:
        checkpoint.header |= {"created": "2030-01-01T00:00:00Z", "generator": "another"}

    ended = chkpt(capsys, "diff", *pair(tmp_path, written_later))
    assert (ended.status, ended.out, ended.err) == (0, "", "")


def test_every_difference_is_a_line(tmp_path: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "diff", *pair(tmp_path, much))
    assert (ended.status, ended.err) == (1, "")
    assert ended.out.splitlines() == LINES.splitlines()


def test_bytes_differ_by_ranges(tmp_path: Path, capsys: Capture) -> None:
    old, new = bytes(100), bytearray(105)
    new[3:5] = b"ab"
    new[90] = 0xFF
    paths = [
        str(
            write(
                tmp_path / f"{name}.zst", Checkpoint({}, {"a": Context("", 0, {"buffer": content, "few": content[:4]})})
            )
        )
        for name, content in (("a", old), ("b", bytes(new)))
    ]
    assert chkpt(capsys, "diff", *paths).out.splitlines() == [
        "~ a.buffer: 100 bytes -> 105 bytes",
        "~ a.buffer at 0x3-0x4: 00 00 |..| -> 61 62 |ab|",
        "~ a.buffer at 0x5a-0x5a: 00 |.| -> ff |.|",
        "~ a.few: 00 00 00 00 |....| -> 00 00 00 61 |...a|",
    ]


def test_a_blob_of_another_length_is_shown_with_both_lengths(tmp_path: Path, capsys: Capture) -> None:
    def longer(checkpoint: Checkpoint) -> None:
        ram = checkpoint.contexts["memory"].blobs["ram"]
        checkpoint.contexts["memory"].blobs["ram"] = SparseBlob(5000, ram.piece_size, dict(ram.pieces()))  # type: ignore[arg-type]  # in memory, pieces are bytes

    assert chkpt(capsys, "diff", *pair(tmp_path, longer)).out.splitlines() == [
        "~ memory.ram: 4096 bytes -> 5000 bytes",
        "~ memory.ram at 0x1000-0x1387: 904 bytes",
    ]


@pytest.mark.parametrize("kind", ["blob", "bytes"])
def test_of_many_ranges_only_some_are_shown(kind: str, tmp_path: Path, capsys: Capture) -> None:
    old, new = bytes(2000), (b"\1" + bytes(99)) * 20
    paths: list[str] = []
    for name, content in (("a", old), ("b", new)):
        blob = SparseBlob(2000, 2000, {0: content} if any(content) else {})
        context = Context(blobs={"x": blob}) if kind == "blob" else Context(values={"x": content})
        paths.append(str(write(tmp_path / f"{name}.zst", Checkpoint({}, {"a": context}))))
    lines = chkpt(capsys, "diff", *paths).out.splitlines()
    assert len(lines) == 17
    assert lines[15].startswith("~ a.x at 0x5dc-0x5dc: ")
    assert lines[16] == "~ a.x: 4 more ranges"
    found = json.loads(chkpt(capsys, "diff", *paths, "--json").out)
    if kind == "blob":
        assert found["blobs"][0]["ranges"] == [[at, at + 1] for at in range(0, 2000, 100)]
    else:
        assert found["tags"][0]["new"] == {"hex": new.hex()}


def test_json_has_all_of_it(tmp_path: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "diff", *pair(tmp_path, much), "--json")
    assert ended.status == 1
    assert json.loads(ended.out) == {
        "same": False,
        "header": [{"tag": "clock_ns", "at": [], "old": 27462701, "new": 5}],
        "removed": ["clock"],
        "added": ["rtc"],
        "types": [{"path": "devices/pit", "old": {"type": "pit", "version": 1}, "new": {"type": "pit", "version": 2}}],
        "tags": [
            {"path": "devices/pit", "tag": "irq", "at": [], "old": True, "new": False},
            {"path": "devices/pit", "tag": "deadline", "at": [], "old": None},
            {"path": "devices/pit", "tag": "new", "at": [], "new": [1, 2]},
        ],
        "blobs": [
            {
                "path": "devices/ide0/drive",
                "tag": "blocks",
                "old_size": 2500,
                "new_size": 2500,
                "ranges": [[2499, 2500]],
            },
            {"path": "memory", "tag": "ram", "old_size": 4096, "new_size": None, "ranges": []},
            {"path": "memory", "tag": "rom", "old_size": None, "new_size": 10, "ranges": []},
        ],
    }


def test_json_of_equal_snapshots(tmp_path: Path, capsys: Capture) -> None:
    ended = chkpt(capsys, "diff", *pair(tmp_path, lambda _: None), "--json")
    assert ended.status == 0
    found = json.loads(ended.out)
    assert found.pop("same") is True
    assert not any(found.values())


def test_json_has_the_path_into_a_value(tmp_path: Path, capsys: Capture) -> None:
    paths = [
        str(write(tmp_path / f"{port}.zst", Checkpoint({"config": {"device": [{"port": port}]}}))) for port in (1, 2)
    ]
    found = json.loads(chkpt(capsys, "diff", *paths, "--json").out)
    assert found["header"] == [{"tag": "config", "at": ["device", 0, "port"], "old": 1, "new": 2}]
    assert chkpt(capsys, "diff", *paths).out == "~ header.config.device[0].port: 1 -> 2\n"


def test_a_terminal_gets_the_same_lines_in_colour(tmp_path: Path) -> None:
    ended = on_terminal("diff", *pair(tmp_path, much))
    assert ended.status == 1
    assert "\x1b[32m+ rtc" in ended.out
    assert "\x1b[31m- clock" in ended.out
    assert re.sub(r"\x1b\[[0-9;]*m", "", ended.out) == LINES


def test_nothing_in_a_file_reaches_the_terminal_as_it_is(tmp_path: Path, capsys: Capture) -> None:
    bad = "\x1b[2J\x9b\u202e\n"

    def hostile(checkpoint: Checkpoint) -> None:
        checkpoint.header |= {bad: bad, "machine": bad}
        checkpoint.contexts["other"] = Context(bad)
        checkpoint.contexts["memory"].type = bad
        checkpoint.contexts["memory"].values |= {bad: bad, "size": {bad: bad}}
        checkpoint.contexts["memory"].blobs[f"b{bad}"] = SparseBlob(1, 1)

    paths = pair(tmp_path, hostile)
    for one, other in (paths, paths[::-1]):
        ended = chkpt(capsys, "diff", one, other)
        assert ended.status == 1
        assert is_harmless(ended.out)
        assert len(ended.out.splitlines()) == 7
        assert is_harmless(chkpt(capsys, "diff", one, other, "--json").out)
        assert is_harmless(re.sub(r"\x1b\[[0-9;]*m", "", on_terminal("diff", one, other).out))


def test_trouble_never_ends_as_a_difference_does(tmp_path: Path, capsys: Capture) -> None:
    a, b = pair(tmp_path, lambda _: None)
    (tmp_path / "text.zst").write_bytes(b"text")
    flip_section(Path(b), "devices/pit")
    trouble = {b: 4, str(tmp_path / "text.zst"): 4, str(tmp_path / "none.zst"): 3, f"{tmp_path}/": 2, ".no": 2}
    for path, status in trouble.items():
        for arguments in ([a, path], [path, a]):
            ended = chkpt(capsys, "diff", *arguments)
            assert (ended.status, ended.out) == (status, ""), path
            assert ended.err.startswith("chkpt: ")
    assert chkpt(capsys, "diff", a).status == 2


def test_names_are_looked_up_in_the_store(tmp_path: Path, capsys: Capture) -> None:
    write(tmp_path / "one.zst")
    write(tmp_path / "two.zst")
    assert chkpt(capsys, "diff", "one", "two", "--store", str(tmp_path)).status == 0
