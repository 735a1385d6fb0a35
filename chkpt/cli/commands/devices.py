"""`chkpt devices`: list the installed types, or the devices of a running machine."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from chkpt.cli.options import AsJson
from chkpt.cli.output import show, show_columns, show_json
from chkpt.cli.values import format_value

if TYPE_CHECKING:
    from chkpt.manager.type_info import TypeInfo
    from chkpt.service.api.messages import BackendInfo, DeviceList

NONE = "-"


class CommonKey(NamedTuple):
    """A key of a machine's TOML that `chkpt.machine.config` reads itself, for every type.

    `default` says what holds without the key; None means that the key is required.
    """

    table: str  # device, drive or backend
    key: str
    kind: str
    default: str | None


COMMON_KEYS: Final = (
    CommonKey("device", "type", "name of a device type", None),
    CommonKey("device", "name", "str, of this device alone", "its type"),
    CommonKey("device", "backend", "table, if the device takes one", "nothing connected"),
    CommonKey("drive", "image", "str, path of an image, never written", NONE),
    CommonKey("drive", "format", "raw: take the image as it is, whatever it looks like", "refused unless it is raw"),
    CommonKey("drive", "size", 'bytes of a scratch disk, 16777216 or "16M"', NONE),
    CommonKey("drive", "backend", "table, in place of image or size", "nothing connected"),
    CommonKey("backend", "type", "name of a backend type", None),
)


def devices(
    *,
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", metavar="NAME", help="List the devices of this running machine.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the installed types of devices and backends with their configuration keys, as in a machine's TOML.

    Below are the keys that every device, drive (a table of drive[]) or backend also takes.

    With -m, list the devices of that running machine instead, with what they claim and what is connected to them.
    """
    if machine is not None:
        _show_machine(machine, as_json=as_json)
        return
    from chkpt.manager import installed_backend_types, installed_device_types
    from chkpt.manager.type_info import describe_backend, describe_device

    types = [describe_device(each) for each in installed_device_types()]
    backends = [describe_backend(each) for each in installed_backend_types()]
    if as_json:
        _show_json(types, backends)
        return
    show_columns(("DEVICE", "STATE", "KEY", "VALUE", "DEFAULT"), [row for each in types for row in _device_rows(each)])
    show("")
    show_columns(
        ("BACKEND", "KIND", "KEY", "VALUE", "DEFAULT"), [row for each in backends for row in _rows(each, each.kind)]
    )
    show("")
    show_columns(
        ("TABLE", "KEY", "VALUE", "DEFAULT"),
        [(f"every {each.table}", each.key, each.kind, each.default or "required") for each in COMMON_KEYS],
    )


def _device_rows(info: "TypeInfo") -> Iterator[tuple[str, ...]]:
    return _rows(info, "not saved" if info.version is None else f"version {info.version}")


def _rows(info: "TypeInfo", note: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key, or one row for a type without keys."""
    for key in info.config:
        yield info.name, note, key.name, key.kind, "required" if key.required else format_value(key.default)
    if not info.config:
        yield info.name, note, NONE, NONE, NONE


def _show_json(types: "Iterable[TypeInfo]", backends: "Iterable[TypeInfo]") -> None:
    document = {
        "devices": [{"type": each.name, "version": each.version, "config": _json_keys(each)} for each in types],
        "backends": [{"type": each.name, "kind": each.kind, "config": _json_keys(each)} for each in backends],
        "common": [
            {"table": each.table, "key": each.key, "kind": each.kind, "required": each.default is None}
            for each in COMMON_KEYS
        ],
    }
    show_json(document)


def _json_keys(info: "TypeInfo") -> list[dict[str, object]]:
    return [
        {"key": key.name, "kind": key.kind, "required": key.required}
        | ({} if key.required else {"default": key.default})
        for key in info.config
    ]


# -- a running machine ------------------------------------------------------------------------------------------------


def _show_machine(name: str, *, as_json: bool) -> None:
    from chkpt.service.http.client import find

    found = find(name).devices()
    if as_json:
        show_json(found)
    else:
        show_columns(("DEVICE", "TYPE", "WHAT", "DETAIL"), list(_machine_rows(found)))


def _machine_rows(found: "DeviceList") -> Iterator[tuple[str, ...]]:
    for device in found["devices"]:
        name, kind = device["name"], device["type"]
        for claim in device["claims"]:
            yield name, kind, "claims", claim
        for frontend in device["frontends"]:
            yield name, kind, f"{frontend['kind']} {frontend['name']}", _describe_backend(frontend["backend"])
        if not device["claims"] and not device["frontends"]:
            yield name, kind, NONE, NONE


def _describe_backend(backend: "BackendInfo | None") -> str:
    if backend is None:
        return "nothing connected"
    return backend["type"] if backend["path"] is None else f"{backend['type']} {backend['path']}"
