"""A machine: assembled whole or not at all, saved, loaded whole or in part, unchanged by a load that is refused."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.context import Checkpoint, Context, SparseBlob, Value, blob_bytes
from chkpt.device import BackendType, CharFrontend, FrontendKind
from chkpt.errors import (
    ChkptError,
    ConfigError,
    ConflictError,
    CorruptError,
    ExistsError,
    LoadError,
    NotFoundError,
    StateError,
    StorageError,
    StrictError,
    VersionError,
)
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import BackendTypes, LoadReport, Skip
from chkpt.state import unpack_schemas
from chkpt.testing import plain_checkpoint
from tests.support.rig import saved
from tests.support.small import CellState, Closable, ControllerConfig, Disk, Line, Panel, cell, machine, types

PARTS = ("clock", "lines", "memory")


def stirred(*names: str, memory: int = 8192) -> Machine:
    """Build a machine of cells and a controller that has run for a while."""
    board = machine("controller", *names, memory=memory)
    board.step(1234)
    board.memory.write(4090, b"across two pages")
    board.irq.force(9, True)
    for number, name in enumerate(each.partition(":")[2] for each in names):
        cell(board, name).value = 0x30 + number
        cell(board, name).timer.arm(9000 + number)
        cell(board, name).drive(level=True)
    return board


def everything(board: Machine) -> object:
    """Return everything about a machine."""
    return (
        plain_checkpoint(saved(board)),
        [board.irq.level(number) for number in range(17)],
        [(entry.name, timer.deadline) for entry in board.devices for timer in entry.host.timers],
    )


def edited(checkpoint: Checkpoint, **contexts: Context | None) -> Checkpoint:
    """Return a checkpoint with other contexts under the root, or without some."""
    changed = {**checkpoint.contexts, **contexts}
    return replace(checkpoint, contexts={name: each for name, each in changed.items() if each is not None})


def with_values(context: Context, **values: Value) -> Context:
    return replace(context, values={**context.values, **values})


# -- assembly ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoOptions:
    pass


class Shelf:
    """Backend types, and what they opened."""

    def __init__(self) -> None:
        self.opened: list[Closable] = []
        self.types = BackendTypes(
            [
                BackendType(FrontendKind.CHAR, "line", self._opens(Line), NoOptions),
                BackendType(FrontendKind.BLOCK, "disk", self._opens(Disk), NoOptions),
                BackendType(FrontendKind.CHAR, "refusing", self._refuse, NoOptions),
                BackendType(FrontendKind.CHAR, "deaf", self._opens(DeafLine), NoOptions),
            ],
        )

    def _opens(self, kind: type[Any]) -> Callable[[NoOptions], Any]:
        def opens(_: NoOptions) -> Any:
            self.opened.append(kind())
            return self.opened[-1]

        return opens

    def _refuse(self, _: NoOptions) -> Line:
        raise StorageError("no such pty")


class DeafLine(Line):
    def attach(self, frontend: CharFrontend, /) -> None:
        raise OSError("deaf")


def build(shelf: Shelf, *devices: Mapping[str, object]) -> Machine:
    return Machine(parse({"device": list(devices)}), device_types=types(), backend_types=shelf.types)


def test_a_machine_has_the_devices_and_backends_of_its_configuration() -> None:
    shelf = Shelf()
    board = build(
        shelf,
        {"type": "panel", "name": "a", "backend": {"type": "line"}},
        {"type": "cell", "port": 0x300},
    )
    panel = board.devices.find("a")
    assert isinstance(panel, Panel)
    assert panel.char.backend is shelf.opened[0]
    assert [entry.name for entry in board.devices] == ["a", "cell"]
    board.close()
    assert shelf.opened[0].closed == 1


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ({"type": "sell"}, NotFoundError, "no device type sell; did you mean cell?"),
        ({"type": "cell", "prot": 1}, ConfigError, "device cell: unknown key prot; did you mean port?"),
        (
            {"type": "cell", "port": 0x100},
            ConflictError,
            "cell cannot have port 0x100-0x101: first has port 0x100-0x101",
        ),
        ({"type": "panel", "backend": {"type": "lime"}}, NotFoundError, "no backend type lime; did you mean line?"),
        (
            {"type": "panel", "backend": {"type": "line", "x": 1}},
            ConfigError,
            "backend line of panel: unknown key x; known are ",
        ),
        ({"type": "panel", "backend": {"type": "refusing"}}, StorageError, "no such pty"),
        (
            {"type": "cell", "port": 0x300, "backend": {"type": "line"}},
            NotFoundError,
            "no char frontend cell; there are: second",
        ),
        (
            {"type": "panel", "backend": {"type": "disk"}},
            NotFoundError,
            "no block frontend panel; there are: second.0, panel.0",
        ),
        ({"type": "panel", "backend": {"type": "deaf"}}, OSError, "deaf"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_cannot_be_assembled_leaves_nothing_open(
    device: Mapping[str, object], error: type[Exception], message: str
) -> None:
    shelf = Shelf()
    first: dict[str, object] = {"type": "cell", "name": "first", "port": 0x100}
    second: dict[str, object] = {"type": "panel", "name": "second", "backend": {"type": "line"}}
    with pytest.raises(error) as caught:
        build(shelf, first, second, device)
    assert str(caught.value) == message
    assert [backend.closed for backend in shelf.opened] == [1] * len(shelf.opened)
    assert shelf.opened


def test_a_backend_that_is_connected_later_belongs_to_the_machine() -> None:
    shelf = Shelf()
    board = build(shelf, {"type": "panel", "name": "a", "backend": {"type": "line"}})
    (again,) = parse({"device": [{"type": "panel", "name": "a", "backend": {"type": "line"}}]}).devices[0].backends
    with pytest.raises(ExistsError, match="char frontend a has a backend"):
        board.connect(again)
    assert [backend.closed for backend in shelf.opened] == [0, 1]
    board.close()
    assert [backend.closed for backend in shelf.opened] == [1, 1]


def test_a_machine_has_the_name_and_the_memory_of_its_configuration() -> None:
    board = machine(memory=8192)
    assert (board.name, board.memory.size) == ("small", 8192)


# -- save -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "options", "extended", "above"),
    [
        ("8M", {}, 7 << 10, 0),
        ("48M", {}, 47 << 10, 512),
        ("8M", {"memory": 2 << 20}, 1 << 10, 0),
        ("5G", {}, 0xFFFF, 0),
    ],
)
def test_the_clock_s_ram_has_the_memory_of_the_machine_unless_its_options_say_otherwise(
    memory: str, options: Mapping[str, object], extended: int, above: int
) -> None:
    board = Machine(parse({"memory": memory, "device": [{"type": "cmos", **options}]}))

    def word(at: int) -> int:
        board.ports.outb(0x70, at)
        low = board.ports.inb(0x71)
        board.ports.outb(0x70, at + 1)
        return low | board.ports.inb(0x71) << 8

    assert (word(0x17), word(0x30)) == (extended, extended)
    if memory == "5G":
        assert (word(0x34), word(0x5B)) == (0xFF00, (1 << 30) >> 16)
    else:
        assert word(0x34) == above
    board.close()


def test_a_save_has_header_clock_lines_memory_and_devices() -> None:
    board = stirred("cell:a")
    checkpoint = Checkpoint()
    report = board.save(checkpoint)
    assert report.saved == ("controller", "a")
    schemas = unpack_schemas(checkpoint.header.pop("schemas"))
    assert [*schemas] == sorted(schemas)
    assert schemas["clock"] == {"version": 1, "fields": {"now": ["int", 0, (1 << 63) - 1]}}
    assert checkpoint.header == {"machine": "small", "clock_ns": 1234, "config": board.config.table}
    assert list(checkpoint.contexts) == ["clock", "lines", "memory", "devices"]
    assert checkpoint.contexts["clock"] == Context("clock", 1, {"now": 1234})
    assert checkpoint.contexts["lines"] == Context("lines", 1, {"outside": 1 << 9})
    memory = checkpoint.contexts["memory"]
    assert (memory.type, memory.version, memory.values) == ("memory", 1, {"size": 8192})
    assert blob_bytes(memory.blobs["ram"]) == board.memory.read(0, 8192)


def test_a_save_is_a_pure_read() -> None:
    board = stirred("cell:a", "cell:b")
    assert everything(board) == everything(board)


def test_the_order_of_contexts_does_not_depend_on_what_the_checkpoint_held() -> None:
    board = stirred("cell:a")
    checkpoint = saved(board)
    board.save(checkpoint)
    assert list(checkpoint.contexts) == ["clock", "lines", "memory", "devices"]


# -- load, whole ------------------------------------------------------------------------------------------------------


def test_a_whole_load_makes_the_same_machine_of_a_new_one() -> None:
    board = stirred("cell:a", "cell:b")
    twin = machine("cell:b", "controller", "cell:a", memory=8192)
    report = twin.load(saved(board), strict=True)
    assert report == LoadReport(("controller", "a", "b"), (), (), ())
    assert plain_checkpoint(saved(twin))["devices"]["a/"] == plain_checkpoint(saved(board))["devices"]["a/"]
    for part in PARTS:
        assert plain_checkpoint(saved(twin))[part] == plain_checkpoint(saved(board))[part]
    assert [twin.irq.level(n) for n in range(17)] == [board.irq.level(n) for n in range(17)]


def test_a_whole_load_undoes_whatever_happened_since_the_save() -> None:
    board = stirred("cell:a", "cell:b")
    checkpoint = saved(board)
    checkpoint.contexts["memory"].blobs["ram"] = SparseBlob(8192, 8192, {0: board.memory.read(0, 8192)})
    before = everything(board)
    board.step(100_000)
    board.memory.write(0, b"x" * 8192)
    board.irq.outside = 0xFFFF
    board.reset()
    board.load(checkpoint)
    assert everything(board) == before


@settings(max_examples=40)
@given(st.integers(0, 30_000), st.integers(0, 30_000))
def test_a_loaded_machine_goes_on_as_the_saved_one(before: int, after: int) -> None:
    board = stirred("cell:a", "cell:b")
    board.step(before)
    twin = stirred("cell:a", "cell:b")
    twin.load(saved(board), strict=True)
    fired = len(cell(board, "a").fired)
    board.step(after)
    twin.step(after)
    assert everything(twin) == everything(board)
    assert cell(twin, "a").fired == cell(board, "a").fired[fired:]


def test_no_edge_is_invented_or_lost_by_a_load() -> None:
    board = stirred("cell:a")
    twin = machine("cell:a", "controller", memory=8192)
    twin.irq.force(3, True)
    twin.load(saved(board))
    loaded: Any = twin.devices.find("controller")
    original: Any = board.devices.find("controller")
    assert (loaded.edges, loaded.levels) == (original.edges, original.levels)
    board.irq.force(9, False)
    twin.irq.force(9, False)
    assert (loaded.edges, loaded.levels) == (original.edges, original.levels)


def test_the_lines_forced_from_outside_are_saved_and_loaded() -> None:
    board = machine("controller")
    board.irq.outside = 0xA5A5
    twin = machine("controller")
    twin.irq.outside = 0x00FF
    twin.load(saved(board))
    assert twin.irq.outside == 0xA5A5
    assert [twin.irq.level(number) for number in range(16)] == [bool(0xA5A5 >> number & 1) for number in range(16)]


def test_a_load_takes_ram_of_its_own() -> None:
    board = machine(memory=4096)
    board.memory.write(0, b"saved")
    checkpoint = saved(board)
    twin = machine(memory=4096)
    twin.load(checkpoint)
    board.memory.write(0, b"later")
    assert twin.memory.read(0, 5) == b"saved"


def test_a_load_may_set_the_clock_back() -> None:
    checkpoint = saved(stirred("cell:a"))
    board = stirred("cell:a")
    board.step(1_000_000)
    board.load(checkpoint)
    assert board.clock.now == 1234
    assert cell(board, "a").timer.deadline == 9000


def test_devices_left_as_they_were_keep_their_distance_from_a_clock_that_jumped() -> None:
    checkpoint = saved(stirred("cell:a"))
    board = machine("cell:a", "controller", "cell:new", "mute:m", "inert:i", memory=8192)
    board.step(1_000_000)
    for name in ("new", "m", "i"):
        cell(board, name).timer.arm(1_000_500)
    assert board.load(checkpoint).left == tuple(Skip(name, "not in the snapshot") for name in ("new", "m", "i"))
    assert [cell(board, name).timer.deadline for name in ("new", "m", "i")] == [1734] * 3
    board.step(499)
    assert cell(board, "new").fired == []
    board.step(1)
    assert [cell(board, name).fired for name in ("new", "m", "i")] == [[1734]] * 3


# -- load, in part ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"only": ["a"]}, {"skip": ["b", "controller"]}], ids=["only", "skip"])
def test_a_partial_load_leaves_clock_lines_and_ram_and_shifts_the_times(options: dict[str, Any]) -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    board = machine("controller", "cell:a", "cell:b", memory=8192)
    board.step(1_000_000)
    board.memory.write(0, b"mine")
    board.irq.force(1, True)
    report = board.load(checkpoint, **options)
    assert report.loaded == ("a",)
    assert (board.clock.now, board.irq.outside, board.memory.read(0, 4)) == (1_000_000, 2, b"mine")
    assert cell(board, "a").present() == CellState(0x30, True, 9000 - 1234 + 1_000_000)
    assert cell(board, "b").present() == CellState()


def test_a_partial_load_goes_to_a_machine_with_other_memory_and_devices() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    board = machine("cell:a", memory=4096)
    assert board.load(checkpoint, only=["a"], strict=True).loaded == ("a",)


def test_to_skip_what_this_machine_has_not_is_a_whole_load_in_which_it_is_not_missed() -> None:
    checkpoint = saved(stirred("cell:a", "cell:gone"))
    board = machine("controller", "cell:a", memory=8192)
    report = board.load(checkpoint, skip=["gone"], strict=True)
    assert report == LoadReport(("controller", "a"), (Skip("gone", "not asked for"),), (), ())
    assert (board.clock.now, board.memory.read(4090, 6), board.irq.outside) == (1234, b"across", 1 << 9)


def test_a_rename_alone_is_a_whole_load() -> None:
    checkpoint = saved(stirred("cell:old"))
    board = machine("controller", "cell:new", memory=8192)
    board.load(checkpoint, rename={"old": "new"}, strict=True)
    assert (board.clock.now, cell(board, "new").timer.deadline) == (1234, 9000)


def test_a_partial_load_without_a_clock_says_so(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = edited(saved(stirred("cell:a")), clock=None)
    board = machine("cell:a", memory=8192)
    report = board.load(checkpoint, only=["a"])
    assert report.skipped[0] == Skip("clock", "its context is missing")
    assert ("chkpt.machine", logging.WARNING, "clock: skipped: its context is missing") in caplog.record_tuples
    assert cell(board, "a").timer.deadline == 9000
    with pytest.raises(StrictError):
        board.load(checkpoint, only=["a"], strict=True)


# -- what is skipped --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_skipped_logged_and_left_as_it_was(part: str, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = edited(saved(stirred("cell:a")), **{part: None})
    board = machine("controller", "cell:a", memory=8192)
    board.step(77)
    board.memory.write(0, b"mine")
    board.irq.force(1, True)
    report = board.load(checkpoint)
    assert report.skipped == (Skip(part, "its context is missing"),)
    assert ("chkpt.machine", logging.WARNING, f"{part}: skipped: its context is missing") in caplog.record_tuples
    assert board.clock.now == (77 if part == "clock" else 1234)
    assert board.irq.outside == (2 if part == "lines" else 1 << 9)
    assert board.memory.read(0, 4) == (b"mine" if part == "memory" else bytes(4))
    assert cell(board, "a").value == 0x30


def test_a_part_that_this_machine_has_not_is_skipped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = edited(saved(stirred("cell:a")), **{"cpu\n": Context("cpu", 1)})
    report = machine("controller", "cell:a", memory=8192).load(checkpoint)
    assert report.skipped == (Skip(r"cpu\n", "this machine has no such part"),)
    assert ("chkpt.machine", logging.WARNING, r"cpu\n: skipped: this machine has no such part") in caplog.record_tuples


def test_an_unknown_tag_of_a_part_is_passed_over_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("cell:a"))
    checkpoint = edited(checkpoint, clock=with_values(checkpoint.contexts["clock"], drift=1))
    report = machine("controller", "cell:a", memory=8192).load(checkpoint)
    assert report.unknown == ("clock.drift",)
    assert ("chkpt.machine", logging.WARNING, "clock.drift: unknown tag, passed over") in caplog.record_tuples


def test_strict_refuses_every_one_of_these_and_nothing_changes() -> None:
    checkpoint = saved(stirred("cell:a"))
    clock = checkpoint.contexts["clock"]
    for hostile in (
        *(edited(checkpoint, **{part: None}) for part in PARTS),
        edited(checkpoint, cpu=Context("cpu", 1)),
        edited(checkpoint, clock=with_values(clock, drift=1)),
    ):
        refused(stirred("cell:a"), hostile, StrictError, "refused by strict, nothing has changed: ", strict=True)


def test_strict_reports_the_reasons_of_parts_and_of_devices_together() -> None:
    checkpoint = edited(saved(stirred("cell:a", "cell:b")), lines=None)
    reasons = "lines: its context is missing; b: this machine has no device b"
    refused(stirred("cell:a"), checkpoint, StrictError, f"nothing has changed: {reasons}", strict=True)


# -- what is refused --------------------------------------------------------------------------------------------------


def refused(board: Machine, checkpoint: Checkpoint, error: type[ChkptError], match: str, **options: Any) -> None:
    """Check that a load is refused and that nothing at all has changed by it."""
    board.step(55)
    board.memory.write(0, b"mine")
    board.irq.force(1, True)
    before = everything(board)
    with pytest.raises(error, match=match):
        board.load(checkpoint, **options)
    assert everything(board) == before


class TornBlob:
    """RAM of which one piece cannot be read."""

    size = 8192
    piece_size = 4096

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        yield 0, b"x" * 4096
        raise CorruptError("memory.ram: piece 1: the digest differs")


def test_ram_of_another_size_is_refused() -> None:
    checkpoint = saved(stirred("cell:a", memory=4096))
    refused(
        stirred("cell:a"), checkpoint, StateError, r"^memory\.size is 4096, but this machine has 8192 bytes of RAM$"
    )


def test_ram_that_is_not_as_long_as_it_says_is_refused() -> None:
    checkpoint = saved(stirred("cell:a"))
    short = replace(checkpoint.contexts["memory"], blobs={"ram": SparseBlob(4096, 4096)})
    refused(
        stirred("cell:a"),
        edited(checkpoint, memory=short),
        StateError,
        r"^memory\.ram has 4096 bytes, but memory\.size is 8192$",
    )


def test_a_corrupt_piece_of_ram_is_refused() -> None:
    checkpoint = saved(stirred("cell:a"))
    torn = replace(checkpoint.contexts["memory"], blobs={"ram": TornBlob()})
    refused(stirred("cell:a"), edited(checkpoint, memory=torn), CorruptError, "piece 1: the digest differs")


def test_a_device_that_refuses_leaves_ram_clock_and_lines() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    board = stirred("cell:b", "cell:a")
    cell(board, "b").errors = [ValueError("no")]
    refused(board, checkpoint, LoadError, "device b cannot be loaded")


def test_an_interrupt_during_a_load_leaves_everything() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    board = stirred("cell:b", "cell:a")
    board.step(9)
    cell(board, "b").errors = [KeyboardInterrupt()]
    before = everything(board)
    with pytest.raises(KeyboardInterrupt):
        board.load(checkpoint)
    assert everything(board) == before


@pytest.mark.parametrize(
    ("part", "change", "error", "match"),
    [
        ("clock", {"type": "pit"}, StateError, r"^clock is of type 'pit', not clock$"),
        ("clock", {"version": 2}, VersionError, r"^clock is version 2 "),
        ("clock", {"values": {}}, StateError, r"^clock\.now is missing$"),
        ("clock", {"values": {"now": -1}}, StateError, r"^clock\.now is -1, not within 0 to "),
        ("clock", {"values": {"now": 1 << 63}}, StateError, r"^clock\.now is 9223372036854775808, not within"),
        ("clock", {"values": {"now": "1"}}, StateError, r"^clock\.now is '1', not an integer$"),
        ("lines", {"type": ""}, StateError, r"^lines is of type '', not lines$"),
        ("lines", {"values": {"outside": 1 << 16}}, StateError, r"^lines\.outside is 65536, not within 0 to 65535$"),
        ("memory", {"values": {"size": -1}}, StateError, r"^memory\.size is -1, "),
        ("memory", {"blobs": {}}, StateError, r"^memory\.ram is missing$"),
    ],
    ids=lambda value: ascii(value)[:50],
)
def test_a_part_that_cannot_be_is_refused(
    part: str, change: dict[str, Any], error: type[ChkptError], match: str
) -> None:
    checkpoint = saved(stirred("cell:a"))
    broken = replace(checkpoint.contexts[part], **change)
    refused(stirred("cell:a"), edited(checkpoint, **{part: broken}), error, match)


def test_a_checkpoint_without_anything_is_refused() -> None:
    refused(stirred("cell:a"), Checkpoint(), CorruptError, r"^the snapshot has no context devices$")


def test_what_the_devices_refuse_is_refused_by_the_machine() -> None:
    checkpoint = saved(stirred("cell:a"))
    refused(stirred("cell:a"), checkpoint, NotFoundError, "no device z to load or skip", only=["z"])


def test_a_refused_machine_can_still_load() -> None:
    checkpoint = saved(stirred("cell:a"))
    board = stirred("cell:a")
    cell(board, "a").errors = [ValueError("no")]
    with pytest.raises(LoadError):
        board.load(checkpoint)
    assert board.load(checkpoint, strict=True).loaded == ("controller", "a")


# -- reset ------------------------------------------------------------------------------------------------------------


def test_reset_leaves_ram_clock_and_lines_from_outside() -> None:
    board = stirred("cell:a")
    board.reset()
    assert (board.clock.now, board.irq.outside) == (1234, 1 << 9)
    assert board.memory.read(4090, 6) == b"across"
    assert cell(board, "a").present() == CellState()


def test_a_controller_that_comes_late_gets_the_high_lines() -> None:
    board = machine("cell:a")
    cell(board, "a").drive(level=True)
    board.irq.force(2, True)
    board.devices.add(types().find("controller"), "late", ControllerConfig())
    late: Any = board.devices.find("late")
    assert late.levels == 1 << 5 | 1 << 2
    assert board.irq.intr


def test_a_machine_whose_header_no_snapshot_can_hold_is_not_made() -> None:
    config = replace(parse({"name": "wide"}), table={"name": "wide", "note": 1 << 64})
    with pytest.raises(ConfigError, match=r"machine wide could never be saved: .*64 bits"):
        Machine(config)
