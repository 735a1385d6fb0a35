"""States: every kind of field, its range and its path in a message, versions, unknown tags, times, tables, schema."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Blob, Context, SparseBlob, Value, blob_bytes
from chkpt.device import (
    U1,
    U2,
    U3,
    U4,
    U8,
    U16,
    U32,
    U48,
    U64,
    DiskState,
    Length,
    MachineTime,
    Range,
    State,
    StateDict,
    Time,
    Upgrade,
)
from chkpt.errors import ConfigError, RefusedError, StateError, VersionError
from chkpt.state import (
    from_context,
    from_table,
    printable,
    refuse_unknown,
    schema,
    shift_times,
    to_context,
)
from chkpt.state.compile import functions_of
from chkpt.state.contexts import _check_context


class Phase(StrEnum):
    IDLE = "idle"
    DATA = "data"


class Step(IntEnum):
    FIRST = 1
    LAST = 9


class Mixed(Enum):
    WORD = "word"
    NUMBER = 7


@dataclass(frozen=True, slots=True)
class Chip:
    VERSION: ClassVar[int] = 3

    irr: U8
    since: Time
    until: Time | None = None


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of every kind that `chkpt.device.State` names."""

    VERSION: ClassVar[int] = 2

    u1: U1
    u2: U2
    u3: U3
    u4: U4
    u8: U8
    u16: U16
    u32: U32
    u48: U48
    u64: U64
    signed: Annotated[int, Range(-5, 5)]
    time: Time
    flag: bool
    data: Annotated[bytes, Length(0, 4)]
    text: Annotated[str, Length(1, 4)]
    phase: Phase
    step: Step
    mixed: Mixed
    count: U8 | None
    name: Annotated[str, Length(0, 4)] | None
    deadline: Time | None
    maybe_phase: Phase | None
    maybe_flag: bool | None
    pair: tuple[U8, U8]
    several: tuple[Phase, U4, bool, Annotated[bytes, Length(0, 2)]]
    run: Annotated[tuple[U16, ...], Length(0, 3)]
    phases: Annotated[tuple[Phase, ...], Length(0, 3)]
    table: Annotated[tuple[tuple[U2, Step], ...], Length(0, 2)]
    moments: tuple[Time, U8, Time | None]
    maybe_run: Annotated[tuple[U4, ...], Length(1, 2)] | None
    chip: Chip
    spare: Chip | None
    chips: tuple[Chip, Chip]
    bank: Annotated[tuple[Chip, ...], Length(0, 2)]
    disk: Blob
    cache: Blob | None


def bits(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << count) - 1)


times = st.integers(-(1 << 63), (1 << 63) - 1)
chips = st.builds(Chip, irr=bits(8), since=times, until=st.none() | times)
blobs = st.binary(min_size=1, max_size=8).map(lambda data: SparseBlob(8, 8, {0: data.ljust(8, b"\0")}))
everything = st.builds(
    Everything,
    u1=bits(1),
    u2=bits(2),
    u3=bits(3),
    u4=bits(4),
    u8=bits(8),
    u16=bits(16),
    u32=bits(32),
    u48=bits(48),
    u64=bits(64),
    signed=st.integers(-5, 5),
    time=times,
    flag=st.booleans(),
    data=st.binary(max_size=4),
    text=st.text(min_size=1, max_size=4),
    phase=st.sampled_from(Phase),
    step=st.sampled_from(Step),
    mixed=st.sampled_from(Mixed),
    count=st.none() | bits(8),
    name=st.none() | st.text(max_size=4),
    deadline=st.none() | times,
    maybe_phase=st.none() | st.sampled_from(Phase),
    maybe_flag=st.none() | st.booleans(),
    pair=st.tuples(bits(8), bits(8)),
    several=st.tuples(st.sampled_from(Phase), bits(4), st.booleans(), st.binary(max_size=2)),
    run=st.lists(bits(16), max_size=3).map(tuple),
    phases=st.lists(st.sampled_from(Phase), max_size=3).map(tuple),
    table=st.lists(st.tuples(bits(2), st.sampled_from(Step)), max_size=2).map(tuple),
    moments=st.tuples(times, bits(8), st.none() | times),
    maybe_run=st.none() | st.lists(bits(4), min_size=1, max_size=2).map(tuple),
    chip=chips,
    spare=st.none() | chips,
    chips=st.tuples(chips, chips),
    bank=st.lists(chips, max_size=2).map(tuple),
    disk=blobs,
    cache=st.none() | blobs,
)

