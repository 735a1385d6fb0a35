"""The drives of a running machine: opening images for them, and changing discs.

A disc is changed as with its drive's button, which the guest may have locked. A hard disk is never changed.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from chkpt.device import BlockBackend, RemovableFrontend
from chkpt.errors import ConflictError
from chkpt.machine import config as machine_config
from chkpt.machine.config import BackendConfig
from chkpt.machine.machine import Machine
from chkpt.machine.media import Medium, leave_out, removable_frontend


def open_image(machine: Machine, drive: str, path: str, *, raw: bool = False) -> Medium:
    """Open an image for a drive, which may take long. The caller closes it. Another thread may call this.

    With `raw` the format is not detected: the disk is the content of the file.

    Raises:
        NotFoundError: there is no such drive.
        ConfigError, StorageError: it does not fit the drive, or cannot be opened.
    """
    options: dict[str, object] = {"path": path}
    if isinstance(machine.devices.frontends["block"].find(drive), RemovableFrontend):
        options["read_only"] = True
    if raw:
        options["format"] = "raw"
    return Medium(machine.open_backend(BackendConfig(drive, "image", options)), {"type": "image", **options})


def change(machine: Machine, drive: str, medium: Medium | None, *, force: bool = False) -> BlockBackend | None:
    """Take the medium out of a drive, which leaves the tray open, or put another one in, which closes it.

    Returns the old medium. The caller closes it, which may have to wait until it is identified.

    Args:
        machine: the machine with the drive.
        drive: the name of its frontend, such as `ide1.0`.
        medium: the new one; it belongs to the machine from now on, unless this raises.
        force: open a tray that the guest has locked.

    Raises:
        NotFoundError: there is no such drive.
        UsageError: it is a hard disk.
        ConflictError: the guest has locked the tray. It is notified that the button was pressed, as in QEMU.
    """
    frontend = removable_frontend(machine.devices.frontends["block"].find(drive), drive)
    if frontend.locked and not force:
        frontend.request_eject()
        raise ConflictError(
            f"drive {drive}: the guest has locked the tray; it was asked to open it: "
            "try again when it has, or use --force"
        )
    config = machine_config.with_backends(machine.config, {drive: None if medium is None else medium.table})
    old = machine.devices.frontends["block"].backends.get(drive)
    frontend.eject()
    if old is not None:
        machine.devices.disconnect_block(drive)
    if medium is not None:
        machine.devices.connect_block(drive, medium.backend)
    machine.config = config
    return old


@contextmanager
def leave_out_discs(machine: Machine, drives: Collection[str]) -> Iterator[None]:
    """Let a load in the block leave out the discs that a snapshot has in these drives; here they are empty.

    Raises:
        NotFoundError: there is no such drive.
    """
    frontends = [machine.devices.frontends["block"].find(drive) for drive in drives]
    leave_out(frontends, wanted=True)
    try:
        yield
    finally:
        leave_out(frontends, wanted=False)
