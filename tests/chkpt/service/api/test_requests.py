"""Bodies of requests: what is taken, and what is refused with which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import UsageError
from chkpt.service.api.requests import (
    EmptyRequest,
    LoadRequest,
    MediaRequest,
    SaveRequest,
    StepRequest,
    body_of,
    read_request,
)


def test_save_with_defaults() -> None:
    assert read_request(b'{"path": "/a.zst"}', SaveRequest) == SaveRequest("/a.zst", force=False)


def test_load_with_everything() -> None:
    body = {"path": "/a", "strict": True, "only": ["pit"], "skip": ["pic"], "rename": {"com1": "com2"}}
    assert read_request(json.dumps(body).encode(), LoadRequest) == LoadRequest(
        "/a", strict=True, only=("pit",), skip=("pic",), rename={"com1": "com2"}
    )


@pytest.mark.parametrize("body", [b"", b"{}", b" {} "])
def test_nothing_may_be_said_in_two_ways(body: bytes) -> None:
    assert read_request(body, EmptyRequest) == EmptyRequest()


def test_path_with_bytes_that_are_no_text_is_taken() -> None:
    assert read_request(rb'{"path": "/\udcff"}', SaveRequest).path == "/\udcff"


@pytest.mark.parametrize(
    ("request_type", "body", "words"),
    [
        (SaveRequest, b"{", "not JSON"),
        (SaveRequest, b"\xff", "not JSON"),
        (SaveRequest, b'{"path": "/a"} x', "not JSON"),
        (SaveRequest, b"[" * 100_000, "not JSON"),
        (SaveRequest, b'{"path": "/a", "path": "/b"}', "same name twice"),
        (SaveRequest, b"[]", "not a JSON object"),
        (SaveRequest, b"null", "not a JSON object"),
        (SaveRequest, b"", "field path is missing"),
        (SaveRequest, b'{"path": "/a", "forse": true}', "unknown field 'forse'; known are: path, force"),
        (EmptyRequest, b'{"x": 1}', "unknown field 'x'; known are: none"),
        (SaveRequest, b'{"path": 1}', "field path is not a string"),
        (SaveRequest, b'{"path": null}', "field path is not a string"),
        (SaveRequest, b'{"path": ""}', "field path is not an absolute path"),
        (SaveRequest, b'{"path": "a.zst"}', "field path is not an absolute path"),
        (SaveRequest, b'{"path": "/a\\u0000"}', "field path is not an absolute path"),
        (SaveRequest, b'{"path": "/\\ud800"}', "field path is not a path that a file may have"),
        (SaveRequest, b'{"path": "/a", "force": 1}', "field force is neither true nor false"),
        (LoadRequest, b'{"path": "/a", "strict": "yes"}', "field strict is neither true nor false"),
        (LoadRequest, b'{"path": "/a", "only": "pit"}', "field only is not a list"),
        (LoadRequest, b'{"path": "/a", "skip": [1]}', "field skip is a list with an item that is not a string"),
        (LoadRequest, b'{"path": "/a", "rename": [["a", "b"]]}', "field rename is not an object"),
        (
            LoadRequest,
            b'{"path": "/a", "rename": {"a": null}}',
            "field rename is an object with a value that is",
        ),
        (LoadRequest, b'{"path": "/a", "identity": "me"}', "field identity is not an absolute path"),
        (LoadRequest, b'{"path": "/a", "require": {"ab": "me"}}', "field require is an object with a name that is not"),
        (LoadRequest, b'{"path": "/a", "time": "now"}', "field time is not one of: freeze, wall"),
        (StepRequest, b'{"ticks": true}', "field ticks is not an integer"),
        (StepRequest, b'{"ns": 1.0}', "field ns is not an integer"),
        (StepRequest, b'{"blocks": 0}', f"field blocks is not a number from 1 to {1 << 62}"),
        (StepRequest, b'{"blocks": 4611686018427387905}', f"field blocks is not a number from 1 to {1 << 62}"),
    ],
)
def test_refused(request_type: type, body: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_request(body, request_type)


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_body_is_read_or_refused(body: object) -> None:
    try:
        read = read_request(body if isinstance(body, bytes) else json.dumps(body).encode(), LoadRequest)
    except UsageError:
        return
    assert read.path.startswith("/")


@pytest.mark.parametrize(
    "request_sent",
    [
        SaveRequest("/a"),
        SaveRequest("/a", force=True, sign="/key", recipients=("age1", "age2")),
        LoadRequest("/a"),
        LoadRequest(
            "/a",
            strict=True,
            only=("pit",),
            skip=("pic",),
            rename={"com1": "com2"},
            identity="/me",
            require={"0" * 64: "me"},
            time="wall",
            drives={"ide0.1": None, "ide1.0": "/cd.iso"},
            raw=("ide1.0",),
        ),
        MediaRequest("ide1.0", None),
        MediaRequest("ide1.0", "/cd.iso", force=True, raw=True),
        StepRequest(),
        StepRequest(ns=1),
        EmptyRequest(),
    ],
    ids=repr,
)
def test_what_a_client_sends_is_what_the_service_reads(request_sent: object) -> None:
    assert read_request(json.dumps(body_of(request_sent)).encode(), type(request_sent)) == request_sent


def test_field_that_has_its_default_is_not_sent_as_an_older_service_may_not_know_it() -> None:
    assert body_of(LoadRequest("/a", strict=False)) == {"path": "/a"}
    assert body_of(MediaRequest("ide1.0", None)) == {"drive": "ide1.0", "path": None}
