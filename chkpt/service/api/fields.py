"""What a field of a request or an answer may hold: a check and a JSON Schema, made from the field's type hint.

    force: Annotated[bool, "Replace the file if there is one."] = False
    ticks: Annotated[int, within(1, 100)] | None = None

In `Annotated`, a string is the field's description and a `Rule` narrows the values. The types are `str`, `int`, `bool`,
tuples, lists and mappings of these, `| None`, and in answers other answers.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Final, TypeAlias, Union, cast

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema of draft 2020-12, which OpenAPI 3.1 takes."""

Check: TypeAlias = Callable[[Any], str | None]
"""Returns why a value is refused, as a phrase after "is"; None if it is valid."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)  # `Annotated` hashes it
class Rule:
    """A rule for the values of a type: its keywords in JSON Schema, and the check of a value of that type."""

    schema: Mapping[str, object]
    check: Check


def one_of(*values: str) -> Rule:
    """Return the rule that a string is one of `values`."""
    return Rule({"enum": list(values)}, lambda value: None if value in values else f"not one of: {', '.join(values)}")


def within(least: int, greatest: int) -> Rule:
    """Return the rule that an integer is from `least` to `greatest`, both allowed."""
    return Rule(
        {"minimum": least, "maximum": greatest},
        lambda value: None if least <= value <= greatest else f"not a number from {least} to {greatest}",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold."""

    schema: Schema
    check: Check


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field of a request: what it may hold, and whether a request must have it."""

    check: Check
    required: bool


@cache
def _fields(cls: type) -> Mapping[str, Field]:
    hints = typing.get_type_hints(cls, include_extras=True)
    optional = _defaults(cls)
    return {name: Field(_read_hint(hint).check, required=name not in optional) for name, hint in hints.items()}


fields_of = cast("Callable[[type], Mapping[str, Field]]", _fields)  # the type of `cache` requires a Hashable
"""Returns the fields of a request, a dataclass, by name and in order."""


def schema_of(cls: type) -> Schema:
    """Return the JSON Schema of a request, a dataclass, or of an answer, a TypedDict. Its docstring describes it."""
    defaults = _defaults(cls)
    properties: dict[str, Schema] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        properties[name] = dict(_read_hint(hint).schema)
        if name in defaults:
            properties[name]["default"] = defaults[name]
    schema: Schema = {"type": "object", "description": _description(cls), "properties": properties}
    required = [name for name in properties if name not in defaults]
    return schema | ({"required": required} if required else {}) | {"additionalProperties": False}


def answers_in(cls: type) -> list[type]:
    """Return the answers that the fields of a request or an answer hold, directly or in lists."""
    return [found for hint in typing.get_type_hints(cls).values() for found in _find_answers(hint)]


def reference(cls: type) -> Schema:
    """Return the schema that refers to the one of a request or an answer."""
    return {"$ref": f"#/components/schemas/{cls.__name__}"}


def to_json(value: object) -> object:
    """Return the value of a field in the types of JSON."""
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def _defaults(cls: type) -> dict[str, object]:
    """Return the defaults of the fields that have one, in the types of JSON."""
    if not dataclasses.is_dataclass(cls):
        return {}
    found: dict[str, object] = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = to_json(field.default_factory())
    return found


def _find_answers(hint: object) -> list[type]:
    if typing.is_typeddict(hint):
        return [cast("type", hint)]
    return [found for each in typing.get_args(hint) for found in _find_answers(each)]


def _description(cls: type) -> str:
    paragraphs = (inspect.getdoc(cls) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


# -- from a type hint to its check and schema -------------------------------------------------------------------------

_SIMPLE: Final[Mapping[object, Kind]] = {
    str: Kind({"type": "string"}, lambda value: None if isinstance(value, str) else "not a string"),
    bool: Kind({"type": "boolean"}, lambda value: None if isinstance(value, bool) else "neither true nor false"),
    int: Kind(
        {"type": "integer"},
        lambda value: None if isinstance(value, int) and not isinstance(value, bool) else "not an integer",
    ),
}


def _read_hint(hint: object) -> Kind:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _narrow(_read_hint(arguments[0]), arguments[1:])
    if origin in {Union, types.UnionType}:
        inner, none = arguments
        assert none is type(None)
        return _allow_null(_read_hint(inner))
    if origin in {list, tuple}:
        return _make_array(_read_hint(arguments[0]))
    if origin in {dict, Mapping}:
        return _make_object(_read_hint(arguments[0]), _read_hint(arguments[1]))
    if typing.is_typeddict(hint):
        return Kind(reference(cast("type", hint)), lambda _: None)  # in answers only, which are not checked
    return _SIMPLE[hint]


def _narrow(kind: Kind, added: tuple[object, ...]) -> Kind:
    for each in added:
        if isinstance(each, str):
            kind = Kind(kind.schema | {"description": each}, kind.check)
        elif isinstance(each, Rule):
            kind = Kind({**kind.schema, **each.schema}, _combine(kind.check, each.check))
    return kind


def _combine(first: Check, second: Check) -> Check:
    return lambda value: first(value) or second(value)


def _allow_null(kind: Kind) -> Kind:
    schema = kind.schema
    if isinstance(schema.get("type"), str) and not schema.keys() & {"enum", "properties", "additionalProperties"}:
        schema = schema | {"type": [schema["type"], "null"]}
    else:
        schema = {"oneOf": [schema, {"type": "null"}]}
    return Kind(schema, lambda value: None if value is None else kind.check(value))


def _make_array(item: Kind) -> Kind:
    def check(value: object) -> str | None:
        if not isinstance(value, list):
            return "not a list"
        problem = next(filter(None, map(item.check, value)), None)
        return None if problem is None else f"a list with an item that is {problem}"

    return Kind({"type": "array", "items": item.schema}, check)


def _make_object(name: Kind, value: Kind) -> Kind:
    def check(found: object) -> str | None:
        if not isinstance(found, dict):
            return "not an object"
        problem = next(filter(None, map(name.check, found)), None)
        if problem is not None:
            return f"an object with a name that is {problem}"
        problem = next(filter(None, map(value.check, found.values())), None)
        return None if problem is None else f"an object with a value that is {problem}"

    names = {word: rule for word, rule in name.schema.items() if word != "type"}  # a name is always a string
    schema = {"type": "object", "additionalProperties": value.schema}
    return Kind(schema | ({"propertyNames": names} if names else {}), check)
