"""Any state within the ranges that its dataclass declares, near one that a device really had, and contexts gone wrong.

It is written once for all states, by the type hints that `chkpt.device.State` allows.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Final, Union, cast

from chkpt.context import Blob, Context, SparseBlob, Value
from chkpt.device import Length, MachineTime, Range
from tests.lab.fuzz.draws import Draws, one_in

LONGEST: Final = 4096
"""Items of a run at most; what declares more is drawn no longer than this."""

PIECE: Final = 4096


def state_of(cls: type, draws: Draws, base: object = None, changed: int = 100, now: int = 0) -> object:
    """Return a state of `cls`, each field of it within its declared range.

    Args:
        cls: the state's dataclass.
        draws: makes the choices.
        base: a state of the same class to stay near to, or None.
        changed: of 100 fields, how many are not as in `base`.
        now: the machine's clock, near which half of the times are.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        was = None if base is None else getattr(base, field.name)
        size = fields.get("size")
        chooser = _Chooser(draws, changed, now, size if isinstance(size, int) else None)
        fields[field.name] = chooser.value(hints[field.name], was, kept=base is not None)
    return cls(**fields)


@dataclasses.dataclass(frozen=True, slots=True)
class _Chooser:
    draws: Draws
    changed: int
    now: int
    size: int | None  # the field `size` beside a blob tells how long it is

    def value(self, hint: object, base: object, *, kept: bool) -> object:
        """Return a value for a type hint; `base` is what it was where `kept`."""
        notes: tuple[object, ...] = ()
        if typing.get_origin(hint) is Annotated:
            hint, *rest = typing.get_args(hint)
            notes = tuple(rest)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in {Union, types.UnionType}:
            return self._optional(arguments, base, kept=kept)
        if origin is tuple:
            return self._tuple(arguments, notes, base, kept=kept)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return state_of(hint, self.draws, base if kept else None, self.changed, self.now)
        if kept and self.draws.integer(0, 99) >= self.changed:
            return base
        assert isinstance(hint, type)
        return self._leaf(hint, notes)

    def _optional(self, arguments: tuple[object, ...], base: object, *, kept: bool) -> object:
        inner = next(argument for argument in arguments if argument is not type(None))
        there = kept and base is not None
        if kept and self.draws.integer(0, 99) >= self.changed:
            return None if base is None else self.value(inner, base, kept=True)
        return None if one_in(self.draws, 2) else self.value(inner, base, kept=there)

    def _tuple(self, arguments: tuple[object, ...], notes: tuple[object, ...], base: object, *, kept: bool) -> object:
        before = list(cast("tuple[object, ...]", base)) if kept and base is not None else []
        if arguments[1:] == (Ellipsis,):
            length = next(note for note in notes if isinstance(note, Length))
            count = len(before)
            if not before or self.draws.integer(0, 99) < self.changed:
                count = self.draws.integer(length.least, min(length.greatest, max(length.least, 64)))
            arguments = arguments[:1] * count
        return tuple(
            self.value(argument, before[at] if at < len(before) else None, kept=at < len(before))
            for at, argument in enumerate(arguments)
        )

    def _leaf(self, cls: type, notes: tuple[object, ...]) -> object:
        if cls is bool:
            return one_in(self.draws, 2)
        if issubclass(cls, Enum):
            members = list(cls)
            return members[self.draws.integer(0, len(members) - 1)]
        if cls is int:
            bounds = next(note for note in notes if isinstance(note, Range))
            return self._integer(
                bounds.least, bounds.greatest, time=any(isinstance(note, MachineTime) for note in notes)
            )
        if cls is Blob:
            return self._blob()
        length = next(note for note in notes if isinstance(note, Length))
        size = self.draws.integer(length.least, max(length.least, min(length.greatest, LONGEST)))
        data = self.draws.data(size)
        return data if cls is bytes else data.decode("latin-1")

    def _integer(self, least: int, greatest: int, *, time: bool) -> int:
        kind = self.draws.integer(0, 7)
        if kind == 0:
            return least
        if kind == 1:
            return greatest
        if time and kind < 6:
            return max(least, min(greatest, self.now + self.draws.integer(-(1 << 34), 1 << 34)))
        if kind == 2:
            return max(least, min(greatest, self.draws.integer(0, 16)))
        return self.draws.integer(least, greatest)

    def _blob(self) -> Blob:
        size = self.draws.integer(0, 1 << 20) if self.size is None or one_in(self.draws, 8) else self.size
        pieces = -(-size // PIECE)
        held: dict[int, bytes] = {}
        for _ in range(min(self.draws.integer(0, 3), pieces)):
            index = self.draws.integer(0, pieces - 1)
            length = min(PIECE, size - index * PIECE)
            held[index] = (self.draws.data(16) * (length // 16 + 1))[:length]
        return SparseBlob(size, PIECE, held)


# -- contexts that are not quite states -------------------------------------------------------------------------------

_ODD: Final[tuple[Value, ...]] = (
    None, True, -1, 1 << 63, 0.5, float("nan"), "", "x", b"", b"\xff" * 40, [], [[]], {}, {"x": 1},
)  # fmt: skip


def damaged(context: Context, draws: Draws) -> Context:
    """Return a copy of a context with up to three things in it that its state does not declare."""
    for _ in range(draws.integer(0, 3)):
        context = _damage(context, draws)
    return context


def _damage(context: Context, draws: Draws) -> Context:
    copy = dataclasses.replace(
        context, values={**context.values}, blobs={**context.blobs}, contexts={**context.contexts}
    )
    contexts = cast("dict[str, Context]", copy.contexts)
    if contexts and one_in(draws, 2):
        name = _one_of(contexts, draws)
        contexts[name] = _damage(contexts[name], draws)
        return copy
    kinds: list[Callable[[], object]] = [
        lambda: copy.values.update({_one_of({**copy.values, "x": 0}, draws): _ODD[draws.integer(0, len(_ODD) - 1)]}),
        lambda: copy.values.pop(_one_of({**copy.values, "x": 0}, draws), None),
        lambda: contexts.pop(_one_of({**contexts, "x": 0}, draws), None),
        lambda: contexts.update({_one_of({**copy.values, "x": 0}, draws): Context("", 1, {"x": 1})}),
        lambda: copy.blobs.update({_one_of({**copy.values, "x": 0}, draws): SparseBlob(1, 1, {0: b"x"})}),
        lambda: setattr(copy, "version", draws.integer(0, 5)),
        lambda: setattr(copy, "type", "x"),
        lambda: copy.values.update({_one_of({**copy.values, "x": 0}, draws): draws.integer(-(1 << 63), (1 << 64) - 1)}),
    ]
    kinds[draws.integer(0, len(kinds) - 1)]()
    return copy


def _one_of(names: Mapping[str, object], draws: Draws) -> str:
    return list(names)[draws.integer(0, len(names) - 1)]
