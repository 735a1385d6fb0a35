"""`machine.toml`: what a machine is made of. Docs: README, "Describe a machine".

A configuration keeps the table that it was parsed from. A snapshot's header has that table, so a reader of the snapshot
sees what its author wrote. The parts that touch the host (images, backends) can be removed from it: they are never
taken from a snapshot, unless the user gives them again or trusts the snapshot.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeVar, cast

from chkpt.context import Value
from chkpt.device import SECTOR_SIZE, Length, Range
from chkpt.errors import ConfigError, NotFoundError, RefusedError, StorageError
from chkpt.regular_file import TooLongError, read_regular
from chkpt.snapshot import check_header
from chkpt.state import from_table, refuse_unknown

Table = Mapping[str, object]

P = TypeVar("P")

DEFAULT: Final[Table] = {
    "name": "default",
    "memory": "16M",
    "device": [
        {"type": "pic"},
        {"type": "pit"},
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4},
        {"type": "ide", "name": "ide0", "port": 0x1F0, "control": 0x3F6, "irq": 14,
         "drive": [{"unit": 0, "media": "disk", "size": "16M"}]},
    ],
}  # fmt: skip
"""The machine without a TOML: a PC's timer, interrupt controllers, first serial port and first disk, and no CPU."""

MAX_TOML: Final = 1 << 20
"""Bytes of the longest TOML. It may come from a pipe, which may be endless."""

MAX_MEMORY: Final = 1 << 40
MAX_MEMORY_OF_CPU: Final = 3 << 30
"""The last gigabyte below 4 GiB is for devices and the BIOS, and no RAM is mapped above it."""
UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

BACKEND_KEYS: Final = ("image", "size", "backend")
"""The keys of a device's or drive's table that touch the host."""

IMAGE_KEYS: Final = ("format",)
"""The keys of a drive's table that need `image`."""

PATH_KEYS: Final = ("image", "path", "input", "link", "bios", "initrd")
"""The keys, in any table, whose value is a path."""

HARMLESS: Final = frozenset(("null", "scratch", "guest"))
"""The types of backends that do not touch the host."""

KEYS_TAKEN: Final = {"": ("type", "name", "backend"), "drive": (*BACKEND_KEYS, *IMAGE_KEYS)}
"""The keys of a device's table, and of the tables in its `drive`, that are not the device's own options."""


class Pace(StrEnum):
    """When a processor waits for the host's clock."""

    FREE = "free"  # never: the time of a halted guest is skipped, too
    IDLE = "idle"  # while it is halted: waiting takes its time, work is as fast as possible
    WALL = "wall"  # whenever the machine's clock is ahead


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """A backend to open: its type, its options, and the frontend it goes to."""

    frontend: str
    type: str
    options: Table


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """A device to make: its type, its name, its options, and its backends."""

    type: str
    name: str
    options: Table
    backends: tuple[BackendConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class CpuConfig:
    """The processor: its model, its ticks in a second of the machine's clock, and its pace.

    If `pace` is None, the command that runs the machine chooses it.
    """

    model: Annotated[str, Length(1, 64)] = "unicorn"
    rate: Annotated[int, Range(1_000_000, 10_000_000_000)] = 200_000_000
    pace: Pace | None = None


@dataclass(frozen=True, slots=True)
class FirmwareConfig:
    """The code that runs first: the path of a BIOS image, or the name of a ROM of an installed package."""

    bios: Annotated[str, Length(1, 4096)] | None = None
    rom: Annotated[str, Length(1, 64)] | None = None


class Unpack(StrEnum):
    """Who unpacks a kernel."""

    HOST = "host"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """A Linux kernel to boot without a BIOS: the path of a bzImage, of an initrd, and the kernel's command line.

    An empty image means that there is no file: a machine that was loaded goes on without it.
    """

    image: Annotated[str, Length(0, 4096)]
    initrd: Annotated[str, Length(1, 4096)] | None = None
    cmdline: Annotated[str, Length(0, 0xFFFF)] = ""
    unpack: Unpack = Unpack.HOST


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """A machine to assemble. `memory` is in bytes; `table` is the parsed one, with absolute paths."""

    name: str
    memory: int
    devices: tuple[DeviceConfig, ...]
    table: Table = field(compare=False)
    cpu: CpuConfig | None = None
    firmware: FirmwareConfig | None = None
    kernel: KernelConfig | None = None
    source: str = field(default="", compare=False)  # the path of the TOML, for messages


def default() -> MachineConfig:
    """Return the configuration of a machine without a TOML."""
    return parse(DEFAULT)


def read(path: Path) -> MachineConfig:
    """Read a machine's TOML from a file or a pipe. Relative paths in it count from its own directory.

    Raises:
        NotFoundError: there is no such file.
        ConfigError: it is not TOML, or does not describe a machine; the message names the file.
        StorageError: it cannot be read, or is neither a file nor a pipe.
    """
    try:
        text = read_regular(path, MAX_TOML, pipe=True).decode()
        return replace(parse(tomllib.loads(text), path.absolute().parent), source=str(path))
    except FileNotFoundError:
        raise NotFoundError("no such file", where=str(path)) from None
    except TooLongError as exc:
        raise ConfigError(f"not a machine's TOML: {exc.strerror}", where=str(path)) from exc
    except OSError as exc:
        raise StorageError(str(exc.strerror), where=str(path)) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"not TOML: {exc}", where=str(path)) from exc
    except RecursionError as exc:
        raise ConfigError("not a machine's TOML: its tables or lists are nested too deep", where=str(path)) from exc
    except ConfigError as exc:
        raise exc.within(str(path)) from exc


