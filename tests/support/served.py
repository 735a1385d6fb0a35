"""Machines served in a thread of the test's own process, and answers checked against `openapi.json`."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path
from typing import Any

from chkpt import sockets
from chkpt.errors import NoMachineError
from chkpt.machine.config import default, parse
from chkpt.service.http.client import MachineClient, find
from chkpt.service.launch import Launch, serve
from chkpt.snapshot import Reader

OPENAPI: dict[str, Any] = json.loads((files("chkpt.service.api") / "openapi.json").read_text())


def table(*devices: Mapping[str, object], name: str = "m") -> dict[str, object]:
    """Return a machine's table."""
    return {"name": name, "memory": 4096, "device": list(devices)}


COM1: dict[str, object] = {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4}


def launch(*devices: Mapping[str, object], name: str = "m", load: Path | None = None, paused: bool = False) -> Launch:
    """Return the launch of a machine; of the default one where no device is given."""
    config = parse(table(*devices, name=name)) if devices else parse({**default().table, "name": name})
    return Launch(config, load=None if load is None else Reader.open(load), paused=paused)


@contextmanager
def serving(what: Launch) -> Iterator[MachineClient]:
    """Serve a machine until the block ends."""
    ready = threading.Event()
    failed: list[Exception] = []

    def run() -> None:
        try:
            serve(what, lambda *_: ready.set())
        except Exception as exc:  # noqa: BLE001  it belongs to the test
            failed.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        client = find(what.config.name)
        try:
            yield client
        finally:
            with suppress(NoMachineError):  # the test has stopped it
                client.stop()
    finally:
        thread.join()
    if failed:
        raise failed[0]


class UnixHTTP(HTTPConnection):
    """HTTP over a Unix socket, as any client would speak it."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = sockets.connect(self.path)


def ask(machine: MachineClient, method: str, target: str, body: object = None) -> tuple[int, Any]:
    """Send one request and return status and document, both checked against `openapi.json`."""
    connection = UnixHTTP(machine.path / "api.sock")
    try:
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        connection.request(method, target, content)
        response = connection.getresponse()
        document = json.loads(response.read())
        assert response.headers["content-type"] == "application/json"
    finally:
        connection.close()
    operation = OPENAPI["paths"].get(target, {}).get(method.lower())
    if operation is not None:
        described = operation["responses"][str(response.status)]
        schema = resolve(described)["content"]["application/json"]["schema"]
        assert list(problems(document, schema)) == []
    return response.status, document


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a `$ref`."""
    while "$ref" in node:
        found: Any = OPENAPI
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "boolean": bool, "null": type(None), "object": dict, "array": list,
}  # fmt: skip


def problems(value: object, schema: dict[str, Any], where: str = "$") -> Iterator[str]:
    """Yield why `value` does not fit a JSON schema, of which the few words used here are known."""
    schema = resolve(schema)
    if "oneOf" in schema:
        if sum(not list(problems(value, each)) for each in schema["oneOf"]) != 1:
            yield f"{where} does not fit one of {schema['oneOf']}"
        return
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(value, TYPES[kind]) and isinstance(value, bool) == (kind == "boolean") for kind in kinds):
        yield f"{where} is {value!r}, not {kinds}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, not of {schema['enum']}"
    elif isinstance(value, list):
        for at, each in enumerate(value):
            yield from problems(each, schema["items"], f"{where}[{at}]")
    elif isinstance(value, dict):
        yield from (f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
            if inner is False:
                yield f"{where}.{name} is unknown"
            elif inner is not True:
                yield from problems(each, inner, f"{where}.{name}")
