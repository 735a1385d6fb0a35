"""The description of the API, made from its declarations: `python -m chkpt.service.api.openapi` writes `openapi.json`.

The operations are declared in `chkpt.service.api.operations`, the fields in `chkpt.service.api.requests` and
`chkpt.service.api.messages`. A running machine serves the same document at `PATH`.
"""

import json
from pathlib import Path
from typing import Any, Final

from chkpt.service.api.fields import answers_in, reference, schema_of
from chkpt.service.api.messages import ErrorReply
from chkpt.service.api.operations import OPERATIONS, Operation

PATH: Final = "/openapi.json"
"""The path at which a machine's service serves the document."""

FILE: Final = Path(__file__).with_name("openapi.json")
"""The document in the package."""

DESCRIPTION: Final = (
    "HTTP and JSON on the Unix socket `api.sock` in the machine's directory: `$XDG_RUNTIME_DIR/chkpt/NAME/`, or "
    "`chkpt-UID/NAME/` in the temporary directory if XDG_RUNTIME_DIR is not set. The directory and the socket are open "
    "to its user only; there is no other authentication.\n\n"
    "A request takes effect between two steps of the machine: between two qtest commands, between two timers. "
    "Beside `api.sock` each serial port has a socket `PORT.console` that carries its bytes."
)

REFUSALS: Final = {
    400: "The request itself is wrong: not HTTP or not JSON, an unknown or missing field, a value that its field does "
    "not take, a path where no snapshot may be.",
    404: "There is no such snapshot, key, device or context.",
    409: "The file exists already, or another machine or user has what the request needs, or the operating system "
    "refuses: no such directory, no permission, no space. Or the machine is being saved at the end of its run.",
    413: "The body is longer than 1 MiB.",
    422: "The snapshot or a key was refused: corrupt, too new, of other devices, or something would be skipped and "
    "`strict` is true. Nothing has changed.",
    500: "A device failed, or the service itself.",
    503: "The machine is ending, or too many clients are connected.",
}
"""What each HTTP status of an error means."""


def document() -> dict[str, Any]:
    """Return the description of the API, an OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe_operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "chkpt: a running machine",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "http://localhost", "description": "The host name is not looked at."}],
        "paths": paths,
        "components": {
            "responses": {str(status): _describe_response(text, ErrorReply) for status, text in REFUSALS.items()},
            "schemas": {cls.__name__: schema_of(cls) for cls in _find_classes()},
        },
    }


def text() -> str:
    """Return the text of `openapi.json`."""
    return json.dumps(document(), indent=2) + "\n"


def _describe_operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if operation.description:
        found["description"] = operation.description
    if operation.request is not None:
        found["requestBody"] = {"required": operation.needs_body, "content": _describe_content(operation.request)}
    found["responses"] = {
        str(status): {"$ref": f"#/components/responses/{status}"} if status in REFUSALS else _describe_done(operation)
        for status in operation.statuses
    }
    return found


def _describe_done(operation: Operation) -> dict[str, Any]:
    return _describe_response("Done.", operation.reply)


def _describe_response(description: str, reply: type) -> dict[str, Any]:
    return {"description": description, "content": _describe_content(reply)}


def _describe_content(cls: type) -> dict[str, Any]:
    return {"application/json": {"schema": reference(cls)}}


def _find_classes() -> list[type]:
    """Return the classes of all requests and answers, each after the first operation or answer that names it."""
    found: dict[type, None] = {}

    def add(cls: type) -> None:
        if cls not in found:
            found[cls] = None
            for inner in answers_in(cls):
                add(inner)

    for operation in OPERATIONS:
        for cls in (operation.request, operation.reply):
            if cls is not None:
                add(cls)
    add(ErrorReply)
    return list(found)


if __name__ == "__main__":
    FILE.write_text(text())
