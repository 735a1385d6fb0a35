"""The media that a load exchanges: discs and hard disks, as a load makes the whole drive another."""

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
    """A medium that is open: its backend, and the table that a configuration has for it."""

    backend: BlockBackend
    table: Table


def removable(frontend: BlockFrontend, drive: str) -> RemovableFrontend:
    """Return the frontend of a drive whose medium can be changed at any time. Raise UsageError for another."""
    if not isinstance(frontend, RemovableFrontend):
        raise UsageError(
            f"drive {drive} is a hard disk, which is not changed while the machine runs; "
            f"load a snapshot with --drive {drive}=PATH, or run the machine anew with it"
        )
    return frontend


def leave_out(frontends: Iterable[BlockFrontend], *, wanted: bool) -> None:
    """Let the next load leave out the disc that a snapshot has in these drives, or no longer."""
    for frontend in frontends:
        if isinstance(frontend, RemovableFrontend):
            frontend.leaves_out = wanted


class Exchange:
    """Other media for some drives, which come with a load and go again where it fails."""

    def __init__(self, devices: DeviceManager, media: Mapping[str, Medium | None]) -> None:
        """Take the media, of which nothing is connected yet; None empties a drive.

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
        """Refuse media for devices that are not loaded: to those it would be a change while they run.

        Raises:
            UsageError: there is one.
            RefusedError: the snapshot has no table of names.
        """
        loaded = {rename.get(name, name) for name in device_names(checkpoint.contexts)} if self._owners else set()
        for entry in self._owners:
            if entry.name not in loaded or entry.name in skip or (only and entry.name not in only) or not entry.loads:
                drive = self._drives_of(entry)[0]
                raise UsageError(f"drive {drive}: device {entry.name} is not loaded, so its media stay as they are")

    def prepare(self) -> Action:
        """Return the action that exchanges the media, and puts back the old ones and the devices as they were.

        Raises:
            SaveError: a device cannot be saved, so it could not be put back.
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
        """Close the media that were there before. Nothing can be undone any more."""
        leave_out(self._frontends.values(), wanted=False)
        for backend in self._old.values():
            backend.close()


NOTHING: Final[Mapping[str, Medium | None]] = {}
"""No medium for any drive: a load as it usually is."""
