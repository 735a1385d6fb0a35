"""A state that is read from a context is made from a draft: nothing that can be told but the time it takes."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any, ClassVar, Self

import pytest

from chkpt.device import U8
from chkpt.state import from_context, to_context
from chkpt.state.compile import draft_of


@dataclass(frozen=True, slots=True)
class Plain:
    VERSION: ClassVar[int] = 1

    irr: U8
    imr: U8 = 0


def read(irr: int) -> Plain:
    return from_context(to_context(Plain(irr)), Plain, "chip")


def test_a_state_that_is_read_is_as_one_that_is_made() -> None:
    assert draft_of(Plain) is not None
    state = read(7)
    assert type(state) is Plain
    assert (state, hash(state), repr(state)) == (Plain(7), hash(Plain(7)), repr(Plain(7)))
    assert replace(state, irr=9) == Plain(9)


def test_a_state_that_is_read_is_frozen_and_has_no_dict() -> None:
    state: Any = read(1)
    with pytest.raises(FrozenInstanceError):
        state.irr = 2
    with pytest.raises(FrozenInstanceError):
        del state.irr
    with pytest.raises((AttributeError, TypeError)):
        state.other = 2
    assert not hasattr(state, "__dict__")


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_state_that_is_read_can_be_copied(copied: Callable[[Plain], Plain]) -> None:
    assert copied(read(3)) == Plain(3)


def test_a_class_that_does_more_than_assign_has_no_draft() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        low: int

        def __post_init__(self) -> None:
            if self.low < 0:
                raise ValueError("low")

    @dataclass(frozen=True, slots=True)
    class Factory:
        low: list[int] = field(default_factory=list)

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        low: int

    @dataclass(frozen=True, slots=True)
    class Derived(Plain):
        low: int = 0

    @dataclass(frozen=True)
    class WithDict:
        low: int

    @dataclass(slots=True)
    class Thawed:
        low: int

    @dataclass(frozen=True, slots=True)
    class Computed:
        low: int = field(init=False, default=0)

    @dataclass(frozen=True, slots=True)
    class Allotted:
        low: int

        def __new__(cls, *_: object) -> Self:
            return object.__new__(cls)

    @dataclass(frozen=True, slots=True, weakref_slot=True)
    class Watched:
        low: int

    class Base:
        __slots__ = ("hidden",)

    @dataclass(frozen=True, slots=True)
    class Based(Base):
        low: int

    for cls in (Checked, Factory, Named, Derived, WithDict, Thawed, Computed, Allotted, Watched, Based):
        assert draft_of(cls) is None, cls
