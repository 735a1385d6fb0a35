"""Snapshots of whole machines, written by earlier versions, are loaded as they were, by every later one."""

import json
from pathlib import Path
from typing import Any

import pytest

from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.snapshot import Reader
from tests.snapshots.make_machines import FINGERPRINTS, HERE, fingerprints, looked_at, recorded, with_bios, write

KEPT = sorted(path for path in HERE.glob("*.zst") if path.with_suffix(".json").exists())

FINGERPRINTED: dict[str, dict[str, str]] = json.loads(FINGERPRINTS.read_text())


def contents(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return found


def loaded(path: Path) -> Machine:
    """Load a kept snapshot into the machine that its header describes, with our BIOS where it had one."""
    with Reader.open(path) as reader:
        config = reader.header["config"]
        assert isinstance(config, dict)
        has_bios = any(entry.path == ("firmware",) for entry in reader.sections)
        machine = with_bios(config) if has_bios else Machine(parse(config), boot=False)  # no kernel's image is at hand
        report = machine.load(reader.checkpoint(), strict=True)
        assert [*report.loaded] == [
            device["name"] if "name" in device else device["type"] for device in config["device"]
        ]
    return machine


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_file_is_whole_and_holds_what_it_held(path: Path) -> None:
    with Reader.open(path) as reader:
        reader.verify()
    content = contents(path)
    ports = content.pop("ports")
    assert recorded(path) == content
    assert len(ports) > 5


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_kept_machine_is_loaded_and_answers_as_it_did(path: Path) -> None:
    machine = loaded(path)
    assert looked_at(machine) == contents(path)["ports"]
    machine.close()


def test_a_kept_processor_goes_on() -> None:
    machine = loaded(HERE / "cpu-1.zst")
    assert machine.execution is not None
    before = machine.execution.save()
    machine.run(ticks=before.ticks + 1000)
    after = machine.execution.save()
    assert after.ticks >= before.ticks + 1000
    assert after.rax > before.rax  # which its loop counts up
    assert 0x1000 <= after.rip < 0x1005
    machine.close()


def test_a_kept_bios_goes_on_and_another_is_refused() -> None:
    machine = loaded(HERE / "firmware-1.zst")
    assert machine.execution is not None
    before = machine.execution.save()
    machine.run(ticks=before.ticks + 1000)
    after = machine.execution.save()
    assert after.rax > before.rax  # which the loop in the BIOS counts up
    assert (after.cs.base, after.rip < 5) == (0xFF000, True)
    machine.close()
    other = Machine(parse({"name": "other", "memory": "1M", "firmware": {"rom": "boot"}}))
    with Reader.open(HERE / "firmware-1.zst") as reader, pytest.raises(StateError, match=r"firmware\.digest is"):
        other.load(reader.checkpoint())
    other.close()


@pytest.mark.parametrize(("name", "version", "digest"), [(name, *found) for name, found in fingerprints().items()])
def test_a_state_that_changes_gets_a_new_version_and_a_kept_file(name: str, version: int, digest: str) -> None:
    advice = "raise its VERSION, give the upgrade, and keep a file: python -m tests.snapshots.make_machines machine-N"
    assert FINGERPRINTED.get(name, {}).get(str(version)) == digest, f"the state of {name} has changed: {advice}"
    assert (name, version) in kept_states(), f"no kept file has version {version} of {name}: {advice}"


def kept_states() -> set[tuple[str, int]]:
    found = set()
    for path in KEPT:
        with Reader.open(path) as reader:
            found |= {(entry.type, entry.version) for entry in reader.sections}
    return found


def test_every_version_ever_recorded_is_in_a_kept_file() -> None:
    recorded_states = {(name, int(version)) for name, versions in FINGERPRINTED.items() for version in versions}
    assert recorded_states <= kept_states()


def test_a_kept_file_is_not_written_twice() -> None:
    with pytest.raises(SystemExit, match="kept as it is"):
        write("machine-1", loaded(HERE / "machine-1.zst"))
