"""Device and backend types: registered once each, found by name, found through entry points."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Any

import pytest

from chkpt.device import BackendType, DeviceType, FrontendKind, OfMachine, Range, Rom
from chkpt.errors import ConfigError, ExistsError, NotFoundError
from chkpt.manager import BackendTypes, DeviceTypes, installed_backend_types, installed_device_types, installed_roms
from chkpt.manager.types import filled_in
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
    types = DeviceTypes("device type")
    types.register(CELL)
    assert types.find("cell") is CELL
    assert list(types) == [CELL]


def test_types_are_listed_in_order_of_registration() -> None:
    assert [each.name for each in DeviceTypes("device type", [DEAF, CELL])] == ["deaf", "cell"]


def test_a_second_type_of_a_name_is_refused_and_the_first_kept() -> None:
    types = DeviceTypes("device type", [CELL])
    with pytest.raises(ExistsError, match="there is a device type cell already"):
        types.register(DeviceType("cell", Cell, CellConfig, None))
    assert types.find("cell") is CELL


def test_a_type_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="a device type needs a name"):
        DeviceTypes("device type", [DeviceType("", Cell, CellConfig, None)])


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no device type cel; did you mean cell\?"):
        DeviceTypes("device type", [CELL, DEAF]).find("cel")


def test_an_unknown_type_near_to_none_names_all() -> None:
    with pytest.raises(NotFoundError, match=r"no device type zzz; there are: cell, deaf$"):
        DeviceTypes("device type", [DEAF, CELL]).find("zzz")
    with pytest.raises(NotFoundError, match=r"no backend type zzz; there are: none$"):
        BackendTypes("backend type").find("zzz")


def test_names_of_types_are_case_sensitive() -> None:
    with pytest.raises(NotFoundError):
        DeviceTypes("device type", [CELL]).find("CELL")


def test_two_tables_know_nothing_of_each_other() -> None:
    DeviceTypes("device type", [CELL])
    with pytest.raises(NotFoundError):
        DeviceTypes("device type").find("cell")


# -- entry points -----------------------------------------------------------------------------------------------------


def test_installed_types_come_from_the_entry_points_of_their_group(install: Any) -> None:
    install(chkpt_devices=[Entry("cell", CELL), Entry("deaf", DEAF)], chkpt_backends=[Entry("null", NULL)])
    assert list(installed_device_types()) == [CELL, DEAF]
    assert list(installed_backend_types()) == [NULL]


def test_roms_are_found_as_types_are(install: Any) -> None:
    install(chkpt_roms=[Entry("rom", ROM)])
    assert list(installed_roms()) == [ROM]
    install(chkpt_roms=[Entry("ron", ROM)])
    with pytest.raises(ConfigError, match=r"chkpt\.roms: ron \(somewhere:RON\) is no Rom of that name"):
        installed_roms()


def test_no_entry_points_give_no_types(install: Any) -> None:
    install()
    assert list(installed_device_types()) == []


def test_two_packages_with_one_name_are_refused(install: Any) -> None:
    install(
        chkpt_devices=[Entry("cell", CELL), Entry("cell", CELL)],
        chkpt_backends=[Entry("null", NULL), Entry("null", NULL)],
    )
    with pytest.raises(ExistsError, match="there is a device type cell already"):
        installed_device_types()
    with pytest.raises(ExistsError, match="there is a backend type null already"):
        installed_backend_types()


@pytest.mark.parametrize(
    "fault", [ImportError("gone"), AttributeError("no CELL"), SyntaxError("bad"), ZeroDivisionError()]
)
def test_an_entry_point_that_cannot_be_imported_is_named(install: Any, fault: Exception) -> None:
    install(chkpt_devices=[Entry("cell", fault)])
    with pytest.raises(ConfigError, match=r"chkpt\.devices: cell \(somewhere:CELL\) cannot be imported: ") as caught:
        installed_device_types()
    assert caught.value.__cause__ is fault


@pytest.mark.parametrize("found", [Cell, NULL, None, "cell"], ids=["class", "backend", "none", "text"])
def test_an_entry_point_that_is_no_device_type_is_named(install: Any, found: object) -> None:
    install(chkpt_devices=[Entry("cell", found)])
    with pytest.raises(ConfigError, match=r"chkpt\.devices: cell \(somewhere:CELL\) is no DeviceType of that name"):
        installed_device_types()


def test_an_entry_point_of_another_name_than_its_type_is_refused(install: Any) -> None:
    install(chkpt_devices=[Entry("sell", CELL)], chkpt_backends=[Entry("nul", NULL)])
    with pytest.raises(ConfigError, match="sell"):
        installed_device_types()
    with pytest.raises(ConfigError, match="is no BackendType of that name"):
        installed_backend_types()


def test_the_built_in_devices_are_installed_like_anyone_else_s() -> None:
    assert {"pit", "pic", "serial", "ide"} <= {each.name for each in installed_device_types()}


def test_what_a_table_leaves_out_is_filled_in_with_what_the_machine_knows() -> None:
    @dataclass(frozen=True, slots=True)
    class Config:
        below: Annotated[int, Range(0, 9), OfMachine.RAM_BELOW_4G] = 1
        above: Annotated[int, Range(0, 9), OfMachine.RAM_FROM_4G] = 2
        other: Annotated[int, Range(0, 9)] = 3

    facts = {OfMachine.RAM_BELOW_4G: 7, OfMachine.RAM_FROM_4G: 8}
    assert filled_in(Config, {}, facts) == {"below": 7, "above": 8}
    assert filled_in(Config, {"above": 5, "other": 4}, facts) == {"below": 7, "above": 5, "other": 4}
    assert filled_in(Config, {"other": 4}, {}) == {"other": 4}


def test_a_package_that_is_installed_twice_offers_its_types_once(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [EntryPoint("pit", "devices.pit:PIT", "chkpt.devices") for _ in range(2)]
    monkeypatch.setattr("chkpt.manager.types.entry_points", lambda *, group: twice)
    assert [each.name for each in installed_device_types()] == ["pit"]
