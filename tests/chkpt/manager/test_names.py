"""Names of devices, and the table of them: 32 bytes a name, NUL-padded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.context import Context, Value, name_problem
from chkpt.errors import CorruptError, UsageError
from chkpt.manager.names import MAX_DEVICES, NAME_SIZE, check_device_name, pack_names, unpack_names

printable = st.characters(exclude_categories=("C", "Z"), exclude_characters="/")
names = st.text(printable, min_size=1, max_size=31).filter(
    lambda name: len(name.encode()) < NAME_SIZE and name_problem(name) is None
)


def table(count: Value, content: Value) -> Context:
    return Context(values={"num_devs": count, "names": content})


@pytest.mark.parametrize("name", ["a", "com1", "ide0.1", "a b", "ÄÖÜ", "时钟", "x" * 31, "é" * 15 + "x", "...", "-"])
def test_1_to_31_bytes_of_printable_utf_8_without_slash_are_a_name(name: str) -> None:
    check_device_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 32,
        "é" * 16,
        "a/b",
        "/",
        "a\0",
        "\0",
        "a\nb",
        "a\x7f",
        "\x1b[2J",
        "\x85",
        "\u2028",
        "\ud800",
        "\u200b",
        "x" * 10_000,
    ],
    ids=ascii,
)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be a device's name: .* 1 to 31 bytes"):
        check_device_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("..", "would be a step of a path"),
        ("e\u0301", "another spelling"),
        ("\u0440ic", "mixes letters of Cyrillic and Latin"),
    ],
    ids=ascii,
)
def test_a_name_that_looks_like_another_is_refused(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        check_device_name(name)


def test_the_message_about_a_name_is_printable() -> None:
    with pytest.raises(UsageError) as caught:
        check_device_name("\x1b[2J\ud800")
    assert str(caught.value).isprintable()


@given(names)
def test_every_printable_name_that_fits_is_one(name: str) -> None:
    check_device_name(name)
    assert unpack_names(table(1, pack_names([name]))) == (name,)


@given(st.text(max_size=40))
def test_a_name_is_taken_exactly_when_the_table_can_hold_it(name: str) -> None:
    try:
        check_device_name(name)
    except UsageError:
        return
    packed = pack_names([name])
    assert len(packed) == NAME_SIZE
    assert packed[-1] == 0
    assert unpack_names(table(1, packed)) == (name,)


@given(st.lists(names, unique=True, max_size=20))
def test_a_table_gives_its_names_back_in_order(listed: list[str]) -> None:
    packed = pack_names(listed)
    assert len(packed) == NAME_SIZE * len(listed)
    assert unpack_names(table(len(listed), packed)) == tuple(listed)


def test_a_name_in_the_table_is_padded_with_nul() -> None:
    assert pack_names(["pit", "com1"]) == b"pit".ljust(32, b"\0") + b"com1".ljust(32, b"\0")


# -- hostile tables ---------------------------------------------------------------------------------------------------

PIT = pack_names(["pit"])


@pytest.mark.parametrize(
    ("count", "content"),
    [
        (2, PIT),
        (0, PIT),
        (-1, b""),
        (-1, PIT),
        (1, b""),
        (1, PIT[:-1]),
        (1, PIT + b"\0"),
        ((1 << 64) - 1, PIT),
        ((1 << 59) + 1, PIT),
        (1 << 32, b""),
    ],
)
def test_a_count_that_lies_about_the_table_is_refused(count: int, content: bytes) -> None:
    with pytest.raises(CorruptError, match=f"num_devs is {count}, .* {len(content)} bytes"):
        unpack_names(table(count, content))


def test_as_many_names_as_the_limit_allows_are_taken() -> None:
    listed = tuple(f"d{number}" for number in range(MAX_DEVICES))
    assert unpack_names(table(MAX_DEVICES, pack_names(listed))) == listed


def test_more_names_than_any_machine_has_are_refused() -> None:
    count = MAX_DEVICES + 1
    with pytest.raises(CorruptError, match=f"num_devs is {count}"):
        unpack_names(table(count, bytes(NAME_SIZE * count)))


@pytest.mark.parametrize(
    ("count", "content"),
    [(None, PIT), (1, None), ("1", PIT), (True, PIT), (1.0, PIT), (1, "pit"), (1, [1]), (None, None)],
)
def test_a_table_of_the_wrong_kinds_is_refused(count: Value, content: Value) -> None:
    with pytest.raises(CorruptError, match="context devices has no name table"):
        unpack_names(table(count, content))


def test_a_context_without_a_table_is_refused() -> None:
    with pytest.raises(CorruptError, match="context devices has no name table"):
        unpack_names(Context())


@pytest.mark.parametrize(
    "entry",
    [
        b"x" * 32,
        b"\0" * 32,
        b"\0pit".ljust(32, b"\0"),
        b"pi\0t".ljust(32, b"\0"),
        b"\xff\xfe".ljust(32, b"\0"),
        b"\xed\xa0\x80".ljust(32, b"\0"),
        b"\xc0\x80".ljust(32, b"\0"),
        b"a/b".ljust(32, b"\0"),
        b"../pit".ljust(32, b"\0"),
        b"a\n".ljust(32, b"\0"),
        "é".encode()[:1].rjust(31, b"x") + b"\0",
    ],
)
def test_an_entry_that_is_no_name_is_refused_and_numbered(entry: bytes) -> None:
    with pytest.raises(CorruptError, match="entry 1 of names cannot be a device's name: ") as caught:
        unpack_names(table(2, PIT + entry))
    assert str(caught.value).isprintable()


def test_a_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(CorruptError, match="pit stands twice in names"):
        unpack_names(table(3, PIT + pack_names(["pic"]) + PIT))


@given(st.integers(-2, 5), st.binary(max_size=160))
def test_any_table_is_names_or_refused(count: int, content: bytes) -> None:
    try:
        found = unpack_names(table(count, content))
    except CorruptError:
        return
    assert pack_names(found) == content
    assert len(set(found)) == count
