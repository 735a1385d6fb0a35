"""What a user of the library expects of it without reading a page."""

import copy
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

import chkpt
from chkpt.context import blob_bytes
from chkpt.device import DeviceType
from chkpt.manager import BackendTypes
from tests.support.rig import saved
from tests.support.small import CELL, cell, machine

TOML = """
name = "rig"
memory = "8K"
[[device]]
type = "pic"
[[device]]
type = "serial"
name = "com1"
backend = { type = "memory" }
[[device]]
type = "ide"
name = "ide0"
[[device.drive]]
unit = 0
image = "disk.img"
"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    (tmp_path / "disk.img").write_bytes(bytes(8192))
    path = tmp_path / "rig.toml"
    path.write_text(TOML)
    return path


def snapshot(board: chkpt.Machine) -> bytes:
    checkpoint = saved(board)
    checkpoint.header["created"] = "2026-01-01T00:00:00Z"
    return chkpt.dumps(checkpoint)


def snapshot_of_pic(board: chkpt.Machine) -> chkpt.Context:
    return saved(board).contexts["devices"].contexts["pic"]


def some() -> chkpt.Machine:
    board = machine("controller", "cell:a", memory=8192)
    board.memory.write(0, b"here")
    cell(board, "a").value = 7
    return board


# -- files and stores -------------------------------------------------------------------------------------------------


def test_load_returns_what_dump_wrote_from_a_path_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(chkpt.dumps(saved(some())))
    with path.open("rb") as file:
        for checkpoint in (
            chkpt.load(path),
            chkpt.load(str(path)),
            chkpt.load(file),
            chkpt.load(BytesIO(path.read_bytes())),
        ):
            twin = machine("controller", "cell:a", memory=8192)
            twin.load(checkpoint)
            assert (cell(twin, "a").value, twin.memory.read(0, 4)) == (7, b"here")


def test_a_store_loads_by_name(tmp_path: Path) -> None:
    store = chkpt.LocalStore(tmp_path)
    store.create("boot", saved(some()))
    twin = machine("controller", "cell:a", memory=8192)
    twin.load(store.load("boot"))
    assert cell(twin, "a").value == 7
    with pytest.raises(chkpt.NotFoundError, match="'other'"):
        store.load("other")


# -- machines ---------------------------------------------------------------------------------------------------------


def test_a_machine_is_made_from_a_toml_file(toml: Path) -> None:
    with pytest.raises(chkpt.NotFoundError, match=r"none\.toml"):
        chkpt.Machine.from_toml(toml.with_name("none.toml"))
    board = chkpt.Machine.from_toml(toml)
    assert [entry.name for entry in board.devices] == ["pic", "com1", "ide0"]
    assert chkpt.Machine.from_toml(str(toml)).name == "rig"


def test_a_clone_is_in_the_same_state_and_goes_on_alone(toml: Path) -> None:
    board = chkpt.Machine.from_toml(toml)
    board.memory.write(0x100, b"before")
    board.ports.outb(0x21, 0xAB)
    board.step(12_345)
    twin = board.clone()
    assert twin.clock.now == board.clock.now
    assert (
        saved(twin).contexts["devices"].contexts["pic"].values
        == saved(board).contexts["devices"].contexts["pic"].values
    )
    assert twin.memory.read(0x100, 6) == b"before"
    board.memory.write(0x100, b"after!")
    board.ports.outb(0x21, 0x00)
    assert (twin.memory.read(0x100, 6), twin.ports.inb(0x21)) == (b"before", 0xAB)
    assert not twin.devices.frontends["char"].backends
    twin.close()
    assert board.ports.inb(0x21) == 0


def test_a_clone_of_a_machine_without_files_is_equal_byte_by_byte() -> None:
    board = some()
    board.step(77)
    assert snapshot(board.clone()) == snapshot(board)


def test_a_clone_that_fails_leaves_the_machine_as_it_was(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = chkpt.Machine.from_toml(toml)
    before = snapshot(board)
    toml.with_name("disk.img").unlink()
    with pytest.raises(chkpt.StorageError, match=r"disk\.img"):
        board.clone()
    assert snapshot(board) == before


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_what_is_shown_fits_on_a_line_and_names_the_thing(tmp_path: Path) -> None:
    board = some()
    checkpoint = saved(board)
    shown = {
        repr(board): "<Machine small: 2 devices, at 0.000000 s>",
        repr(checkpoint): "<Checkpoint of small: clock, lines, memory, devices>",
        repr(checkpoint.contexts["memory"]): "<Context memory version 1: 1 values, 1 blobs, 0 contexts>",
        repr(chkpt.Checkpoint()): "<Checkpoint of no machine: empty>",
        repr(chkpt.DeviceTypes([CELL])): "<DeviceTypes: cell>",
        repr(chkpt.DeviceTypes()): "<DeviceTypes: none>",
        repr(chkpt.LocalStore("a")): "LocalStore('a')",
    }
    assert list(shown) == list(shown.values())


# -- wrong arguments --------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a path for a machine": (lambda: chkpt.Machine(cast("Any", "pc.toml")), r"Machine\.from_toml\(path\)"),
    "bytes for a load": (lambda: some().load(cast("Any", b"")), r"chkpt\.loads\(data\)"),
    "a name for a load": (lambda: some().load(cast("Any", "boot")), r"store\.load\(name\)"),
    "a path for a save": (lambda: some().save(cast("Any", "a.zst")), r"chkpt\.Checkpoint\(\)"),
    "a path for loads": (lambda: chkpt.loads(cast("Any", "a.zst")), r"load\(path\)"),
    "bytes for load": (lambda: chkpt.load(cast("Any", b"")), r"loads\(data\)"),
    "a machine for dumps": (lambda: chkpt.dumps(cast("Any", some())), r"machine\.save\(checkpoint\)"),
    "a machine for dump": (lambda: chkpt.dump(cast("Any", some()), BytesIO()), r"machine\.save\(checkpoint\)"),
    "a machine for a store": (
        lambda: chkpt.LocalStore("/nowhere").create("a", cast("Any", some())),
        r"machine\.save\(checkpoint\)",
    ),
    "a name for types": (lambda: chkpt.DeviceTypes(cast("Any", "device type")), "not a device type"),
    "a class for a type": (lambda: chkpt.DeviceTypes([cast("Any", int)]), "not a device type"),
    "a device type for a backend type": (lambda: BackendTypes([cast("Any", CELL)]), "not a backend type"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_argument_is_a_type_error_with_the_cure(wrong: str) -> None:
    call, cure = WRONG[wrong]
    with pytest.raises(TypeError, match=cure):
        call()


def test_device_types_are_those_that_are_given() -> None:
    types = chkpt.DeviceTypes([CELL])
    assert isinstance(types.find("cell"), DeviceType)
    assert [each.name for each in types] == ["cell"]


# -- copies -----------------------------------------------------------------------------------------------------------


def test_a_deep_copy_of_a_checkpoint_needs_no_file_and_no_machine(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(chkpt.dumps(saved(some())))
    with chkpt.Reader.open(path) as reader:
        twin = copy.deepcopy(reader.checkpoint())
    assert blob_bytes(twin.contexts["memory"].blobs["ram"])[:4] == b"here"
    board = some()
    live = saved(board)
    held = copy.deepcopy(live)
    board.memory.write(0, b"now!")
    assert blob_bytes(held.contexts["memory"].blobs["ram"])[:4] == b"here"
    cast("Any", held.header)["config"]["name"] = "changed"
    assert cast("Any", live.header)["config"].get("name") != "changed"
    assert chkpt.dumps(twin)
