"""Compare two live devices by attribute. A field that is missing in a state shows here first.

The walk goes through a device's own objects. It stops at the objects of the host (clock, lines, backends), of which it
compares only the deadlines of timers.
"""

import enum
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from chkpt.machine.board.clock import MachineTimer

SCALARS: Final = (bool, int, float, complex, str, bytes, bytearray, memoryview, type(None), enum.Enum, range)
HOST: Final = ("chkpt.machine", "chkpt.manager", "chkpt.prove", "chkpt.device", "chkpt.grammar")
"""The packages whose objects are not a device's own."""

MAX_SHOWN: Final = 60


class Absent(enum.Enum):
    """Stands for an attribute that only the other device has."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a device, by the device's name and the path from the device, and its two values as text."""

    device: str
    path: str
    original: str
    twin: str

    @property
    def place(self) -> str:
        """The path without the indexes, so that all items of a sequence have the same place."""
        return _INDEX.sub("[]", self.path)


_INDEX: Final = re.compile(r"\[[^\]]*\]")


def differences(device: str, original: object, twin: object) -> list[Attribute]:
    """Return the attributes in which two devices of one type differ, those with the shortest paths first."""
    return [Attribute(device, path, _shown(one), _shown(other)) for path, one, other in _walk(original, twin)]


def own_objects(device: object) -> Iterator[object]:
    """Yield the objects that a device consists of, beginning with the device."""
    waiting: deque[object] = deque([device])
    seen: set[int] = set()
    while waiting:
        each = waiting.popleft()
        if id(each) in seen or isinstance(each, SCALARS) or _is_the_host(each):
            continue
        seen.add(id(each))
        if isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, Sequence | AbstractSet | deque):
            waiting += each
        else:
            yield each
            waiting += (value for _, value in _attributes(each))


Place = tuple[str, object, object]
"""A path, and what is there in either device."""


def _walk(original: object, twin: object) -> Iterator[Place]:
    """Yield the places that differ."""
    waiting: deque[Place] = deque([("", original, twin)])
    seen: set[tuple[int, int]] = set()
    while waiting:
        path, one, other = place = waiting.popleft()
        if (id(one), id(other)) in seen:
            continue
        if isinstance(one, SCALARS):
            if type(one) is not type(other) or one != other:
                yield place
            continue
        seen.add((id(one), id(other)))
        inner = None if type(one) is not type(other) else _inside(path, one, other)
        if inner is None:
            yield place
        else:
            waiting += inner


def _inside(path: str, one: object, other: object) -> Sequence[Place] | None:
    """Return the places within two objects of one type; None if they differ already by what they have."""
    if isinstance(one, MachineTimer) and isinstance(other, MachineTimer):
        return [(f"{path}.deadline", one.deadline, other.deadline)]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return [(f"{path}[{key!r}]", one[key], other[key]) for key in one] if one.keys() == other.keys() else None
    if isinstance(one, AbstractSet) and one != other:
        return None
    if isinstance(one, Sequence | deque) and isinstance(other, Sequence | deque):
        if len(one) != len(other):
            return None
        return [(f"{path}[{at}]", *pair) for at, pair in enumerate(zip(one, other, strict=True))]
    return [(f"{path}.{name}".lstrip("."), value, getattr(other, name, ABSENT)) for name, value in _attributes(one)]


def _is_the_host(value: object) -> bool:
    """Return whether an object does not belong to the device: the machine gave it, or it is code."""
    if isinstance(value, type | ModuleType) or callable(value):
        return True
    return type(value).__module__.startswith(HOST)


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    """Yield the attributes of one of the device's own objects."""
    if _is_the_host(value):
        return
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            attribute = f"_{cls.__name__.lstrip('_')}{name}" if name.startswith("__") and name[-2:] != "__" else name
            if name not in {"__dict__", "__weakref__"} and hasattr(value, attribute):
                yield attribute, getattr(value, attribute)
    yield from getattr(value, "__dict__", {}).items()


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
