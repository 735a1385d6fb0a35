"""A disk: the ATA commands. Source: ATA/ATAPI-6 (T13/1410D); for CHS, ATA-3 (X3T10/2008D).

When the write of a command's code returns, the command is done or has its first PIO block ready. A guest sees BSY only
while the host fails to read or write the medium and the disk is configured to wait for it. Every failure is reported as
ABRT with the registers at the sector that failed, as in QEMU; the standard allows that in place of IDNF or UNC.
"""

from collections.abc import Callable
from typing import Final

from chkpt.device import SECTOR_SIZE, BlockBackend
from chkpt.errors import StateError
from chkpt_devices.ide.address import (
    Geometry,
    default_geometry,
    read_address,
    read_count,
    write_address,
    write_count,
)
from chkpt_devices.ide.config import DriveConfig, OnError
from chkpt_devices.ide.identify import MAX_MULTIPLE, identify_disk
from chkpt_devices.ide.max_address import KEPT, SECURITY_SUBCOMMANDS, MaxAddress
from chkpt_devices.ide.registers import (
    DISK_SIGNATURE,
    HEAD,
    LBA,
    READY,
    Command,
    Feature,
)
from chkpt_devices.ide.settings import Settings
from chkpt_devices.ide.state import AtaState, DriveState, MaxQuery, PowerMode, TransferKind
from chkpt_devices.ide.taskfile import HAS_REGISTERS, TaskFile
from chkpt_devices.ide.transfer import Transfer, check_disk_transfer, check_transfer, drive_state, load_drive

MULTIPLES: Final = frozenset((0, 1, 2, 4, 8, 16))
"""Sector counts that SET MULTIPLE takes; 0 switches READ and WRITE MULTIPLE off."""

VERIFY_STEP: Final = 256
"""Sectors read at a time for VERIFY. No guest can see it."""

MAX_SECTORS: Final = 1 << 48

SMART_KEY: Final = (0x4F, 0xC2)
"""LBA mid and high of every SMART command (ATA/ATAPI-6, SMART)."""

SMART_AUTOSAVE: Final = 0xD2
SMART_ENABLE: Final = 0xD8
SMART_DISABLE: Final = 0xD9
SMART_STATUS: Final = 0xDA

MAX_QUERIES: Final = frozenset((Command.READ_NATIVE_MAX, Command.READ_NATIVE_MAX_EXT))


