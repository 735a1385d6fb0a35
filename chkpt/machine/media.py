"""The media that a load exchanges: discs, and also hard disks, as a load replaces the state of the whole drive."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from chkpt.context import Checkpoint
from chkpt.device import BlockBackend, BlockFrontend, FrontendKind, RemovableFrontend
from chkpt.errors import SaveError, UsageError
from chkpt.machine.config import Table
from chkpt.manager import Action, DeviceEntry, DeviceManager, device_names
from chkpt.state import owned


@dataclass(frozen=True, slots=True)
class Medium:
    """An open medium: its backend, and its table for a configuration."""

    backend: BlockBackend
    table: Table


def removable_frontend(frontend: BlockFrontend, drive: str) -> RemovableFrontend:
    """Return the frontend of a drive whose medium can be changed at any time. Raise UsageError if it cannot."""
    if not isinstance(frontend, RemovableFrontend):
        raise UsageError(
            f"drive {drive} is a hard disk, which cannot be changed while the machine runs; "
            f"load a snapshot with --drive {drive}=PATH, or start the machine again with another image"
        )
    return frontend


def leave_out(frontends: Iterable[BlockFrontend], *, wanted: bool) -> None:
    """Set whether the next load leaves out the disc that a snapshot has in these drives."""
    for frontend in frontends:
        if isinstance(frontend, RemovableFrontend):
            frontend.leaves_out = wanted


class Exchange:
    """Other media for some drives, which a load puts in, and takes out again if it fails."""

    def __init__(self, devices: DeviceManager, media: Mapping[str, Medium | None]) -> None:
        """Take the media, which are not connected yet; None empties a drive.

        Raises:
            NotFoundError: there is no such drive.
        """
        self._devices = devices
        self._media = {drive: None if medium is None else medium.backend for drive, medium in media.items()}
        self._frontends = {drive: devices.frontends["block"].find(drive) for drive in media}
        self._owners = [entry for entry in devices if self._drives_of(entry)]
        self._old: dict[str, BlockBackend] = {}
        self._before: list[tuple[DeviceEntry, object]] = []

    def _drives_of(self, entry: DeviceEntry) -> list[str]:
        own = {name for kind, name in self._devices.frontends.of(entry.name) if kind is FrontendKind.BLOCK}
        return [drive for drive in self._media if drive in own]

    def check(
        self, checkpoint: Checkpoint, only: Collection[str], skip: Collection[str], rename: Mapping[str, str]
    ) -> None:
        """Refuse media for devices that are not loaded: these run on and would see a change.

        Raises:
            UsageError: a medium is for such a device.
            RefusedError: the snapshot has no table of names.
        """
        loaded = {rename.get(name, name) for name in device_names(checkpoint.contexts)} if self._owners else set()
        for entry in self._owners:
            if entry.name not in loaded or entry.name in skip or (only and entry.name not in only) or not entry.loads:
                drive = self._drives_of(entry)[0]
                raise UsageError(f"drive {drive}: device {entry.name} is not loaded, so its media stay as they are")

    def prepare(self) -> Action:
        """Return the action that exchanges the media; its undoing restores the old media and the devices' states.

        Raises:
            SaveError: a device cannot be saved, so its state could not be put back.
        """
        for entry in self._owners:
            if not entry.saves:
                raise SaveError(f"device {entry.name} cannot be saved, so a load cannot exchange its media")
        self._before = [(entry, owned(entry.save())) for entry in self._owners]
        return Action("media", "the media cannot be exchanged", self._exchange, self._undo)

    def _exchange(self) -> None:
        for drive, backend in self._media.items():
            if drive in self._devices.frontends["block"].backends:
                self._old[drive] = self._devices.disconnect_block(drive)
            if backend is not None:
                self._devices.connect_block(drive, backend)
            else:
                leave_out([self._frontends[drive]], wanted=True)

    def _undo(self) -> None:
        for drive, new in self._media.items():
            now, old = self._devices.frontends["block"].backends.get(drive), self._old.get(drive)
            if now is not None and now is new:
                self._devices.disconnect_block(drive)
            if old is not None and now is not old:
                self._devices.connect_block(drive, old)
        leave_out(self._frontends.values(), wanted=False)
        for entry, state in self._before:
            entry.load(state)

    def finish(self) -> None:
        """Close the old media. Nothing can be undone any more."""
        leave_out(self._frontends.values(), wanted=False)
        for backend in self._old.values():
            backend.close()


NOTHING: Final[Mapping[str, Medium | None]] = {}
"""No exchange of media, the default of a load."""
