"""Device and backend types: registered once each, found by name, found through entry points."""

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any

import pytest

from chkpt.device import BackendType, DeviceType, FrontendKind, OfMachine, Range, Rom
from chkpt.errors import ConfigError, ExistsError, NotFoundError
from chkpt.manager import BackendTypes, DeviceTypes, installed_backend_types, installed_device_types, installed_roms
from chkpt.manager.types import fill_in
from tests.support.small import CELL, DEAF, Cell, CellConfig, Line

NULL = BackendType(FrontendKind.CHAR, "null", lambda _: Line(), CellConfig)
ROM = Rom("rom", bytes(4096))


class Entry:
    """An entry point, as `importlib.metadata` gives it."""

    def __init__(self, name: str, found: object) -> None:
        self.name = name
        self.value = f"somewhere:{name.upper()}"
        self._found = found

    def load(self) -> object:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes these the installed entry points."""

    def install(**groups: Iterable[Entry]) -> None:
        by_group = {name.replace("_", "."): list(entries) for name, entries in groups.items()}
        monkeypatch.setattr("chkpt.manager.types.entry_points", lambda *, group: by_group.get(group, []))

    return install


# -- a table of types -------------------------------------------------------------------------------------------------


def test_a_registered_type_is_found_by_its_name() -> None:
    types = DeviceTypes()
    types.register(CELL)
    assert types.find("cell") is CELL
    assert list(types) == [CELL]


def test_types_are_listed_in_order_of_registration() -> None:
    assert [each.name for each in DeviceTypes([DEAF, CELL])] == ["deaf", "cell"]


def test_a_second_type_of_a_name_is_refused_and_the_first_kept() -> None:
    types = DeviceTypes([CELL])
    with pytest.raises(ExistsError, match="there is a device type cell already"):
        types.register(DeviceType("cell", Cell, CellConfig, None))
    assert types.find("cell") is CELL


def test_a_type_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="a device type needs a name"):
        DeviceTypes([DeviceType("", Cell, CellConfig, None)])


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no device type cel; did you mean cell\?"):
        DeviceTypes([CELL, DEAF]).find("cel")


def test_an_unknown_type_near_to_none_names_all() -> None:
    with pytest.raises(NotFoundError, match=r"no device type zzz; there are: cell, deaf$"):
        DeviceTypes([DEAF, CELL]).find("zzz")
    with pytest.raises(NotFoundError, match=r"no backend type zzz; there are: none$"):
        BackendTypes().find("zzz")


def test_names_of_types_are_case_sensitive() -> None:
    with pytest.raises(NotFoundError):
        DeviceTypes([CELL]).find("CELL")


def test_two_tables_know_nothing_of_each_other() -> None:
    DeviceTypes([CELL])
    with pytest.raises(NotFoundError):
        DeviceTypes().find("cell")


# -- entry points -----------------------------------------------------------------------------------------------------


def test_installed_types_come_from_the_entry_points_of_their_group(install: Any) -> None:
    install(chkpt_devices=[Entry("cell", CELL), Entry("deaf", DEAF)], chkpt_backends=[Entry("null", NULL)])
    assert list(installed_device_types()) == [CELL, DEAF]
    assert list(installed_backend_types()) == [NULL]


def test_roms_are_found_as_types_are(install: Any) -> None:
    install(chkpt_roms=[Entry("rom", ROM)])
    assert list(installed_roms()) == [ROM]
    install(chkpt_roms=[Entry("ron", ROM)])
    with pytest.raises(ConfigError, match=r"ron \(somewhere:RON\) is not a Rom"):
        installed_roms().find("ron")


def test_no_entry_points_give_no_types(install: Any) -> None:
    install()
    assert list(installed_device_types()) == []


def test_a_name_that_two_packages_offer_is_refused_and_the_other_names_are_found(install: Any) -> None:
    other = Entry("cell", CELL)
    other.value = "elsewhere:CELL"
    install(
        chkpt_devices=[Entry("cell", CELL), other, Entry("deaf", DEAF)],
        chkpt_backends=[Entry("null", NULL), Entry("null", NULL)],
    )
    types = installed_device_types()
    assert list(types) == [DEAF]
    with pytest.raises(ExistsError, match=r"cell .* more than one package: somewhere:CELL and elsewhere:CELL"):
        types.find("cell")
    with pytest.raises(ExistsError, match="null is offered by more than one package"):
        installed_backend_types().find("null")


@pytest.mark.parametrize(
    "fault", [ImportError("gone"), AttributeError("no CELL"), SyntaxError("bad"), ZeroDivisionError()]
)
def test_an_entry_point_that_cannot_be_imported_is_named_and_stops_no_other(
    install: Any, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    install(chkpt_devices=[Entry("cell", fault), Entry("deaf", DEAF)])
    types = installed_device_types()
    assert (list(types), types.find("deaf")) == ([DEAF], DEAF)
    (warning,) = caplog.messages
    assert "chkpt.devices: cell (somewhere:CELL) cannot be imported: " in warning
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"cell \(somewhere:CELL\) cannot be imported: ") as caught:
            types.find("cell")
        assert caught.value.__cause__ is not None
        assert caught.value.__cause__.__cause__ is fault


@pytest.mark.parametrize("found", [Cell, NULL, None, "cell"], ids=["class", "backend", "none", "text"])
def test_an_entry_point_that_is_no_device_type_is_named(install: Any, found: object) -> None:
    install(chkpt_devices=[Entry("cell", found)])
    with pytest.raises(ConfigError, match=r"cell \(somewhere:CELL\) is not a DeviceType"):
        installed_device_types().find("cell")


def test_an_entry_point_of_another_name_than_its_type_is_refused(install: Any) -> None:
    install(chkpt_devices=[Entry("sell", CELL)], chkpt_backends=[Entry("nul", NULL)])
    with pytest.raises(ConfigError, match="sell"):
        installed_device_types().find("sell")
    with pytest.raises(ConfigError, match="is not a BackendType of that name"):
        installed_backend_types().find("nul")


def test_a_package_with_a_broken_entry_point_stops_neither_the_command_nor_a_machine(tmp_path: Path) -> None:
    package = tmp_path / "site" / "broken-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[chkpt.devices]\nwidget = no_such_module:WIDGET\n")
    (tmp_path / "widget.toml").write_text('[[device]]\ntype = "widget"\n')
    path = os.pathsep.join(part for part in (str(package.parent), os.environ.get("PYTHONPATH", "")) if part)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *args]
        env = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    listed = run("-m", "chkpt", "devices")
    assert listed.returncode == 0, listed.stderr
    assert "widget (no_such_module:WIDGET) cannot be imported" in listed.stderr
    assert "serial" in listed.stdout
    assert "widget" not in listed.stdout
    made = run("-c", "import chkpt; chkpt.Machine().close()")
    assert made.returncode == 0, made.stderr
    asked = run("-m", "chkpt", "run", "widget.toml")
    assert asked.returncode == 2, asked.stderr
    assert "widget.toml: device type widget: chkpt.devices: widget (no_such_module:WIDGET)" in asked.stderr
    assert "Traceback" not in asked.stderr


def test_the_built_in_devices_are_installed_like_anyone_else_s() -> None:
    assert {"pit", "pic", "serial", "ide"} <= {each.name for each in installed_device_types()}


def test_what_a_table_leaves_out_is_filled_in_with_what_the_machine_knows() -> None:
    @dataclass(frozen=True, slots=True)
    class Config:
        below: Annotated[int, Range(0, 9), OfMachine.RAM_BELOW_4G] = 1
        above: Annotated[int, Range(0, 9), OfMachine.RAM_FROM_4G] = 2
        other: Annotated[int, Range(0, 9)] = 3

    facts = {OfMachine.RAM_BELOW_4G: 7, OfMachine.RAM_FROM_4G: 8}
    assert fill_in(Config, {}, facts) == {"below": 7, "above": 8}
    assert fill_in(Config, {"above": 5, "other": 4}, facts) == {"below": 7, "above": 5, "other": 4}
    assert fill_in(Config, {"other": 4}, {}) == {"other": 4}


def test_a_package_that_is_installed_twice_offers_its_types_once(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [EntryPoint("pit", "chkpt_devices.pit:PIT", "chkpt.devices") for _ in range(2)]
    monkeypatch.setattr("chkpt.manager.types.entry_points", lambda *, group: twice)
    assert [each.name for each in installed_device_types()] == ["pit"]
