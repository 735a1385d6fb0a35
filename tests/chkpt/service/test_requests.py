"""Bodies of requests: what is taken, and what is refused with which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import UsageError
from chkpt.service.requests import EmptyRequest, LoadRequest, SaveRequest, parse


def test_save_with_defaults() -> None:
    assert parse(b'{"path": "/a.zst"}', SaveRequest) == SaveRequest("/a.zst", force=False)


def test_load_with_everything() -> None:
    body = {"path": "/a", "strict": True, "only": ["pit"], "skip": ["pic"], "rename": {"com1": "com2"}}
    assert parse(json.dumps(body).encode(), LoadRequest) == LoadRequest(
        "/a", strict=True, only=("pit",), skip=("pic",), rename={"com1": "com2"}
    )


@pytest.mark.parametrize("body", [b"", b"{}", b" {} "])
def test_nothing_may_be_said_in_two_ways(body: bytes) -> None:
    assert parse(body, EmptyRequest) == EmptyRequest()


def test_path_with_bytes_that_are_no_text_is_taken() -> None:
    assert parse(rb'{"path": "/\udcff"}', SaveRequest).path == "/\udcff"


@pytest.mark.parametrize(
    ("request_type", "body", "words"),
    [
        (SaveRequest, b"{", "not JSON"),
        (SaveRequest, b"\xff", "not JSON"),
        (SaveRequest, b'{"path": "/a"} x', "not JSON"),
        (SaveRequest, b"[" * 100_000, "not JSON"),
        (SaveRequest, b'{"path": "/a", "path": "/b"}', "stands twice"),
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
        (LoadRequest, b'{"path": "/a", "only": "pit"}', "field only is not a list of names"),
        (LoadRequest, b'{"path": "/a", "skip": [1]}', "field skip is not a list of names"),
        (LoadRequest, b'{"path": "/a", "rename": [["a", "b"]]}', "field rename is not an object"),
        (LoadRequest, b'{"path": "/a", "rename": {"a": null}}', "field rename is not an object"),
    ],
)
def test_refused(request_type: type, body: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(body, request_type)


@given(st.binary() | st.recursive(st.none() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_body_is_read_or_refused(body: object) -> None:
    try:
        read = parse(body if isinstance(body, bytes) else json.dumps(body).encode(), LoadRequest)
    except UsageError:
        return
    assert read.path.startswith("/")
