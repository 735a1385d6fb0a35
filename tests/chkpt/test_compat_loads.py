"""What `chkpt compat` answers is what a load does: machines in pairs, each loaded with what the other has saved."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from chkpt.compat import STRICT, Effect, Finding, Target, compare, installed_target, machine_target
from chkpt.context import Checkpoint, Context, SparseBlob, Value
from chkpt.device import U8, Length, Rom
from chkpt.errors import RefusedError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.snapshot import Reader, dumps
from chkpt.state import pack_schemas, to_context
from tests.support.processes import chkpt

Capture = pytest.CaptureFixture[str]

CDROM = {"media": "cdrom"}
DISK = {"media": "disk", "size": "64K"}


def ide(*drives: Mapping[str, object], **more: object) -> dict[str, object]:
    units = [{"unit": unit, **drive} for unit, drive in enumerate(drives) if drive]
    return {
        "device": [{"type": "ide", "name": "ide0", "port": 0x1F0, "control": 0x3F6, "irq": 14, "drive": units}, more]
    }


def devices(*types: str, **top: object) -> dict[str, object]:
    return {"device": [{"type": each} for each in types], **top}


MACHINES: dict[str, dict[str, object]] = {
    "cdrom": ide(CDROM),
    "disc": ide({**CDROM, "size": "64K"}),
    "two disks": ide(DISK, DISK),
    "disk": ide(DISK),
    "disk as unit 1": ide({}, DISK),
    "larger disk": ide({**DISK, "size": "128K"}),
    "disk and cdrom": ide(DISK, CDROM),
    "no drive": ide(),
    "pit": devices("pit"),
    "pit and pic": devices("pic", "pit"),
    "ports": devices("cmos", "i8042", "port92", "dma_page", "debugcon", "isa_debug_exit", "reset_control"),
    "more memory": devices("pit", memory="128K"),
    "another type of the name": {"device": [{"type": "cmos", "name": "pit"}]},
    "processor": devices("pit", memory="1M", cpu={"model": "unicorn"}),
    "rom": devices("pit", memory="1M", cpu={"model": "unicorn"}, firmware={"rom": "boot"}),
    "memory of a processor": devices("pit", memory="1M"),
}


SHORT = {"cdrom", "two disks", "pit", "processor", "another type of the name"}
"""Those that are loaded in every `make test`, each with what all of them have saved."""


def made(config: dict[str, object]) -> Machine:
    found = [each for each in config["device"] if each]  # type: ignore[attr-defined]  # a list
    return Machine(parse({"name": "m", "memory": "64K", **config, "device": found}))


@pytest.fixture(scope="module")
def saved() -> dict[str, Reader]:
    snapshots: dict[str, Reader] = {}
    for name, config in MACHINES.items():
        machine = made(config)
        checkpoint = Checkpoint()
        machine.save(checkpoint)
        snapshots[name] = Reader(dumps(checkpoint), name)
        machine.close()
    return snapshots


def taken(machine: Machine, snapshot: Reader, *, strict: bool) -> bool:
    try:
        machine.load(snapshot.checkpoint(), strict=strict)
    except RefusedError:
        return False
    return True


def answers(found: list[Finding]) -> tuple[bool, bool]:
    outcomes = {each.outcome for each in found}
    return Effect.FAILS not in outcomes, not outcomes & STRICT


@pytest.mark.parametrize(
    "new", [name if name in SHORT else pytest.param(name, marks=pytest.mark.long) for name in MACHINES]
)
def test_what_is_compatible_is_loaded_and_what_is_not_is_refused(saved: dict[str, Reader], new: str) -> None:
    machine, target = made(MACHINES[new]), machine_target(saved[new])
    for old, snapshot in saved.items():
        found = compare(snapshot, target)
        strictly, loads = (taken(machine, snapshot, strict=strict) for strict in (True, False))
        assert answers(found) == (loads, strictly), (old, new, found)
    machine.close()


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ("cdrom", "two disks", {"drive0/ata", "drive0/atapi", "drive0/disk", "drive1"}),
        ("two disks", "cdrom", {"drive0/ata", "drive0/atapi", "drive0/disk", "drive1"}),
        ("disk", "cdrom", {"drive0/ata", "drive0/atapi", "drive0/disk"}),
        ("disc", "disk", {"drive0/ata", "drive0/atapi"}),
        ("disk", "two disks", {"drive1"}),
        ("disk", "disk as unit 1", {"drive0", "drive1"}),
        ("disk", "larger disk", {"drive0/disk.size"}),
    ],
)
def test_each_drive_that_is_another_is_reported(saved: dict[str, Reader], old: str, new: str, paths: set[str]) -> None:
    found = compare(saved[old], machine_target(saved[new]))
    assert {each.path for each in found if each.outcome is Effect.FAILS} == {f"devices/ide0/{each}" for each in paths}


def test_the_command_says_which_drive(saved: dict[str, Reader], tmp_path: Path, capsys: Capture) -> None:
    for name in ("disk", "cdrom"):
        write(tmp_path / f"{name}.zst", saved[name])
    ended = chkpt(capsys, "compat", tmp_path / "disk.zst", tmp_path / "cdrom.zst")
    assert ended.status == 4
    assert "fails: devices/ide0/drive0/atapi is not in the snapshot, and that machine has one\n" in ended.out


def write(path: Path, reader: Reader) -> None:
    path.write_bytes(dumps(reader.checkpoint()))


# -- snapshots that no machine has saved ------------------------------------------------------------------------------


def forget_schemas(checkpoint: Checkpoint) -> None:
    del checkpoint.header["schemas"]


def lose_table(checkpoint: Checkpoint) -> None:
    del checkpoint.contexts["devices"]


def break_table(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["devices"].values["num_devs"] = 7


def lose_context(checkpoint: Checkpoint) -> None:
    devices = checkpoint.contexts["devices"]
    devices.contexts = {name: each for name, each in devices.contexts.items() if name != "pit"}


def add_stray(checkpoint: Checkpoint) -> None:
    devices = checkpoint.contexts["devices"]
    devices.contexts = {**devices.contexts, "stray": Context("nothing", 1)}


def lose_clock(checkpoint: Checkpoint) -> None:
    del checkpoint.contexts["clock"]


def swap_type(checkpoint: Checkpoint) -> None:
    checkpoint.contexts = {**checkpoint.contexts, "clock": Context("lines", 1, {"outside": 0})}  # sound, elsewhere


def add_part(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["soul"] = Context("clock", 1, {"now": 1})


def shorten_memory(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["memory"].blobs["ram"] = SparseBlob(4096, 4096)


def give_msr(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["cpu"].values["msrs"] = [[0x999, 0]]


def raise_priority(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["cpu"].values["cr8"] = 16


def enter_long_mode(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["cpu"].values["efer"] = 1 << 10


def add_tag(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["devices"].contexts["pit"].values["extra"] = 1


def newer(checkpoint: Checkpoint) -> None:
    checkpoint.contexts["devices"].contexts["pit"].version = 99


@pytest.mark.parametrize(
    "change",
    [
        forget_schemas, lose_table, break_table, lose_context, add_stray, lose_clock, swap_type, add_part,
        shorten_memory, give_msr, raise_priority, enter_long_mode, add_tag, newer,
    ],
)  # fmt: skip
def test_what_no_machine_has_saved_is_told_as_a_load_tells_it(
    saved: dict[str, Reader], change: Callable[[Checkpoint], None]
) -> None:
    checkpoint = saved["processor"].checkpoint()
    change(checkpoint)
    changed = Reader(dumps(checkpoint), "changed")
    machine = made(MACHINES["processor"])
    strictly, loads = (taken(machine, changed, strict=strict) for strict in (True, False))
    machine.close()
    assert answers(compare(changed, installed_target())) == (loads, strictly)
    if change not in {give_msr, raise_priority, enter_long_mode}:  # what the other chkpt's processor can be in
        assert answers(compare(changed, machine_target(saved["processor"]))) == (loads, strictly)


def test_an_older_file_that_does_not_say_what_is_fixed_is_held_against_what_the_installed_types_say(
    saved: dict[str, Reader],
) -> None:
    old = [saved[name].checkpoint() for name in ("disk", "cdrom")]
    for each in old:
        forget_schemas(each)
    disk, cdrom = (Reader(dumps(each), "old") for each in old)
    assert Effect.FAILS in {each.outcome for each in compare(disk, machine_target(cdrom))}
    nobody = Target("other", {}, {}, cdrom)
    assert {each.outcome for each in compare(disk, nobody)} == {Effect.UNKNOWN}


# -- what is not installed --------------------------------------------------------------------------------------------


def test_without_the_extra_it_says_what_to_install(
    saved: dict[str, Reader], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "s.zst", saved["processor"])
    write(tmp_path / "without.zst", saved["pit"])
    assert chkpt(capsys, "compat", tmp_path / "s.zst").status == 0
    monkeypatch.setitem(sys.modules, "unicorn", None)
    ended = chkpt(capsys, "compat", tmp_path / "s.zst")
    assert ended.status == 4
    reason = "unicorn is not installed, which a CPU needs: pip install 'chkpt-machines[guest]'"
    assert ended.out == f"fails: cpu cannot be loaded: {reason}\nnot compatible\n"
    assert chkpt(capsys, "compat", tmp_path / "without.zst").status == 0
    assert chkpt(capsys, "compat", tmp_path / "s.zst", tmp_path / "s.zst").status == 0  # the other machine has one


def test_a_rom_that_is_not_installed_or_another_is_told(saved: dict[str, Reader]) -> None:
    here = installed_target()
    assert compare(saved["rom"], here) == []
    for roms, path in (({}, "firmware"), ({"boot": Rom("boot", bytes(4096))}, "firmware.digest")):
        target = Target(here.name, here.schemas, here.classes, roms=roms)
        assert [(each.outcome, each.path) for each in compare(saved["rom"], target)] == [(Effect.FAILS, path)]


# -- a type of somebody else's ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    FIXED: ClassVar[tuple[str, ...]] = ("card",)

    card: U8
    level: U8


@dataclass(frozen=True, slots=True)
class Crate:
    VERSION: ClassVar[int] = 1
    FIXED: ClassVar[tuple[str, ...]] = ("spare",)

    slots: Annotated[tuple[Slot, ...], Length(0, 4)]
    spare: Slot | None
    chosen: Slot | None


def crate(*slots: Slot, spare: Slot | None = None, chosen: Slot | None = None) -> Reader:
    table: dict[str, Value] = {"num_devs": 1, "names": b"crate".ljust(32, b"\0")}
    held = {"crate": to_context(Crate(slots, spare, chosen), "crate")}
    contexts = {"devices": Context(values=table, contexts=held)}
    return Reader(dumps(Checkpoint({"schemas": pack_schemas({"crate": Crate})}, contexts)), "crate")


def test_what_a_foreign_type_declares_as_fixed_is_read_from_the_schemas() -> None:
    there = machine_target(crate(Slot(1, 0), Slot(2, 0)))
    assert compare(crate(Slot(1, 9), Slot(2, 9), chosen=Slot(5, 5)), there) == []
    found = compare(crate(Slot(1, 0), Slot(3, 0), spare=Slot(1, 1)), there)
    assert {(each.outcome, each.path) for each in found} == {
        (Effect.FAILS, "devices/crate/slots/1.card"),
        (Effect.FAILS, "devices/crate/spare"),
    }
    found = compare(crate(Slot(1, 0)), machine_target(crate(Slot(1, 0), spare=Slot(1, 1))))
    assert [each.text for each in found] == ["is not in the snapshot, and that machine has one"]


def test_fixed_names_a_field() -> None:
    @dataclass(frozen=True, slots=True)
    class Wrong:
        FIXED: ClassVar[tuple[str, ...]] = ("gone",)

        n: U8

    with pytest.raises(TypeError, match="FIXED names gone, which is not a field"):
        pack_schemas({"wrong": Wrong})
