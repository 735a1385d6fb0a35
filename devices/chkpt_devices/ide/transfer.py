"""The command in flight: how a drive is saved with it, and the check that a saved command can go on."""

from dataclasses import dataclass
from typing import Final

from chkpt.device import SECTOR_SIZE, DiskState
from chkpt.errors import StateError
from chkpt_devices.ide.identify import MAX_MULTIPLE
from chkpt_devices.ide.registers import BSY, DRQ
from chkpt_devices.ide.settings import Settings
from chkpt_devices.ide.state import PACKET_SIZE, AtapiState, AtaState, DriveState, TransferKind, TransferState
from chkpt_devices.ide.taskfile import TaskFile

FROM_HOST: Final = frozenset((TransferKind.WRITE, TransferKind.PACKET))
NO_BLOCK: Final = frozenset((TransferKind.VERIFY, TransferKind.FLUSH))
FROM_MEDIUM: Final = frozenset((TransferKind.READ, TransferKind.READ_CD)) | NO_BLOCK
OF_SECTORS: Final = frozenset((TransferKind.READ, TransferKind.WRITE, TransferKind.VERIFY, TransferKind.READ_CD))
OF_PACKETS: Final = frozenset((TransferKind.PACKET, TransferKind.REPLY, TransferKind.READ_CD))
WITH_MEDIUM: Final = FROM_MEDIUM | {TransferKind.WRITE}

MAX_COUNT: Final = 0x10000
"""The most sectors one command moves."""


@dataclass(slots=True)
class Transfer:
    """A command in flight. The fields are those of `TransferState`; `rest` is what follows the block in a reply."""

    kind: TransferKind
    lba: int = 0
    left: int = 0
    block: int = 0
    extended: bool = False
    skip: int = 0
    waiting: bool = False
    rest: bytes = b""

    def save(self, task: TaskFile) -> TransferState:
        """Return the command in flight with what the task file has of its block."""
        if self.kind in FROM_HOST:
            buffer = task.written_bytes()
            offset, length = len(buffer), len(buffer) if self.waiting else 2 * task.out_end
        else:
            buffer = task.block + self.rest if self.rest else task.block
            offset, length = task.read_so_far, len(task.block)
        return TransferState(
            self.kind, self.waiting, self.lba, self.left, self.skip, self.block, self.extended, buffer, offset, length
        )


def _resume(task: TaskFile, state: TransferState) -> Transfer:
    """Go on with a command that `check_transfer` has passed. The caller sets Status and Error."""
    rest = b""
    if state.kind in FROM_HOST:
        task.take(state.length, state.buffer)
        if state.waiting:
            task.out_end = 0
    else:
        task.offer(state.buffer[: state.length], state.offset)
        rest = state.buffer[state.length :]
    return Transfer(state.kind, state.lba, state.left, state.block, state.extended, state.skip, state.waiting, rest)


def check_transfer(state: TransferState, status: int, where: str) -> None:
    """Refuse a command in flight whose parts do not fit together, for any kind of drive.

    Raises:
        StateError: the message begins with `where`.
    """
    kind = state.kind
    if state.waiting and kind not in WITH_MEDIUM:
        raise StateError(f"{where}.transfer: {kind} cannot wait for a medium")
    if kind in NO_BLOCK and not state.waiting:
        raise StateError(f"{where}.transfer: {kind} is in flight only while it waits for the medium")
    held = status & (BSY | DRQ)
    if held != (BSY if state.waiting else DRQ):
        raise StateError(f"{where}.status is {status:#04x}, which cannot be with a transfer in flight")
    size = len(state.buffer)
    if state.waiting and kind in FROM_MEDIUM:
        fits = size == state.offset == state.length == 0
    elif state.waiting:
        fits = size == state.offset == state.length
    elif kind in FROM_HOST:
        fits = size == state.offset < state.length
    else:
        fits = state.offset < state.length <= size and (size == state.length or kind is TransferKind.REPLY)
    if not fits or state.offset % 2:
        raise StateError(
            f"{where}.transfer: {kind} with a buffer of {size} bytes, offset {state.offset} and length {state.length}"
        )
    if kind is TransferKind.PACKET and state.length != PACKET_SIZE:
        raise StateError(f"{where}.transfer: length is {state.length}, but a command packet has {PACKET_SIZE} bytes")
    if (state.lba or state.left) and kind not in OF_SECTORS:
        raise StateError(f"{where}.transfer: {kind} with {state.left} left from {state.lba}, but it moves no sectors")
    if state.skip and kind is not TransferKind.READ_CD:
        raise StateError(f"{where}.transfer: skip is {state.skip}, which only {TransferKind.READ_CD} has")


