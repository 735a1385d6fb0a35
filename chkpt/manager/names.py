"""Names of devices, and the table of them in the context `devices`: 32 bytes a name, NUL-padded, as in Palacios."""

from collections.abc import Iterable, Mapping

from chkpt.context import Context, name_problem
from chkpt.errors import CorruptError, UsageError

CONTEXT = "devices"
"""The name of the context that holds the table and a context for each device."""

NAME_SIZE = 32
"""Bytes of one entry of the table; a name is at least one byte shorter (palacios.md: V3_MAX_DEVICE_NAME)."""

MAX_DEVICES = 65536
"""The most names in a table, which are 2 MiB. The reader refuses more."""


def check_device_name(name: str) -> None:
    """Raise UsageError unless `name` is 1 to 31 bytes of printable UTF-8 without `/`, and can be a context's."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size < NAME_SIZE or not name.isprintable() or "/" in name:
        raise UsageError(
            f"{name!a} cannot be a device's name: it must be 1 to {NAME_SIZE - 1} bytes of printable UTF-8 without /"
        )
    problem = name_problem(name)
    if problem is not None:
        raise UsageError(f"{name!a} cannot be a device's name: it {problem}")


def pack_names(names: Iterable[str]) -> bytes:
    """Return the name table."""
    return b"".join(name.encode().ljust(NAME_SIZE, b"\0") for name in names)


def device_names(contexts: Mapping[str, Context]) -> tuple[str, ...]:
    """Return the names of the devices in a snapshot's contexts. Their types need not be known.

    Raises:
        CorruptError: there is no context `devices`; or see `unpack_names`.
    """
    devices = contexts.get(CONTEXT)
    if devices is None:
        raise CorruptError("the snapshot has no context devices")
    return unpack_names(devices)


def unpack_names(devices: Context) -> tuple[str, ...]:
    """Return the names in the context `devices`.

    Raises:
        CorruptError: `num_devs` and `names` disagree, or an entry is not a name or is there twice.
    """
    count, table = devices.values.get("num_devs"), devices.values.get("names")
    if type(count) is not int or not isinstance(table, bytes):
        raise CorruptError("context devices has no name table (tags num_devs and names)")
    if not 0 <= count <= MAX_DEVICES or len(table) != count * NAME_SIZE:
        raise CorruptError(
            f"num_devs is {count}, but names has {len(table)} bytes, not 32 a device", where="context devices"
        )
    names: dict[str, None] = {}
    for at in range(0, len(table), NAME_SIZE):
        entry = table[at : at + NAME_SIZE].rstrip(b"\0")
        try:
            name = entry.decode()
            check_device_name(name)
        except (UnicodeDecodeError, UsageError):
            raise CorruptError(
                f"entry {at // NAME_SIZE} of names cannot be a device's name: {entry!r}", where="context devices"
            ) from None
        if name in names:
            raise CorruptError(f"{name} stands twice in names", where="context devices")
        names[name] = None
    return tuple(names)