ONE = Everything(
    u1=1,
    u2=2,
    u3=3,
    u4=4,
    u8=8,
    u16=16,
    u32=32,
    u48=48,
    u64=64,
    signed=-1,
    time=-1,
    flag=True,
    data=b"data",
    text="text",
    phase=Phase.DATA,
    step=Step.LAST,
    mixed=Mixed.NUMBER,
    count=None,
    name=None,
    deadline=None,
    maybe_phase=None,
    maybe_flag=None,
    pair=(1, 2),
    several=(Phase.IDLE, 4, True, b"ab"),
    run=(1, 2, 3),
    phases=(Phase.IDLE,),
    table=((1, Step.FIRST),),
    moments=(100, 100, None),
    maybe_run=None,
    chip=Chip(1, 2),
    spare=None,
    chips=(Chip(3, 4), Chip(5, 6, 7)),
    bank=(),
    disk=SparseBlob(4, 4, {0: b"disk"}),
    cache=None,
)


def as_read(context: Context) -> Context:
    """Return a context as a reader of a file makes it: lists for tuples, plain strings and integers for enums."""

    def value(of: Any) -> Any:
        if isinstance(of, list | tuple):
            return [value(each) for each in of]
        assert of is None or type(of) in {bool, int, str, bytes}, f"{of!r} is no plain value"
        return of

    return Context(
        context.type,
        context.version,
        {tag: value(each) for tag, each in context.values.items()},
        dict(context.blobs),
        {name: as_read(child) for name, child in context.contexts.items()},
    )


def changed(context: Context, **values: Value) -> Context:
    return replace(context, values={**context.values, **values})


def without(context: Context, tag: str) -> Context:
    return replace(
        context,
        values={key: value for key, value in context.values.items() if key != tag},
        blobs={key: blob for key, blob in context.blobs.items() if key != tag},
        contexts={key: child for key, child in context.contexts.items() if key != tag},
    )


def with_child(context: Context, name: str, child: Context) -> Context:
    return replace(context, contexts={**context.contexts, name: child})


# -- round trip -------------------------------------------------------------------------------------------------------


@given(everything)
def test_every_kind_of_field_survives_a_context_and_back(state: Everything) -> None:
    context = to_context(state, "everything")
    assert from_context(context, Everything, "x") == state
    assert from_context(as_read(context), Everything, "x") == state


def test_a_state_becomes_values_blobs_and_child_contexts() -> None:
    context = to_context(ONE, "kind")
    assert (context.type, context.version) == ("kind", 2)
    assert context.values["phase"] == "data"
    assert context.values["count"] is context.values["spare"] is context.values["cache"] is None
    assert context.values["several"] == ["idle", 4, True, b"ab"]
    assert set(context.contexts) == {"chip", "chips", "bank"}
    assert context.contexts["chip"] == Context("", 3, {"irr": 1, "since": 2, "until": None})
    assert set(context.contexts["chips"].contexts) == {"0", "1"}
    assert context.contexts["bank"] == Context()
    assert blob_bytes(context.blobs["disk"]) == b"disk"


def test_a_state_without_fields_is_a_context_without_values() -> None:
    @dataclass(frozen=True, slots=True)
    class Nothing:
        VERSION: ClassVar[int] = 1

    assert to_context(Nothing()) == Context("", 1)
    assert from_context(Context("", 1), Nothing, "x") == Nothing()


@pytest.mark.parametrize("only", [5, None])
def test_a_state_of_one_optional_field_survives(only: int | None) -> None:
    @dataclass(frozen=True, slots=True)
    class Single:
        VERSION: ClassVar[int] = 1

        only: U8 | None

    state = Single(only)
    assert from_context(to_context(state), Single, "x") == state


def test_a_class_without_version_has_version_0() -> None:
    @dataclass(frozen=True, slots=True)
    class Plain:
        value: U8

    assert to_context(Plain(1)).version == 0


def test_the_protocol_state_is_met_by_a_dataclass_with_a_version() -> None:
    assert isinstance(ONE, State)
    assert not isinstance(object(), State)


def test_the_contract_s_disk_state_follows_the_rules() -> None:
    disk = DiskState(512, b"d" * 32, 512, SparseBlob(1, 1, {0: b"\1"}), SparseBlob(512, 512))
    assert from_context(to_context(disk), DiskState, "x") == disk


# -- what is refused, and the path in the message ---------------------------------------------------------------------

