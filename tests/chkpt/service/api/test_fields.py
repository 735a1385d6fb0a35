"""What a type hint says of a field: its check and its schema, which agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, TypedDict

import jsonschema_rs
import pytest

from chkpt.service.api.fields import Rule, answers_in, fields_of, one_of, schema_of, to_json, within

EVEN = Rule({"multipleOf": 2}, lambda value: "odd" if value % 2 else None)

VALUES: list[object] = [
    None, True, False, 0, 1, 2, 3, 4, -1, "", "a", "b", [], [1], ["a"], ["a", None], {}, {"a": 1}, {"a": "b"},
    {"b": None},
]  # fmt: skip


@pytest.mark.parametrize(
    ("hint", "taken"),
    [
        (bool, [True, False]),
        (int, [0, 1, 2, 3, 4, -1]),
        (Annotated[int, within(1, 3)], [1, 2, 3]),
        (Annotated[int, EVEN, within(1, 3), "An even one."], [2]),
        (Annotated[int, within(1, 3)] | None, [None, 1, 2, 3]),
        (str, ["", "a", "b"]),
        (Annotated[str, one_of("a", "c")], ["a"]),
        (Annotated[str, one_of("a", "c")] | None, [None, "a"]),
        (tuple[str, ...], [[], ["a"]]),
        (list[Annotated[int, within(1, 3)]], [[], [1]]),
        (Mapping[str, str], [{}, {"a": "b"}]),
        (Mapping[str, str | None] | None, [None, {}, {"a": "b"}, {"b": None}]),
        (Mapping[Annotated[str, one_of("a")], str | None], [{}, {"a": "b"}]),
    ],
    ids=[
        "a-bool",
        "an-integer",
        "a-range",
        "two-rules",
        "a-range-or-null",
        "a-string",
        "words",
        "words-or-null",
        "a-tuple",
        "a-list-of-a-range",
        "an-object",
        "an-object-or-null",
        "an-object-with-certain-names",
    ],
)
def test_a_field_takes_what_its_schema_takes(hint: object, taken: list[object]) -> None:
    kind = make_dataclass("Kind", [("it", hint)])
    check, schema = fields_of(kind)["it"].check, schema_of(kind)["properties"]["it"]
    expected = [repr(value) for value in taken]
    assert [repr(value) for value in VALUES if check(value) is None] == expected
    assert [repr(value) for value in VALUES if jsonschema_rs.is_valid(schema, value)] == expected


class Inner(TypedDict):
    """An answer in another."""

    name: str


class Outer(TypedDict):
    """An answer.

    In two
    paragraphs.
    """

    one: Annotated[Inner | None, "The one."]
    many: list[Inner]


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: Annotated[str, "Where."]
    names: tuple[str, ...] = ("a",)
    others: Mapping[str, str] = field(default_factory=dict)


def test_schema_of_an_answer_refers_to_the_answers_in_it() -> None:
    inner = {"$ref": "#/components/schemas/Inner"}
    assert schema_of(Outer) == {
        "type": "object",
        "description": "An answer.\n\nIn two paragraphs.",
        "properties": {
            "one": {"oneOf": [inner, {"type": "null"}], "description": "The one."},
            "many": {"type": "array", "items": inner},
        },
        "required": ["one", "many"],
        "additionalProperties": False,
    }
    assert set(answers_in(Outer)) == {Inner}


def test_field_with_a_default_may_be_left_out() -> None:
    assert {name: each.required for name, each in fields_of(Asked).items()} == {
        "path": True,
        "names": False,
        "others": False,
    }
    schema = schema_of(Asked)
    assert schema["required"] == ["path"]
    assert schema["properties"] == {
        "path": {"type": "string", "description": "Where."},
        "names": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
        "others": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
    }


def test_plain_value_is_of_json() -> None:
    assert to_json(("a",)) == ["a"]
    assert to_json("a") == "a"
