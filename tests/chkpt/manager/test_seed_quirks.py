"""Palacios' `vmm_dev_mgr.c`, function by function: each fault that it had is a test that shows it gone.

The rows are those of its checklist: 1-3 the registry, 4-10 devices, 11-14 what they claim, 15-17 removal and listing,
18-26 frontends, 27 the switches. `appendix` is the list of defects found in its later versions.
"""

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import pytest

from chkpt.context import Checkpoint, Context
from chkpt.device import U8, DeviceType, Host, Length, Loads, Port, Saves
from chkpt.errors import (
    ConflictError,
    CorruptError,
    DeviceError,
    ExistsError,
    LoadError,
    NotFoundError,
    SaveError,
    StateError,
    UsageError,
)
from chkpt.machine import Machine
from chkpt.manager import DeviceManager, DeviceTypes, Resource, Skip
from chkpt.manager.names import pack_names, unpack_names
from chkpt.testing import plain_checkpoint
from tests.support.rig import saved
from tests.support.small import (
    CELL,
    DEAF,
    Cable,
    Cell,
    CellConfig,
    CellState,
    Closable,
    ControllerConfig,
    Disk,
    DiskSocket,
    Line,
    Screen,
    cell,
    machine,
    types,
)

# -- 1-3: the registry of device classes ------------------------------------------------------------------------------


def test_row_1_no_key_is_missing_or_empty_and_case_matters() -> None:
    board = machine("cell:a")
    with pytest.raises(UsageError):
        board.devices.create("cell", "")
    with pytest.raises(NotFoundError):
        board.devices.find("A")
    nothing: Any = None
    with pytest.raises(NotFoundError):
        board.devices.find(nothing)


def test_row_2_a_duplicate_class_is_an_error_and_does_not_spoil_the_registry() -> None:
    registry = DeviceTypes([CELL])
    with pytest.raises(ExistsError):
        registry.register(CELL)
    registry.register(DEAF)  # of the same module as the other: any number may be
    assert [each.name for each in registry] == ["cell", "deaf"]


def test_row_2_the_registry_belongs_to_no_machine() -> None:
    registry = types()
    first, second = Machine(machine().config, device_types=registry), Machine(machine().config, device_types=registry)
    first.devices.create("cell")
    first.close()
    assert second.devices.create("cell") is second.devices.find("cell")


def test_row_3_closing_twice_is_closing_once() -> None:
    board = machine("cell:a")
    board.close()
    board.close()
    board.devices.create("cell", "a")  # and it can be used again
    assert "a" in board.devices


# -- 4-10: devices ----------------------------------------------------------------------------------------------------


def test_row_4_a_manager_is_ready_once_it_is_made() -> None:
    devices = machine().devices
    assert isinstance(devices, DeviceManager)
    assert (len(devices), list(devices), devices.frontends["char"].names) == (0, [], ())


def test_row_5_devices_go_in_reverse_order_and_a_failure_stops_none() -> None:
    board = machine("panel:a", "panel:b")
    lines = [Line(), Line()]
    lines[1].error = OSError("stuck")
    for name, line in zip("ab", lines, strict=True):
        board.devices.connect_char(name, line)
    with pytest.raises(DeviceError, match=r"^devices failed to close: b "):
        board.close()
    assert [line.closed for line in lines] == [1, 1]


def test_row_5_a_machine_without_devices_can_be_closed() -> None:
    board = machine()
    board.close()
    assert len(board.devices) == 0


def test_row_6_a_save_that_fails_is_not_reported_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> CellState:
        raise OSError("no")

    board = machine("cell:a", "cell:b")
    monkeypatch.setattr(board.devices.find("b"), "save", fail)
    checkpoint = Checkpoint()
    with pytest.raises(SaveError):
        board.devices.save(checkpoint)
    assert checkpoint.contexts == {}


def test_row_6_every_name_in_the_table_ends_with_nul() -> None:
    table = saved(machine("cell:" + "x" * 31)).contexts["devices"].values["names"]
    assert table == b"x" * 31 + b"\0"