def parse(table: Table, directory: Path | None = None) -> MachineConfig:
    """Return the machine that a table describes; relative paths count from `directory`.

    The options of each device are checked when the device is made, as only its type knows them. A value that no
    snapshot can hold is refused here: the machine could run, but never be saved.

    Raises:
        ConfigError: an unknown key or a wrong value.
    """
    refuse_unknown(table, ("name", "memory", "cpu", "firmware", "kernel", "device"), "machine")
    if directory is not None:
        table = _make_absolute(table, directory)
    check_savable(table)
    name = table.get("name", "machine")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 64 or "/" in name or name[0] == ".":
        raise ConfigError(
            f"name {name!r} is not 1 to 64 printable characters without / and leading dot",
            where="machine",
        )
    memory = parse_size(table.get("memory", 0), "machine: memory")
    if memory % 4096 or memory > MAX_MEMORY:
        raise ConfigError(f"memory {memory} is not a multiple of 4096 bytes up to {MAX_MEMORY}", where="machine")
    devices = [
        _parse_device(each, f"device {at}") for at, each in enumerate(_check_tables(table.get("device", []), "device"))
    ]
    names = [device.name for device in devices]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise ConfigError(f"two devices are named {twice}", where="machine")
    cpu, firmware = _parse_part(table, "cpu", CpuConfig), _parse_part(table, "firmware", FirmwareConfig)
    if firmware is not None and (firmware.bios is None) == (firmware.rom is None):
        raise ConfigError("give either bios, the path of an image, or rom, the name of a ROM", where="firmware")
    if cpu is not None and memory > MAX_MEMORY_OF_CPU:
        raise ConfigError(
            f"memory {memory} is more than the {MAX_MEMORY_OF_CPU} bytes that go with a CPU",
            where="machine",
        )
    kernel = _parse_part(table, "kernel", KernelConfig)
    if kernel is not None and cpu is None:
        raise ConfigError('it needs a CPU: give the machine one with [cpu] model = "unicorn"', where="kernel")
    if kernel is not None and not kernel.cmdline.isprintable():
        raise ConfigError("cmdline has characters that are not printable", where="kernel")
    return MachineConfig(name, memory, tuple(devices), table, cpu, firmware, kernel)


def check_savable(table: Table) -> None:
    """Check that a snapshot can hold a configuration, as a save does.

    Raises:
        ConfigError: a value cannot be in a snapshot, or a path has a NUL; the message names the value.
    """
    for where, value, _ in _find_leaves(table, ""):
        if isinstance(value, str) and "\0" in value and where.rpartition(".")[2] in PATH_KEYS:
            raise ConfigError(f"{where} {ascii(value)[:200]} is not a path: it has a NUL", where="machine")
    problem = _find_problem(table)
    if problem is None:
        return
    where, value = next(
        ((where, value) for where, value, alone in _find_leaves(table, "") if _find_problem(alone) is not None),
        ("the table", None),
    )
    shown = "" if value is None else f" {ascii(value)[:200]}"
    raise ConfigError(
        f"{where}{shown} cannot be in a snapshot ({problem}), so the machine could never be saved; "
        "a path must be UTF-8, an integer must fit in 64 bits",
        where="machine",
    )


