"""The quicker `__init__` of a frozen dataclass: nothing that can be told but the time it takes."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import pytest

from chkpt.frozen import draft_of, quick_init


@dataclass(frozen=True, slots=True)
class Plain:
    VERSION: ClassVar[int] = 1

    irr: int
    name: str = "chip"
    parts: tuple[int, ...] = ()


@quick_init
@dataclass(frozen=True, slots=True)
class Quick:
    VERSION: ClassVar[int] = 1

    irr: int
    name: str = "chip"
    parts: tuple[int, ...] = ()


def test_it_is_another_init() -> None:
    assert Quick.__init__.__code__ is not Plain.__init__.__code__
    assert draft_of(Quick) is not None


@pytest.mark.parametrize(
    "make",
    [lambda cls: cls(1), lambda cls: cls(irr=1, parts=(2,)), lambda cls: cls(1, "x", ())],
    ids=["defaults", "by name", "by position"],
)
def test_an_instance_is_made_as_before(make: Callable[[type], Any]) -> None:
    quick, plain = make(Quick), make(Plain)
    assert type(quick) is Quick
    for each in fields(Plain):
        assert getattr(quick, each.name) == getattr(plain, each.name)
    assert repr(quick) == repr(plain).replace("Plain", "Quick")
    assert quick == make(Quick)
    assert hash(quick) == hash(plain)
    assert quick != replace(quick, irr=7)
    assert replace(quick, irr=7).irr == 7


@pytest.mark.parametrize(
    "wrong",
    [lambda cls: cls(), lambda cls: cls(1, other=2), lambda cls: cls(1, "", (), 4)],
    ids=["few", "unknown", "many"],
)
def test_wrong_arguments_are_refused(wrong: Callable[[type], Any]) -> None:
    with pytest.raises(TypeError, match=r"__init__\(\)"):
        wrong(Quick)


def test_the_signature_is_the_same() -> None:
    assert inspect.signature(Quick) == inspect.signature(Plain)
    assert Quick.__init__.__qualname__ == "Quick.__init__"


def test_an_instance_is_frozen_and_has_no_dict() -> None:
    quick: Any = Quick(1)
    with pytest.raises(FrozenInstanceError):
        quick.irr = 2
    with pytest.raises(FrozenInstanceError):
        del quick.irr
    with pytest.raises((AttributeError, TypeError)):
        quick.other = 2
    assert not hasattr(quick, "__dict__")


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_an_instance_can_be_copied(copied: Callable[[Quick], Quick]) -> None:
    assert copied(Quick(1, "x", (2, 3))) == Quick(1, "x", (2, 3))


class Child(Quick):
    __slots__ = ()


class Loose(Quick):
    pass


@pytest.mark.parametrize("cls", [Child, Loose])
def test_an_instance_of_a_subclass_stays_one(cls: type[Quick]) -> None:
    made = cls(1, parts=(2,))
    assert type(made) is cls
    assert (made.irr, made.name, made.parts) == (1, "chip", (2,))


def test_a_class_that_does_more_than_assign_keeps_its_own() -> None:
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
        init = cls.__init__
        assert draft_of(cls) is None, cls
        assert quick_init(cls).__init__ is init


def test_a_field_may_have_any_name() -> None:
    @quick_init
    @dataclass(frozen=True, slots=True)
    class Odd:
        State: int
        Draft: int
        init: int
        become: int

    assert Odd(1, 2, 3, 4) == Odd(State=1, Draft=2, init=3, become=4)
    assert Odd(1, 2, 3, 4).become == 4
