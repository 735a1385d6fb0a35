"""What a load does with each device it finds: the table of DESIGN section 5, with the report and the exact log line."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from chkpt.context import Checkpoint, Context, Value
from chkpt.errors import (
    ChkptError,
    CorruptError,
    LoadError,
    NotFoundError,
    SaveError,
    StateError,
    StrictError,
    UsageError,
    VersionError,
)
from chkpt.machine import Machine
from chkpt.manager import LoadReport, SaveReport, Skip
from chkpt.manager.names import pack_names
from chkpt.testing import plain_checkpoint
from tests.support.rig import saved
from tests.support.small import CellState, WholeCell, cell, machine

WARNING, INFO, ERROR = logging.WARNING, logging.INFO, logging.ERROR


Lines = Callable[[], list[tuple[int, str]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    """Give what returns the log lines of the device manager since the last `caplog.clear()`, as level and text."""
    with caplog.at_level(INFO, "chkpt"):
        yield lambda: [(level, text) for name, level, text in caplog.record_tuples if name == "chkpt.manager"]


def stirred(*names: str) -> Machine:
    """Build a machine and give every cell in it a value, a running timer and, every second one, a high line."""
    board = machine(*names)
    board.step(500)
    for number, entry in enumerate(board.devices):
        if isinstance(entry.device, WholeCell):
            entry.device.value = 0x40 + number
            entry.device.timer.arm(5000 + number)
            entry.device.drive(level=number % 2 == 0)
    return board


def everything(board: Machine) -> object:
    """Return all there is to know about a machine, whether it can be saved or not."""
    return (
        plain_checkpoint(saved(board)),
        board.clock.now,
        [board.irq.level(number) for number in range(17)],
        [(entry.name, timer.deadline) for entry in board.devices for timer in entry.host.timers],
        [getattr(entry.device, "value", None) for entry in board.devices],
    )


def edited(checkpoint: Checkpoint, name: str, context: Context | None) -> Checkpoint:
    """Return a checkpoint with another context for a device, or with none."""
    devices = checkpoint.contexts["devices"]
    contexts = {key: value for key, value in devices.contexts.items() if key != name}
    if context is not None:
        contexts[name] = context
    return replace(checkpoint, contexts={**checkpoint.contexts, "devices": replace(devices, contexts=contexts)})


def of(checkpoint: Checkpoint, name: str) -> Context:
    return checkpoint.contexts["devices"].contexts[name]


def with_values(context: Context, **values: Value) -> Context:
    return replace(context, values={**context.values, **values})


def refused(board: Machine, checkpoint: Checkpoint, error: type[ChkptError], match: str, **options: Any) -> None:
    """Check that a load is refused and that nothing at all has changed by it."""
    before = everything(board)
    with pytest.raises(error, match=match):
        board.devices.load(checkpoint, **options)
    assert everything(board) == before


# -- save -------------------------------------------------------------------------------------------------------------


def test_a_save_lists_every_device_in_order_of_creation(lines: Lines) -> None:
    checkpoint = Checkpoint()
    report = machine("cell:b", "inert:x", "cell:a", "mute:m").devices.save(checkpoint)
    assert report == SaveReport(
        saved=("b", "a"),
        skipped=(
            Skip("x", "device type inert cannot be saved"),
            Skip("m", "device type mute cannot be saved"),
        ),
    )
    assert lines() == [
        (WARNING, "x: skipped: device type inert cannot be saved"),
        (WARNING, "m: skipped: device type mute cannot be saved"),
        (INFO, "b: saved"),
        (INFO, "a: saved"),
    ]


def test_a_save_writes_the_name_table_and_one_context_a_device() -> None:
    checkpoint = saved(stirred("cell:b", "inert:x", "cell:a"))
    devices = checkpoint.contexts["devices"]
    assert devices.values == {"num_devs": 2, "names": pack_names(["b", "a"])}
    assert list(devices.contexts) == ["b", "a"]
    assert of(checkpoint, "a") == Context("cell", 1, {"value": 0x42, "level": True, "deadline": 5002})


def test_a_machine_without_devices_saves_and_loads() -> None:
    checkpoint = Checkpoint()
    assert machine().devices.save(checkpoint) == SaveReport((), ())
    assert checkpoint.contexts["devices"].values == {"num_devs": 0, "names": b""}
    assert machine().devices.load(checkpoint) == LoadReport((), (), (), ())


@pytest.mark.parametrize("error", [ValueError("broken"), StateError("odd")])
def test_a_device_that_fails_to_save_fails_the_save_and_the_checkpoint_is_unchanged(
    error: Exception, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    def fail() -> CellState:
        raise error

    board = stirred("cell:a", "cell:b", "cell:c")
    monkeypatch.setattr(board.devices.find("b"), "save", fail)
    checkpoint = Checkpoint()
    with pytest.raises(SaveError, match=r"^device b cannot be saved, so nothing was: ") as caught:
        board.devices.save(checkpoint)
    assert caught.value.__cause__ is error
    assert checkpoint == Checkpoint()
    assert lines() == [(ERROR, f"b: save failed: {error!r}")]


@pytest.mark.parametrize("state", [None, 5, object()], ids=["none", "number", "object"])
def test_a_save_that_gives_something_else_than_the_state_fails(state: object, monkeypatch: pytest.MonkeyPatch) -> None:
    board = machine("cell:a")
    monkeypatch.setattr(board.devices.find("a"), "save", lambda: state)
    with pytest.raises(SaveError, match="not the state of type cell"):
        board.devices.save(Checkpoint())


def test_a_save_that_gives_another_dataclass_than_the_state_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    board = machine("cell:a", "controller")
    controller: Any = board.devices.find("controller")
    monkeypatch.setattr(board.devices.find("a"), "save", controller.save)
    with pytest.raises(SaveError, match=r"ControllerState, .* not the state of type cell"):
        board.devices.save(Checkpoint())


# -- each row of the table --------------------------------------------------------------------------------------------


def test_a_device_in_both_is_loaded(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    board = machine("cell:b", "cell:a")
    caplog.clear()
    assert board.devices.load(checkpoint) == LoadReport(("a", "b"), (), (), ())
    assert lines() == [(INFO, "a: loaded"), (INFO, "b: loaded")]
    assert cell(board, "a").present() == CellState(0x40, True, 5000)
    assert cell(board, "b").present() == CellState(0x41, False, 5001)


def test_a_name_that_the_machine_has_not_is_skipped_and_logged(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("cell:a", "cell:gone"))
    caplog.clear()
    board = machine("cell:a")
    report = board.devices.load(checkpoint)
    assert report == LoadReport(("a",), (Skip("gone", "this machine has no device gone"),), (), ())
    assert lines() == [(WARNING, "gone: skipped: this machine has no device gone"), (INFO, "a: loaded")]
    assert cell(board, "a").value == 0x40


def test_a_device_without_load_is_skipped_and_logged(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("deaf:d", "cell:a"))
    caplog.clear()
    report = machine("deaf:d", "cell:a").devices.load(checkpoint)
    assert report == LoadReport(
        loaded=("a",),
        skipped=(Skip("d", "device type deaf cannot be loaded"),),
        left=(Skip("d", "skipped"),),
        unknown=(),
    )
    assert lines() == [(WARNING, "d: skipped: device type deaf cannot be loaded"), (INFO, "a: loaded")]


def test_a_name_whose_context_is_missing_is_skipped_and_logged(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = edited(saved(stirred("cell:a", "cell:b")), "a", None)
    caplog.clear()
    report = machine("cell:a", "cell:b").devices.load(checkpoint)
    assert report == LoadReport(("b",), (Skip("a", "its context is missing"),), (Skip("a", "skipped"),), ())
    assert lines() == [(WARNING, "a: skipped: its context is missing"), (INFO, "b: loaded")]


def test_a_device_that_the_snapshot_has_not_is_left_and_reported(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = saved(stirred("cell:a"))
    board = stirred("cell:a", "cell:new")
    before = cell(board, "new").present()
    caplog.clear()
    report = board.devices.load(checkpoint)
    assert report == LoadReport(("a",), (), (Skip("new", "not in the snapshot"),), ())
    assert lines() == [(INFO, "new: left as it was: not in the snapshot"), (INFO, "a: loaded")]
    assert cell(board, "new").present() == before


def test_a_device_that_was_skipped_at_save_is_left(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("mute:m", "cell:a"))
    caplog.clear()
    report = machine("mute:m", "cell:a").devices.load(checkpoint)
    assert report == LoadReport(("a",), (), (Skip("m", "not in the snapshot"),), ())
    assert lines() == [(INFO, "m: left as it was: not in the snapshot"), (INFO, "a: loaded")]


def test_a_context_that_is_not_in_the_table_is_skipped_and_logged(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = saved(stirred("cell:a"))
    checkpoint = edited(checkpoint, "stray\n\x1b[2J", of(checkpoint, "a"))
    caplog.clear()
    report = machine("cell:a").devices.load(checkpoint)
    assert report.skipped == (Skip(r"stray\n\x1b[2J", "it is not in the name table"),)
    assert lines() == [(WARNING, r"stray\n\x1b[2J: skipped: it is not in the name table"), (INFO, "a: loaded")]


def test_an_unknown_tag_is_passed_over_logged_and_reported(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("cell:a"))
    checkpoint = edited(checkpoint, "a", with_values(of(checkpoint, "a"), newer=1))
    caplog.clear()
    report = machine("cell:a").devices.load(checkpoint)
    assert report == LoadReport(("a",), (), (), ("devices/a.newer",))
    assert lines() == [(WARNING, "devices/a.newer: unknown tag, passed over"), (INFO, "a: loaded")]


def test_another_type_refuses_the_whole_load() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "b", replace(of(checkpoint, "b"), type="pit\n"))
    board = stirred("cell:b", "cell:a")
    refused(board, checkpoint, StateError, r"devices/b is of type 'pit\\n', but .*b.* cell")


def test_a_newer_version_refuses_the_whole_load() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "b", replace(of(checkpoint, "b"), version=2))
    refused(stirred("cell:b", "cell:a"), checkpoint, VersionError, r"^devices/b is version 2 ")


@pytest.mark.parametrize("values", [{"value": 256}, {"value": "x"}, {"level": None}, {"deadline": 1 << 63}], ids=str)
def test_a_value_that_no_such_device_has_refuses_the_whole_load(values: Mapping[str, Value]) -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "b", with_values(of(checkpoint, "b"), **values))
    refused(stirred("cell:b", "cell:a"), checkpoint, StateError, rf"^devices/b\.{next(iter(values))} is ")


def test_a_missing_value_refuses_the_whole_load() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "b", Context("cell", 1, {"value": 1, "level": False}))
    refused(stirred("cell:b", "cell:a"), checkpoint, StateError, r"^devices/b\.deadline is missing$")


class Torn(Mapping[str, Context]):
    """The contexts of a file in which one section is corrupt."""

    def __init__(self, contexts: Mapping[str, Context], corrupt: str) -> None:
        self._contexts = contexts
        self._corrupt = corrupt

    def __getitem__(self, name: str) -> Context:
        if name == self._corrupt:
            raise CorruptError(f"devices/{name}: the digest differs")
        return self._contexts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._contexts)

    def __len__(self) -> int:
        return len(self._contexts)

    def __contains__(self, name: object) -> bool:
        return name in self._contexts


def torn(checkpoint: Checkpoint, corrupt: str) -> Checkpoint:
    devices = checkpoint.contexts["devices"]
    contexts = Torn(devices.contexts, corrupt)
    return replace(checkpoint, contexts={**checkpoint.contexts, "devices": replace(devices, contexts=contexts)})


def test_a_corrupt_section_refuses_the_whole_load() -> None:
    checkpoint = torn(saved(stirred("cell:a", "cell:b")), "b")
    refused(stirred("cell:b", "cell:a"), checkpoint, CorruptError, r"^devices/b: the digest differs$")


def test_a_corrupt_section_of_a_device_that_is_not_asked_for_is_not_even_read() -> None:
    checkpoint = torn(saved(stirred("cell:a", "cell:b")), "b")
    board = machine("cell:b", "cell:a")
    assert board.devices.load(checkpoint, skip=["b"]).loaded == ("a",)
    assert board.devices.load(checkpoint, only=["a"], strict=True).loaded == ("a",)


def test_a_snapshot_without_devices_is_refused() -> None:
    refused(stirred("cell:a"), Checkpoint(), CorruptError, r"^the snapshot has no context devices$")


# -- a device's load raises -------------------------------------------------------------------------------------------

ORDER = ["a", "b", "c"]


def ready() -> tuple[Checkpoint, Machine]:
    """Return a checkpoint of three cells and a controller, and a machine of the same with all else different."""
    checkpoint = saved(stirred("cell:a", "controller", "cell:b", "cell:c"))
    board = machine("cell:a", "controller", "cell:b", "cell:c")
    board.step(77)
    for number, name in enumerate(ORDER):
        cell(board, name).value = 0x90 + number
        cell(board, name).timer.arm(200 - number)
        cell(board, name).drive(level=number == 1)
    return checkpoint, board


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [StateError("no such phase"), ValueError("no such phase"), IndexError()], ids=repr)
@pytest.mark.parametrize("failing", ORDER)
def test_when_a_load_raises_every_device_goes_back(
    failing: str, error: Exception, late: bool, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint, board = ready()
    cell(board, failing).errors = [error]
    cell(board, failing).fails_late = late
    caplog.clear()
    refused(
        board,
        checkpoint,
        StateError if isinstance(error, StateError) else LoadError,
        rf"^device {failing} cannot be loaded from devices/{failing}: .*nothing has changed",
    )
    reported = [(level, text) for level, text in lines() if not text.endswith(": saved")]
    assert reported == [(ERROR, f"{failing}: load failed: {str(error) or type(error).__name__}")]
    assert board.devices.load(checkpoint).loaded == ("a", "controller", "b", "c")


def test_the_error_names_the_device_the_path_and_the_reason() -> None:
    checkpoint, board = ready()
    reason = StateError("devices/b/channel0.nsector is 300, not within 0 to 255")
    cell(board, "b").errors = [reason]
    with pytest.raises(StateError) as caught:
        board.devices.load(checkpoint)
    assert str(caught.value) == (
        "device b cannot be loaded from devices/b: devices/b/channel0.nsector is 300, not within 0 to 255; "
        "nothing has changed"
    )
    assert caught.value.__cause__ is reason


def test_an_error_that_is_not_ours_is_named_as_the_device_s() -> None:
    checkpoint, board = ready()
    cell(board, "b").errors = [IndexError("list index out of range")]
    with pytest.raises(LoadError, match=r"nothing has changed \(IndexError in b\)$"):
        board.devices.load(checkpoint)


def test_the_error_of_a_renamed_device_gives_the_path_in_the_snapshot() -> None:
    checkpoint = saved(stirred("cell:old"))
    board = machine("cell:new")
    cell(board, "new").errors = [StateError("no")]
    with pytest.raises(StateError, match=r"^device new .* devices/old: no; nothing has changed$"):
        board.devices.load(checkpoint, rename={"old": "new"})


def test_an_interrupt_during_a_load_puts_everything_back_and_goes_on() -> None:
    checkpoint, board = ready()
    before = everything(board)
    cell(board, "c").errors = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        board.devices.load(checkpoint)
    assert everything(board) == before


def test_roll_back_goes_backwards_over_what_was_touched_only() -> None:
    checkpoint, board = ready()
    cell(board, "b").errors = [ValueError("no")]
    states = {name: cell(board, name).present() for name in ORDER}
    with pytest.raises(LoadError):
        board.devices.load(checkpoint)
    assert cell(board, "a").loaded == [CellState(0x40, True, 5000), states["a"]]
    assert cell(board, "b").loaded[1:] == [states["b"]]
    assert cell(board, "c").loaded == []


def test_no_edge_reaches_the_controller_by_a_load_that_is_rolled_back() -> None:
    checkpoint, board = ready()
    controller: Any = board.devices.find("controller")
    edges = controller.edges
    levels: list[tuple[int, bool]] = []
    board.irq.watch(lambda number, level: levels.append((number, level)))
    cell(board, "c").errors = [ValueError("no")]
    with pytest.raises(LoadError):
        board.devices.load(checkpoint)
    assert controller.edges == edges
    assert levels == [(number, board.irq.level(number)) for number in range(17)]


def test_a_device_that_cannot_be_saved_is_loaded_last() -> None:
    checkpoint = saved(stirred("cell:m", "cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "m", replace(of(checkpoint, "m"), type="mute"))
    board = machine("mute:m", "cell:a", "cell:b")
    cell(board, "b").errors = [ValueError("no")]
    refused(board, checkpoint, LoadError, "nothing has changed")
    assert cell(board, "m").loaded == []
    assert board.devices.load(checkpoint).loaded == ("m", "a", "b")


def test_a_device_that_cannot_be_saved_and_refuses_its_state_has_not_changed() -> None:
    checkpoint = saved(stirred("cell:m", "cell:a"))
    checkpoint = edited(checkpoint, "m", replace(of(checkpoint, "m"), type="mute"))
    board = machine("mute:m", "cell:a")
    cell(board, "m").errors = [StateError("no")]
    refused(board, checkpoint, StateError, r"^device m cannot be loaded from devices/m: no; nothing has changed$")


def test_a_device_that_cannot_be_saved_and_fails_otherwise_is_named_as_not_put_back() -> None:
    checkpoint = saved(stirred("cell:m", "cell:n", "cell:a"))
    for name in ("m", "n"):
        checkpoint = edited(checkpoint, name, replace(of(checkpoint, name), type="mute"))
    board = machine("mute:m", "mute:n", "cell:a")
    before = cell(board, "a").present()
    cell(board, "n").errors = [ValueError("no")]
    with pytest.raises(LoadError, match=r"no; not put back: m, n \(ValueError in n\)$"):
        board.devices.load(checkpoint)
    assert cell(board, "a").present() == before


def test_a_device_that_cannot_be_put_back_is_named_and_the_others_are_put_back(
    lines: Lines,
) -> None:
    checkpoint, board = ready()
    before = {name: cell(board, name).present() for name in "ac"}
    cell(board, "b").errors = [ValueError("no"), ValueError("not that either"), ValueError("nor again")]
    with pytest.raises(LoadError, match="no; not put back: b"):
        board.devices.load(checkpoint)
    assert {name: cell(board, name).present() for name in "ac"} == before
    assert (ERROR, "b: could not be put back") in lines()


def test_a_device_that_cannot_be_saved_before_the_load_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, board = ready()

    def fail() -> CellState:
        raise ValueError("broken")

    values = [cell(board, name).present() for name in ORDER]
    monkeypatch.setattr(board.devices.find("c"), "save", fail)
    with pytest.raises(SaveError, match=r"^devices/c: cannot be saved before the load: broken$"):
        board.devices.load(checkpoint)
    assert [cell(board, name).present() for name in ORDER] == values
    assert cell(board, "a").loaded == []


# -- strict -----------------------------------------------------------------------------------------------------------


def test_strict_takes_a_snapshot_in_which_nothing_is_skipped() -> None:
    checkpoint, board = ready()
    assert board.devices.load(checkpoint, strict=True).skipped == ()


def test_strict_refuses_each_kind_of_skip_before_anything_is_applied() -> None:
    checkpoint = saved(stirred("cell:a", "deaf:d", "cell:b", "cell:gone"))
    checkpoint = edited(checkpoint, "b", None)
    checkpoint = edited(checkpoint, "stray", of(checkpoint, "a"))
    checkpoint = edited(checkpoint, "a", with_values(of(checkpoint, "a"), newer=1))
    board = stirred("cell:b", "deaf:d", "cell:a")
    with pytest.raises(StrictError) as caught:
        board.devices.load(checkpoint, strict=True)
    assert str(caught.value) == (
        "refused by strict, nothing has changed: d: device type deaf cannot be loaded; b: its context is missing; "
        "gone: this machine has no device gone; stray: it is not in the name table; devices/a.newer: unknown tag"
    )
    refused(board, checkpoint, StrictError, "^refused by strict", strict=True)


@pytest.mark.parametrize("what", ["gone", "missing", "tag", "stray"])
def test_strict_refuses_one_skip_alone(what: str) -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    names = ["cell:a", "cell:b"]
    if what == "gone":
        names.pop()
    elif what == "missing":
        checkpoint = edited(checkpoint, "b", None)
    elif what == "tag":
        checkpoint = edited(checkpoint, "b", with_values(of(checkpoint, "b"), newer=1))
    else:
        checkpoint = edited(checkpoint, "c", of(checkpoint, "b"))
    refused(stirred(*names), checkpoint, StrictError, "^refused by strict, nothing has changed: ", strict=True)


def test_strict_does_not_mind_a_device_that_the_snapshot_has_not() -> None:
    checkpoint = saved(stirred("cell:a"))
    assert stirred("cell:a", "cell:new").devices.load(checkpoint, strict=True).loaded == ("a",)


def test_strict_does_not_mind_what_was_not_asked_for() -> None:
    checkpoint = edited(saved(stirred("cell:a", "cell:gone", "cell:b")), "b", None)
    board = machine("cell:a", "cell:b")
    assert board.devices.load(checkpoint, strict=True, only=["a"]).loaded == ("a",)
    assert board.devices.load(checkpoint, strict=True, skip=["gone", "b"]).loaded == ("a",)
    refused(board, checkpoint, StrictError, "^refused by strict", strict=True, skip=["b"])


# -- only, skip, rename -----------------------------------------------------------------------------------------------


def test_only_loads_the_named_and_leaves_the_rest(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = saved(stirred("cell:a", "cell:b", "cell:gone"))
    board = stirred("cell:b", "cell:a")
    caplog.clear()
    report = board.devices.load(checkpoint, only=["a"])
    assert report == LoadReport(("a",), (Skip("gone", "not asked for"),), (Skip("b", "not asked for"),), ())
    assert lines() == [
        (INFO, "gone: skipped: not asked for"),
        (INFO, "b: left as it was: not asked for"),
        (INFO, "a: loaded"),
    ]
    assert (cell(board, "a").value, cell(board, "b").value) == (0x40, 0x40)


def test_skip_loads_all_but_the_named() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b", "cell:c"))
    board = machine("cell:a", "cell:b", "cell:c")
    report = board.devices.load(checkpoint, skip=["b"])
    assert report == LoadReport(("a", "c"), (), (Skip("b", "not asked for"),), ())
    assert cell(board, "b").value == 0


def test_skip_wins_over_only() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    report = machine("cell:a", "cell:b").devices.load(checkpoint, only=["a", "b"], skip=["b"])
    assert report.loaded == ("a",)


def test_to_load_and_skip_the_same_is_an_error() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    with pytest.raises(UsageError, match=r"^nothing is left to load: b "):
        machine("cell:a", "cell:b").devices.load(checkpoint, only=["b"], skip=["b"])


def test_only_names_a_device_of_this_machine() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    with pytest.raises(NotFoundError, match=r"^no device b to load or skip; this machine has: a$"):
        machine("cell:a").devices.load(checkpoint, only=["b"])


def test_a_skipped_device_is_not_validated() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "b", replace(of(checkpoint, "b"), version=9, type="other"))
    assert machine("cell:a", "cell:b").devices.load(checkpoint, skip=["b"]).loaded == ("a",)


def test_only_of_a_device_that_the_snapshot_has_not_loads_nothing_and_says_so() -> None:
    checkpoint = saved(stirred("cell:a"))
    report = machine("cell:a", "cell:b").devices.load(checkpoint, only=["b"])
    assert report == LoadReport((), (), (Skip("a", "not asked for"), Skip("b", "not in the snapshot")), ())


@pytest.mark.parametrize("option", ["only", "skip"])
def test_a_name_that_is_nowhere_is_an_error(option: str) -> None:
    checkpoint, board = ready()
    refused(
        board,
        checkpoint,
        NotFoundError,
        r"^no device z to load or skip; this machine has: a, controller, b, c$",
        **{option: ["a", "z"]},
    )


def test_rename_loads_a_device_into_one_of_another_name() -> None:
    checkpoint = saved(stirred("cell:old", "cell:b"))
    board = machine("cell:b", "cell:new")
    report = board.devices.load(checkpoint, rename={"old": "new"})
    assert report == LoadReport(("new", "b"), (), (), ())
    assert cell(board, "new").value == 0x40


def test_rename_can_swap_two_devices() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    board = machine("cell:a", "cell:b")
    assert board.devices.load(checkpoint, rename={"a": "b", "b": "a"}, strict=True).loaded == ("b", "a")
    assert (cell(board, "a").value, cell(board, "b").value) == (0x41, 0x40)


def test_only_and_skip_are_names_of_the_machine_not_of_the_snapshot() -> None:
    checkpoint = saved(stirred("cell:old", "cell:b"))
    board = machine("cell:b", "cell:new")
    assert board.devices.load(checkpoint, rename={"old": "new"}, only=["new"]).loaded == ("new",)
    assert board.devices.load(checkpoint, rename={"old": "new"}, skip=["new"]).loaded == ("b",)


def test_two_devices_cannot_be_renamed_into_one() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b", "cell:c"))
    board = stirred("cell:b", "cell:a", "cell:c")
    for rename in ({"a": "b"}, {"a": "c", "b": "c", "c": "a"}):
        refused(board, checkpoint, UsageError, "of the snapshot would both be loaded into", rename=rename)


def test_rename_of_a_device_that_the_snapshot_has_not_is_an_error() -> None:
    checkpoint, board = ready()
    refused(
        board,
        checkpoint,
        NotFoundError,
        r"^no device z in the snapshot to rename; there are: a, controller, b, c$",
        rename={"z": "a"},
    )


def test_rename_to_a_device_that_the_machine_has_not_is_an_error() -> None:
    checkpoint, board = ready()
    refused(
        board,
        checkpoint,
        NotFoundError,
        r"^no device z in this machine to load a into; there are: a, controller, b, c$",
        rename={"a": "z"},
    )


def test_a_renamed_device_must_be_of_the_same_type() -> None:
    checkpoint, board = ready()
    refused(
        board, checkpoint, StateError, r"^devices/a is of type 'cell'", rename={"a": "controller", "controller": "a"}
    )


# -- hostile name tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"num_devs": 3},
        {"num_devs": -1},
        {"num_devs": 1 << 60},
        {"num_devs": None},
        {"names": pack_names(["a", "a"])},
        {"names": b"x" * 64},
        {"names": b"\xff" * 2 + bytes(62)},
        {"names": b"a/../b".ljust(64, b"\0")},
        {"names": b""},
        {"names": "a"},
    ],
    ids=lambda values: ascii(values)[:60],
)
def test_a_hostile_name_table_refuses_the_whole_load(values: Mapping[str, Value]) -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    devices = with_values(checkpoint.contexts["devices"], **values)
    hostile = replace(checkpoint, contexts={**checkpoint.contexts, "devices": devices})
    refused(stirred("cell:b", "cell:a"), hostile, CorruptError, "context devices")


# -- plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_until_it_is_applied() -> None:
    checkpoint, board = ready()
    before = everything(board)
    plan = board.devices.plan_load(checkpoint)
    assert plan.report.loaded == ("a", "controller", "b", "c")
    assert everything(board) == before
    plan.apply()
    assert cell(board, "a").value == 0x40


def test_a_load_does_not_change_the_checkpoint() -> None:
    checkpoint, board = ready()
    before = plain_checkpoint(checkpoint)
    board.devices.load(checkpoint)
    assert plain_checkpoint(checkpoint) == before


def test_loading_in_any_order_gives_the_same_machine() -> None:
    checkpoint = saved(stirred("cell:a", "controller", "cell:b", "cell:c"))
    results = []
    for names in (["controller", "cell:a", "cell:b", "cell:c"], ["cell:c", "cell:b", "cell:a", "controller"]):
        board = machine(*names)
        board.load(checkpoint, strict=True)
        results.append((plain_checkpoint(saved(board))["devices"].keys(), board.irq.intr, board.irq.level(5)))
        again = saved(board).contexts["devices"].contexts
        assert {name: again[name] for name in again} == dict(checkpoint.contexts["devices"].contexts)
    assert results[0][1:] == results[1][1:]


# -- what is left keeps its distance from a clock that jumps ----------------------------------------------------------


def test_a_device_left_as_it_was_keeps_its_distance_from_a_clock_that_jumps() -> None:
    checkpoint = saved(stirred("cell:a"))
    board = machine("cell:a", "cell:new", "mute:m", "deaf:d", "inert:i")
    board.step(10_000)
    for name in ("new", "m", "d", "i"):
        cell(board, name).timer.arm(10_300)
    board.devices.plan_load(checkpoint).apply(now=500)
    assert board.clock.now == 500
    assert cell(board, "a").timer.deadline == 5000
    assert [cell(board, name).timer.deadline for name in ("new", "m", "d", "i")] == [800] * 4


def test_a_failed_load_moves_nothing_that_was_left(lines: Lines) -> None:
    checkpoint = saved(stirred("cell:a"))
    board = machine("mute:m", "deaf:d", "inert:i", "cell:new", "cell:a")
    board.step(10_000)
    for name in ("new", "m", "d", "i"):
        cell(board, name).timer.arm(10_300)
    cell(board, "a").errors = [ValueError("no")]
    before = everything(board)
    with pytest.raises(LoadError, match=r"nothing has changed \(ValueError in a\)$"):
        board.devices.plan_load(checkpoint).apply(now=500)
    assert everything(board) == before


def test_a_device_left_as_it_was_that_fails_to_follow_refuses_the_load() -> None:
    checkpoint = saved(stirred("cell:a"))
    board = machine("mute:m", "cell:new", "cell:a")
    board.step(10_000)
    cell(board, "m").timer.arm(10_300)
    cell(board, "new").errors = [ValueError("no")]
    before = everything(board)
    with pytest.raises(LoadError, match=r"^device new .* clock: no; nothing has changed"):
        board.devices.plan_load(checkpoint).apply(now=500)
    assert everything(board) == before


def test_the_devices_left_are_moved_before_one_that_cannot_be_put_back_is_loaded() -> None:
    checkpoint = saved(stirred("cell:m"))
    checkpoint = edited(checkpoint, "m", replace(of(checkpoint, "m"), type="mute"))
    board = machine("mute:m", "cell:new")
    board.step(10_000)
    cell(board, "new").errors = [ValueError("no")]
    with pytest.raises(LoadError, match="nothing has changed"):
        board.devices.plan_load(checkpoint).apply(now=500)
    assert cell(board, "m").loaded == []


def test_a_clock_that_stays_shifts_each_time_of_the_loaded_states() -> None:
    checkpoint = saved(stirred("cell:a"))
    board = machine("cell:a", "cell:new")
    cell(board, "new").timer.arm(300)
    board.devices.load(checkpoint, shift=1_000_000)
    assert cell(board, "a").timer.deadline == 1_005_000
    assert cell(board, "new").timer.deadline == 300


def test_a_time_that_cannot_be_shifted_that_far_refuses_the_load() -> None:
    checkpoint = saved(stirred("cell:a", "cell:b"))
    checkpoint = edited(checkpoint, "b", with_values(of(checkpoint, "b"), deadline=(1 << 63) - 1))
    board = stirred("cell:b", "cell:a")
    refused(board, checkpoint, StateError, r"^devices/b deadline, moved by 1 ns, is ", shift=1)