RANGES = [
    ("u1", 1),
    ("u2", 3),
    ("u3", 7),
    ("u4", 15),
    ("u8", 255),
    ("u16", 0xFFFF),
    ("u32", 0xFFFF_FFFF),
    ("u48", 0xFFFF_FFFF_FFFF),
    ("u64", 0xFFFF_FFFF_FFFF_FFFF),
]


@pytest.mark.parametrize(("field", "greatest"), RANGES)
def test_an_integer_is_taken_up_to_its_greatest_and_refused_beyond(field: str, greatest: int) -> None:
    context = to_context(ONE)
    for allowed in (0, greatest):
        assert getattr(from_context(changed(context, **{field: allowed}), Everything, "x"), field) == allowed
    for refused in (-1, greatest + 1):
        with pytest.raises(StateError, match=rf"^x\.{field} is {refused}, not within 0 to {greatest}$"):
            from_context(changed(context, **{field: refused}), Everything, "x")


@pytest.mark.parametrize(
    ("field", "least", "greatest"),
    [("signed", -5, 5), ("time", -(1 << 63), (1 << 63) - 1), ("deadline", 0, (1 << 63) - 1)],
)
def test_the_bounds_of_a_signed_integer_are_allowed(field: str, least: int, greatest: int) -> None:
    context = to_context(ONE)
    for allowed in (least, greatest):
        assert getattr(from_context(changed(context, **{field: allowed}), Everything, "x"), field) == allowed
    with pytest.raises(StateError, match=rf"^x\.{field} is {greatest + 1}, not within"):
        from_context(changed(context, **{field: greatest + 1}), Everything, "x")


WRONG: list[tuple[str, Value, str]] = [
    ("u8", "8", "is '8', not an integer"),
    ("u8", 8.0, "is 8.0, not an integer"),
    ("u8", True, "is True, not an integer"),
    ("u8", None, "is None, not an integer"),
    ("u8", b"8", "is a bytes, not an integer"),
    ("u8", [8], "is a list, not an integer"),
    ("u8", {"a": 8}, "is a dict, not an integer"),
    ("u8", math.nan, "is nan, not an integer"),
    ("flag", 1, "is 1, not true or false"),
    ("flag", 2, "is 2, not true or false"),
    ("flag", None, "is None, not true or false"),
    ("data", "data", "is 'data', not bytes"),
    ("data", b"12345", "has length 5, not within 0 to 4"),
    ("text", b"text", "is a bytes, not str"),
    ("text", "", "has length 0, not within 1 to 4"),
    ("phase", "lost", "is 'lost', not one of idle, data"),
    ("phase", ["idle"], "is a list, not one of idle, data"),
    ("phase", {}, "is a dict, not one of idle, data"),
    ("phase", 0, "is 0, not one of idle, data"),
    ("step", True, "is True, not one of 1, 9"),
    ("step", 2, "is 2, not one of 1, 9"),
    ("step", "1", "is '1', not one of 1, 9"),
    ("mixed", "7", "is '7', not one of word, 7"),
    ("count", 256, "is 256, not within 0 to 255"),
    ("count", "", "is '', not an integer"),
    ("maybe_phase", "", "is '', not one of idle, data"),
    ("maybe_flag", 0, "is 0, not true or false"),
    ("pair", 5, "is 5, not a list"),
    ("pair", b"ab", "is a bytes, not a list"),
    ("pair", "ab", "is 'ab', not a list"),
    ("pair", {"0": 1}, "is a dict, not a list"),
    ("pair", [1], "has 1 items, not 2 to 2"),
    ("pair", [1, 2, 3], "has 3 items, not 2 to 2"),
    ("pair", [1, 256], "item 1 is 256, not within 0 to 255"),
    ("several", ["idle", "idle", True, b""], "item 1 is 'idle', not an integer"),
    ("several", [4, 4, True, b""], "item 0 is 4, not one of idle, data"),
    ("several", ["idle", 4, True, b"abc"], "item 3 has length 3, not within 0 to 2"),
    ("run", [1, 2, 3, 4], "has 4 items, not 0 to 3"),
    ("run", [1, -1], "item 1 is -1, not within 0 to 65535"),
    ("table", [[1, 1], [1]], "item 1 has 1 items, not 2 to 2"),
    ("table", [[1, 1], [4, 1]], "item 1 item 0 is 4, not within 0 to 3"),
    ("maybe_run", [], "has 0 items, not 1 to 2"),
    ("spare", 5, "is 5, not a context or blob of its own"),
    ("cache", b"", "is a bytes, not a context or blob of its own"),
]


