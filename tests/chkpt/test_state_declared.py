"""What a dataclass declares, packed into a header and read from one."""

import enum
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest

from chkpt.context import Blob
from chkpt.device import U4, U8, Length, Time, Upgrade
from chkpt.errors import StateError
from chkpt.state import declared, pack_schemas, unpack_schemas


class Mode(enum.Enum):
    OFF = "off"
    ON = 1


@dataclass(frozen=True, slots=True)
class Inner:
    a: U8


@dataclass(frozen=True, slots=True)
class Outer:
    VERSION: ClassVar[int] = 3
    UPGRADES: ClassVar[Mapping[int, Upgrade]] = {1: dict, 2: dict}

    n: U4
    t: Time | None
    flag: bool
    data: Annotated[bytes, Length(0, 16)]
    name: Annotated[str, Length(1, 4)]
    mode: Mode
    row: Annotated[tuple[U8 | None, ...], Length(2, 4)]
    pair: tuple[U8, bool]
    ram: Blob
    one: Inner
    perhaps: Inner | None
    many: Annotated[tuple[Inner, ...], Length(0, 3)]


DECLARED = {
    "version": 3,
    "upgrades": [1, 2],
    "fields": {
        "n": ["int", 0, 15],
        "t": ["or nil", ["time", -(1 << 63), (1 << 63) - 1]],
        "flag": ["bool"],
        "data": ["bytes", 0, 16],
        "name": ["str", 1, 4],
        "mode": ["one of", ["off", 1]],
        "row": ["list", 2, 4, [["or nil", ["int", 0, 255]]]],
        "pair": ["list", 2, 2, [["int", 0, 255], ["bool"]]],
        "ram": ["blob"],
        "one": ["context", "Inner"],
        "perhaps": ["or nil", ["context", "Inner"]],
        "many": ["contexts", 0, 3, "Inner"],
    },
    "contexts": {"Inner": {"fields": {"a": ["int", 0, 255]}}},
}


def test_every_kind_of_field_is_declared() -> None:
    found = json.loads(json.dumps(declared(Outer)))
    assert found["fields"].pop("t")[1][0] == "time"
    assert found == DECLARED | {"fields": {k: v for k, v in DECLARED["fields"].items() if k != "t"}}  # type: ignore[attr-defined]  # a map


def test_schemas_come_back() -> None:
    packed = pack_schemas({"outer": Outer, "inner": Inner})
    assert packed == pack_schemas({"outer": Outer, "inner": Inner})
    assert unpack_schemas(packed) == json.loads(json.dumps({"outer": declared(Outer), "inner": declared(Inner)}))
    assert unpack_schemas(None) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zlib",
        "text",
        3,
        [],
        zlib.compress(b"no JSON"),
        zlib.compress(b"[]"),
        zlib.compress(b'{"pit": 3}'),
        zlib.compress(b"[" * 100_000),
        zlib.compress(b"\xff"),
        zlib.compress(b'{"a": "' + bytes(1 << 28) + b'"}'),
        zlib.compress(b"{}")[:-1],
        zlib.compress(b"{}") + b"x",
    ],
)
def test_what_is_no_schemas_is_refused(data: object) -> None:
    with pytest.raises(StateError, match="schemas"):
        unpack_schemas(data)
