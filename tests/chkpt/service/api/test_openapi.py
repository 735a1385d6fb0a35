"""`openapi.json` is made from the declarations of the API, and says what the code does."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route  # noqa: TID253  the test needs it anyway

from chkpt import errors
from chkpt.device import FrontendKind
from chkpt.machine import Machine
from chkpt.machine.config import Pace, parse
from chkpt.machine.cpu.contract import Activity
from chkpt.machine.cpu.execution import Outcome
from chkpt.machine.run.loop import RunLoop
from chkpt.service.api import messages, openapi, operations, requests
from chkpt.service.api.fields import Schema
from chkpt.service.control import RunningMachine
from chkpt.service.http.app import application
from tests.support.served import OPENAPI, UnixHTTP, launch, resolve, serving, table

SCHEMAS: dict[str, Any] = OPENAPI["components"]["schemas"]


def documented() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in OPENAPI["paths"].items()
        for method, operation in methods.items()
    }


def test_the_file_is_the_one_that_the_declarations_give() -> None:
    assert openapi.FILE.read_text() == openapi.text(), "run `make openapi`"


def test_a_machine_serves_the_document() -> None:
    with serving(launch()) as machine:
        connection: HTTPConnection = UnixHTTP(machine.path / "api.sock")
        connection.request("GET", "/openapi.json")
        response = connection.getresponse()
        assert (response.status, response.headers["content-type"]) == (200, "application/json")
        assert json.loads(response.read()) == OPENAPI
        connection.request("POST", "/openapi.json")
        assert connection.getresponse().status == 405
        connection.close()


def test_paths_and_methods_are_those_of_the_application() -> None:
    machine = Machine(parse(table()))
    routes = application(RunningMachine(RunLoop(machine, wall_clock=False)), lambda: None).routes
    found = {
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert found == {*documented(), ("GET", "/openapi.json")}


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert resolve(node)
                used.add(node["$ref"])
            for each in node.values():
                walk(each)
        elif isinstance(node, list):
            for each in node:
                walk(each)

    walk(OPENAPI)
    parts = OPENAPI["components"].items()
    assert used == {f"#/components/{kind}/{name}" for kind, found in parts for name in found}


def test_every_request_and_answer_of_the_code_is_described() -> None:
    replies = {name for name, each in vars(messages).items() if hasattr(each, "__required_keys__")}
    assert set(SCHEMAS) == {*replies, "SaveRequest", "LoadRequest", "MediaRequest", "StepRequest", "EmptyRequest"}


def test_a_body_is_required_if_it_has_a_field_that_is() -> None:
    required = {
        path: each["requestBody"]["required"] for (_, path), each in documented().items() if "requestBody" in each
    }
    assert [path for path, needed in required.items() if needed] == ["/v1/media", "/v1/save", "/v1/load"]


def test_a_field_is_described_with_its_type_range_and_default() -> None:
    def bare(schema: Schema) -> Schema:
        return {word: rule for word, rule in schema.items() if word != "description"}

    assert bare(SCHEMAS["StepRequest"]["properties"]["ns"]) == {
        "type": ["integer", "null"], "minimum": 1, "maximum": 1 << 62, "default": None,
    }  # fmt: skip
    load = SCHEMAS["LoadRequest"]
    assert load["required"] == ["path"]
    assert load["additionalProperties"] is False
    assert bare(load["properties"]["only"]) == {"type": "array", "items": {"type": "string"}, "default": []}
    assert bare(load["properties"]["time"]) == {"type": "string", "enum": ["freeze", "wall"], "default": "freeze"}
    assert bare(load["properties"]["require"]) == {
        "oneOf": [
            {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "propertyNames": {"pattern": "^[0-9a-f]{64}$"},
            },
            {"type": "null"},
        ],
        "default": None,
    }
    assert bare(SCHEMAS["MachineInfo"]["properties"]["cpu"]) == {
        "oneOf": [{"$ref": "#/components/schemas/CpuInfo"}, {"type": "null"}]
    }
    assert bare(SCHEMAS["LoadReply"]["properties"]["left"]) == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/SkipInfo"},
    }


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2),
    st.sampled_from([(1 << 62) - 1, 1 << 62, (1 << 62) + 1]),
    st.floats(0, 2),
    st.text(max_size=3),
    st.text(max_size=5).map("/{}".format),
    st.integers(4080, 4110).map(lambda n: "/x" * (n // 2)),
    st.sampled_from(["freeze", "wall", "0" * 64]),
)

BODIES: Mapping[type, st.SearchStrategy[Mapping[str, object]]] = {
    kind: st.fixed_dictionaries(
        {name: st.just("/a") | VALUES for name in SCHEMAS[kind.__name__].get("required", [])},
        optional={
            name: VALUES
            | st.lists(VALUES, max_size=2)
            | st.dictionaries(st.just("0" * 64) | st.text(max_size=2), VALUES)
            for name in SCHEMAS[kind.__name__]["properties"]
            if name not in SCHEMAS[kind.__name__].get("required", [])
        },
    )
    for kind in (requests.SaveRequest, requests.LoadRequest, requests.MediaRequest, requests.StepRequest)
}


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_body_that_is_taken_is_one_by_its_schema(kind: type, data: st.DataObject) -> None:
    body = data.draw(BODIES[kind])
    try:
        requests.read_request(json.dumps(body).encode(), kind)
    except errors.UsageError:
        return
    jsonschema_rs.validate({**SCHEMAS[kind.__name__], "components": OPENAPI["components"]}, body)


@pytest.mark.parametrize(
    ("answer", "field", "values"),
    [
        ("FrontendInfo", "kind", {each.value for each in FrontendKind}),
        ("CpuInfo", "activity", {each.value for each in Activity}),
        ("CpuInfo", "pace", {each.value for each in Pace}),
        ("StepReply", "outcome", {each.value for each in Outcome if each is not Outcome.RESTS} | {"interrupted"}),
    ],
)
def test_words_of_an_answer_are_those_of_the_code(answer: str, field: str, values: set[str]) -> None:
    assert set(SCHEMAS[answer]["properties"][field]["enum"]) == values


def test_each_operation_has_a_name_and_a_route_of_its_own() -> None:
    assert len({each.name for each in operations.OPERATIONS}) == len(operations.OPERATIONS)
    assert [(each.method, each.path) for each in operations.OPERATIONS] == list(documented())


def test_statuses_are_those_of_the_error_tree() -> None:
    known = {"200", "413", *map(str, messages.STATUSES.values())}
    declared = {status for operation in documented().values() for status in operation["responses"]}
    assert declared == known
    for operation in documented().values():
        assert {"200", "500", "503"} <= set(operation["responses"])


def test_every_error_response_is_an_error_reply() -> None:
    for operation in documented().values():
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
