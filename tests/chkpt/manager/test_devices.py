"""Devices: made from a type and a table, added, found, removed, closed; a failure leaves nothing behind."""

from collections.abc import Callable
from typing import Any

import pytest

from chkpt.device import DeviceType, Host, Port
from chkpt.errors import ChkptError, ConfigError, ConflictError, DeviceError, ExistsError, NotFoundError, UsageError
from chkpt.machine import Machine
from chkpt.manager import Claim, Resource
from tests.support.small import (
    CELL,
    CellConfig,
    CellState,
    Controller,
    ControllerConfig,
    Disk,
    DiskSocket,
    Line,
    WholeCell,
    cell,
    machine,
)

# -- create, add, find, list ------------------------------------------------------------------------------------------


def test_create_makes_a_device_of_a_registered_type_from_a_table() -> None:
    board = machine()
    device = board.devices.create("cell", "a", {"port": 0x300})
    assert board.devices.find("a") is device
    assert board.devices.entry("a").type is CELL
    assert board.devices.claims("a") == (Claim(Resource.PORT, 0x300, 2, "a"),)


def test_a_device_is_named_after_its_type_when_nothing_else_is_said() -> None:
    board = machine()
    assert board.devices.create("cell") is board.devices.find("cell")


def test_a_device_knows_its_name() -> None:
    assert cell(machine("cell:a"), "a").host.name == "a"


def test_an_unknown_type_is_not_made() -> None:
    with pytest.raises(NotFoundError, match=r"no device type cel; did you mean cell\?"):
        machine().devices.create("cel")


def test_a_table_that_does_not_fit_is_refused_with_the_device_s_name() -> None:
    with pytest.raises(ConfigError, match=r"^device a: unknown key prot; did you mean port\?$"):
        machine().devices.create("cell", "a", {"prot": 1})


def test_add_takes_a_type_that_is_not_registered() -> None:
    board = machine()
    device = board.devices.add(DeviceType("other", WholeCell, CellConfig, CellState), "a", CellConfig())
    assert board.devices.find("a") is device


def test_a_taken_name_is_refused_and_the_first_device_stays() -> None:
    board = machine("cell:a")
    first = board.devices.find("a")
    with pytest.raises(ExistsError, match=r"^there is a device a already$"):
        board.devices.create("cell", "a", {"port": 0x300})
    assert board.devices.find("a") is first
    assert board.ports.inb(0x300) == 0xFF


@pytest.mark.parametrize("name", ["", "x" * 32, "a/b", "a\n"], ids=ascii)
def test_what_is_no_name_is_refused_before_the_device_is_made(name: str) -> None:
    made: list[object] = []

    def create(host: Host, config: CellConfig) -> WholeCell:
        made.append(host)
        return WholeCell(host, config)

    with pytest.raises(UsageError):
        machine().devices.add(DeviceType("cell", create, CellConfig, CellState), name, CellConfig())
    assert made == []


def test_devices_are_listed_counted_and_found_by_name() -> None:
    board = machine("cell:b", "cell:a", "panel")
    assert [entry.name for entry in board.devices] == ["b", "a", "panel"]
    assert len(board.devices) == 3
    assert "a" in board.devices
    assert "c" not in board.devices
    assert None not in board.devices


def test_a_list_of_devices_may_be_walked_while_they_are_removed() -> None:
    board = machine("cell:a", "cell:b")
    for entry in board.devices:
        board.devices.remove(entry.name)
    assert len(board.devices) == 0


def test_an_unknown_device_is_not_found_and_the_known_are_named() -> None:
    with pytest.raises(NotFoundError, match=r"^no device c in this machine; there are: a, b$"):
        machine("cell:a", "cell:b").devices.find("c")


def test_reset_resets_every_device_in_order() -> None:
    board = machine("cell:a", "cell:b")
    for name in ("a", "b"):
        cell(board, name).value = 5
    board.reset()
    assert (cell(board, "a").value, cell(board, "b").value) == (0, 0)


# -- a constructor that fails -----------------------------------------------------------------------------------------