class Disk:
    """One disk. It is absent until a backend is connected."""

    signature: Final = DISK_SIGNATURE
    ready_status: Final = READY
    """Status after a reset."""

    def __init__(
        self,
        config: DriveConfig,
        update_line: Callable[[], None],
        presence_changed: Callable[[], None],
        diagnose: Callable[[], None],
    ) -> None:
        """Make a disk without a medium.

        Args:
            config: the disk's unit, its strings, what it does when the host fails.
            update_line: called when the disk's interrupt request changes.
            presence_changed: called when the disk appears or vanishes.
            diagnose: carries out EXECUTE DEVICE DIAGNOSTIC, which is for both drives of the channel.
        """
        self.config = config
        self.task = TaskFile(update_line)
        self.task.block_end = self._block_end
        self.settings = Settings(self.task)
        self._presence_changed = presence_changed
        self._on_error = config.on_error
        self._backend: BlockBackend | None = None
        self._transfer: Transfer | None = None
        self._max = MaxAddress()
        self._multiple = MAX_MULTIPLE
        self._heads = 1
        self._sectors_per_track = 1
        self._write_cache = True
        self._smart = True
        self._commands = self._command_table(diagnose)

    def _command_table(self, diagnose: Callable[[], None]) -> dict[int, Callable[[], None]]:
        return {
            **self.settings.commands(),
            Command.RECALIBRATE: self.task.complete,
            Command.READ_SECTORS: lambda: self._read(1),
            Command.READ_SECTORS_NO_RETRY: lambda: self._read(1),
            Command.READ_SECTORS_EXT: lambda: self._read(1, extended=True),
            Command.READ_MULTIPLE: lambda: self._read(self._multiple),
            Command.READ_MULTIPLE_EXT: lambda: self._read(self._multiple, extended=True),
            Command.WRITE_SECTORS: lambda: self._write(1),
            Command.WRITE_SECTORS_NO_RETRY: lambda: self._write(1),
            Command.WRITE_SECTORS_EXT: lambda: self._write(1, extended=True),
            Command.WRITE_MULTIPLE: lambda: self._write(self._multiple),
            Command.WRITE_MULTIPLE_EXT: lambda: self._write(self._multiple, extended=True),
            Command.VERIFY: self._verify,
            Command.VERIFY_NO_RETRY: self._verify,
            Command.VERIFY_EXT: lambda: self._verify(extended=True),
            Command.SEEK: self._seek,
            Command.FLUSH: self._flush,
            Command.FLUSH_EXT: self._flush,
            Command.DIAGNOSTIC: diagnose,
            Command.INITIALIZE_PARAMETERS: self._initialize_parameters,
            Command.IDENTIFY: self._identify,
            Command.SET_FEATURES: self._set_features,
            Command.SET_MULTIPLE: self._set_multiple,
            Command.READ_NATIVE_MAX: lambda: self._read_native_max(MaxQuery.ADDRESS),
            Command.READ_NATIVE_MAX_EXT: lambda: self._read_native_max(MaxQuery.ADDRESS_EXT),
            Command.SET_MAX: lambda: self._set_max(MaxQuery.ADDRESS),
            Command.SET_MAX_EXT: lambda: self._set_max(MaxQuery.ADDRESS_EXT),
            Command.SMART: self._smart_command,
        }

    # -- the medium (BlockFrontend) -----------------------------------------------------------------------------------

    @property
    def present(self) -> bool:
        """Whether there is a disk to answer."""
        return self._backend is not None

    def connect(self, backend: BlockBackend, /) -> None:
        """Become the disk behind `backend`, just powered on."""
        self._backend = backend
        self._max.insert(max(1, min(backend.size // SECTOR_SIZE, MAX_SECTORS)))
        self.power_on()
        self._presence_changed()

    def disconnect(self) -> None:
        """Vanish from the channel, and clear the state for the next disk."""
        self._backend = None
        self._max.insert(1)
        self.power_on()
        self.task.clear()
        self._presence_changed()

    def retry(self) -> None:
        """Try again the command that waits for the host."""
        transfer = self._transfer
        if transfer is None or not transfer.waiting:
            return
        transfer.waiting = False
        if transfer.kind is TransferKind.READ:
            self._read_block()
        elif transfer.kind is TransferKind.WRITE:
            self._write_block()
        elif transfer.kind is TransferKind.VERIFY:
            self._verify_rest()
        else:
            self._flush_medium()

    def _medium_failed(self) -> None:
        """End the command with an error, or wait for the host with the command as it is."""
        if self._on_error is OnError.REPORT:
            self._abort()
            return
        assert self._transfer is not None
        self._transfer.waiting = True
        self.task.stall()

    # -- resets and commands ------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Go to the state after power-on. The registers show the signature."""
        self.settings.power_on()
        self._max.power_on()
        geometry = default_geometry(self._max.sectors)
        self._heads, self._sectors_per_track = geometry.heads, geometry.sectors
        self._smart = True
        self.reset()

    def reset(self) -> None:
        """Drop the command in flight and show the signature, as the channel's reset does.

        The translation of INITIALIZE DEVICE PARAMETERS stays, as in QEMU and in Fujitsu's drives (manual C141-E120);
        so do the transfer mode and SMART.
        """
        self._max.query = MaxQuery.NONE
        self.settings.power = PowerMode.ACTIVE
        if not self.settings.keep:
            self._multiple = MAX_MULTIPLE
            self._write_cache = True
        self.sign()
        self.task.forget_previous()

    def sign(self) -> None:
        """Show the signature of a disk that has passed its test."""
        self._transfer = None
        self.task.sign(self.signature, self.ready_status)

    def command(self, code: int) -> None:
        """Carry out a command, or begin to. It is dropped while another one is in flight, and in sleep.

        The write always withdraws the interrupt (ATA/ATAPI-6, INTRQ).
        """
        task = self.task
        task.clear_interrupt()
        if task.status & HAS_REGISTERS or self.settings.asleep:
            return
        self._commands.get(code, task.abort)()
        if code not in MAX_QUERIES:
            self._max.query = MaxQuery.NONE  # SET MAX must follow its query at once

    def _abort(self) -> None:
        self._transfer = None
        self.task.abort()

    def _block_end(self) -> None:
        """Go on after the host has moved a whole block."""
        transfer = self._transfer
        assert transfer is not None
        if transfer.kind is TransferKind.WRITE:
            self._write_block()
        elif transfer.left:
            self._read_block()
        else:
            self._transfer = None
            self.task.end_of_data()

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> DriveState | None:
        """Return the disk's state, or None if it is absent."""
        backend = self._backend
        if backend is None:
            return None
        size = self._max
        ata = AtaState(
            self._multiple,
            self._heads,
            self._sectors_per_track,
            self._write_cache,
            self._smart,
            size.sectors,
            size.power_on_sectors,
            size.is_kept,
            size.is_extended,
            size.query,
        )
        return drive_state(self.task, self.settings, self._transfer, ata, backend.save())

    def check(self, state: DriveState, where: str) -> None:
        """Refuse a state that this disk cannot have. Change nothing. Raise StateError."""
        backend, ata = self._backend, state.ata
        assert backend is not None
        assert ata is not None
        if state.disk is None:
            raise StateError(f"{where} is not the state of a disk with a medium")
        backend.check(state.disk)
        if ata.multiple not in MULTIPLES:
            raise StateError(f"{where}/ata.multiple is {ata.multiple}, which no SET MULTIPLE can set")
        if max(ata.max_sectors, ata.power_on_sectors) > self._max.native:
            raise StateError(f"{where}/ata.max_sectors is beyond the disk's {self._max.native} sectors")
        transfer = state.transfer
        if transfer is None:
            return
        check_transfer(transfer, state.status, where)
        check_disk_transfer(transfer, self._max.native, where)

    def load(self, state: DriveState) -> None:
        """Take a state that `check` has passed."""
        ata = state.ata
        assert self._backend is not None
        assert ata is not None
        assert state.disk is not None
        self._backend.load(state.disk)
        self._transfer = load_drive(self.task, self.settings, state)
        self._multiple = ata.multiple
        self._heads = ata.heads
        self._sectors_per_track = ata.sectors_per_track
        self._write_cache = ata.write_cache
        self._smart = ata.smart
        size = self._max
        size.sectors = ata.max_sectors
        size.power_on_sectors = ata.power_on_sectors
        size.is_kept = ata.max_is_kept
        size.is_extended = ata.max_is_extended
        size.query = ata.max_query

    # -- data commands ------------------------------------------------------------------------------------------------

    def _begin(self, kind: TransferKind, block: int, *, extended: bool) -> bool:
        """Take the address and the count from the registers; return False if they are not valid."""
        task = self.task
        lba = read_address(task, self._heads, self._sectors_per_track, extended=extended)
        if not block or lba is None:
            task.abort()
            return False
        self.settings.power = PowerMode.ACTIVE
        self._transfer = Transfer(kind, lba, read_count(task, extended=extended), block, extended)
        return True

    def _advance(self, transfer: Transfer, count: int) -> None:
        """Advance the command and the registers by `count` sectors."""
        transfer.lba += count
        transfer.left -= count
        write_address(self.task, transfer.lba, self._heads, self._sectors_per_track, extended=transfer.extended)
        write_count(self.task, transfer.left, extended=transfer.extended)

    def _read(self, block: int, *, extended: bool = False) -> None:
        if self._begin(TransferKind.READ, block, extended=extended):
            self._read_block()

    def _read_block(self) -> None:
        """Read the next block from the medium and offer it to the host."""
        transfer, backend = self._transfer, self._backend
        assert transfer is not None
        assert backend is not None
        count = min(transfer.block, transfer.left)
        if transfer.lba + count > self._max.sectors:
            self._abort()
            return
        try:
            block = backend.read(transfer.lba * SECTOR_SIZE, count * SECTOR_SIZE)
        except OSError:
            self._medium_failed()
            return
        self._advance(transfer, count)
        self.task.offer(block)
        self.task.raise_interrupt()

    def _write(self, block: int, *, extended: bool = False) -> None:
        if self._begin(TransferKind.WRITE, block, extended=extended):
            self._take_block()

    def _take_block(self) -> None:
        transfer = self._transfer
        assert transfer is not None
        self.task.take(min(transfer.block, transfer.left) * SECTOR_SIZE)

    def _write_block(self) -> None:
        """Write the host's block to the medium, and take the next one."""
        transfer, backend = self._transfer, self._backend
        assert transfer is not None
        assert backend is not None
        block = self.task.written_bytes()
        count = len(block) // SECTOR_SIZE
        if backend.read_only or transfer.lba + count > self._max.sectors:
            self._abort()
            return
        try:
            backend.write(transfer.lba * SECTOR_SIZE, block)
            if not self._write_cache:
                backend.flush()
        except OSError:
            self._medium_failed()
            return
        self._advance(transfer, count)
        if transfer.left:
            self._take_block()
            self.task.raise_interrupt()
        else:
            self._transfer = None
            self.task.complete()

    def _verify(self, *, extended: bool = False) -> None:
        if self._begin(TransferKind.VERIFY, VERIFY_STEP, extended=extended):
            self._verify_rest()

    def _verify_rest(self) -> None:
        """Read the sectors and drop them. The registers stay as they are."""
        transfer, backend = self._transfer, self._backend
        assert transfer is not None
        assert backend is not None
        if transfer.lba + transfer.left > self._max.sectors:
            self._abort()
            return
        try:
            while transfer.left:
                count = min(VERIFY_STEP, transfer.left)
                backend.read(transfer.lba * SECTOR_SIZE, count * SECTOR_SIZE)
                transfer.lba += count
                transfer.left -= count
        except OSError:
            self._medium_failed()
            return
        self._transfer = None
        self.task.complete()

    def _seek(self) -> None:
        lba = read_address(self.task, self._heads, self._sectors_per_track, extended=False)
        if lba is None or lba >= self._max.sectors:
            self.task.abort()
            return
        self.settings.power = PowerMode.ACTIVE
        self.task.complete()

    def _flush(self) -> None:
        self._transfer = Transfer(TransferKind.FLUSH)
        self._flush_medium()

    def _flush_medium(self) -> None:
        assert self._backend is not None
        try:
            self._backend.flush()
        except OSError:
            self._medium_failed()
            return
        self._transfer = None
        self.task.complete()

    # -- commands about the disk itself -------------------------------------------------------------------------------

    def _geometry(self) -> Geometry:
        """Return the translation now in force."""
        heads, sectors = self._heads, self._sectors_per_track
        default = default_geometry(self._max.sectors)
        if (heads, sectors) == (default.heads, default.sectors):
            return default
        return Geometry(min(self._max.sectors // (heads * sectors), 0xFFFF), heads, sectors)

    def _identify(self) -> None:
        self._transfer = Transfer(TransferKind.IDENTIFY)
        self.task.offer(
            identify_disk(
                self.config,
                self._max.sectors,
                (default_geometry(self._max.sectors), self._geometry()),
                multiple=self._multiple,
                transfer_mode=self.settings.transfer_mode,
                write_cache=self._write_cache,
                smart=self._smart,
            )
        )
        self.task.raise_interrupt()

    def _initialize_parameters(self) -> None:
        """Set the translation of CHS addresses; the cylinders follow from it."""
        if not self.task.nsector:
            self.task.abort()
            return
        self._heads = (self.task.device & HEAD) + 1
        self._sectors_per_track = self.task.nsector
        self.task.complete()

    def _set_features(self) -> None:
        feature = self.task.feature
        if feature in {Feature.WRITE_CACHE_ON, Feature.WRITE_CACHE_OFF}:
            self._write_cache = feature == Feature.WRITE_CACHE_ON
        elif feature not in {Feature.LOOK_AHEAD_ON, Feature.LOOK_AHEAD_OFF} and not self.settings.set_feature():
            self.task.abort()
            return
        self.task.complete()

    def _set_multiple(self) -> None:
        if self.task.nsector not in MULTIPLES:
            self._multiple = 0  # READ and WRITE MULTIPLE are off after a refused count (ATA/ATAPI-6)
            self.task.abort()
            return
        self._multiple = self.task.nsector
        self.task.complete()

    def _read_native_max(self, query: MaxQuery) -> None:
        extended = query is MaxQuery.ADDRESS_EXT
        if extended and not self.task.device & LBA:
            self._max.query = MaxQuery.NONE
            self.task.abort()
            return
        write_address(self.task, self._max.ask(query), self._heads, self._sectors_per_track, extended=extended)
        self.task.complete()

    def _set_max(self, query: MaxQuery) -> None:
        task = self.task
        extended = query is MaxQuery.ADDRESS_EXT
        last = read_address(task, self._heads, self._sectors_per_track, extended=extended)
        secured = not extended and task.feature in SECURITY_SUBCOMMANDS
        if secured or not self._max.set(query, last, keep=bool(task.nsector & KEPT)):
            task.abort()
            return
        task.complete()

    def _smart_command(self) -> None:
        """Carry out the mandatory commands of the SMART feature set; this disk never predicts its failure."""
        task = self.task
        feature = task.feature
        known = feature in {SMART_AUTOSAVE, SMART_ENABLE, SMART_DISABLE, SMART_STATUS}
        if not known or (task.lcyl, task.hcyl) != SMART_KEY or not (self._smart or feature == SMART_ENABLE):
            task.abort()
            return
        if feature == SMART_AUTOSAVE and task.nsector not in {0x00, 0xF1}:
            task.abort()
            return
        if feature in {SMART_ENABLE, SMART_DISABLE}:
            self._smart = feature == SMART_ENABLE
        task.complete()  # RETURN STATUS: the key unchanged in LBA mid and high means no threshold exceeded
