"""What would fail, be lost or be left if a snapshot were loaded: one line of the table a test."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest

from chkpt.compat import Effect, Finding, Target, compare, installed_target, machine_target
from chkpt.context import Checkpoint, Context, SparseBlob, Value
from chkpt.device import U4, U8, Length, Upgrade
from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt.snapshot import Reader, dumps
from chkpt.state import declared, pack_schemas, to_context
from tests.support.processes import chkpt

KEPT = Path(__file__).parents[1] / "snapshots"


@dataclass(frozen=True, slots=True)
class Part:
    a: U8


@dataclass(frozen=True, slots=True)
class Chip:
    VERSION: ClassVar[int] = 2

    n: U8
    maybe: U8 | None
    data: Annotated[bytes, Length(0, 8)]
    row: Annotated[tuple[U8, ...], Length(0, 4)]
    part: Part
    parts: Annotated[tuple[Part, ...], Length(1, 3)]


BESIDE = {name: Context(name, 1) for name in ("clock", "lines", "memory")}
"""What every machine has beside its devices, here without anything in it."""


@dataclass(frozen=True, slots=True)
class Nothing:
    VERSION: ClassVar[int] = 1


STATE = Chip(200, None, b"1234", (1, 2), Part(3), (Part(4), Part(5)))


def snapshot(
    change: Callable[[Context], object] = lambda _: None,
    *,
    devices: Mapping[str, Context] | None = None,
    schemas: Value = None,
    **parts: Context,
) -> Reader:
    chip = to_context(STATE, "chip")
    change(chip)
    held = {"c0": chip} if devices is None else devices
    table: dict[str, Value] = {
        "num_devs": len(held),
        "names": b"".join(name.encode().ljust(32, b"\0") for name in held),
    }
    contexts = {"devices": Context(values=table, contexts=dict(held)), **BESIDE, **parts}
    packed = pack_schemas({"chip": Chip, **dict.fromkeys(BESIDE, Nothing)}) if schemas is None else schemas
    return Reader(dumps(Checkpoint({"schemas": packed}, contexts)), "old.zst")


DECLARED = dict.fromkeys(BESIDE, declared(Nothing))


def declaration(**changes: Any) -> dict[str, Any]:
    """Return what Chip declares, with other fields, version, upgrades or parts."""
    found: dict[str, Any] = json.loads(json.dumps(declared(Chip)))
    fields = changes.pop("fields", {})
    found["fields"] = {name: shape for name, shape in {**found["fields"], **fields}.items() if shape is not None}
    return found | changes


def findings(
    old: Reader, chip: Mapping[str, Any] | None = None, classes: Mapping[str, type] | None = None
) -> list[Finding]:
    return compare(old, Target("here", DECLARED | {"chip": declaration() if chip is None else chip}, classes or {}))


def test_the_same_is_compatible() -> None:
    assert findings(snapshot()) == []
    assert findings(snapshot(), classes={"chip": Chip}) == []


@pytest.mark.parametrize(
    ("new", "outcome", "path", "text"),
    [
        ({"version": 1}, Effect.FAILS, "devices/c0", "is version 2, newer than 1"),
        ({"version": 3}, Effect.FAILS, "devices/c0", "is version 2, from which no upgrade leads to 3"),
        ({"fields": {"n": ["int", 0, 127]}}, Effect.FAILS, "devices/c0.n", "is 200, not within 0 to 127"),
        (
            {"fields": {"n": ["int", 0, 220]}},
            Effect.MAY_FAIL,
            "devices/c0.n",
            "could be from 0 to 255, and is from 0 to 220 there",
        ),
        ({"fields": {"n": ["bool"]}}, Effect.FAILS, "devices/c0.n", "is a int, not bool"),
        ({"fields": {"n": ["one of", [1, 2]]}}, Effect.FAILS, "devices/c0.n", "is 200, none of [1, 2]"),
        ({"fields": {"maybe": ["int", 0, 255]}}, Effect.FAILS, "devices/c0.maybe", "is a NoneType, not int"),
        ({"fields": {"data": ["bytes", 0, 3]}}, Effect.FAILS, "devices/c0.data", "has length 4, not within 0 to 3"),
        (
            {"fields": {"data": ["bytes", 0, 5]}},
            Effect.MAY_FAIL,
            "devices/c0.data",
            "could be from 0 to 8, and is from 0 to 5 there",
        ),
        (
            {"fields": {"row": ["list", 0, 4, [["int", 0, 1]]]}},
            Effect.FAILS,
            "devices/c0.row",
            "item 1 is 2, not within 0 to 1",
        ),
        (
            {"fields": {"row": ["list", 3, 4, [["int", 0, 9]]]}},
            Effect.FAILS,
            "devices/c0.row",
            "has 2 items, not 3 to 4",
        ),
        (
            {"fields": {"added": ["int", 0, 9]}},
            Effect.FAILS,
            "devices/c0.added",
            "is missing, and a state has no defaults",
        ),
        ({"fields": {"n": None}}, Effect.LOST, "devices/c0.n", "there is no such field, and it is passed over"),
        ({"fields": {"part": None}}, Effect.LOST, "devices/c0.part", "there is no such field, and it is passed over"),
        ({"fields": {"part": ["blob"]}}, Effect.FAILS, "devices/c0.part", "is a context, and blob there"),
        (
            {"fields": {"parts": ["contexts", 3, 3, "Part"]}},
            Effect.FAILS,
            "devices/c0.parts",
            "has 2 contexts, not 3 to 3",
        ),
        (
            {"contexts": {"Part": {"fields": {"a": ["int", 3, 4]}}}},
            Effect.FAILS,
            "devices/c0/parts/1.a",
            "is 5, not within 3 to 4",
        ),
    ],
)
def test_each_change_of_a_state_is_reported(new: dict[str, Any], outcome: Effect, path: str, text: str) -> None:
    assert Finding(outcome, path, text) in findings(snapshot(), declaration(**new))


def test_an_older_version_with_an_upgrade_is_compatible() -> None:
    assert findings(snapshot(), declaration(version=4, upgrades=[2, 3])) == []
    assert [each.outcome for each in findings(snapshot(), declaration(version=4, upgrades=[3]))] == [Effect.FAILS]


def test_an_upgrade_that_fails_is_told_by_the_state_itself() -> None:
    @dataclass(frozen=True, slots=True)
    class Newer:
        VERSION: ClassVar[int] = 3
        UPGRADES: ClassVar[Mapping[int, Upgrade]] = {2: lambda _: dict[str, Any](other=300)}

        other: U4

    found = findings(snapshot(), json.loads(json.dumps(declared(Newer))), {"chip": Newer})
    assert [(each.outcome, each.path) for each in found] == [(Effect.FAILS, "devices/c0")]
    assert "is 300, not within 0 to 15" in found[0].text


def test_a_missing_type_fails_and_a_missing_part_is_lost() -> None:
    old = snapshot(values=Context(values={"x": 1}))
    found = compare(old, Target("here", DECLARED, {}))
    assert {(each.outcome, each.path) for each in found} == {
        (Effect.FAILS, "devices/c0"),
        (Effect.LOST, "values"),
    }


def test_devices_of_another_machine() -> None:
    chip = to_context(STATE, "chip")
    new = machine_target(snapshot(devices={"c1": chip, "c2": Context("other", 1)}))
    old = snapshot(devices={"c0": chip, "c1": chip, "c2": chip})
    assert {(each.outcome, each.path) for each in compare(old, new)} == {
        (Effect.LOST, "devices/c0"),
        (Effect.FAILS, "devices/c2"),
    }
    assert [(each.outcome, each.path) for each in compare(snapshot(devices={}), new)] == [
        (Effect.LEFT, "devices/c1"),
        (Effect.LEFT, "devices/c2"),
    ]


def test_memory_firmware_and_disks_that_are_others() -> None:
    def machine(size: int, digest: bytes) -> Reader:
        disk = Context("", 2, {"size": size, "identity": digest}, {"blocks": SparseBlob(0, 1)})
        ide = Context("ide", 1, {}, {}, {"drive0": Context(contexts={"disk": disk})})
        memory = Context("memory", 1, {"size": size})
        firmware = Context("firmware", 1, {"size": 1, "digest": digest})
        return snapshot(devices={"ide0": ide}, schemas=pack_schemas({}), memory=memory, firmware=firmware)

    found = compare(machine(1, b"a"), machine_target(machine(2, b"b")))
    assert {each.path for each in found if each.outcome is Effect.FAILS} == {
        "memory.size",
        "firmware.digest",
        "devices/ide0/drive0/disk.size",
        "devices/ide0/drive0/disk.identity",
    }
    same = compare(machine(1, b"a"), machine_target(machine(1, b"a")))
    assert {each.outcome for each in same} == {Effect.UNKNOWN}  # such a file says nothing of its states


@pytest.mark.parametrize(
    "chip",
    [
        {},
        {"fields": 3},
        {"fields": {"n": 3}},
        {"fields": {"n": []}},
        {"version": "x"},
        {"fields": {"part": ["context", "Gone"]}},
    ],
)
def test_schemas_that_chkpt_never_writes_are_refused(chip: dict[str, Any]) -> None:
    with pytest.raises(StateError, match="not what chkpt writes"):
        findings(snapshot(), {"version": 2} | chip)


def test_what_is_saved_now_can_be_loaded_now() -> None:
    checkpoint = Checkpoint()
    machine = Machine()
    machine.save(checkpoint)
    machine.close()
    reader = Reader(dumps(checkpoint))
    assert compare(reader, installed_target()) == []
    assert compare(reader, machine_target(reader)) == []


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    good, other = KEPT / "machine-1.zst", KEPT / "cpu-1.zst"
    ended = chkpt(capsys, "compat", good)
    assert (ended.status, ended.out) == (0, "compatible\n")
    ended = chkpt(capsys, "compat", other, good)
    assert ended.status == 4
    assert "fails: memory.size is 2097152, and 1048576 there: another one\n" in ended.out
    assert ended.out.endswith("\nnot compatible\n")
    found = json.loads(chkpt(capsys, "compat", other, good, "--json").out)
    assert found["compatible"] is False
    assert {each["outcome"] for each in found["findings"]} == {"fails", "lost", "left"}
    assert chkpt(capsys, "compat", KEPT / "format-1.zst").status == 4


def test_strict_counts_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Reader.open(KEPT / "machine-1.zst") as reader:
        checkpoint = reader.checkpoint()
        checkpoint.contexts["extra"] = Context(values={"x": 1})
        (tmp_path / "s.zst").write_bytes(dumps(checkpoint))
    assert chkpt(capsys, "compat", tmp_path / "s.zst").status == 0
    assert chkpt(capsys, "compat", tmp_path / "s.zst", "--strict").status == 4
