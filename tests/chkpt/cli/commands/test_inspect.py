"""`chkpt inspect` shows a snapshot without its devices, safely, in part or as a whole."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest

from chkpt.context import Checkpoint, Context, SparseBlob, Value, blob_bytes
from chkpt.snapshot import Reader
from tests.chkpt.cli.looking import chkpt, flip, flip_piece, flip_section, is_harmless, on_terminal, write
from tests.support.checkpoints import NAMES, small

Capture = pytest.CaptureFixture[str]

ESCAPE = "\x1b]0;owned\x07\x9b31m\u202e\r"


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    return str(write(tmp_path / "a.zst"))


def hostile() -> Checkpoint:
    """A checkpoint with control characters at every place of a file that can hold them."""
    inner = Context(ESCAPE, 1, {ESCAPE: ESCAPE, "map": {ESCAPE: [ESCAPE]}}, {f"b{ESCAPE}": SparseBlob(9, 9)})
    return Checkpoint(
        {"machine": ESCAPE, ESCAPE: "x", "config": {ESCAPE: {"deep": ESCAPE}}},
        {"a": Context(ESCAPE, 1, {}, {}, {"b": inner})},  # a name cannot hold it
    )


def test_a_header_without_end_is_shown_in_part(tmp_path: Path, capsys: Capture) -> None:
    """A long key with many values below it would be repeated for each of them: a bomb of many gigabytes of lines."""
    config: dict[str, Value] = {"k" * 255: {str(at): at for at in range(20_000)}}
    ended = chkpt(capsys, "inspect", str(write(tmp_path / "a.zst", Checkpoint({"config": config}))))
    assert ended.status == 0
    assert len(ended.out) < 400_000
    assert '...: "the header has more than 1000 values; --json shows all"' in ended.out


# -- the overview -----------------------------------------------------------------------------------------------------


def test_the_overview_lists_header_contexts_and_blobs(snapshot: str, capsys: Capture) -> None:
    ended = chkpt(capsys, "inspect", snapshot)
    with Reader.open(snapshot) as reader:
        stored = {"/".join(entry.path): entry.stored_size for entry in reader.sections}
        content = {"/".join(entry.path): entry.content_size for entry in reader.sections}
        digest, size = reader.root_digest.hex(), reader.size
        pieces = {blob.tag: blob.stored_size for blob in reader.blobs}
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines == [
        f"snapshot: {snapshot}",
        f"size: {size}",
        f"digest: {digest}",
        "chkpt: 1",
        'generator: "chkpt 0.1.0"',
        'created: "2026-11-23T09:04:12.345678Z"',
        'machine: "small"',
        "clock_ns: 27462701 (0x1a30c2d)",
        "",
        "CONTEXT TYPE VERSION STORED CONTENT",
        f"clock clock 1 {stored['clock']} {content['clock']}",
        f"devices - 0 {stored['devices']} {content['devices']}",
        f"devices/ide0 ide 2 {stored['devices/ide0']} {content['devices/ide0']}",
        f"devices/pit pit 1 {stored['devices/pit']} {content['devices/pit']}",
        f"memory memory 1 {stored['memory']} {content['memory']}",
        "",
        "BLOB STORED CONTENT PIECES",
        f"devices/ide0/drive.blocks {pieces['blocks']} 2500 2/3",
        f"memory.ram {pieces['ram']} 4096 2/4",
    ]
    assert (ended.status, ended.err) == (0, "")


def test_a_machine_s_configuration_is_shown_key_by_key(tmp_path: Path, capsys: Capture) -> None:
    config: Value = {
        "name": "m",
        "device": [{"type": "pit"}, {"type": "serial", "port": 0x3F8}],
        "empty": [],
        "none": {},
    }
    path = write(tmp_path / "a.zst", Checkpoint({"config": config}))
    lines = chkpt(capsys, "inspect", str(path)).out.splitlines()
    assert [line for line in lines if line.startswith("config")] == [
        'config.name: "m"',
        'config.device[0].type: "pit"',
        'config.device[1].type: "serial"',
        "config.device[1].port: 1016 (0x3f8)",
        "config.empty: []",
        "config.none: {}",
    ]


def test_the_overview_in_json_has_what_the_index_has(snapshot: str, capsys: Capture) -> None:
    found = json.loads(chkpt(capsys, "inspect", snapshot, "--json").out)
    with Reader.open(snapshot) as reader:
        assert found["header"] == reader.header
        assert found["digest"] == reader.root_digest.hex()
        assert [each["path"] for each in found["contexts"]] == ["/".join(entry.path) for entry in reader.sections]
        pit = next(entry for entry in reader.sections if entry.path[-1] == "pit")
    assert found["contexts"][3] == {
        "path": "devices/pit",
        "type": "pit",
        "version": 1,
        "offset": pit.offset,
        "stored": pit.stored_size,
        "content": pit.content_size,
        "digest": pit.digest.hex(),
    }
    blocks = found["blobs"][0]
    assert blocks.pop("stored") > 0
    assert blocks == {
        "path": "devices/ide0/drive", "tag": "blocks", "size": 2500, "piece_size": 1024, "pieces": 3, "held": 2,
    }  # fmt: skip
    assert found["size"] == Path(snapshot).stat().st_size
    assert "verified" not in found


def test_the_overview_does_not_need_a_section_to_be_whole(snapshot: str, capsys: Capture) -> None:
    flip_section(Path(snapshot), "devices/pit")
    assert chkpt(capsys, "inspect", snapshot).status == 0
    assert chkpt(capsys, "inspect", snapshot, "ide0").status == 0
    ended = chkpt(capsys, "inspect", snapshot, "pit")
    assert ended.status == 4
    assert ended.out == ""
    assert "section devices/pit" in ended.err


# -- one context ------------------------------------------------------------------------------------------------------

PIT = """\
devices/pit: type pit, version 1
devices/pit.irq: true
devices/pit.deadline: nil
devices/pit/counter: version 1
devices/pit/counter.mode: 3
devices/pit/counter.held: 0 bytes
"""


@pytest.mark.parametrize("name", ["devices/pit", "pit", "/devices/pit/", "pit/"])
def test_a_context_is_shown_with_all_below_it(name: str, snapshot: str, capsys: Capture) -> None:
    assert chkpt(capsys, "inspect", snapshot, name).out == PIT


def test_a_nested_context_is_shown_alone(snapshot: str, capsys: Capture) -> None:
    shown = "devices/pit/counter: version 1\ndevices/pit/counter.mode: 3\ndevices/pit/counter.held: 0 bytes\n"
    assert chkpt(capsys, "inspect", snapshot, "devices/pit/counter").out == shown
    assert chkpt(capsys, "inspect", snapshot, "pit/counter").out == shown


def test_a_slash_shows_every_context(snapshot: str, capsys: Capture) -> None:
    shown = chkpt(capsys, "inspect", snapshot, "/").out
    assert PIT in shown
    assert "clock.now: 27462701 (0x1a30c2d)\n" in shown
    assert "devices.names: 70 69 74 00 00 00 " in shown
    assert re.search(r"^memory\.ram: blob of 4096 bytes, 2/4 pieces, \d+ bytes stored$", shown, re.MULTILINE)


@pytest.mark.parametrize("name", ["pit.irq", "pit/irq", "devices/pit.irq", "devices/pit/irq"])
def test_a_tag_is_shown_alone(name: str, snapshot: str, capsys: Capture) -> None:
    assert chkpt(capsys, "inspect", snapshot, name).out == "devices/pit.irq: true\n"


@pytest.mark.parametrize("name", ["ide0/drive/blocks", "devices/ide0/drive.blocks"])
def test_a_blob_is_shown_by_its_sizes(name: str, snapshot: str, capsys: Capture) -> None:
    shown = chkpt(capsys, "inspect", snapshot, name).out
    assert re.fullmatch(r"devices/ide0/drive\.blocks: blob of 2500 bytes, 2/3 pieces, \d+ bytes stored\n", shown)


def test_a_context_under_the_root_goes_before_a_device_of_its_name(tmp_path: Path, capsys: Capture) -> None:
    checkpoint = small()
    devices = checkpoint.contexts["devices"]
    devices.contexts = {**devices.contexts, "clock": Context("rtc", 1), "a.b": Context("dotted", 1, {"c": 5})}
    path = str(write(tmp_path / "a.zst", checkpoint))
    assert chkpt(capsys, "inspect", path, "clock").out.startswith("clock: type clock,")
    assert chkpt(capsys, "inspect", path, "devices/clock").out == "devices/clock: type rtc, version 1\n"
    assert chkpt(capsys, "inspect", path, "a.b").out.startswith("devices/a.b: type dotted,")
    assert chkpt(capsys, "inspect", path, "a.b.c").out == "devices/a.b.c: 5\n"


def test_long_values_are_cut_in_text_and_whole_in_json(tmp_path: Path, capsys: Capture) -> None:
    values: dict[str, Value] = {
        "bytes": bytes(range(100)),
        "list": list(range(100)),
        "text": "x" * 1000,
        "map": {str(i): i for i in range(50)},
    }
    path = str(write(tmp_path / "a.zst", Checkpoint({}, {"a": Context("t", 1, values)})))
    lines = chkpt(capsys, "inspect", path, "a").out.splitlines()
    assert lines[1] == "a.bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f |................| 16 of 100 bytes"
    assert lines[2] == f"a.list: [{', '.join(map(str, range(16)))}, ... 100 items]"
    assert lines[3] == f'a.text: "{"x" * 256}"... 1000 characters'
    assert lines[4].endswith("15: 15, ... 50 items}")
    found = json.loads(chkpt(capsys, "inspect", path, "a", "--json").out)
    assert found["values"] == {**values, "bytes": {"hex": bytes(range(100)).hex()}}


def test_json_of_a_context_nests_as_the_snapshot_does(snapshot: str, capsys: Capture) -> None:
    found = json.loads(chkpt(capsys, "inspect", snapshot, "pit", "--json").out)
    assert found == {
        "path": "devices/pit",
        "type": "pit",
        "version": 1,
        "values": {"irq": True, "deadline": None},
        "blobs": {},
        "contexts": {
            "counter": {
                "type": "",
                "version": 1,
                "values": {"mode": 3, "held": {"hex": ""}},
                "blobs": {},
                "contexts": {},
            }
        },
    }


def test_json_of_a_tag_and_of_a_blob_has_their_places(snapshot: str, capsys: Capture) -> None:
    tag = json.loads(chkpt(capsys, "inspect", snapshot, "clock.now", "--json").out)
    assert tag == {"path": "clock", "tag": "now", "value": 27462701}
    blob = json.loads(chkpt(capsys, "inspect", snapshot, "memory/ram", "--json").out)
    assert blob.pop("stored") > 0
    assert blob == {"path": "memory", "tag": "ram", "size": 4096, "piece_size": 1024, "pieces": 4, "held": 2}


def test_json_has_no_constants_that_json_does_not_have(tmp_path: Path, capsys: Capture) -> None:
    values = {"nan": float("nan"), "inf": float("-inf"), "half": 0.5}
    path = str(write(tmp_path / "a.zst", Checkpoint({}, {"a": Context("t", 1, dict(values))})))

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    found = json.loads(chkpt(capsys, "inspect", path, "a", "--json").out, parse_constant=refuse)
    assert found["values"] == {"nan": {"float": "nan"}, "inf": {"float": "-inf"}, "half": 0.5}


# -- raw bytes --------------------------------------------------------------------------------------------------------


def raw(capture: pytest.CaptureFixture[bytes], snapshot: str, name: str) -> bytes:
    ended = chkpt(capture, "inspect", snapshot, name, "--raw")
    assert (ended.status, ended.err) == (0, b"")
    return ended.out


def test_raw_writes_a_context_as_msgpack(snapshot: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    section: Any = msgpack.unpackb(raw(capsysbinary, snapshot, "pit"))
    counter = {"version": 1, "values": {"mode": 3, "held": b""}}
    assert section == {
        "path": ["devices", "pit"],
        "type": "pit",
        "version": 1,
        "values": {"irq": True, "deadline": None},
        "contexts": {"counter": counter},
    }
    nested = msgpack.unpackb(raw(capsysbinary, snapshot, "pit/counter"))
    assert nested == {"path": ["devices", "pit", "counter"], **counter}


def test_raw_writes_a_blob_with_its_zeros(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    blobs = {
        "a": SparseBlob(2500, 1024, {1: b"a" * 1024}),
        "b": SparseBlob(2500, 1024, {2: b"b" * 452}),
        "c": SparseBlob(3 << 20, 4096, {}),
        "d": SparseBlob(0, 1, {}),
    }
    path = str(write(tmp_path / "a.zst", Checkpoint({}, {"m": Context(blobs=dict(blobs))})))
    for tag, blob in blobs.items():
        assert raw(capsysbinary, path, f"m/{tag}") == blob_bytes(blob)


def test_raw_writes_the_bytes_of_a_tag(snapshot: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert raw(capsysbinary, snapshot, "devices/names") == NAMES
    assert msgpack.unpackb(raw(capsysbinary, snapshot, "clock/now")) == 27462701


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--raw"], "needs a CONTEXT"),
        (["pit", "--raw", "--json"], "exclude each other"),
        (["/", "--raw"], "name a context"),
    ],
)
def test_raw_wants_one_thing(arguments: list[str], message: str, snapshot: str, capsys: Capture) -> None:
    ended = chkpt(capsys, "inspect", snapshot, *arguments)
    assert ended.status == 2
    assert message in ended.err
    assert ended.out == ""


def test_raw_does_not_write_to_a_terminal(snapshot: str) -> None:
    ended = on_terminal("inspect", snapshot, "memory/ram", "--raw")
    assert ended.status == 2
    assert ended.out == ""
    assert "not for a terminal" in ended.err


# -- verify -----------------------------------------------------------------------------------------------------------


def test_verify_reads_what_the_overview_does_not(snapshot: str, capsys: Capture) -> None:
    ended = chkpt(capsys, "inspect", snapshot, "--verify")
    assert ended.status == 0
    assert ended.out.endswith("verified: 5 sections, 2 blobs\n")
    assert json.loads(chkpt(capsys, "inspect", snapshot, "--verify", "--json").out)["verified"] is True
    flip_piece(Path(snapshot))
    assert chkpt(capsys, "inspect", snapshot).status == 0
    ended = chkpt(capsys, "inspect", snapshot, "--verify")
    assert ended.status == 4
    assert "devices/ide0/drive.blocks" in ended.err
    assert ended.out == ""


# -- on a terminal ----------------------------------------------------------------------------------------------------


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_terminal_gets_a_tree(snapshot: str) -> None:
    ended = on_terminal("inspect", snapshot)
    assert ended.status == 0
    assert ended.out != without_colours(ended.out)
    shown = without_colours(ended.out)
    assert re.search(r"^│   ├── ide0  type ide, version 2  \d+ bytes, \d+ bytes stored$", shown, re.MULTILINE)
    assert re.search(r"^│   │   └── drive/blocks  2\.4 KiB, 2/3 pieces, \d+ bytes stored$", shown, re.MULTILINE)
    assert "│   └── clock_ns  27462701 (0x1a30c2d)" in shown


def test_a_terminal_gets_a_context_as_a_tree(snapshot: str) -> None:
    shown = without_colours(on_terminal("inspect", snapshot, "pit").out)
    assert shown == (
        "devices/pit  type pit, version 1\n├── irq  true\n├── deadline  nil\n"
        "└── counter  version 1\n    ├── mode  3\n    └── held  0 bytes\n"
    )
    assert without_colours(on_terminal("inspect", snapshot, "pit.irq").out) == "devices/pit.irq  true\n"


@pytest.mark.parametrize("arguments", [[], ["/"], ["a"], ["--json"], ["/", "--json"]])
def test_nothing_in_a_file_reaches_the_terminal_as_it_is(arguments: list[str], tmp_path: Path, capsys: Capture) -> None:
    path = str(write(tmp_path / "a.zst", hostile()))
    ended = chkpt(capsys, "inspect", path, *arguments)
    assert ended.status == 0
    assert is_harmless(ended.out)
    assert "owned" in ended.out
    assert is_harmless(without_colours(on_terminal("inspect", path, *arguments).out))


def test_an_error_about_a_hostile_file_is_harmless(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "a.zst", hostile())
    assert is_harmless(chkpt(capsys, "inspect", str(path), "a/no").err)
    assert is_harmless(chkpt(capsys, "inspect", str(path), ESCAPE).err)
    flip_section(path, "a")
    ended = chkpt(capsys, "inspect", str(path), "a")
    assert ended.status == 4
    assert is_harmless(ended.err)
    assert ended.err.count("\n") == 1


# -- missing, or not a snapshot ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pti", "did you mean pit?"),
        ("devices/pti", "did you mean devices/pit?"),
        ("pit/conter", "did you mean devices/pit/counter?"),
        ("pit.irk", "did you mean devices/pit.irq?"),
        ("zzz", "it has clock, devices, memory"),
        ("clock/zzz", "clock has now"),
        ("pit/irq/deeper", "there is no devices/pit/irq"),
    ],
)
def test_an_error_about_a_missing_context_names_the_nearest(
    name: str, hint: str, snapshot: str, capsys: Capture
) -> None:
    ended = chkpt(capsys, "inspect", snapshot, name)
    assert ended.status == 3
    assert hint in ended.err
    assert ended.out == ""


def test_a_file_that_is_not_a_snapshot_is_refused_with_its_status(tmp_path: Path, capsys: Capture) -> None:
    whole = write(tmp_path / "a.zst")
    cases = {"text.zst": b"hello", "empty.zst": b"", "cut.zst": whole.read_bytes()[:-1]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        ended = chkpt(capsys, "inspect", str(tmp_path / name))
        assert ended.status == 4, name
        assert name in ended.err
    flip(whole, whole.stat().st_size - 20)
    assert chkpt(capsys, "inspect", str(whole)).status == 4
    assert chkpt(capsys, "inspect", str(tmp_path / "none.zst")).status == 3
    assert chkpt(capsys, "inspect", f"{tmp_path}/").status == 1


def test_a_name_is_looked_up_in_the_store(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "snapshots" / "here.zst")
    write(tmp_path / "other" / "there.zst")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHKPT_STORE", raising=False)
    assert chkpt(capsys, "inspect", "here", "pit").out == PIT
    assert chkpt(capsys, "inspect", "there").status == 3
    assert chkpt(capsys, "inspect", "there", "pit", "--store", "other").out == PIT
    monkeypatch.setenv("CHKPT_STORE", str(tmp_path / "other"))
    assert chkpt(capsys, "inspect", "there", "pit").out == PIT


# -- imports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--json"], ["pit", "--json"], ["pit"], ["memory/ram", "--raw"]])
def test_nothing_heavy_is_imported(arguments: list[str], snapshot: str) -> None:
    program = (
        "import sys\n"
        "from chkpt.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'rich', 'starlette', 'uvicorn', 'asyncio', 'pydantic', 'devices', 'unicorn'}\n"
        "found = {name.partition('.')[0] for name in sys.modules} & heavy\n"
        "sys.exit(', '.join(sorted(found)) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "inspect", snapshot, *arguments], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
