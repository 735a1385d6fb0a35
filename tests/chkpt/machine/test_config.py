"""A machine's TOML: its keys, every error with its place, and removing the parts that touch the host."""

import datetime as dt
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ConfigError, NotFoundError, StorageError
from chkpt.machine import config
from chkpt.machine.config import (
    DEFAULT,
    MAX_MEMORY,
    BackendConfig,
    DeviceConfig,
    MachineConfig,
    default,
    parse,
    parse_size,
    read,
    with_backends,
    without_host,
)

WHOLE = """
name = "traces"
memory = "16M"
[[device]]
type = "pic"
[[device]]
type = "serial"
name = "com1"
port = 0x3f8
irq = 4
backend = { type = "file", path = "out.log", input = "/in.log" }
[[device]]
type = "ide"
name = "ide0"
port = 0x1f0
[[device.drive]]
unit = 0
media = "disk"
image = "disk.img"
model = "CHKPT TEST DISK"
[[device.drive]]
unit = 1
media = "cdrom"
image = "/cd.iso"
"""


def device(**table: object) -> DeviceConfig:
    return parse({"device": [{"type": "x", **table}]}).devices[0]


def drive(**table: object) -> DeviceConfig:
    return device(name="ide0", drive=[table])


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "machine.toml"
    path.write_text(WHOLE)
    return path


# -- what it says -----------------------------------------------------------------------------------------------------


def test_a_toml_gives_name_memory_devices_and_backends(toml: Path) -> None:
    config = read(toml)
    assert (config.name, config.memory) == ("traces", 16 << 20)
    pic, com1, ide0 = config.devices
    assert pic == DeviceConfig("pic", "pic", {})
    assert (com1.type, com1.name, com1.options) == ("serial", "com1", {"port": 0x3F8, "irq": 4})
    assert ide0.options == {
        "port": 0x1F0,
        "drive": [{"unit": 0, "media": "disk", "model": "CHKPT TEST DISK"}, {"unit": 1, "media": "cdrom"}],
    }


def test_relative_paths_count_from_the_toml_s_directory(toml: Path) -> None:
    _, com1, ide0 = read(toml).devices
    assert com1.backends == (BackendConfig("com1", "file", {"path": str(toml.parent / "out.log"), "input": "/in.log"}),)
    assert ide0.backends == (
        BackendConfig("ide0.0", "image", {"path": str(toml.parent / "disk.img"), "read_only": False}),
        BackendConfig("ide0.1", "image", {"path": "/cd.iso", "read_only": True}),
    )


def test_paths_are_made_absolute_from_a_relative_directory_too(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml.parent)
    (backend,) = read(Path(toml.name)).devices[1].backends
    assert backend.options["path"] == str(toml.parent / "out.log")


def test_the_kept_table_has_the_absolute_paths_and_describes_the_same_machine(toml: Path) -> None:
    config = read(toml)
    assert parse(config.table) == config
    assert str(toml.parent / "disk.img") in str(config.table)


def test_two_ways_to_describe_one_machine_are_equal() -> None:
    assert parse({"memory": "1M"}) == parse({"memory": 1 << 20, "name": "machine"})
    assert parse({"memory": "1M"}) != parse({"memory": "2M"})


def test_an_empty_table_is_a_machine_without_anything() -> None:
    assert parse({}) == MachineConfig("machine", 0, (), {})


def test_the_default_machine_has_the_devices_of_a_pc() -> None:
    config = default()
    assert config.memory == 16 << 20
    assert [(each.type, each.name) for each in config.devices] == [
        ("pic", "pic"),
        ("pit", "pit"),
        ("serial", "com1"),
        ("ide", "ide0"),
    ]
    assert config.devices[2].options == {"port": 0x3F8, "irq": 4}
    assert config.devices[3].options == {
        "port": 0x1F0,
        "control": 0x3F6,
        "irq": 14,
        "drive": [{"unit": 0, "media": "disk"}],
    }
    assert config.devices[3].backends == (BackendConfig("ide0.0", "scratch", {"size": 16 << 20}),)
    assert config.table is DEFAULT


def test_a_table_is_not_changed_by_parsing() -> None:
    table = {"device": [{"type": "ide", "drive": [{"image": "a"}]}]}
    parse(table, Path("/dir"))
    assert table == {"device": [{"type": "ide", "drive": [{"image": "a"}]}]}