@pytest.mark.parametrize("name", ["devices", "header", "clock", "lines", "memory", "memory_img", "guest_info0"])
def test_row_6_a_device_may_have_the_name_of_a_system_context(name: str) -> None:
    board = machine(f"cell:{name}", memory=4096)
    cell(board, name).value = 7
    checkpoint = saved(board)
    assert {"clock", "memory", "devices"} <= set(checkpoint.contexts)
    twin = machine(f"cell:{name}", memory=4096)
    assert twin.load(checkpoint, strict=True).loaded == (name,)
    assert cell(twin, name).value == 7


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc", "a\\b/.."])
def test_row_6_a_name_is_no_path(name: str) -> None:
    with pytest.raises(UsageError):
        machine().devices.create("cell", name)


def test_row_7_a_load_tells_what_it_did_with_every_device() -> None:
    checkpoint = saved(machine("cell:a", "cell:gone", "deaf:d"))
    report = machine("cell:a", "deaf:d", "cell:extra").devices.load(checkpoint)
    assert report.loaded == ("a",)
    assert [skip.name for skip in report.skipped] == ["gone", "d"]
    assert [skip.name for skip in report.left] == ["d", "extra"]


def test_row_7_a_load_that_fails_is_an_error_and_restores_nothing_by_halves() -> None:
    source = machine("cell:a", "cell:b")
    cell(source, "a").value = 5
    board = machine("cell:a", "cell:b")
    cell(board, "b").errors = [ValueError("no")]
    with pytest.raises(LoadError):
        board.devices.load(saved(source))
    assert cell(board, "a").value == 0


@pytest.mark.parametrize("count", [1 << 27, (1 << 27) + 2, (1 << 64) - 1, -1, 0, 3])
def test_row_7_the_count_in_the_file_is_not_trusted(count: int) -> None:
    devices = saved(machine("cell:a", "cell:b")).contexts["devices"]
    hostile = replace(devices, values={**devices.values, "num_devs": count})
    with pytest.raises(CorruptError):
        machine("cell:a", "cell:b").devices.load(Checkpoint(contexts={"devices": hostile}))


def test_row_7_a_name_without_nul_is_refused() -> None:
    with pytest.raises(CorruptError):
        unpack_names(Context(values={"num_devs": 2, "names": b"x" * 32 + pack_names(["a"])}))


def test_row_7_class_and_version_are_checked() -> None:
    checkpoint = saved(machine("cell:a"))
    with pytest.raises(StateError, match="is of type 'cell'"):
        machine("mute:a").devices.load(checkpoint)


def test_row_8_one_close_does_it_all() -> None:
    board = machine("panel", "cell:a")
    disk = Disk()
    board.devices.connect_block("panel.0", disk)
    board.close()
    assert (len(board.devices), board.devices.frontends["block"].names, disk.closed) == (0, (), 1)


def test_row_9_any_exception_is_a_failure_and_is_rolled_back() -> None:
    def create(host: Host, config: CellConfig) -> Cell:
        Cell(host, config)
        raise RuntimeError("NE2000")

    board = machine()
    with pytest.raises(DeviceError):
        board.devices.add(DeviceType("cell", create, CellConfig, CellState), "a", CellConfig())
    board.devices.create("cell", "a")


def test_row_9_an_init_that_makes_no_device_is_a_failure() -> None:
    nothing: Any = None
    with pytest.raises(DeviceError):
        machine().devices.add(DeviceType("void", lambda host, config: nothing, CellConfig, None), "a", CellConfig())


def test_row_10_a_removed_device_is_not_found_and_not_kept() -> None:
    board = machine("cell:a")
    kept = weakref.ref(board.devices.find("a"))
    board.devices.remove("a")
    with pytest.raises(NotFoundError):
        board.devices.find("a")
    gc.collect()
    assert kept() is None


# -- 11-14: what devices claim ----------------------------------------------------------------------------------------


class Greedy:
    """Claims something of every kind there is."""

    def __init__(self, host: Host, config: ControllerConfig) -> None:
        self.host = host
        self.timer = host.timer(self.reset)
        self.timer.arm(1)
        self.line = host.irq_line(1)
        self.line.set(True)
        host.receive_irqs(lambda number, level: None, lambda: 0)
        host.claim_ports(0x10, [Port(read=lambda: 1), Port(write=lambda value: None)])
        host.claim_msrs(0x10, 2, lambda msr: 1, lambda msr, value: None)
        host.claim_memory(0x1000, 2, lambda offset, width: 1, lambda offset, width, value: None)

    def reset(self) -> None:
        pass


