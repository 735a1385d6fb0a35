"""A stand-in for QEMU: a second machine of ours, whose answers a test may change."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.lab.oracle import ours
from tests.lab.oracle.conversation import Conversation, Outcome

Answer = str | Callable[[str], str]
"""The answer's lines with ` | ` between them, or what makes it of the last line of the right one."""

ALL = ("pit", "pic", "serial", "ide")


class Twin:
    """Answers as we do, but for the commands whose numbers are in `changed`."""

    def __init__(self, machine: ours.Ours, changed: Mapping[int, Answer]) -> None:
        self._machine = machine
        self._changed = changed
        self._put: list[str] = []
        self._taken = 0

    def put(self, command: str) -> None:
        self._put.append(command)

    def take(self, command: str) -> list[str]:
        assert self._put[self._taken] == command
        try:
            lines = self._machine.send(command)
        except ValueError as exc:
            lines = [str(exc)]
        changed = self._changed.get(self._taken)
        self._taken += 1
        if changed is None:
            return lines
        return changed.split(" | ") if isinstance(changed, str) else [*lines[:-1], changed(lines[-1])]


def hold(
    image: Path,
    commands: Sequence[str],
    changed: Mapping[int, Answer] | None = None,
    devices: tuple[str, ...] = ALL,
    most: int | None = None,
) -> Outcome:
    """Hold a conversation with a twin; a number below 0 in `changed` counts from the last command."""
    numbers = {number % len(commands): answer for number, answer in (changed or {}).items()}
    with ExitStack() as stack:
        here, there = (stack.enter_context(ours.running(image)) for _ in range(2))
        return Conversation(Twin(there, numbers), here, devices).hold(commands, len(commands) if most is None else most)
