"""`chkpt devices` lists the installed types, and the devices of a running machine."""

import json
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from chkpt.cli.commands.devices import COMMON_KEYS
from chkpt.machine import config
from chkpt.manager import types
from chkpt.service.api.messages import DeviceList
from chkpt.service.http import client
from tests.chkpt.cli.looking import chkpt, on_terminal
from tests.support.served import COM1, launch, serving

Capture = pytest.CaptureFixture[str]


def rows(text: str, first: str) -> Iterator[list[str]]:
    """Yield the cells of the rows that begin with `first`."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if cells and cells[0] == first:
            yield cells


def test_every_key_of_every_type_is_a_row(capsys: Capture) -> None:
    ended = chkpt(capsys, "devices")
    assert (ended.status, ended.err) == (0, "")
    assert list(rows(ended.out, "serial")) == [
        ["serial", "version 1", "port", "integer 0..65528", "1016 (0x3f8)"],
        ["serial", "version 1", "irq", "integer 0..15", "4"],
    ]
    drive = [cells[2:] for cells in rows(ended.out, "ide") if cells[2].startswith("drive")]
    assert ["drive[].unit", "integer 0..1", "required"] in drive
    assert ["drive[].media", "one of disk, cdrom", '"disk"'] in drive
    assert list(rows(ended.out, "null")) == [["null", "char", "-", "-", "-"]]
    assert next(rows(ended.out, "scratch"))[:3] == ["scratch", "block", "size"]
    assert {line.split()[0] for line in ended.out.splitlines() if line} >= {"pic", "pit", "file", "pty", "socket"}


def test_json_has_the_same(capsys: Capture) -> None:
    found = json.loads(chkpt(capsys, "devices", "--json").out)
    serial = next(each for each in found["devices"] if each["type"] == "serial")
    assert serial == {
        "type": "serial",
        "version": 1,
        "config": [
            {"key": "port", "kind": "integer 0..65528", "required": False, "default": 0x3F8},
            {"key": "irq", "kind": "integer 0..15", "required": False, "default": 4},
        ],
    }
    scratch = next(each for each in found["backends"] if each["type"] == "scratch")
    assert scratch["kind"] == "block"
    assert [(key["key"], key["required"], "default" in key) for key in scratch["config"]] == [("size", True, False)]


def test_the_keys_that_every_type_takes_are_listed(capsys: Capture) -> None:
    shown = chkpt(capsys, "devices").out
    assert [(cells[1], cells[3]) for cells in rows(shown, "every device")] == [
        ("type", "required"), ("name", "its type"), ("backend", "nothing connected"),
    ]  # fmt: skip
    assert [cells[1] for cells in rows(shown, "every drive")] == ["image", "format", "size", "backend"]
    assert [cells[1:] for cells in rows(shown, "every backend")] == [["type", "name of a backend type", "required"]]
    found = json.loads(chkpt(capsys, "devices", "--json").out)["common"]
    assert [(each["table"], each["key"]) for each in found if each["required"]] == [
        ("device", "type"), ("backend", "type"),
    ]  # fmt: skip
    assert [(each["table"], each["key"]) for each in found] == [(each.table, each.key) for each in COMMON_KEYS]


def test_a_machine_takes_the_keys_that_every_type_takes() -> None:
    """The list must agree with `chkpt.machine.config`: a type sees none of these keys."""
    values: dict[tuple[str, str], object] = {
        ("device", "type"): "t",
        ("device", "name"): "n",
        ("device", "backend"): {"type": "null"},
        ("drive", "image"): "disk.img",
        ("drive", "format"): "raw",
        ("drive", "size"): "16M",
        ("drive", "backend"): {"type": "null"},
    }
    assert {(each.table, each.key) for each in COMMON_KEYS} == {*values, ("backend", "type")}
    assert {key for table, key in values if table == "drive"} == {*config.BACKEND_KEYS, *config.IMAGE_KEYS}
    device = {key: value for (table, key), value in values.items() if table == "device"}
    drives = [{key: value} for (table, key), value in values.items() if table == "drive" and key != "format"]
    drives[0]["format"] = values["drive", "format"]
    parsed = config.parse({"device": [{**device, "own": 1, "drive": drives}]}).devices[0]
    assert (parsed.type, parsed.name, parsed.options) == ("t", "n", {"own": 1, "drive": [{}, {}, {}]})
    assert [each.type for each in parsed.backends] == ["null", "image", "scratch", "null"]


def test_a_terminal_gets_the_same_as_a_pipe(capsys: Capture) -> None:
    assert on_terminal("devices").out == chkpt(capsys, "devices").out


def test_a_type_of_another_package_is_listed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = {
        "chkpt.devices": [EntryPoint("inert", "tests.support.small:INERT", "chkpt.devices")],
        "chkpt.backends": [],
    }
    monkeypatch.setattr(types, "entry_points", lambda group: EntryPoints(offered[group]))
    assert next(rows(chkpt(capsys, "devices").out, "inert")) == [
        "inert", "not saved", "port", "integer 0..65535", "256 (0x100)",
    ]  # fmt: skip


def test_a_type_that_cannot_be_imported_is_named_in_a_warning(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = EntryPoints([EntryPoint("broken", "no.such.module:X", "chkpt.devices")])
    monkeypatch.setattr(types, "entry_points", lambda group: broken)
    ended = chkpt(capsys, "devices")
    assert ended.status == 0
    assert "broken (no.such.module:X) cannot be imported" in caplog.text


# -- a running machine ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("runtime")
def test_the_devices_of_a_running_machine(capsys: Capture) -> None:
    with serving(launch(name="m")):
        ended = chkpt(capsys, "devices", "-m", "m")
        found = json.loads(chkpt(capsys, "devices", "-m", "m", "--json").out)
    assert ended.status == 0
    assert ["com1", "serial", "claims", "port 0x3f8-0x3ff"] in list(rows(ended.out, "com1"))
    assert ["com1", "serial", "char com1", "nothing connected"] in list(rows(ended.out, "com1"))
    assert ["ide0", "ide", "block ide0.0", "scratch"] in list(rows(ended.out, "ide0"))
    assert [device["name"] for device in found["devices"]] == ["pic", "pit", "com1", "ide0"]


@pytest.mark.usefixtures("runtime")
def test_a_backend_is_listed_with_its_path(capsys: Capture, tmp_path: object) -> None:
    path = f"{tmp_path}/out"
    with serving(launch({**COM1, "backend": {"type": "file", "path": path}})):
        shown = chkpt(capsys, "devices", "-m", "m").out
    assert ["com1", "serial", "char com1", f"file {path}"] in list(rows(shown, "com1"))


def test_a_device_that_claims_nothing_is_a_row(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    class Machine:
        def devices(self) -> DeviceList:
            return {"devices": [{"name": "x", "type": "t", "claims": [], "frontends": []}]}

    monkeypatch.setattr(client, "find", lambda name: Machine())
    assert list(rows(chkpt(capsys, "devices", "-m", "m").out, "x")) == [["x", "t", "-", "-"]]


@pytest.mark.usefixtures("runtime")
def test_a_machine_that_does_not_run_is_an_error(capsys: Capture) -> None:
    ended = chkpt(capsys, "devices", "-m", "none")
    assert ended.status == 5
    assert "no machine none is running" in ended.err
