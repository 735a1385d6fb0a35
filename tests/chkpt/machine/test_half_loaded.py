"""A load that fails at any step is undone; if that fails too, the machine says that it is half loaded."""

from collections.abc import Callable

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import HalfLoadedError, LoadError, SaveError
from chkpt.machine import Machine
from chkpt.machine.run.loop import RunLoop
from tests.support.rig import saved
from tests.support.small import cell, machine


def other() -> Checkpoint:
    """A machine with other content everywhere."""
    board = machine("controller", "cell:a", "cell:b", memory=8192)
    board.step(1000)
    board.memory.write(0, b"other")
    for name in "ab":
        cell(board, name).value = 7
    return saved(board)


def here() -> Machine:
    return machine("controller", "cell:a", "cell:b", memory=8192)


def values(board: Machine) -> tuple[object, ...]:
    return board.clock.now, board.memory.read(0, 5), *(cell(board, name).value for name in "ab")


def is_half_loaded(board: Machine) -> bool:
    return board.half_loaded


def fail_once(call: Callable[..., None]) -> Callable[..., None]:
    """Return a function that raises at its first call, and is `call` from then on."""
    left = [MemoryError("no more")]

    def fail(*arguments: object) -> None:
        if left:
            raise left.pop()
        call(*arguments)

    return fail


def test_ram_that_cannot_be_exchanged_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    board = here()
    before = values(board)
    with monkeypatch.context() as patch:
        patch.setattr(board.memory, "replace", fail_once(board.memory.replace))
        with pytest.raises(LoadError, match=r"^memory .* nothing has changed \(MemoryError in"):
            board.load(other())
    assert values(board) == before
    assert not is_half_loaded(board)
    board.load(other())
    assert values(board) == (1000, b"other", 7, 7)


def test_a_partial_load_whose_lines_cannot_be_reported_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    board = here()
    before = values(board)
    report = board.irq._report
    left = [MemoryError("no more")]

    def fail_once_thawed(number: int, level: bool) -> None:
        report(number, level)
        if left and not board.irq._frozen:
            raise left.pop()

    monkeypatch.setattr(board.irq, "_report", fail_once_thawed)
    with pytest.raises(MemoryError):
        board.load(other(), only=["a"])
    assert values(board) == before
    assert not is_half_loaded(board)


def never_again(board: Machine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a device load nothing any more, and change at every try."""

    def load(_: object) -> None:
        cell(board, name).value = 99
        raise ValueError("no")

    monkeypatch.setattr(cell(board, name), "load", load)


def test_what_cannot_be_taken_back_makes_a_machine_that_can_only_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    board = here()
    never_again(board, "b", monkeypatch)
    with pytest.raises(HalfLoadedError, match="not put back: b"):
        board.load(other())
    assert is_half_loaded(board)
    with pytest.raises(SaveError, match="half loaded"):
        saved(board)
    monkeypatch.undo()
    board.load(other())
    assert not is_half_loaded(board)
    saved(board)


def test_what_cannot_be_put_back_at_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory runs out, there may be some again a moment later."""
    board = here()
    before = values(board)
    load = cell(board, "b").load
    left = [ValueError("the load"), MemoryError("to put it back")]

    def fail_twice(state: object) -> None:
        if left:
            cell(board, "b").value = 99
            raise left.pop(0)
        load(state)  # type: ignore[arg-type]  # it is a CellState

    monkeypatch.setattr(cell(board, "b"), "load", fail_twice)
    with pytest.raises(LoadError):
        board.load(other())
    assert values(board) == before
    assert not is_half_loaded(board)


def test_the_run_loop_ends_a_half_loaded_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    board = here()
    never_again(board, "b", monkeypatch)
    loop = RunLoop(board, wall_clock=False)
    load = loop.submit(lambda: board.load(other()))
    with pytest.raises(HalfLoadedError, match="could not be undone"):
        loop.run()
    assert isinstance(load.exception(), HalfLoadedError)
    assert isinstance(loop.error, HalfLoadedError)
