"""States at the edges of the rules: fields of one kind throughout, versions without a way, kinds out of their place."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import pytest

from chkpt.context import Blob, Context, SparseBlob, Value
from chkpt.device import U8, Length, Time
from chkpt.errors import ConfigError, StateError, VersionError
from chkpt.state import from_context, from_table, schema, shift_times, to_context


@dataclass(frozen=True, slots=True)
class Alarms:
    VERSION: ClassVar[int] = 2

    pair: tuple[Time, Time]
    run: Annotated[tuple[Time, ...], Length(0, 4)]
    levels: tuple[U8, U8]


ALARMS = Alarms((1, 2), (3, 4, 5), (6, 7))


def test_a_tuple_of_times_moves_and_one_of_numbers_stays() -> None:
    assert shift_times(ALARMS, 10) == Alarms((11, 12), (13, 14, 15), (6, 7))


def test_a_time_in_a_tuple_that_would_leave_its_range_is_refused() -> None:
    with pytest.raises(StateError, match=r"^run, moved by 9223372036854775803 ns, is 9223372036854775808, not within"):
        shift_times(ALARMS, (1 << 63) - 5)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (0, r"^x is version 0 of its state, which this chkpt cannot upgrade$"),
        (1, r"^x is version 1 of its state, which this chkpt cannot upgrade$"),
        (3, r"^x is version 3 .* version 2 and older: load it with a newer chkpt or a newer device$"),
    ],
)
def test_a_state_of_a_class_without_upgrades_is_taken_in_its_own_version_only(version: int, message: str) -> None:
    context = to_context(ALARMS)
    assert from_context(context, Alarms, "x") == ALARMS
    with pytest.raises(VersionError, match=message):
        from_context(Context("", version, context.values), Alarms, "x")


@dataclass(frozen=True, slots=True)
class Level:
    value: U8


@dataclass(frozen=True, slots=True)
class Bank:
    levels: tuple[Level, Level]


@pytest.mark.parametrize(
    ("values", "blobs", "strangers"),
    [
        ({"odd": 1}, {}, ["x/levels.odd"]),
        ({}, {"rom": SparseBlob(1, 1)}, ["x/levels.rom"]),
        ({"odd": 1}, {"rom": SparseBlob(1, 1)}, ["x/levels.odd", "x/levels.rom"]),
    ],
)
def test_what_stands_beside_the_contexts_of_a_tuple_is_passed_over_and_told(
    values: dict[str, Value], blobs: dict[str, Blob], strangers: list[str]
) -> None:
    bank = Bank((Level(1), Level(2)))
    levels = replace(to_context(bank).contexts["levels"], values=values, blobs=blobs)
    unknown: list[str] = []
    assert from_context(Context(contexts={"levels": levels}), Bank, "x", unknown) == bank
    assert unknown == strangers


@dataclass(frozen=True, slots=True)
class WithDisk:
    size: U8
    disk: Blob


def test_a_blob_cannot_come_from_a_table() -> None:
    with pytest.raises(ConfigError, match=r"^box: disk is 5, not a context or blob of its own$"):
        from_table({"size": 1, "disk": 5}, WithDisk, "box")


@dataclass(frozen=True, slots=True)
class Flags:
    on: bool


@dataclass(frozen=True, slots=True)
class Counts:
    count: U8


@pytest.mark.parametrize(
    ("cls", "tag", "value", "message"),
    [
        (Flags, "on", 1, "x.on is 1, not true or false"),
        (Flags, "on", 0, "x.on is 0, not true or false"),
        (Counts, "count", True, "x.count is True, not an integer"),
        (Counts, "count", False, "x.count is False, not an integer"),
    ],
)
def test_a_flag_is_no_number_and_a_number_no_flag(cls: type, tag: str, value: Value, message: str) -> None:
    with pytest.raises(StateError) as caught:
        from_context(Context(values={tag: value}), cls, "x")
    assert str(caught.value) == message


@dataclass(frozen=True, slots=True)
class Endless:
    run: tuple[U8, ...]


@dataclass(frozen=True, slots=True)
class Medley:
    both: tuple[Level, Flags]


@dataclass(frozen=True, slots=True)
class Either:
    value: Flags | Level


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Endless, r"^Endless\.run: a tuple of any length needs a Length$"),
        (
            Medley,
            r"^Medley\.both: a tuple of contexts has them all of one dataclass, none of them optional, and holds ",
        ),
        (Either, r"^Either\.value: .* is not a kind of field: see chkpt\.device\.State$"),
    ],
)
def test_a_field_of_no_kind_is_named(cls: type, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        schema(cls)


@dataclass(frozen=True, slots=True)
class Rack:
    slots: Annotated[tuple[Level, ...], Length(0, 2)] = ()


@pytest.mark.parametrize(
    ("table", "also", "message"),
    [
        ({"imgae": 1}, {"": ("image",)}, "rack: unknown key imgae; did you mean image?"),
        ({"imazzz": 1}, {"": ("image",)}, "rack: unknown key imazzz; did you mean image?"),
        ({"slots": [{"imgae": 1}]}, {"slots": ("image",)}, "rack.slots[0]: unknown key imgae; did you mean image?"),
        ({"slots": [{"imgae": 1}]}, {"": ("image",)}, "rack.slots[0]: unknown key imgae; known are value"),
    ],
)
def test_keys_that_others_have_taken_are_hinted_at(
    table: dict[str, object], also: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(table, Rack, "rack", also)
    assert str(caught.value) == message