@pytest.mark.parametrize(("field", "value", "reason"), WRONG)
def test_a_value_that_no_such_field_has_is_refused_with_its_path(field: str, value: Value, reason: str) -> None:
    with pytest.raises(StateError) as caught:
        from_context(changed(to_context(ONE), **{field: value}), Everything, "devices/ide0")
    assert str(caught.value) == f"devices/ide0.{field} {reason}"


@pytest.mark.parametrize("field", [field.name for field in fields(Everything)])
def test_a_missing_field_is_refused_with_its_path(field: str) -> None:
    with pytest.raises(StateError) as caught:
        from_context(without(to_context(ONE), field), Everything, "devices/ide0")
    assert str(caught.value) in {f"devices/ide0.{field} is missing", f"devices/ide0/{field} is missing"}


def test_the_path_goes_by_slashes_to_the_context_and_by_a_dot_to_the_field() -> None:
    context = to_context(ONE)
    chip = changed(context.contexts["chip"], irr=300)
    with pytest.raises(StateError, match=r"^devices/ide0/chip\.irr is 300, not within 0 to 255$"):
        from_context(with_child(context, "chip", chip), Everything, "devices/ide0")
    two = context.contexts["chips"]
    broken = with_child(two, "1", without(two.contexts["1"], "since"))
    with pytest.raises(StateError, match=r"^devices/ide0/chips/1\.since is missing$"):
        from_context(with_child(context, "chips", broken), Everything, "devices/ide0")


@pytest.mark.parametrize(
    ("names", "reason"), [("", "has 0 contexts"), ("0", "has 1 contexts"), ("012", "has 3 contexts")]
)
def test_a_tuple_of_contexts_has_as_many_as_it_must(names: str, reason: str) -> None:
    chip = to_context(Chip(0, 0))
    context = with_child(to_context(ONE), "chips", Context(contexts=dict.fromkeys(names, chip)))
    with pytest.raises(StateError, match=rf"^x/chips {reason}, not 2 to 2$"):
        from_context(context, Everything, "x")


def test_the_contexts_of_a_tuple_are_numbered_without_gap() -> None:
    chip = to_context(Chip(0, 0))
    context = with_child(to_context(ONE), "chips", Context(contexts={"0": chip, "2": chip}))
    with pytest.raises(StateError, match=r"^x/chips/1 is missing$"):
        from_context(context, Everything, "x")


def test_a_blob_in_the_place_of_a_value_and_a_value_in_the_place_of_a_context_are_missing() -> None:
    context = to_context(ONE)
    as_blob = replace(without(context, "u8"), blobs={**context.blobs, "u8": SparseBlob(1, 1)})
    with pytest.raises(StateError, match=r"^x\.u8 is missing$"):
        from_context(as_blob, Everything, "x")
    with pytest.raises(StateError, match=r"^x\.chip is missing$"):
        from_context(changed(without(context, "chip"), chip=None), Everything, "x")


def test_a_long_value_does_not_flood_the_message() -> None:
    with pytest.raises(StateError) as caught:
        from_context(changed(to_context(ONE), u8="x" * 100_000), Everything, "x")
    assert len(str(caught.value)) < 200


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(list(to_context(ONE).values)), values)
def test_any_value_in_any_field_is_taken_as_that_field_s_kind_or_refused(field: str, value: Value) -> None:
    context = changed(to_context(ONE), **{field: value})
    try:
        state = from_context(context, Everything, "x")
    except StateError as exc:
        assert str(exc).startswith(f"x.{field} ")  # noqa: PT017  either outcome is right
    else:
        assert from_context(to_context(state), Everything, "x") == state


# -- versions ---------------------------------------------------------------------------------------------------------


def from_1(plain: StateDict) -> StateDict:
    return {**plain, "both": plain["low"]}


def from_2(plain: StateDict) -> StateDict:
    return {"value": plain["both"], "port": plain["port"], "rom": plain["rom"]}


@dataclass(frozen=True, slots=True)
class Port3:
    VERSION: ClassVar[int] = 3
    UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: from_1, 2: from_2}

    value: U8
    port: Chip
    rom: Blob


def old(version: int, **values: Value) -> Context:
    return Context("port", version, dict(values), {"rom": SparseBlob(1, 1)}, {"port": to_context(Chip(1, 2))})


