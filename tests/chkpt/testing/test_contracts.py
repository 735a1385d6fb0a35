"""The contracts that chkpt ships: they work as the document shows, and a device that breaks them fails."""

import dataclasses
import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chkpt.device import DeviceType, Host
from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from examples.scratchpad import Scratchpad, ScratchpadConfig, ScratchpadState

ROOT = Path(__file__).parents[3]
HEADING = "## Test your own device, and your own store\n"


def shown() -> list[str]:
    """Return the programs of the document's part on tests."""
    part = (ROOT / "docs" / "DEVICES.md").read_text("utf-8").partition(HEADING)[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def run(directory: Path, *sources: str) -> str:
    """Run tests as a stranger's project does, and return what pytest says."""
    for number, source in enumerate(sources):
        (directory / f"test_{number}.py").write_text(source)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:randomly", "-p", "no:cacheprovider", directory],
        check=False, capture_output=True, text=True, cwd=directory, timeout=100,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return ended.stdout


def test_what_the_document_shows_passes(tmp_path: Path) -> None:
    sources = shown()
    assert len(sources) == 2
    said = run(tmp_path, *sources)
    last = re.search(r"^(\d+) passed, (\d+) skipped in ", said, re.MULTILINE)
    assert last is not None, said
    assert int(last[1]) > 50
    assert int(last[2]) == 2  # what needs an encrypted snapshot


def test_a_failure_is_explained_as_one_of_the_projects_own_tests(tmp_path: Path) -> None:
    said = run(tmp_path, shown()[0].replace("machine.ports.outb(0x2E0, 77)", "machine.reset()"))
    assert "test_a_stirred_device_saves_other_values_than_a_new_one" in said
    assert re.search(r"E +AssertionError: assert \{.*\} != \{", said), said


def test_without_pytest_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    monkeypatch.delitem(sys.modules, "chkpt.testing")
    with pytest.raises(ImportError, match=r"pytest: pip install 'chkpt-machines\[testing\]'$"):
        importlib.import_module("chkpt.testing")


# -- devices that break the contract ----------------------------------------------------------------------------------


class ForgetsTheRegister(Scratchpad):
    def load(self, state: ScratchpadState) -> None:
        super().load(dataclasses.replace(state, scr=0))


class ForgetsTheLine(Scratchpad):
    def load(self, state: ScratchpadState) -> None:
        super().load(state)
        self._line.set(False)


class ForgetsTheTimer(Scratchpad):
    def load(self, state: ScratchpadState) -> None:
        super().load(state)
        self._alarm.cancel()


class SavesAndChanges(Scratchpad):
    def save(self) -> ScratchpadState:
        state = super().save()
        self._scr ^= 1
        return state


class KeepsItsRegister(Scratchpad):
    def reset(self) -> None:
        kept = getattr(self, "_scr", 0)
        super().reset()
        self._scr = kept


def contract(cls: Callable[[Host, Any], Scratchpad]) -> DeviceContract:
    """Return the contract of a device like the scratchpad."""

    class Contract(DeviceContract):
        table = {"type": "scratchpad", "port": 0x2E0, "irq": 5}
        types: tuple[DeviceType[Any, Any], ...] = (DeviceType("scratchpad", cls, ScratchpadConfig, ScratchpadState),)

        def stir(self, machine: Machine) -> None:
            machine.ports.outb(0x2E0, 10)
            machine.step(10_000)
            machine.ports.outb(0x2E0, 77)

    return Contract()


TESTS = [name for name in dir(DeviceContract) if name.startswith("test_")]


@pytest.mark.parametrize("name", TESTS)
def test_the_scratchpad_passes(name: str) -> None:
    getattr(contract(Scratchpad), name)()


@pytest.mark.parametrize(
    ("cls", "failing"),
    [
        (ForgetsTheRegister, "test_load_into_a_new_machine_gives_the_same_state"),
        (ForgetsTheLine, "test_load_drives_the_lines_of_a_new_machine"),
        (ForgetsTheTimer, "test_load_arms_the_same_timers"),
        (SavesAndChanges, "test_save_is_a_pure_read"),
        (KeepsItsRegister, "test_reset_brings_back_the_state_of_a_new_device"),
    ],
)
def test_a_device_that_breaks_the_contract_fails(cls: type[Scratchpad], failing: str) -> None:
    with pytest.raises(AssertionError):
        getattr(contract(cls), failing)()


def test_times_are_known_by_their_declaration_not_by_their_names() -> None:
    device = contract(Scratchpad)
    assert device.times(device.machine()) == {"deadline"}
