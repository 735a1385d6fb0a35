"""`openapi.json` says what the code does: the same paths, methods, fields and statuses."""

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route  # noqa: TID253  the test needs it anyway

from chkpt import errors
from chkpt.device import FrontendKind
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.loop import RunLoop
from chkpt.service import messages, paths, requests
from chkpt.service.app import application
from chkpt.service.running import RunningMachine
from tests.support.served import OPENAPI, resolve, table

SCHEMAS: dict[str, Any] = OPENAPI["components"]["schemas"]

REPLIES = [
    messages.MachineInfo,
    messages.DeviceList,
    messages.DeviceInfo,
    messages.FrontendInfo,
    messages.BackendInfo,
    messages.MediumInfo,
    messages.DriveInfo,
    messages.DriveList,
    messages.SkipInfo,
    messages.SaveReply,
    messages.LoadReply,
    messages.CpuInfo,
    messages.WorkInfo,
    messages.StepReply,
    messages.StopReply,
    messages.ErrorReply,
]

REQUESTS = [
    requests.SaveRequest,
    requests.LoadRequest,
    requests.MediaRequest,
    requests.StepRequest,
    requests.EmptyRequest,
]


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in OPENAPI["paths"].items()
        for method, operation in methods.items()
    }


def schema_of(hint: object) -> dict[str, Any]:
    """Return the JSON schema of a type hint, as the file writes it (without descriptions)."""
    simple: dict[object, dict[str, Any]] = {
        str: {"type": "string"},
        int: {"type": "integer"},
        bool: {"type": "boolean"},
        str | None: {"type": ["string", "null"]},
        int | None: {"type": ["integer", "null"]},
        Mapping[str, str | None]: {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        Mapping[str, str]: {"type": "object", "additionalProperties": {"type": "string"}},
        dict[str, str]: {"type": "object", "additionalProperties": {"type": "string"}},
    }
    if hint in simple:
        return simple[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in {list, tuple}:
        return {"type": "array", "items": schema_of(arguments[0])}
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        assert arguments[1] is type(None)
        return {"oneOf": [schema_of(arguments[0]), {"type": "null"}]}
    assert isinstance(hint, type)
    return {"$ref": f"#/components/schemas/{hint.__name__}"}


def bare(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in schema.items()
        if key not in {"description", "default", "enum", "pattern", "maxLength"}
    }


def test_paths_and_methods_are_those_of_the_application() -> None:
    machine = Machine(parse(table()))
    routes = application(RunningMachine(RunLoop(machine, wall_clock=False)), lambda: None).routes
    found = {
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert found == set(operations())


def test_every_schema_is_one_of_the_code() -> None:
    assert set(SCHEMAS) == {each.__name__ for each in [*REPLIES, *REQUESTS]}


@pytest.mark.parametrize("reply", REPLIES, ids=lambda each: each.__name__)
def test_fields_of_replies(reply: type) -> None:
    schema = SCHEMAS[reply.__name__]
    hints = typing.get_type_hints(reply)
    assert {name: bare(each) for name, each in schema["properties"].items()} == {
        name: schema_of(hint) for name, hint in hints.items()
    }
    assert schema.get("required", []) == list(hints)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda each: each.__name__)
def test_fields_of_requests(request_type: type) -> None:
    schema = SCHEMAS[request_type.__name__]
    hints = typing.get_type_hints(request_type)
    assert {name: bare(each) for name, each in schema["properties"].items()} == {
        name: schema_of(hint) for name, hint in hints.items()
    }
    assert list(requests.CHECKS[request_type]) == list(hints)
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(request_type)
    for each in fields:
        default = each.default_factory() if callable(each.default_factory) else each.default
        described = schema["properties"][each.name].get("default", dataclasses.MISSING)
        assert (list(default) if isinstance(default, tuple) else default) == described
        assert (each.name in schema.get("required", [])) == (described is dataclasses.MISSING)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("name", ["SaveRequest", "LoadRequest", "MediaRequest"])
@given(path=st.text().map(lambda text: f"/{text}") | st.text() | st.integers(4080, 4110).map(lambda n: "/x" * (n // 2)))
def test_path_that_is_taken_is_one_by_its_schema(name: str, path: str) -> None:
    schema = SCHEMAS[name]["properties"]["path"]
    described = re.search(schema["pattern"], path, re.DOTALL) is not None and len(path) <= schema["maxLength"]
    assert described or paths.problem(path) is not None


def test_kinds_of_frontends() -> None:
    assert SCHEMAS["FrontendInfo"]["properties"]["kind"]["enum"] == [kind.value for kind in FrontendKind]


def test_statuses_are_those_of_the_error_tree() -> None:
    known = {"200", "413", *map(str, messages.STATUSES.values())}
    declared = {status for operation in operations().values() for status in operation["responses"]}
    assert declared == known
    for operation in operations().values():
        assert {"200", "500", "503"} <= set(operation["responses"])


def test_every_error_response_is_an_error_reply() -> None:
    for operation in operations().values():
        for status, response in operation["responses"].items():
            content = resolve(response)["content"]["application/json"]["schema"]
            assert (content == {"$ref": "#/components/schemas/ErrorReply"}) == (status != "200")


def test_every_error_class_has_a_status_and_comes_through() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ChkptError)]
    assert len(kinds) > 10
    for kind in kinds:
        reply, status = messages.error_reply(kind("what happened"))
        assert 400 <= status < 600
        assert reply["exit_status"] == kind.exit_status
        back = messages.error_of(reply)
        assert type(back) is kind
        assert str(back) == "what happened"


def test_error_class_from_elsewhere_is_told_as_its_known_base() -> None:
    class OwnError(errors.StateError):
        pass

    reply, status = messages.error_reply(OwnError("bad"))
    assert reply["error"] == "StateError"
    assert status == 422


@pytest.mark.parametrize("document", [None, [], {}, {"error": "SystemExit", "message": "x"}, {"error": 3}])
def test_error_that_cannot_be_read_is_still_an_error(document: object) -> None:
    assert type(messages.error_of(document)) is errors.ChkptError
