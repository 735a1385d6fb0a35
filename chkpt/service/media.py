"""The drives of a running machine: what is in each, and how images get into them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from chkpt.device import BlockBackend, FrontendKind, RemovableFrontend
from chkpt.machine import Machine
from chkpt.machine.drives import change, open_image
from chkpt.machine.media import Medium, removable_frontend
from chkpt.service import paths
from chkpt.service.api.messages import DriveInfo, MediumInfo


def list_drives(machine: Machine) -> list[DriveInfo]:
    """Return every drive. For the thread of the machine's loop."""
    devices = machine.devices
    return [
        _describe_drive(machine, name)
        for entry in devices
        for kind, name in devices.frontends.of(entry.name)
        if kind is FrontendKind.BLOCK
    ]


def _describe_drive(machine: Machine, name: str) -> DriveInfo:
    block = machine.devices.frontends["block"]
    frontend, backend = block.find(name), block.backends.get(name)
    tray = frontend if isinstance(frontend, RemovableFrontend) else None
    medium = None
    if backend is not None:
        configured = {each.frontend: each for device in machine.config.devices for each in device.backends}.get(name)
        path = None if configured is None else configured.options.get("path")
        medium = MediumInfo(
            type="unknown" if configured is None else configured.type,
            path=path if isinstance(path, str) else None,
            size=backend.size,
            read_only=backend.read_only,
        )
    return DriveInfo(
        drive=name,
        removable=tray is not None,
        tray_open=tray is not None and tray.tray_open,
        locked=tray is not None and tray.locked,
        medium=medium,
    )


@contextmanager
def opening(
    machine: Machine, wanted: Mapping[str, str | None], raw: Collection[str]
) -> Iterator[dict[str, Medium | None]]:
    """Open the images for some drives, and close them if the block raises. That may take long.

    The images of the drives in `raw` are taken as raw ones, whatever they look like.

    Raises:
        UsageError, NotFoundError, StorageError: see `chkpt.service.paths.check_medium`.
        ConfigError: one is not a disk image.
        NotFoundError: there is no such drive.
    """
    media: dict[str, Medium | None] = {}
    try:
        for drive, path in wanted.items():
            machine.devices.frontends["block"].find(drive)
            if path is not None:
                paths.check_medium(path)
            media[drive] = None if path is None else open_image(machine, drive, path, raw=drive in raw)
        yield media
    except BaseException:
        for medium in media.values():
            if medium is not None:
                medium.backend.close()
        raise


def check_removable(machine: Machine, drive: str) -> None:
    """Raise UsageError if the medium of a drive cannot be changed, NotFoundError if there is no such drive."""
    removable_frontend(machine.devices.frontends["block"].find(drive), drive)


def put(machine: Machine, drive: str, medium: Medium | None, *, force: bool) -> tuple[DriveInfo, BlockBackend | None]:
    """Change the medium of a drive. For the thread of the machine's loop.

    Return the drive and the backend of the old medium. Raises as `change` does.
    """
    old = change(machine, drive, medium, force=force)
    return _describe_drive(machine, drive), old