GREEDY: DeviceType[ControllerConfig, object] = DeviceType("greedy", Greedy, ControllerConfig, None)


def test_row_11_ports_msrs_memory_timers_and_lines_are_all_released() -> None:
    board = machine()
    board.devices.add(GREEDY, "a", ControllerConfig())
    assert {claim.kind for claim in board.devices.claims("a")} == set(Resource)
    board.devices.remove("a")
    board.devices.add(GREEDY, "b", ControllerConfig())
    board.devices.remove("b")
    assert (board.clock.next_deadline, board.irq.level(1), board.ports.inb(0x10)) == (None, False, 0xFF)


def test_row_12_a_claim_is_recorded_once() -> None:
    board = machine()
    device = board.devices.add(GREEDY, "a", ControllerConfig())
    assert isinstance(device, Greedy)
    before = board.devices.claims("a")
    with pytest.raises(ConflictError):
        device.host.claim_ports(0x11, [Port()])
    assert board.devices.claims("a") == before


def test_row_13_ports_are_claimed_in_ranges_and_a_conflict_names_both_owners() -> None:
    board = machine()
    board.devices.add(GREEDY, "first", ControllerConfig())
    with pytest.raises(ConflictError, match=r"^second .*: first has port 0x10-0x11$"):
        board.devices.create("cell", "second", {"port": 0xF})


def test_row_13_a_port_without_a_half_floats() -> None:
    board = machine()
    board.devices.add(GREEDY, "a", ControllerConfig())
    board.ports.outb(0x10, 5)
    assert (board.ports.inb(0x10), board.ports.inb(0x11)) == (1, 0xFF)


def test_row_14_a_second_owner_of_an_msr_is_refused() -> None:
    board = machine()
    board.devices.add(GREEDY, "first", ControllerConfig())
    with pytest.raises(ConflictError):
        board.devices.add(GREEDY, "second", ControllerConfig())
    assert board.msrs.rdmsr(0x10) == 1


# -- 15-17: removal, names, listing -----------------------------------------------------------------------------------


def test_row_15_remove_succeeds_and_the_name_is_free_again() -> None:
    board = machine("panel:a")
    board.devices.remove("a")
    board.devices.create("cell", "a")
    board.devices.remove("a")
    board.devices.create("panel", "a")
    assert board.devices.frontends["block"].names == ("a.0",)


def test_row_15_a_removed_device_takes_its_frontends_and_their_backends_with_it() -> None:
    board = machine("panel:a")
    disk = Disk()
    board.devices.connect_block("a.0", disk)
    board.devices.remove("a")
    assert (board.devices.frontends["block"].names, disk.closed) == ((), 1)
    with pytest.raises(NotFoundError):
        board.devices.connect_block("a.0", Disk())


def test_row_16_a_name_of_32_bytes_is_refused_not_cut() -> None:
    board = machine()
    with pytest.raises(UsageError):
        board.devices.create("cell", "x" * 32)
    assert len(board.devices) == 0


def test_row_16_names_with_an_equal_prefix_of_30_bytes_are_two_devices() -> None:
    first, second = "x" * 30 + "a", "x" * 30 + "b"
    board = machine(f"cell:{first}", f"cell:{second}")
    cell(board, second).value = 9
    twin = machine(f"cell:{second}", f"cell:{first}")
    assert set(twin.load(saved(board), strict=True).loaded) == {first, second}
    assert (cell(twin, first).value, cell(twin, second).value) == (0, 9)


def test_row_17_the_devices_are_listed() -> None:
    board = machine("cell:a", "panel")
    assert [(entry.name, entry.type.name) for entry in board.devices] == [("a", "cell"), ("panel", "panel")]


# -- 18-26: frontends -------------------------------------------------------------------------------------------------

Connect = Callable[[DeviceManager, str], Closable]


