"""Which machine to run (from its TOML, from a snapshot's header, or the default one), and with which backends.

A snapshot must not choose which files and sockets are opened on this host. So the host's part of its configuration is
left out, unless the user gives it again or trusts the snapshot.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from chkpt.errors import ConfigError, StateError, UsageError
from chkpt.machine import MachineConfig
from chkpt.machine import config as machine_config
from chkpt.machine.config import Table
from chkpt.snapshot import Reader

log = logging.getLogger("chkpt.service")


def configure(
    toml: Path | None,
    snapshot: Reader | None,
    *,
    name: str | None = None,
    backends: Mapping[str, Table | None] | None = None,
    trust: bool = False,
) -> MachineConfig:
    """Return the configuration of the machine to run.

    Args:
        toml: the machine's TOML; it is used rather than the snapshot's configuration.
        snapshot: the snapshot that will be loaded; without a TOML its header describes the machine.
        name: the machine's name, in place of the configured one.
        backends: the backends of some frontends, in place of the configured ones; None for no backend.
        trust: take the host's files and sockets from the snapshot, too.

    Raises:
        UsageError: a disk image of the snapshot must be given.
        ConfigError, NotFoundError, StorageError: see `chkpt.machine.config.read` and `with_backends`.
        RefusedError: the snapshot cannot be read, or describes no machine.
    """
    given = dict(backends or {})
    if toml is not None:
        config = machine_config.read(toml)
    elif snapshot is not None:
        config = _configure_from_snapshot(snapshot, given, trust=trust)
    else:
        config = machine_config.default()
    if name is not None:
        config = machine_config.parse({**config.table, "name": name})
    return machine_config.with_backends(config, given) if given else config


def _configure_from_snapshot(reader: Reader, given: Mapping[str, Table | None], *, trust: bool) -> MachineConfig:
    snapshot = reader.name
    table = reader.header.get("config")
    if not isinstance(table, Mapping):
        raise StateError(f"{snapshot}: the header has no configuration; give the machine's TOML")
    try:
        whole = machine_config.parse(table)
        config, lost = machine_config.without_host(whole)
    except ConfigError as exc:
        raise StateError(f"{snapshot}: the header describes no machine: {exc}") from exc
    if trust:
        return whole
    drives = {
        backend.frontend for device in whole.devices for backend in device.backends if backend.frontend != device.name
    }
    if "firmware" in lost:
        raise UsageError(
            f"{snapshot}: the machine has a BIOS, which is not taken from a snapshot; "
            "give the machine's TOML, or trust the snapshot with --trust-config"
        )
    for frontend in lost:
        if frontend in given:
            continue
        if frontend == "kernel":
            log.warning(
                "kernel: its files are not taken from the snapshot; the machine goes on without them, but a reset "
                "needs the machine's TOML, or --trust-config"
            )
            continue
        if frontend in drives:
            raise UsageError(
                f"{snapshot}: disk {frontend} has an image, which is not taken from a snapshot; "
                f"give it with --drive {frontend}=PATH, or trust the snapshot with --trust-config"
            )
        log.warning(
            "%s: its backend is not taken from the snapshot; give one with --char %s=..., or --trust-config",
            frontend,
            frontend,
        )
    return config


def seconds_since(reader: Reader) -> int:
    """Return the whole seconds since the snapshot was created; 0 if that is in the future.

    Raises:
        StateError: the header's `created` is not a date with a time zone.
    """
    created = str(reader.header["created"])
    try:
        then = datetime.fromisoformat(created)
        since = (datetime.now(UTC) - then).total_seconds()
    except (ValueError, TypeError, OverflowError) as exc:  # TypeError: without a zone
        raise StateError(
            f"{reader.name}: it was created at {created!r}, which is not a date; load it with --time freeze"
        ) from exc
    if since < 0:
        log.warning("%s: it was created at %s, which is in the future; its dates stay", reader.name, created)
    return max(int(since), 0)