def _find_problem(table: Table) -> str | None:
    try:
        check_header({"config": cast("Value", table)})
    except RefusedError as exc:
        return str(exc).removeprefix("the header: ")
    return None


def _find_leaves(value: object, where: str) -> Iterator[tuple[str, object, Table]]:
    """Yield each key and each value in a table that holds no others: its place, itself, and a table with only it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f"a key in {where or 'the table'}", key, {key: None}
            yield from _find_leaves(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _find_leaves(item, f"{where} {at}")
    else:
        yield where, value, {"value": value}


def _parse_part(table: Table, name: str, cls: type[P]) -> P | None:
    if name not in table:
        return None
    part = table[name]
    if not isinstance(part, Mapping):
        raise ConfigError(f"{name} is not a table: write [{name}]", where="machine")
    return from_table(part, cls, name)


def parse_size(value: object, where: str) -> int:
    """Return a number of bytes from an integer or a string such as "16M" (units K, M, G, T of 1024).

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value:
        digits, unit = (value[:-1], UNITS[value[-1].upper()]) if value[-1].upper() in UNITS else (value, 1)
        if digits.isascii() and digits.isdigit() and len(digits) < 16:
            return int(digits) * unit
    raise ConfigError(f'is {value!r}, not a size such as 4096 or "16M"', subject=where)


def _parse_device(table: Table, where: str) -> DeviceConfig:
    type_name = table.get("type")
    if not isinstance(type_name, str):
        raise ConfigError('type is missing: give one, such as type = "serial"', where=where)
    name = table.get("name", type_name)
    if not isinstance(name, str):
        raise ConfigError(f"name is {name!r}, not a string", where=where)
    where = f"device {name}"
    options = {key: value for key, value in table.items() if key not in KEYS_TAKEN[""]}
    backends: list[BackendConfig] = []
    if "backend" in table:
        backends.append(_parse_backend(name, table["backend"], where))
    if "drive" in options:
        drives = _check_tables(options["drive"], f"{where}: drive")
        for at, drive in enumerate(drives):
            backends += _parse_drive(name, drive, f"{where}: drive {at}")
        options["drive"] = [{key: drive[key] for key in drive if key not in KEYS_TAKEN["drive"]} for drive in drives]
    return DeviceConfig(type_name, name, options, tuple(backends))


def _parse_drive(device: str, drive: Table, where: str) -> list[BackendConfig]:
    given = [key for key in BACKEND_KEYS if key in drive]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} exclude each other: give one of them", where=where)
    frontend = f"{device}.{drive.get('unit', 0)}"
    of_image = {key: drive[key] for key in IMAGE_KEYS if key in drive}
    if of_image and "image" not in drive:
        raise ConfigError(f"{' and '.join(of_image)} needs image, which is missing", where=where)
    if "image" in drive:
        options = {"path": drive["image"], "read_only": drive.get("media") == "cdrom", **of_image}
        return [BackendConfig(frontend, "image", options)]
    if "size" in drive:
        return [BackendConfig(frontend, "scratch", {"size": parse_size(drive["size"], f"{where}: size")})]
    return [_parse_backend(frontend, drive["backend"], where)] if "backend" in drive else []


def _parse_backend(frontend: str, value: object, where: str) -> BackendConfig:
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise ConfigError('backend is not a table with a type, such as { type = "null" }', where=where)
    options = {key: item for key, item in value.items() if key != "type"}
    if "size" in options:
        options["size"] = parse_size(options["size"], f"{where}: backend: size")
    return BackendConfig(frontend, value["type"], options)


def _check_tables(value: object, where: str) -> Sequence[Table]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, Mapping) for item in value):
        raise ConfigError(f"is not a list of tables: write [[{where.rpartition(' ')[2]}]]", subject=where)
    return value


CHANNELS: Final = (0x1F0, 0x170)
"""The ports of a PC's two ATA channels, in the order in which a BIOS looks at them."""