def _block(devices: DeviceManager, name: str) -> Closable:
    backend = Disk()
    devices.connect_block(name, backend)
    return backend


def _net(devices: DeviceManager, name: str) -> Closable:
    backend = Cable()
    devices.connect_net(name, backend)
    return backend


def _console(devices: DeviceManager, name: str) -> Closable:
    backend = Screen()
    devices.connect_console(name, backend)
    return backend


def _char(devices: DeviceManager, name: str) -> Closable:
    backend = Line()
    devices.connect_char(name, backend)
    return backend


def test_row_18_a_second_block_frontend_of_a_name_is_refused_not_shadowed() -> None:
    board = machine("panel:a")
    with pytest.raises(ConflictError):
        board.devices.entry("a").host.add_block_frontend(DiskSocket(), 0)


@pytest.mark.parametrize("kind", ["net", "console", "char"])
def test_rows_20_22_24_a_second_frontend_of_a_name_is_refused_not_shadowed(kind: str) -> None:
    host = machine("panel:a").devices.entry("a").host
    socket: Any = DiskSocket()
    with pytest.raises(ConflictError):
        getattr(host, f"add_{kind}_frontend")(socket)


@pytest.mark.parametrize("connect", [_block, _net, _console, _char], ids=["row_19", "row_21", "row_23", "row_25"])
def test_a_missing_frontend_is_an_error_not_success(connect: Connect) -> None:
    with pytest.raises(NotFoundError):
        connect(machine("cell:a").devices, "a")
    nothing: Any = None
    with pytest.raises(NotFoundError):
        connect(machine("panel:a").devices, nothing)


def test_row_21_a_connected_network_has_its_receiver_at_once() -> None:
    board = machine("panel:a")
    _net(board.devices, "a")
    assert board.devices.frontends["net"].find("a").receive(b"frame")


def test_row_25_a_connected_character_backend_can_push_at_once() -> None:
    board = machine("panel:a")
    line = Line()
    board.devices.connect_char("a", line)
    assert line.frontend is not None
    line.frontend.receive(b"x")


def test_row_26_one_frontend_goes_without_the_others() -> None:
    board = machine("panel:a", "panel:b")
    backends = [_block(board.devices, "a.0"), _block(board.devices, "b.0")]
    board.devices.remove("a")
    assert board.devices.frontends["block"].names == ("b.0",)
    assert [backend.closed for backend in backends] == [1, 0]


# -- 27: switches -----------------------------------------------------------------------------------------------------


def test_row_27_saving_and_loading_are_always_there() -> None:
    board = machine("cell:a")
    assert board.load(saved(board)).loaded == ("a",)


# -- appendix: defects of the later versions --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DriveState:
    VERSION: ClassVar[int] = 1

    count: U8


@dataclass(frozen=True, slots=True)
class BusState:
    VERSION: ClassVar[int] = 1

    drives: Annotated[tuple[DriveState, ...], Length(2, 2)]


class Bus:
    """A device of several contexts, as Palacios' IDE and PCI were."""

    def __init__(self, host: Host, config: ControllerConfig) -> None:
        self.counts = [0, 0]

    def reset(self) -> None:
        self.counts = [0, 0]

    def save(self) -> BusState:
        return BusState(tuple(DriveState(count) for count in self.counts))

    def load(self, state: BusState) -> None:
        self.counts = [drive.count for drive in state.drives]


BUS = DeviceType("bus", Bus, ControllerConfig, BusState)


def bus(board: Machine) -> Bus:
    found = board.devices.find("bus")
    assert isinstance(found, Bus)
    return found


@pytest.mark.parametrize("name", ["bus", "bus-0"])
def test_appendix_6_and_7_a_device_of_several_contexts_is_in_the_table_and_restored(name: str) -> None:
    board, twin = machine(f"cell:{name}-0"), machine(f"cell:{name}-0")
    for each in (board, twin):
        each.devices.add(BUS, "bus", ControllerConfig())
    bus(board).counts = [3, 4]
    checkpoint = saved(board)
    assert unpack_names(checkpoint.contexts["devices"]) == (f"{name}-0", "bus")
    assert twin.load(checkpoint, strict=True).loaded == (f"{name}-0", "bus")
    assert bus(twin).counts == [3, 4]