def test_upgrades_run_one_after_the_other_to_the_present_version() -> None:
    assert from_context(old(1, low=5), Port3, "x") == Port3(5, Chip(1, 2), SparseBlob(1, 1))
    assert from_context(old(2, both=6), Port3, "x") == Port3(6, Chip(1, 2), SparseBlob(1, 1))
    assert from_context(old(3, value=7), Port3, "x") == Port3(7, Chip(1, 2), SparseBlob(1, 1))


def test_an_upgrade_does_not_change_the_context_it_comes_from() -> None:
    context = old(1, low=5)
    from_context(context, Port3, "x")
    assert context == old(1, low=5)


def test_the_present_version_is_not_upgraded() -> None:
    with pytest.raises(StateError, match=r"^x\.value is missing$"):
        from_context(old(3, low=5), Port3, "x")


def test_a_newer_version_is_refused_and_both_versions_named() -> None:
    with pytest.raises(VersionError, match=r"^devices/com1 is version 4 .* version 3"):
        from_context(old(4, value=5), Port3, "devices/com1")


@pytest.mark.parametrize("version", [0, -7])
def test_a_version_without_an_upgrade_is_refused(version: int) -> None:
    with pytest.raises(VersionError, match=f"^x is version {version} .* cannot upgrade$"):
        from_context(old(version, low=5), Port3, "x")


def test_a_newer_part_is_refused_with_its_path() -> None:
    context = old(3, value=5)
    newer = with_child(context, "port", replace(context.contexts["port"], version=4))
    with pytest.raises(VersionError, match=r"^x/port is version 4 "):
        from_context(newer, Port3, "x")


def test_a_value_out_of_range_after_an_upgrade_is_refused() -> None:
    with pytest.raises(StateError, match=r"^x\.value is 300, not within"):
        from_context(old(1, low=300), Port3, "x")


@pytest.mark.parametrize(
    "fault", [KeyError("low"), TypeError("t"), IndexError("i"), AttributeError("a"), ZeroDivisionError()]
)
def test_an_upgrade_that_fails_on_what_the_file_says_refuses_it(fault: Exception) -> None:
    def fail(plain: StateDict) -> StateDict:
        raise fault

    @dataclass(frozen=True, slots=True)
    class Failing:
        VERSION: ClassVar[int] = 2
        UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: fail}

    with pytest.raises(StateError, match=r"^x cannot be upgraded from version 1: ") as caught:
        from_context(Context("", 1), Failing, "x")
    assert caught.value.__cause__ is fault


@dataclass(frozen=True, slots=True)
class Inner2:
    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: lambda plain: {"now": plain["was"]}}

    now: U8


def rename_part(plain: StateDict) -> StateDict:
    return {"part": plain["piece"], "parts": plain["pieces"], "fresh": {"now": 9}}


@dataclass(frozen=True, slots=True)
class Outer2:
    VERSION: ClassVar[int] = 2
    UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: rename_part}

    part: Inner2
    parts: Annotated[tuple[Inner2, ...], Length(0, 4)]
    fresh: Inner2


def test_a_part_that_an_upgrade_passes_on_is_upgraded_by_itself_and_one_it_makes_is_not() -> None:
    was, now = Context("", 1, {"was": 5}), Context("", 2, {"now": 6})
    context = Context("", 1, contexts={"piece": was, "pieces": Context(contexts={"0": was, "1": now})})
    assert from_context(context, Outer2, "x") == Outer2(Inner2(5), (Inner2(5), Inner2(6)), Inner2(9))
    assert unknown_tags(context, Outer2, "x") == []


def test_an_upgraded_state_is_saved_as_the_present_version() -> None:
    state = from_context(old(1, low=5), Port3, "x")
    assert to_context(state).version == 3


# -- unknown tags -----------------------------------------------------------------------------------------------------


def unknown_tags(context: Context, cls: type, path: str) -> list[str]:
    unknown: list[str] = []
    from_context(context, cls, path, unknown)
    return unknown


def test_unknown_tags_blobs_and_contexts_are_found_by_path_and_passed_over() -> None:
    context = to_context(ONE)
    chip = changed(context.contexts["chip"], spin=1)
    two = context.contexts["chips"]
    second = with_child(two.contexts["1"], "more", Context())
    two = changed(with_child(two, "1", second), note="n")
    two.blobs["image"] = SparseBlob(1, 1)
    strange = changed(
        with_child(with_child(with_child(context, "chip", chip), "chips", two), "extra", Context()), new=1
    )
    strange.blobs["rom"] = SparseBlob(1, 1)
    assert sorted(unknown_tags(strange, Everything, "d")) == [
        "d.new",
        "d.rom",
        "d/chip.spin",
        "d/chips.image",
        "d/chips.note",
        "d/chips/1/more",
        "d/extra",
    ]
    assert from_context(strange, Everything, "d") == ONE