def check_disk_transfer(state: TransferState, sectors: int, where: str) -> None:
    """Refuse a command in flight that no disk of `sectors` sectors can have. Raise StateError."""
    kind = state.kind
    where = f"{where}.transfer"
    if kind in OF_PACKETS:
        raise StateError(f"{where}: {kind} is not a command of a disk")
    if kind is TransferKind.IDENTIFY:
        if state.length != SECTOR_SIZE:
            raise StateError(f"{where}: length is {state.length}, but IDENTIFY has {SECTOR_SIZE} bytes")
        return
    if kind is TransferKind.FLUSH:
        return
    # The address of a write is checked when its block has come.
    if state.left > MAX_COUNT or (state.lba > sectors and kind is not TransferKind.WRITE):
        raise StateError(f"{where}: {state.left} sectors from {state.lba} on a disk of {sectors} sectors")
    if not state.left and (state.waiting or kind is TransferKind.WRITE):
        raise StateError(f"{where}: {kind} with no sector left")
    if kind is TransferKind.VERIFY:
        return
    if not 1 <= state.block <= MAX_MULTIPLE:
        raise StateError(f"{where}: block is {state.block} sectors, not 1 to {MAX_MULTIPLE}")
    if kind is TransferKind.WRITE:
        fits = state.length == min(state.block, state.left) * SECTOR_SIZE
    else:
        fits = state.length % SECTOR_SIZE == 0 and state.length <= state.block * SECTOR_SIZE
    if not fits:
        raise StateError(
            f"{where}: length is {state.length}, with {state.left} sectors left in blocks of {state.block}"
        )


# -- a whole drive ----------------------------------------------------------------------------------------------------


def drive_state(
    task: TaskFile,
    settings: Settings,
    transfer: Transfer | None,
    kind: AtaState | AtapiState,
    disk: DiskState | None,
) -> DriveState:
    """Return the state of a drive."""
    return DriveState(
        task.status,
        task.error,
        task.feature,
        task.nsector,
        task.sector,
        task.lcyl,
        task.hcyl,
        task.device,
        task.hob_nsector,
        task.hob_sector,
        task.hob_lcyl,
        task.hob_hcyl,
        task.interrupt,
        settings.power,
        settings.transfer_mode,
        settings.keep,
        None if transfer is None else transfer.save(task),
        kind if isinstance(kind, AtaState) else None,
        kind if isinstance(kind, AtapiState) else None,
        disk,
    )


def load_drive(task: TaskFile, settings: Settings, state: DriveState) -> Transfer | None:
    """Assign what all drives have, and return the command in flight."""
    task.drop_block()
    transfer = None if state.transfer is None else _resume(task, state.transfer)
    task.status = state.status
    task.error = state.error
    task.feature = state.feature
    task.nsector = state.nsector
    task.sector = state.sector
    task.lcyl = state.lcyl
    task.hcyl = state.hcyl
    task.device = state.device
    task.hob_nsector = state.hob_nsector
    task.hob_sector = state.hob_sector
    task.hob_lcyl = state.hob_lcyl
    task.hob_hcyl = state.hob_hcyl
    task.interrupt = state.interrupt
    settings.power = state.power
    settings.transfer_mode = state.transfer_mode
    settings.keep = state.keep_settings
    return transfer