def disk_sectors(config: MachineConfig, backends: Mapping[str, object]) -> tuple[int, int, int, int]:
    """Return the number of sectors of each hard disk on a PC's ATA channels, 0 if there is none. See `OfMachine.DISKS`.

    Args:
        config: the machine's; each drive is a table in `drive`, as in the device type `ide`.
        backends: the backend of each frontend.
    """
    found = [0, 0, 0, 0]
    for device in config.devices:
        port = device.options.get("port", CHANNELS[0])
        for drive in _check_tables(device.options.get("drive", ()), "drive") if port in CHANNELS else ():
            for unit in (0, 1):
                size = getattr(backends.get(f"{device.name}.{unit}"), "size", 0)
                if drive.get("unit") == unit and drive.get("media", "disk") == "disk":
                    found[2 * CHANNELS.index(port) + unit] = size // SECTOR_SIZE
    return found[0], found[1], found[2], found[3]


# -- the parts that touch the host ------------------------------------------------------------------------------------


def _make_absolute(table: Table, directory: Path) -> dict[str, object]:
    """Return the table with the paths of images and backends made absolute."""
    result: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            result[key] = _make_absolute(value, directory)
        elif isinstance(value, list):
            result[key] = [_make_absolute(item, directory) if isinstance(item, Mapping) else item for item in value]
        elif key in PATH_KEYS and isinstance(value, str):
            result[key] = str(directory / value)
        else:
            result[key] = value
    return result


def with_backends(config: MachineConfig, given: Mapping[str, Table | None]) -> MachineConfig:
    """Return the configuration with other backends, by frontend: `{"ide0.0": {"type": "image", "path": ...}}`.

    None removes a backend: the drive is then empty.

    Raises:
        NotFoundError: no device has such a frontend.
    """
    devices = [dict(device) for device in _check_tables(config.table.get("device", []), "device")]
    places = _find_places(devices)
    for frontend, backend in given.items():
        place = next((place for name, place in places if name == frontend), None)
        if place is None:
            known = ", ".join(name for name, _ in places) or "none"
            raise NotFoundError(f"no device or drive {frontend}; there are: {known}")
        for key in (*BACKEND_KEYS, *(IMAGE_KEYS if "image" in place else ())):
            place.pop(key, None)
        if backend is not None:
            place["backend"] = dict(backend)
    return replace(parse({**config.table, "device": devices}), source=config.source)


def without_host(config: MachineConfig) -> tuple[MachineConfig, tuple[str, ...]]:
    """Return the configuration without the parts that touch the host, and the frontends that lost a backend.

    ROMs and guests' disks of installed packages, scratch disks and null backends do not touch the host and stay. In the
    list, `firmware` stands for a BIOS, `kernel` for the files of a kernel.
    """
    table = dict(config.table)
    devices = [dict(device) for device in _check_tables(config.table.get("device", []), "device")]
    lost: list[str] = []
    if config.firmware is not None and config.firmware.bios is not None:
        del table["firmware"]
        lost.append("firmware")
    if config.kernel is not None and (config.kernel.image or config.kernel.initrd is not None):
        kept = {key: value for key, value in _kernel_table(config).items() if key != "initrd"}
        table["kernel"] = {**kept, "image": ""}
        lost.append("kernel")
    for frontend, place in _find_places(devices):
        backend = place.get("backend")
        harmless = backend is None or (isinstance(backend, Mapping) and backend.get("type") in HARMLESS)
        if "image" in place or not harmless:
            lost.append(frontend)
            for key in ("backend", *(("image", *IMAGE_KEYS) if "image" in place else ())):
                place.pop(key, None)
    return replace(parse({**table, "device": devices}), source=config.source), tuple(lost)


def _kernel_table(config: MachineConfig) -> Table:
    table = config.table["kernel"]
    return table if isinstance(table, Mapping) else {}


def _find_places(devices: list[dict[str, object]]) -> list[tuple[str, dict[str, object]]]:
    """Return every table that may hold a backend, with its frontend. Copies the drives in `devices`.

    A hostile configuration may give one frontend two tables, or a device with drives its own backend.
    """
    places: list[tuple[str, dict[str, object]]] = []
    for device in devices:
        name = str(device.get("name", device.get("type")))
        if "drive" not in device or "backend" in device:
            places.append((name, device))
        if "drive" in device:
            drives = [dict(drive) for drive in _check_tables(device["drive"], "drive")]
            device["drive"] = drives
            places += [(f"{name}.{drive.get('unit', 0)}", drive) for drive in drives]
    return places