def test_a_known_context_has_no_unknown_tags() -> None:
    assert unknown_tags(to_context(ONE), Everything, "d") == []


def test_a_context_in_the_place_of_a_value_is_unknown() -> None:
    context = with_child(to_context(ONE), "u8", Context())
    assert unknown_tags(context, Everything, "d") == ["d/u8"]


def test_the_unknown_tags_of_an_old_version_are_those_left_after_its_upgrade() -> None:
    def keep(plain: StateDict) -> StateDict:
        return plain

    @dataclass(frozen=True, slots=True)
    class Kept:
        VERSION: ClassVar[int] = 2
        UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: keep}

        value: U8

    assert unknown_tags(Context("", 1, {"value": 1, "gone": 2}), Kept, "d") == ["d.gone"]


def test_a_tag_with_control_characters_is_shown_escaped() -> None:
    context = changed(to_context(ONE), **{"a\n\x1b[2J": 1})
    context = with_child(context, "b\r", Context())
    assert unknown_tags(context, Everything, "d") == [r"d.a\n\x1b[2J", r"d/b\r"]


@given(st.text())
def test_printable_gives_printable_text_and_leaves_it_alone_where_it_is(name: str) -> None:
    assert printable(name).isprintable()
    if name.isprintable():
        assert printable(name) == name


def test_printable_takes_a_lone_surrogate() -> None:
    assert printable("\ud800") == r"\ud800"


# -- times ------------------------------------------------------------------------------------------------------------


@given(everything, st.integers(-(1 << 40), 1 << 40))
def test_shift_touches_exactly_the_times_nested_and_optional_ones_too(state: Everything, delta: int) -> None:
    def near(time: int) -> int:
        return time >> 8

    def moved(chip: Chip, by: int) -> Chip:
        return replace(chip, since=near(chip.since) + by, until=None if chip.until is None else near(chip.until) + by)

    def by(delta: int) -> Everything:
        first, count, last = state.moments
        return replace(
            state,
            time=near(state.time) + delta,
            deadline=None if state.deadline is None else near(state.deadline) + delta,
            moments=(near(first) + delta, count, None if last is None else near(last) + delta),
            chip=moved(state.chip, delta),
            spare=None if state.spare is None else moved(state.spare, delta),
            chips=(moved(state.chips[0], delta), moved(state.chips[1], delta)),
            bank=tuple(moved(chip, delta) for chip in state.bank),
        )

    assert shift_times(by(0), delta) == by(delta)


def test_a_state_without_times_is_returned_as_it_is() -> None:
    @dataclass(frozen=True, slots=True)
    class Timeless:
        VERSION: ClassVar[int] = 1

        value: U8

    state = Timeless(1)
    assert shift_times(state, 5) is state


def test_a_time_that_would_leave_its_range_is_refused() -> None:
    with pytest.raises(StateError, match=r"^since, moved by 1 ns, is 9223372036854775808, not within"):
        shift_times(Chip(0, (1 << 63) - 1), 1)


def test_a_time_may_have_a_range_of_its_own() -> None:
    @dataclass(frozen=True, slots=True)
    class Since:
        VERSION: ClassVar[int] = 1

        start: Annotated[int, Range(0, 100), MachineTime()]

    assert shift_times(Since(40), 60) == Since(100)
    with pytest.raises(StateError):
        shift_times(Since(40), 61)


# -- what is not a kind of field ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (int, "needs a Range or Length"),
        (bytes, "needs a Range or Length"),
        (str, "needs a Range or Length"),
        (float, "kind of field"),
        (object, "kind of field"),
        (list[int], "kind of field"),
        (dict[str, int], "kind of field"),
        (U8 | U16 | None, "kind of field"),
        (int | None, "needs a Range or Length"),
        (tuple[U8, ...], "a tuple of any length needs a Length"),
        (tuple[Chip, U8], "a tuple of contexts has them all of one dataclass"),
        (tuple[U8, Chip], "a tuple of contexts has them all of one dataclass"),
        (tuple[Chip, Inner2], "a tuple of contexts has them all of one dataclass"),
        (tuple[Chip | None, Chip | None], "none of them optional"),
        (tuple[Blob, Blob], "holds no blob"),
        (Annotated[tuple[int, ...], Length(0, 1)], "needs a Range or Length"),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_a_dataclass_with_a_field_of_no_kind_is_refused_by_name(hint: object, reason: str) -> None:
    cls: type = dataclass(frozen=True)(type("Bad", (), {"__annotations__": {"field": hint}}))
    with pytest.raises(TypeError, match=rf"^Bad\.field: .*{reason}"):
        schema(cls)


