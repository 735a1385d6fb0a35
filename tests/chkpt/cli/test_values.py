"""Values are shown on one line, short and harmless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.cli.values import flatten, format_size, format_value
from chkpt.context import Value
from tests.support.checkpoints import values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nil"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (9, "9"),
        (10, "10 (0xa)"),
        (-300, "-300"),
        ((1 << 64) - 1, "18446744073709551615 (0xffffffffffffffff)"),
        (0.0, "0.0"),
        (float("inf"), "inf"),
        ("", '""'),
        ('say "\x1b"', r'"say \"\x1b\""'),
        (b"", "0 bytes"),
        (b"HI\0", "48 49 00 |HI.|"),
        (bytes(16), f"{'00 ' * 16}|{'.' * 16}|"),
        (bytes(17), f"{'00 ' * 16}|{'.' * 16}| 16 of 17 bytes"),
        ([], "[]"),
        ([1, 200, None], "[1, 200, nil]"),
        ((1, (2, b"3")), "[1, [2, 33 |3|]]"),
        ({}, "{}"),
        ({"a": 16, "b": {"c": True}}, "{a: 16, b: {c: true}}"),
    ],
)
def test_each_kind_of_value(value: Value, text: str) -> None:
    assert format_value(value) == text


@given(values)
def test_any_value_is_one_line_of_printable_characters(value: Value) -> None:
    assert format_value(value).isprintable()


@given(st.dictionaries(st.text(), values))
def test_flatten_loses_nothing(table: dict[str, Value]) -> None:
    found = list(flatten("t", table))
    assert all(name.startswith("t") for name, _ in found)
    assert len(found) >= max(len(table), 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1 MiB"),
        (16 << 20, "16 MiB"),
        ((1 << 63) - 1, "8 EiB"),
        (1 << 80, "1048576 EiB"),
    ],
)
def test_a_size_is_shown_in_units_of_1024(count: int, text: str) -> None:
    assert format_size(count) == text