def test_appendix_11_a_smaller_save_into_the_same_checkpoint_leaves_no_stale_tail() -> None:
    checkpoint = Checkpoint()
    machine("cell:a", "cell:b", memory=8192).save(checkpoint)
    small = machine("cell:a")
    small.save(checkpoint)
    assert plain_checkpoint(checkpoint) == plain_checkpoint(saved(small))


def test_appendix_11_a_save_into_the_checkpoint_of_another_machine_leaves_nothing_of_it() -> None:
    checkpoint = saved(machine("cell:a"))
    for part in ("cpu", "firmware", "kernel", "somebody's"):
        checkpoint.contexts[part] = Context(part, 1)
    checkpoint.header["note"] = "of the other machine"
    small = machine("cell:b")
    small.save(checkpoint)
    assert plain_checkpoint(checkpoint) == plain_checkpoint(saved(small))
    assert sorted(checkpoint.header) == sorted(saved(small).header)


def test_appendix_11_a_save_that_fails_leaves_the_checkpoint_as_it_was() -> None:
    checkpoint = saved(machine("cell:a"))
    before = plain_checkpoint(checkpoint), dict(checkpoint.header)
    broken = machine("cell:b")
    cell(broken, "b").save = lambda: None  # type: ignore[method-assign,assignment,return-value]  # no state
    with pytest.raises(SaveError):
        broken.save(checkpoint)
    assert (plain_checkpoint(checkpoint), dict(checkpoint.header)) == before


def test_appendix_12_a_snapshot_of_another_kind_of_machine_is_refused() -> None:
    checkpoint = saved(machine("cell:cpu"))
    board = machine()
    board.devices.add(BUS, "cpu", ControllerConfig())
    with pytest.raises(StateError, match="is of type 'cell'"):
        board.load(checkpoint)


def test_appendix_14_a_tag_that_is_a_prefix_of_another_is_not_taken_for_it() -> None:
    checkpoint = saved(machine("cell:a"))
    values = checkpoint.contexts["devices"].contexts["a"].values
    values["values"] = values.pop("value")
    with pytest.raises(StateError, match=r"^devices/a\.value is missing$"):
        machine("cell:a").load(checkpoint)


def test_appendix_16_no_devices_at_all_save_and_load() -> None:
    board = machine()
    assert board.load(saved(board), strict=True).loaded == ()
    board = machine("inert:a")
    assert board.load(saved(board), strict=True).left == (Skip("a", "not in the snapshot"),)


def test_appendix_18_after_a_failed_load_the_machine_runs_on_as_if_nothing_had_been() -> None:
    boards = [machine("controller", "cell:a", "cell:b") for _ in range(2)]
    for board in boards:
        board.ports.outb(0x111, 5)
        board.ports.outb(0x121, 9)
        board.step(3000)
    source = machine("controller", "cell:a", "cell:b")
    source.step(1_000_000)
    cell(source, "a").drive(level=True)
    cell(boards[0], "b").errors = [ValueError("no")]
    with pytest.raises(LoadError):
        boards[0].load(saved(source))
    for board in boards:
        board.step(10_000)
    assert plain_checkpoint(saved(boards[0])) == plain_checkpoint(saved(boards[1]))
    assert cell(boards[0], "a").fired == cell(boards[1], "a").fired == [5000]


def test_appendix_19_the_clock_and_pending_interrupts_are_restored() -> None:
    board = machine("controller", "cell:a")
    board.ports.outb(0x111, 5)
    board.step(6000)
    board.ports.outb(0x111, 9)
    twin = machine("controller", "cell:a")
    twin.load(saved(board), strict=True)
    assert (twin.clock.now, twin.irq.level(5), twin.irq.intr) == (6000, True, True)
    twin.step(9000)
    assert cell(twin, "a").fired == [15_000]
    controller = twin.devices.find("controller")
    assert isinstance(controller, Saves)
    assert isinstance(controller, Loads)
    assert controller.save() == board.devices.find("controller").save()  # type: ignore[attr-defined]  # no new edge
