"""Frontends of the four kinds: registered, connected, disconnected, closed with their device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chkpt.device import DeviceType, FrontendKind, Host
from chkpt.errors import ConflictError, DeviceError, ExistsError, NotFoundError
from chkpt.machine import Machine
from chkpt.manager import DeviceManager
from tests.support.small import (
    Cable,
    Closable,
    ControllerConfig,
    Disk,
    DiskSocket,
    Line,
    Panel,
    Screen,
    Socket,
    machine,
)


@dataclass(frozen=True)
class Way:
    """How one kind of frontend is reached."""

    kind: FrontendKind
    name: str  # of the panel's frontend
    backend: Callable[[], Closable]
    connect: Callable[[DeviceManager], Callable[[str, Any], None]]
    disconnect: Callable[[DeviceManager], Callable[[str], object]]
    socket: Callable[[Panel], Socket]


WAYS = [
    Way(FrontendKind.BLOCK, "panel.0", Disk, lambda m: m.connect_block, lambda m: m.disconnect_block, lambda p: p.disk),
    Way(FrontendKind.NET, "panel", Cable, lambda m: m.connect_net, lambda m: m.disconnect_net, lambda p: p.net),
    Way(FrontendKind.CHAR, "panel", Line, lambda m: m.connect_char, lambda m: m.disconnect_char, lambda p: p.char),
    Way(
        FrontendKind.CONSOLE,
        "panel",
        Screen,
        lambda m: m.connect_console,
        lambda m: m.disconnect_console,
        lambda p: p.console,
    ),
]
every_kind = pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.kind))


def panel(of: Machine) -> Panel:
    device = of.devices.find("panel")
    assert isinstance(device, Panel)
    return device


@every_kind
def test_a_backend_is_connected_to_the_frontend_of_its_name(way: Way) -> None:
    board = machine("panel")
    backend = way.backend()
    way.connect(board.devices)(way.name, backend)
    assert way.socket(panel(board)).backend is backend
    assert sum(len(s.log) for s in (panel(board).disk, panel(board).net, panel(board).char, panel(board).console)) == 1
    assert backend.closed == 0


@every_kind
def test_a_missing_frontend_is_an_error_and_the_backend_stays_the_caller_s(way: Way) -> None:
    backend = way.backend()
    with pytest.raises(NotFoundError, match=rf"^no {way.kind} frontend com9; there are: {way.name}$"):
        way.connect(machine("panel").devices)("com9", backend)
    with pytest.raises(NotFoundError, match=rf"^no {way.kind} frontend com9; there are: none$"):
        way.connect(machine().devices)("com9", backend)
    assert backend.closed == 0


@every_kind
def test_a_second_backend_is_refused_and_the_first_stays(way: Way) -> None:
    board = machine("panel")
    first, second = way.backend(), way.backend()
    way.connect(board.devices)(way.name, first)
    with pytest.raises(ExistsError, match=rf"{way.name} has a backend; disconnect it first$"):
        way.connect(board.devices)(way.name, second)
    assert way.socket(panel(board)).backend is first
    board.close()
    assert (first.closed, second.closed) == (1, 0)


@every_kind
def test_disconnect_gives_the_backend_back_open_and_another_can_come(way: Way) -> None:
    board = machine("panel")
    first, second = way.backend(), way.backend()
    way.connect(board.devices)(way.name, first)
    assert way.disconnect(board.devices)(way.name) is first
    assert way.socket(panel(board)).backend is None
    way.connect(board.devices)(way.name, second)
    board.close()
    assert (first.closed, second.closed) == (0, 1)


@every_kind
def test_there_is_nothing_to_disconnect_from_an_empty_or_missing_frontend(way: Way) -> None:
    board = machine("panel")
    with pytest.raises(NotFoundError, match=rf"^{way.kind} frontend {way.name} has no backend$"):
        way.disconnect(board.devices)(way.name)
    with pytest.raises(NotFoundError, match=rf"^no {way.kind} frontend com9;"):
        way.disconnect(board.devices)("com9")
    assert way.socket(panel(board)).log == []


@every_kind
def test_removing_the_device_disconnects_and_closes_the_backend_and_forgets_the_frontend(way: Way) -> None:
    board = machine("panel")
    backend = way.backend()
    socket = way.socket(panel(board))
    way.connect(board.devices)(way.name, backend)
    board.devices.remove("panel")
    assert (socket.log, backend.closed) == (["connect", "disconnect"], 1)
    with pytest.raises(NotFoundError):
        way.connect(board.devices)(way.name, way.backend())


@every_kind
def test_a_frontend_that_refuses_a_backend_stays_empty(way: Way) -> None:
    board = machine("panel")
    backend = way.backend()
    socket = way.socket(panel(board))
    socket.error = DeviceError("no such medium")
    with pytest.raises(DeviceError, match="no such medium"):
        way.connect(board.devices)(way.name, backend)
    socket.error = None
    way.connect(board.devices)(way.name, way.backend())
    board.close()
    assert backend.closed == 0


@every_kind
def test_a_backend_that_fails_to_close_is_told_and_device_and_frontend_are_gone(way: Way) -> None:
    board = machine("panel")
    backend = way.backend()
    backend.error = OSError("disk full")
    way.connect(board.devices)(way.name, backend)
    with pytest.raises(DeviceError, match=r"^device panel is removed, but OSError\('disk full'\)$"):
        board.devices.remove("panel")
    board.devices.create("panel")
    way.connect(board.devices)(way.name, way.backend())


@every_kind
def test_a_frontend_that_fails_to_disconnect_does_not_keep_the_backend_open(way: Way) -> None:
    board = machine("panel")
    backend = way.backend()
    way.connect(board.devices)(way.name, backend)
    way.socket(panel(board)).error = OSError("stuck")
    with pytest.raises(DeviceError, match="stuck"):
        board.devices.remove("panel")
    assert backend.closed == 1


def test_a_kind_knows_nothing_of_the_names_of_another() -> None:
    board = machine("panel")
    with pytest.raises(NotFoundError, match=r"^no block frontend panel; there are: panel\.0$"):
        board.devices.connect_block("panel", Disk())


def test_a_character_backend_learns_its_frontend() -> None:
    board = machine("panel")
    line = Line()
    board.devices.connect_char("panel", line)
    assert line.frontend is panel(board).char


def test_a_character_backend_that_cannot_attach_is_not_connected() -> None:
    class Broken(Line):
        def attach(self, frontend: object, /) -> None:
            raise OSError("no line")

    board = machine("panel")
    broken = Broken()
    with pytest.raises(OSError, match="no line"):
        board.devices.connect_char("panel", broken)
    assert panel(board).char.backend is None
    board.devices.connect_char("panel", Line())
    assert broken.closed == 0


def test_the_frontends_and_the_connected_backends_are_listed() -> None:
    board = machine("panel", "panel:second")
    disk = Disk()
    board.devices.connect_block("second.0", disk)
    assert board.devices.frontends["block"].names == ("panel.0", "second.0")
    assert board.devices.frontends["block"].backends == {"second.0": disk}
    assert board.devices.frontends["char"].names == ("panel", "second")


def test_a_device_cannot_have_two_frontends_of_one_name_and_leaves_none_of_them() -> None:
    class Twins:
        def __init__(self, host: Host, config: ControllerConfig) -> None:
            host.add_block_frontend(DiskSocket(), 1)
            host.add_block_frontend(DiskSocket(), 1)

        def reset(self) -> None:
            pass

    twins: DeviceType[ControllerConfig, object] = DeviceType("twins", Twins, ControllerConfig, None)
    board = machine()
    with pytest.raises(ConflictError, match=r"block frontend twins\.1 already, of device twins$"):
        board.devices.add(twins, "twins", ControllerConfig())
    assert board.devices.frontends["block"].names == ()


def test_a_machine_lets_every_drive_retry() -> None:
    board = machine("panel", "panel:second")
    board.retry()
    second = board.devices.find("second")
    assert isinstance(second, Panel)
    assert panel(board).disk.log == second.disk.log == ["retry"]


def test_frontends_of_a_device_are_those_that_it_has_added_and_no_others_that_begin_with_its_name() -> None:
    board = machine("panel", "panel:panel.a")
    frontends = board.devices.frontends
    assert [name for _, name in frontends.of("panel")] == ["panel.0", "panel", "panel", "panel"]
    assert [name for _, name in frontends.of("panel.a")] == ["panel.a.0", "panel.a", "panel.a", "panel.a"]
    board.devices.remove("panel")
    assert not frontends.of("panel")
    assert len(frontends.of("panel.a")) == 4


@every_kind
def test_a_backend_is_connected_by_kind_and_name_and_the_frontend_names_its_device(way: Way) -> None:
    board = machine("panel", "panel:second")
    table = board.devices.frontends[way.kind]
    backend = way.backend()
    board.devices.connect(way.kind, way.name, backend)
    assert (table.kind, table.owner(way.name)) == (way.kind, "panel")
    assert table.owner(way.name.replace("panel", "second")) == "second"
    assert table.backends == {way.name: backend}
    assert way.socket(panel(board)).backend is backend
    assert board.devices.disconnect(way.kind, way.name) is backend
    assert table.backends == {}
    with pytest.raises(NotFoundError, match=rf"^no {way.kind} frontend com9;"):
        table.owner("com9")


def test_the_frontends_of_every_kind_are_found_by_their_kind_or_its_name() -> None:
    frontends = machine("panel").devices.frontends
    assert [table.kind for table in frontends] == list(FrontendKind)
    assert all(frontends[kind] is table for kind, table in zip(FrontendKind, frontends, strict=True))
    assert frontends["char"] is frontends[FrontendKind.CHAR]
