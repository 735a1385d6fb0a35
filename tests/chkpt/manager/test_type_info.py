"""What a type can be configured with is described completely."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from chkpt.device import U4, U8, DeviceType, Length, OfMachine, Range
from chkpt.manager.type_info import ConfigKey, TypeInfo, config_keys, describe_backend, describe_device
from chkpt_devices.backends.block import SCRATCH
from chkpt_devices.ide import IDE
from tests.support.small import CELL, INERT


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True)
class Inner:
    unit: U4
    depth: U8 = 3


@dataclass(frozen=True, slots=True)
class Whole:
    size: Annotated[int, Range(1, 5)]
    colour: Colour = Colour.RED
    name: Annotated[str, Length(0, 8)] = "n"
    link: Annotated[str, Length(1, 8)] | None = None
    fixed: tuple[U8, U8] = (1, 2)
    made: Annotated[bytes, Length(0, 2)] = field(default_factory=lambda: b"m")
    inner: Inner = Inner(1)
    maybe: Inner | None = None
    many: Annotated[tuple[Inner, ...], Length(0, 2)] = ()


def test_each_key_has_its_kind_and_its_default() -> None:
    assert list(config_keys(Whole)) == [
        ConfigKey("size", "integer 1..5", required=True),
        ConfigKey("colour", "one of red, green", required=False, default="red"),
        ConfigKey("name", "str of length 0..8", required=False, default="n"),
        ConfigKey("link", "str of length 1..8 or nil", required=False, default=None),
        ConfigKey("fixed", "2..2 of integer 0..255", required=False, default=[1, 2]),
        ConfigKey("made", "bytes of length 0..2", required=False, default=b"m"),
        ConfigKey("inner", "table", required=False),
        ConfigKey("inner.unit", "integer 0..15", required=True),
        ConfigKey("inner.depth", "integer 0..255", required=False, default=3),
        ConfigKey("maybe", "table", required=False),
        ConfigKey("maybe.unit", "integer 0..15", required=True),
        ConfigKey("maybe.depth", "integer 0..255", required=False, default=3),
        ConfigKey("many", "tables", required=False, default=[]),
        ConfigKey("many[].unit", "integer 0..15", required=True),
        ConfigKey("many[].depth", "integer 0..255", required=False, default=3),
    ]


def test_a_key_that_the_machine_fills_in_says_what_it_puts_there() -> None:
    @dataclass(frozen=True, slots=True)
    class Filled:
        ram: Annotated[int, Range(0, 9), OfMachine.RAM_BELOW_4G] = 3

    default = "bytes of RAM below 4 GiB"
    assert list(config_keys(Filled)) == [ConfigKey("ram", "integer 0..9", required=False, default=default)]


def test_a_device_type_has_the_version_of_its_state() -> None:
    assert describe_device(CELL) == TypeInfo("cell", tuple(config_keys(CELL.config)), version=1)
    assert describe_device(INERT).version is None

    @dataclass(frozen=True, slots=True)
    class Newer:
        VERSION: ClassVar[int] = 7

    newer: DeviceType[Any, Any] = DeviceType("newer", CELL.create, CELL.config, Newer)
    assert describe_device(newer).version == 7


def test_a_backend_type_has_its_kind() -> None:
    info = describe_backend(SCRATCH)
    assert (info.name, info.kind, info.version) == ("scratch", "block", None)
    assert [key.name for key in info.config] == ["size"]


def test_the_drives_of_a_channel_are_tables() -> None:
    keys = {key.name: key for key in config_keys(IDE.config)}
    assert keys["drive"].kind == "tables"
    assert keys["drive[].unit"].required
    assert keys["drive[].media"].default == "disk"