# -- schema -----------------------------------------------------------------------------------------------------------


def test_the_schema_names_version_and_every_field_s_kind() -> None:
    declared = schema(Everything)["fields"]
    assert isinstance(declared, dict)
    assert list(declared) == [field.name for field in fields(Everything)]
    assert declared["u8"] == "integer 0..255"
    assert declared["count"] == "integer 0..255 or nil"
    assert declared["flag"] == "bool"
    assert declared["data"] == "bytes of length 0..4"
    assert declared["phase"] == "one of idle, data"
    assert declared["pair"] == "2..2 of integer 0..255"
    assert declared["several"] == "4..4 of one of idle, data and integer 0..15 and bool and bytes of length 0..2"
    assert declared["disk"] == "blob"
    assert declared["chip"] == {"of": "Chip", **schema(Chip)}
    assert declared["bank"] == {"of": "0..2 of Chip", **schema(Chip)}
    assert schema(Chip) == {
        "version": 3,
        "fields": {
            "irr": "integer 0..255",
            "since": f"integer {-(1 << 63)}..{(1 << 63) - 1}",
            "until": f"integer {-(1 << 63)}..{(1 << 63) - 1} or nil",
        },
    }


# -- configuration tables ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DriveConfig:
    unit: U1
    model: Annotated[str, Length(0, 40)] = "DISK"


@dataclass(frozen=True, slots=True)
class BoardConfig:
    port: U16
    irq: U4 | None = None
    phase: Phase = Phase.IDLE
    size: tuple[U8, U8] = (1, 2)
    drive: Annotated[tuple[DriveConfig, ...], Length(0, 2)] = ()
    main: DriveConfig | None = None


