"""Parts, actions, and the transaction that does all actions of a load or none of them.

A machine consists of named parts: the clock, the processor, the lines, RAM, each device. A part returns an action that
changes it and, if that is possible, takes the change back. A load makes the actions of all parts before anything
changes. Then one transaction does them.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar

from chkpt.errors import ChkptError, HalfLoadedError, LoadError, RefusedError, StateError
from chkpt.state import owned

log = logging.getLogger("chkpt.manager")

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Action:
    """One change to one part, and how to take it back.

    Neither function may use live memory that the load changes. `undo` may be called twice. `undo` is None if the change
    cannot be taken back.
    """

    part: str
    """The part's name, for the list of what could not be put back."""
    failure: str
    """How the message of a failure begins: `device pit cannot be loaded from devices/pit`."""
    do: Callable[[], object]
    undo: Callable[[], object] | None


class Part(Protocol[S]):
    """One part of a machine, as a save and a load see it."""

    @property
    def name(self) -> str:
        """The name of its context in a snapshot, which is the context's type."""

    @property
    def state(self) -> type[S]:
        """The class of its state."""

    def save(self) -> S | None:
        """Return the present state; None if there is nothing to save."""

    def check(self, state: S) -> None:
        """Raise RefusedError if a load cannot take this state. Nothing changes."""

    def prepare(self, state: S) -> Action:
        """Do the part of a load that takes long and changes nothing, and return the action that does the rest.

        Raises:
            ChkptError: this state cannot be loaded.
        """


def _accept(_: object) -> None:
    """Accept every state."""


@dataclass(frozen=True, slots=True)
class StatePart(Generic[S]):
    """A part that is saved and loaded by two functions."""

    name: str
    state: type[S]
    save: Callable[[], S | None]
    load: Callable[[Any], None]  # also takes None, if `save` may return it
    check: Callable[[S], None] = _accept

    def prepare(self, state: S) -> Action:
        """Return the action that loads `state`, and puts the present state back."""
        before = self.save()
        back = before if before is None else owned(before)
        return Action(self.name, f"{self.name} cannot be loaded", lambda: self.load(state), lambda: self.load(back))


class Transaction:
    """Actions that are all done, or all taken back.

    They are done in the given order, those without an `undo` last. So an action may rely on those before it: a device
    finds its new medium and the new time. They are taken back in the same order, for the same reason.
    """

    def __init__(self, frozen_lines: Callable[[], AbstractContextManager[None]], actions: Iterable[Action]) -> None:
        """Take the actions. `frozen_lines` holds changes of lines back, and reports them at its end."""
        self.is_half_done = False
        """Whether some actions are neither done nor taken back."""
        self._frozen_lines = frozen_lines
        # An action that cannot be taken back comes last, so that nothing can fail after it.
        self._actions: Final = sorted(actions, key=lambda action: action.undo is None)
        self._begun = 0  # how many were begun; a list could run out of memory

    def apply(self) -> None:
        """Do every action.

        Raises:
            StateError: a part refused its state. Everything is as it was.
            LoadError: a part failed otherwise. Everything is as it was.
            HalfLoadedError: a part failed, and the parts that the message names could not be put back.
        """
        self.is_half_done = True
        try:
            with self._frozen_lines():
                self._apply()
        except HalfLoadedError:
            raise
        except BaseException as exc:
            self.take_back(exc)  # does something only if the report of a line failed
            raise
        self.is_half_done = False

    def take_back(self, cause: BaseException) -> None:
        """Take back what `apply` has done, because of an error after it. Do nothing if that is done already.

        Raises:
            HalfLoadedError: a part could not be put back.
        """
        if self._begun:
            self.is_half_done = True
            with self._frozen_lines():
                lost = self._undo(cause)
            if lost:
                raise HalfLoadedError(f"the load failed ({cause!r}); not put back: {', '.join(lost)}") from cause
        self.is_half_done = False

    def _apply(self) -> None:
        action = None
        try:
            for action in self._actions:
                self._begun += 1
                action.do()
        except BaseException as exc:
            lost = self._undo(exc)
            if action is None or not (lost or isinstance(exc, Exception)):
                raise
            _fail(action, lost, exc)

    def _undo(self, cause: BaseException) -> list[str]:
        """Take back the actions that were begun. Return the parts that could not be put back.

        If an undo fails, all are called once more: memory that was short may be free by then.
        """
        lost = self._undo_once(cause, last=False) and self._undo_once(cause, last=True)
        if not lost:
            self._begun = 0
        return lost

    def _undo_once(self, cause: BaseException, *, last: bool) -> list[str]:
        lost: list[str] = []
        for index in range(self._begun):
            action = self._actions[index]
            if action.undo is None:
                # A part that refuses its state with a StateError has not changed.
                if index < self._begun - 1 or not isinstance(cause, StateError):
                    lost.append(action.part)
                continue
            try:
                action.undo()
            except Exception:
                lost.append(action.part)
                if last:
                    with suppress(MemoryError):
                        log.exception("%s: could not be put back", action.part)
        return lost


def _fail(action: Action, lost: list[str], exc: BaseException) -> NoReturn:
    """Raise the error of a load whose action has failed with `exc`."""
    outcome = "nothing has changed" if not lost else f"not put back: {', '.join(lost)}"
    reason = str(exc) or type(exc).__name__
    log.error("%s: load failed: %s", action.part, reason)
    message = f"{action.failure}: {reason}; {outcome}"
    if isinstance(exc, RefusedError) and not lost:
        raise StateError(message) from exc
    if not isinstance(exc, ChkptError):
        message = f"{message} ({type(exc).__name__} in {action.part})"
    raise (HalfLoadedError if lost else LoadError)(message) from exc