def test_a_backend_goes_to_the_device_or_to_the_drive_it_stands_at() -> None:
    assert device(name="com1", backend={"type": "null"}).backends == (BackendConfig("com1", "null", {}),)
    assert drive(unit=1, backend={"type": "scratch", "size": "1M"}).backends == (
        BackendConfig("ide0.1", "scratch", {"size": 1 << 20}),
    )
    assert drive(size=4096).backends == (BackendConfig("ide0.0", "scratch", {"size": 4096}),)
    assert drive(unit=1).backends == ()


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("0", 0),
        ("512", 512),
        ("4K", 4096),
        ("4k", 4096),
        ("16M", 16 << 20),
        ("1g", 1 << 30),
        ("2T", 2 << 40),
    ],
    ids=repr,
)
def test_a_size_is_a_number_or_a_string_with_a_unit(value: object, size: int) -> None:
    assert parse_size(value, "here") == size


@pytest.mark.parametrize(
    "value",
    [-1, True, 1.5, None, "", "K", "M16", "1.5M", "-1M", "16MB", "16 M", "1_000", "0x10", "٣", "9" * 20, [1], b"1"],
)
def test_what_is_not_a_size_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^here is .*, not a size such as 4096 or "):
        parse_size(value, "here")


@given(st.text(max_size=6))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with suppress(ConfigError):
        assert parse_size(text, "here") >= 0


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"nam": "x"}, "machine: unknown key nam; did you mean name?"),
        ({"devices": []}, "machine: unknown key devices; did you mean device?"),
        ({"zzz": 1}, "machine: unknown key zzz; known are name, memory, cpu, firmware, kernel, device"),
        ({"name": ""}, "machine: name '' is not 1 to 64 printable characters without / and leading dot"),
        ({"name": 5}, "machine: name 5 is not 1 to 64 printable"),
        ({"name": "a/b"}, "machine: name 'a/b' is not"),
        ({"name": ".a"}, "machine: name '.a' is not"),
        ({"name": "a\nb"}, r"machine: name 'a\nb' is not"),
        ({"name": "x" * 65}, "machine: name 'xxx"),
        ({"memory": "16X"}, "machine: memory is '16X', not a size"),
        ({"memory": -4096}, "machine: memory is -4096, not a size"),
        ({"memory": 1}, f"machine: memory 1 is not a multiple of 4096 bytes up to {MAX_MEMORY}"),
        ({"memory": MAX_MEMORY + 4096}, f"machine: memory {MAX_MEMORY + 4096} is not a multiple of 4096 bytes"),
        ({"device": {}}, "device is not a list of tables: write [[device]]"),
        ({"device": "pic"}, "device is not a list of tables: write [[device]]"),
        ({"device": ["pic"]}, "device is not a list of tables: write [[device]]"),
        ({"device": [{}]}, "device 0: type is missing"),
        ({"device": [{"type": "a"}, {"type": 5}]}, "device 1: type is missing"),
        ({"device": [{"type": "a", "name": 5}]}, "device 0: name is 5, not a string"),
        ({"device": [{"type": "a"}, {"type": "a"}]}, "machine: two devices are named a"),
        ({"device": [{"type": "a", "name": "b"}, {"type": "b"}]}, "machine: two devices are named b"),
        ({"device": [{"type": "a", "drive": 5}]}, "device a: drive is not a list of tables: write [[drive]]"),
        ({"device": [{"type": "a", "drive": [5]}]}, "device a: drive is not a list of tables: write [[drive]]"),
        (
            {"device": [{"type": "a", "drive": [{"image": "x", "size": 1}]}]},
            "device a: drive 0: image and size exclude each other",
        ),
        (
            {"device": [{"type": "a", "drive": [{}, {"size": 1, "backend": {}}]}]},
            "device a: drive 1: size and backend exclude each other",
        ),
        ({"device": [{"type": "a", "drive": [{"size": "x"}]}]}, "device a: drive 0: size is 'x', not a size"),
        ({"device": [{"type": "a", "backend": 5}]}, "device a: backend is not a table with a type, such as"),
        ({"device": [{"type": "a", "backend": {}}]}, "device a: backend is not a table with a type, such as"),
        ({"device": [{"type": "a", "backend": {"type": 5}}]}, "device a: backend is not a table with a type"),
        (
            {"device": [{"type": "a", "backend": {"type": "scratch", "size": "x"}}]},
            "device a: backend: size is 'x', not a size",
        ),
        ({"device": [{"type": "a", "drive": [{"backend": "x"}]}]}, "device a: drive 0: backend is not a table"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_table_that_is_not_a_machine_is_refused_with_its_place(table: Mapping[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(table)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["a", "x" * 64, "my machine", "ü", "a.b"])
def test_printable_names_are_taken(name: str) -> None:
    assert parse({"name": name}).name == name


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.toml: no such file$"):
        read(tmp_path / "none.toml")


def test_a_directory_is_not_readable(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        read(tmp_path)


def test_a_file_that_may_not_be_read_is_an_error(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, limit: int, *, pipe: bool) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(config, "read_regular", refuse)
    with pytest.raises(StorageError, match=r"machine\.toml: Permission denied$"):
        read(toml)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"[[device]\n", b"a = 1\na = 2\n"])
def test_what_is_not_toml_is_refused_with_the_file_s_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml: not TOML: "):
        read(path)


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('memori = "16M"')
    with pytest.raises(ConfigError, match=r"bad\.toml: .* memori; .* memory\?$"):
        read(path)


# -- other backends, and none -----------------------------------------------------------------------------------------


def test_with_backends_puts_another_backend_to_a_device_or_a_drive(toml: Path) -> None:
    config = read(toml)
    changed = with_backends(
        config, {"ide0.0": {"type": "image", "path": "/other.img"}, "com1": {"type": "pty"}, "pic": {"type": "null"}}
    )
    pic, com1, ide0 = changed.devices
    assert pic.backends == (BackendConfig("pic", "null", {}),)
    assert com1.backends == (BackendConfig("com1", "pty", {}),)
    assert ide0.backends[0] == BackendConfig("ide0.0", "image", {"path": "/other.img"})
    assert ide0.backends[1:] == config.devices[2].backends[1:]
    assert ide0.options == config.devices[2].options
    assert read(toml) == config


def test_with_backends_replaces_a_scratch_disk() -> None:
    (ide0,) = parse({"device": [{"type": "ide", "name": "ide0", "drive": [{"size": "1M"}]}]}).devices
    config = parse({"device": [{"type": "ide", "name": "ide0", "drive": [{"size": "1M"}]}]})
    changed = with_backends(config, {"ide0.0": {"type": "image", "path": "/d"}})
    assert changed.devices[0].backends == (BackendConfig("ide0.0", "image", {"path": "/d"}),)
    assert config.devices[0] == ide0


@pytest.mark.parametrize("frontend", ["ide0", "ide0.2", "com2", ""])
def test_with_backends_of_nothing_is_not_found(toml: Path, frontend: str) -> None:
    with pytest.raises(NotFoundError, match=r"pic, com1, ide0\.0, ide0\.1$"):
        with_backends(read(toml), {frontend: {"type": "null"}})


def test_with_backends_of_a_machine_without_devices_is_not_found() -> None:
    with pytest.raises(NotFoundError, match=r"there are: none$"):
        with_backends(parse({}), {"com1": {"type": "null"}})


def test_without_host_takes_out_images_and_backends_and_names_their_frontends(toml: Path) -> None:
    config, lost = without_host(read(toml))
    assert lost == ("com1", "ide0.0", "ide0.1")
    assert [each.backends for each in config.devices] == [(), (), ()]
    assert [each.options for each in config.devices] == [each.options for each in read(toml).devices]
    assert "/" not in str(config.table)


def test_without_host_keeps_scratch_disks_and_null_backends() -> None:
    config = parse(
        {
            "device": [
                {"type": "serial", "name": "com1", "backend": {"type": "null"}},
                {"type": "ide", "name": "ide0", "drive": [{"size": "1M"}, {"unit": 1, "backend": {"type": "scratch"}}]},
                {"type": "pic"},
            ]
        }
    )
    assert without_host(config) == (config, ())


FILE = {"type": "file", "path": "/etc/passwd"}


@pytest.mark.parametrize(
    "devices",
    [
        [{"type": "serial", "backend": {"type": "nullx"}}],
        [{"type": "ide", "backend": FILE, "drive": [{"size": "1M"}]}],
        [{"type": "ide", "drive": [{"unit": 0, "backend": FILE}, {"unit": 0, "size": "1M"}]}],
        [{"type": "ide", "drive": [{"unit": 0, "backend": FILE}, {"unit": 0, "backend": FILE}]}],
        [{"type": "ide", "drive": [{"backend": FILE}]}, {"type": "serial", "name": "ide.0"}],
        [{"type": "serial", "name": "ide.0", "backend": FILE}, {"type": "ide", "drive": [{"size": "1M"}]}],
        [{"type": "ide", "drive": [{"unit": "x", "image": "/etc/passwd"}, {"unit": "x"}]}],
    ],
    ids=range(7),
)
def test_without_host_leaves_nothing_of_a_hostile_configuration(devices: list[dict[str, Any]]) -> None:
    stripped, lost = without_host(parse({"device": devices}))
    assert lost
    kept = [backend.type for each in stripped.devices for backend in each.backends]
    assert set(kept) <= {"scratch"}
    assert "passwd" not in str(stripped)


def test_without_host_does_not_change_the_configuration_it_comes_from(toml: Path) -> None:
    config = read(toml)
    without_host(config)
    assert config == read(toml)


def test_an_image_may_say_that_it_is_raw_and_nothing_else_may() -> None:
    def parsed(drive: dict[str, object]) -> MachineConfig:
        return parse({"device": [{"type": "ide", "drive": [drive]}]})

    backend = parsed({"unit": 0, "image": "/a", "format": "raw"}).devices[0].backends[0]
    assert backend.options == {"path": "/a", "read_only": False, "format": "raw"}
    with pytest.raises(ConfigError, match="format needs image"):
        parsed({"unit": 0, "size": "1M", "format": "raw"})
    config = parsed({"unit": 0, "image": "/a", "format": "raw"})
    given = with_backends(config, {"ide.0": {"type": "image", "path": "/b"}})
    assert given.devices[0].backends[0].options == {"path": "/b"}
    assert without_host(config)[0].devices[0].backends == ()


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"device": [{"type": "ide", "drive": [{"unit": 0, "image": "/d\udcff/a"}]}]}, "device 0.drive 0.image '/d"),
        ({"device": [{"type": "serial", "backend": {"type": "file", "path": "/\udcff"}}]}, "device 0.backend.path"),
        ({"cpu": {}, "kernel": {"image": "/\udcff"}}, "kernel.image"),
        ({"cpu": {}, "firmware": {"bios": "/\udcff"}}, "firmware.bios"),
        ({"device": [{"type": "pic", "wide": 1 << 64}]}, "device 0.wide 18446744073709551616"),
        ({"device": [{"type": "pic", "day": dt.date(2026, 1, 1)}]}, "device 0.day"),
        ({"device": [{"type": "pic", "k" * 256: 1}]}, "a key in device 0 'kkk"),
        ({"device": [{"type": "pic", "\udcff": 1}]}, r"a key in device 0 '\\udcff'"),
        ({"device": [{"type": "pic", "text": "x" * (1 << 20)}]}, "device 0.text"),
        ({"device": [{"type": f"t{at}", "name": "x" * 9000} for at in range(120)]}, "the table"),
    ],
)
def test_what_a_save_would_refuse_is_refused_when_the_table_is_read(table: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError, match=f"{where}.* never be saved"):
        parse(table)


def test_a_toml_in_a_directory_whose_name_is_not_utf_8_is_refused_for_its_paths_only(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"d\xff")
    place.mkdir()
    toml = place / "machine.toml"
    toml.write_text('[[device]]\ntype = "pic"\n')
    assert read(toml).devices[0].type == "pic"
    toml.write_text('[[device]]\ntype = "ide"\n[[device.drive]]\nunit = 0\nimage = "disk.img"\n')
    with pytest.raises(ConfigError, match="a path must be UTF-8"):
        read(toml)


@pytest.mark.parametrize(
    "table",
    [
        {"device": [{"type": "ide", "drive": [{"unit": 0, "image": "a\0b"}]}]},
        {"device": [{"type": "serial", "backend": {"type": "socket", "path": "a\0b"}}]},
        {"cpu": {}, "firmware": {"bios": "a\0b"}},
        {"cpu": {}, "kernel": {"image": "k", "initrd": "a\0b"}},
    ],
)
def test_a_path_with_a_nul_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"'a\\x00b' is not a path"):
        parse(table)