def test_a_table_gives_a_configuration_and_what_is_left_out_its_default() -> None:
    assert from_table({"port": 0x3F8}, BoardConfig, "device com1") == BoardConfig(0x3F8)
    whole = {
        "port": 1,
        "irq": 4,
        "phase": "data",
        "size": [3, 4],
        "drive": [{"unit": 0}, {"unit": 1, "model": "M"}],
        "main": {"unit": 1},
    }
    assert from_table(whole, BoardConfig, "d") == BoardConfig(
        1, 4, Phase.DATA, (3, 4), (DriveConfig(0), DriveConfig(1, "M")), DriveConfig(1)
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "device x: port is missing"),
        ({"port": 1, "prot": 2}, "device x: unknown key prot; did you mean port?"),
        ({"port": 1, "zzz": 2}, "device x: unknown key zzz; known are port, irq, phase, size, drive, main"),
        ({"port": "1"}, "device x: port is '1', not an integer"),
        ({"port": 65536}, "device x: port is 65536, not within 0 to 65535"),
        ({"port": True}, "device x: port is True, not an integer"),
        ({"port": 1.5}, "device x: port is 1.5, not an integer"),
        ({"port": 1, "phase": "gone"}, "device x: phase is 'gone', not one of idle, data"),
        ({"port": 1, "size": [1]}, "device x: size has 1 items, not 2 to 2"),
        ({"port": 1, "main": 5}, "device x: main is 5, not a table"),
        ({"port": 1, "main": {}}, "device x.main: unit is missing"),
        ({"port": 1, "main": {"uint": 0}}, "device x.main: unknown key uint; did you mean unit?"),
        ({"port": 1, "drive": {}}, "device x.drive is a dict, not a list of tables"),
        ({"port": 1, "drive": "ab"}, "device x.drive is 'ab', not a list of tables"),
        ({"port": 1, "drive": [1]}, "device x.drive: 0 is 1, not a table"),
        ({"port": 1, "drive": [{"unit": 0}] * 3}, "device x.drive has 3 tables, not 0 to 2"),
        ({"port": 1, "drive": [{"unit": 0}, {"unit": 2}]}, "device x.drive[1]: unit is 2, not within 0 to 1"),
        ({"port": 1, "drive": [{"model": "M"}]}, "device x.drive[0]: unit is missing"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_place(table: Mapping[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(table, BoardConfig, "device x")
    assert str(caught.value) == message


def test_refuse_unknown_takes_known_keys_only() -> None:
    refuse_unknown({"a": 1}, ("a", "b"), "here")
    with pytest.raises(ConfigError, match=r"^here: unknown key c; known are a, b$"):
        refuse_unknown({"a": 1, "c": 2}, ("a", "b"), "here")


def test_a_refused_state_is_a_refused_snapshot() -> None:
    assert issubclass(StateError, RefusedError)
    assert issubclass(VersionError, RefusedError)


check_upgrade: Callable[[Upgrade], Upgrade] = lambda upgrade: upgrade  # noqa: E731  a function is an Upgrade for mypy
check_upgrade(from_1)


# -- the functions made for a dataclass -------------------------------------------------------------------------------


def test_what_a_state_is_saved_as_is_read_by_the_function_made_for_it() -> None:
    for context in (to_context(ONE), as_read(to_context(ONE))):
        assert functions_of(Everything).read(context) == ONE


def mutated(context: Context) -> st.SearchStrategy[Context]:
    """Contexts that differ from this one in one tag, blob or context of it, or of one inside it."""
    names = [*context.values, *context.blobs, *context.contexts]
    elsewhere = st.sampled_from([*names, "new"])
    strategies: list[st.SearchStrategy[Context]] = [
        st.sampled_from(names).map(lambda name: without(context, name)),
        st.builds(lambda name, value: changed(context, **{name: value}), elsewhere, values),
        elsewhere.map(lambda name: with_child(context, name, Context())),
        elsewhere.map(lambda name: replace(context, blobs={**context.blobs, name: SparseBlob(1, 1)})),
        st.sampled_from([0, 1, 99]).map(lambda version: replace(context, version=version)),
    ]
    if len(names) > 1:
        moved = st.tuples(st.sampled_from(names), elsewhere).filter(lambda two: two[0] != two[1])
        strategies.append(
            moved.map(lambda two: changed(without(context, two[0]), **{two[1]: context.values.get(two[0])}))
        )
    strategies += [
        mutated(child).map(lambda inner, name=name: with_child(context, name, inner))  # type: ignore[misc]  # a default binds the loop's name
        for name, child in context.contexts.items()
        if child.values or child.contexts
    ]
    return st.one_of(strategies)


@given(mutated(as_read(to_context(ONE))))
def test_the_function_made_for_a_class_takes_nothing_that_a_closer_look_refuses(context: Context) -> None:
    unknown: list[str] = []
    try:
        state: object = _check_context(context, Everything, "x", unknown)
    except RefusedError:
        state = None
    try:
        quick: object = functions_of(Everything).read(context)
    except (KeyError, StateError):
        return
    assert quick == state
    assert unknown == []


def test_a_class_with_an_init_of_its_own_is_made_by_a_call() -> None:
    @dataclass(frozen=True, slots=True)
    class Even:
        VERSION: ClassVar[int] = 1

        value: U8

        def __post_init__(self) -> None:
            if self.value % 2:
                raise StateError("value is odd")

    assert from_context(to_context(Even(2)), Even, "x") == Even(2)
    with pytest.raises(StateError, match=r"^value is odd$"):
        from_context(Context("", 1, {"value": 3}), Even, "x")


@dataclass(frozen=True, slots=True)
class Chain:
    VERSION: ClassVar[int] = 1

    value: U8
    after: "Chain | None" = None


def test_a_class_may_hold_itself() -> None:
    chain = Chain(1, Chain(2, Chain(3)))
    assert from_context(to_context(chain), Chain, "x") == chain
    assert functions_of(Chain).read(to_context(chain)) == chain


@dataclass(frozen=True, slots=True)
class Names:
    """Fields with the names that the functions made for a class use themselves."""

    VERSION: ClassVar[int] = 1

    context: U8
    values: U8
    blobs: Blob
    contexts: Chip
    state: Phase
    State: U8
    Draft: U8
    new: U8
    none: U8 | None
    Context: U8
    StateError: bool
    type_name: Chip | None
    read: U8
    write: U8
    values_: U8
    parts: Annotated[tuple[Chip, ...], Length(0, 2)]
    numbered: Annotated[tuple[Phase, ...], Length(0, 2)]


def test_a_field_may_have_any_name() -> None:
    chip = Chip(1, 2)
    blob = SparseBlob(1, 1)
    state = Names(1, 2, blob, chip, Phase.DATA, 3, 4, 5, None, 6, True, chip, 7, 8, 9, (chip,), (Phase.IDLE,))
    assert functions_of(Names).read(to_context(state)) == state
    assert to_context(state).values["values_"] == 9