class Everything:
    """Claims one of everything."""

    def __init__(self, host: Host, config: CellConfig) -> None:
        self.line = host.irq_line(3)
        self.intr = host.cpu_interrupt_line()
        self.timer = host.timer(lambda: None)
        self.timer.arm(1000)
        self.line.set(True)
        self.intr.set(True)
        host.receive_irqs(lambda number, level: None, lambda: 0)
        host.claim_ports(0x100, [Port(read=lambda: 1)])
        host.claim_msrs(0x10, 1, lambda msr: 1, lambda msr, value: None)
        host.claim_memory(0xF000, 16, lambda offset, width: 1, lambda offset, width, value: None)
        host.add_block_frontend(DiskSocket(), 0)

    def reset(self) -> None:
        pass


class Failing(Everything):
    error: BaseException = DeviceError("no")

    def __init__(self, host: Host, config: CellConfig) -> None:
        super().__init__(host, config)
        raise self.error


EVERYTHING: DeviceType[CellConfig, object] = DeviceType("everything", Everything, CellConfig, None)
FAILING: DeviceType[CellConfig, object] = DeviceType("failing", Failing, CellConfig, None)


def nothing_is_left(board: Machine) -> bool:
    board.devices.add(EVERYTHING, "again", CellConfig())  # every claim is free, the name of the frontend too
    board.devices.remove("again")
    return (
        board.ports.inb(0x100) == 0xFF
        and board.memory.load(0xF000, 1) == 0xFF
        and not board.irq.level(3)
        and not board.irq.intr
        and board.clock.next_deadline is None
        and board.devices.frontends["block"].names == ()
        and not any(board.devices.claims(entry.name) for entry in board.devices)
    )


@pytest.mark.parametrize("error", [ConfigError("no such part"), DeviceError("broken"), ConflictError("taken")])
def test_an_error_of_ours_from_a_constructor_is_passed_on_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, error: ChkptError
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    board = machine()
    with pytest.raises(type(error)) as caught:
        board.devices.add(FAILING, "a", CellConfig())
    assert caught.value is error
    assert "a" not in board.devices
    assert nothing_is_left(board)


@pytest.mark.parametrize("error", [ValueError("v"), KeyError("k"), AttributeError(), OSError(5, "io")])
def test_another_error_from_a_constructor_becomes_a_device_error_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    board = machine()
    with pytest.raises(DeviceError, match=r"^device a of type failing cannot be made: ") as caught:
        board.devices.add(FAILING, "a", CellConfig())
    assert caught.value.__cause__ is error
    assert nothing_is_left(board)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_in_a_constructor_leaves_nothing_either(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    board = machine()
    with pytest.raises(type(error)):
        board.devices.add(FAILING, "a", CellConfig())
    assert "a" not in board.devices
    assert nothing_is_left(board)


def test_a_conflict_in_a_constructor_gives_back_what_it_had_claimed_before() -> None:
    board = machine("cell:a")
    with pytest.raises(ConflictError, match=r"^b .*: a has port 0x100-0x101$"):
        board.devices.create("cell", "b", {"port": 0x100})
    assert [entry.name for entry in board.devices] == ["a"]
    board.ports.outb(0x100, 7)
    assert board.ports.inb(0x100) == 7


def test_a_line_that_there_is_not_is_refused() -> None:
    def create(host: Host, config: CellConfig) -> WholeCell:
        host.irq_line(16)
        return WholeCell(host, config)

    with pytest.raises(ConfigError, match=r"^there is no interrupt line 16: they are 0 to 15$"):
        machine().devices.add(DeviceType("cell", create, CellConfig, CellState), "a", CellConfig())


@pytest.mark.parametrize("made", [None, object(), 5], ids=["none", "object", "number"])
def test_a_type_that_makes_no_device_is_refused(made: Any) -> None:
    board = machine()
    with pytest.raises(DeviceError, match=r"device type void has made .*, which is not a device"):
        board.devices.add(DeviceType("void", lambda host, config: made, CellConfig, None), "a", CellConfig())
    assert "a" not in board.devices


@pytest.mark.parametrize("kind", [WholeCell, Controller], ids=["cell", "controller"])
def test_a_device_that_can_be_saved_needs_a_state(kind: Callable[[Host, Any], Any]) -> None:
    stateless: DeviceType[Any, Any] = DeviceType("stateless", kind, ControllerConfig, None)
    board = machine()
    config = CellConfig() if kind is WholeCell else ControllerConfig()
    with pytest.raises(DeviceError, match=r"stateless .* names no state"):
        board.devices.add(stateless, "a", config)
    assert "a" not in board.devices
    assert nothing_is_left(board)


def test_a_second_interrupt_controller_is_refused_and_the_first_stays() -> None:
    board = machine("controller")
    with pytest.raises(ConflictError, match=r"^second .* interrupt lines: controller does$"):
        board.devices.create("controller", "second")
    board.irq.force(3, True)
    assert board.irq.intr


# -- remove and close -------------------------------------------------------------------------------------------------


def test_a_removed_device_gives_everything_back_and_its_name_is_free() -> None:
    board = machine()
    board.devices.add(EVERYTHING, "a", CellConfig())
    assert board.irq.level(3)
    assert board.irq.intr
    board.devices.remove("a")
    assert nothing_is_left(board)
    board.devices.create("cell", "a")


def test_a_removed_device_is_not_found_and_cannot_be_removed_again() -> None:
    board = machine("cell:a")
    board.devices.remove("a")
    for missing in (board.devices.find, board.devices.remove, board.devices.entry):
        with pytest.raises(NotFoundError, match=r"^no device a in this machine; there are: none$"):
            missing("a")


def test_a_removed_device_s_timer_does_not_fire() -> None:
    board = machine("cell:a")
    device = cell(board, "a")
    board.ports.outb(0x101, 5)
    board.devices.remove("a")
    board.step(1_000_000)
    assert device.fired == []


def test_a_timer_that_a_device_arms_while_it_is_removed_does_not_fire() -> None:
    class Reviving(DiskSocket):
        def __init__(self, host: Host, config: ControllerConfig) -> None:
            super().__init__()
            self.fired = False
            self.timer = host.timer(self._ring)
            host.add_block_frontend(self)

        def _ring(self) -> None:
            self.fired = True

        def disconnect(self) -> None:
            self.timer.arm(5)

        def reset(self) -> None:
            pass

    board = machine()
    reviving: DeviceType[ControllerConfig, object] = DeviceType("reviving", Reviving, ControllerConfig, None)
    device = board.devices.add(reviving, "a", ControllerConfig())
    assert isinstance(device, Reviving)
    board.devices.connect_block("a", Disk())
    board.devices.remove("a")
    board.step(100)
    assert not device.fired


def test_removing_one_driver_of_a_shared_line_leaves_the_other_s_level() -> None:
    board = machine("cell:a", "cell:b")
    cell(board, "a").drive(level=True)
    cell(board, "b").drive(level=True)
    board.devices.remove("a")
    assert board.irq.level(5)
    board.devices.remove("b")
    assert not board.irq.level(5)


def test_close_removes_all_in_reverse_order_and_twice_is_once() -> None:
    board = machine("panel:a", "panel:b", "panel:c")
    order: list[str] = []

    class Noting(Line):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def close(self) -> None:
            order.append(self.name)

    for name in ("b", "a", "c"):
        board.devices.connect_char(name, Noting(name))
    board.close()
    assert order == ["c", "b", "a"]
    assert len(board.devices) == 0
    board.close()
    assert order == ["c", "b", "a"]


def test_close_goes_on_past_a_failure_and_names_every_one(caplog: pytest.LogCaptureFixture) -> None:
    board = machine("panel:a", "panel:b", "panel:c")
    lines = {name: Line() for name in ("a", "b", "c")}
    for name, line in lines.items():
        board.devices.connect_char(name, line)
    lines["a"].error = OSError("x")
    lines["c"].error = ValueError("y")
    with pytest.raises(DeviceError) as caught:
        board.close()
    assert str(caught.value) == "devices failed to close: c (ValueError('y')), a (OSError('x'))"
    assert [record.getMessage() for record in caplog.records] == ["c: could not be closed", "a: could not be closed"]
    assert [line.closed for line in lines.values()] == [1, 1, 1]
    assert len(board.devices) == 0


def test_close_gives_every_claim_back() -> None:
    board = machine("controller", "cell:a", "panel")
    board.ports.outb(0x111, 1)
    board.close()
    assert nothing_is_left(board)
