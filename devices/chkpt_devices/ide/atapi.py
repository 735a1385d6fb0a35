"""A CD-ROM drive: the PACKET protocol and its commands. Source: SFF-8020i revision 2.6; ATA/ATAPI-6, PACKET.

    PACKET -> DRQ, reason COMMAND: the host writes 12 bytes
           -> DRQ, reason TO_HOST, interrupt: the host reads a block, at most as long as the limit that it has set
           -> reason COMMAND | TO_HOST, interrupt: done, or failed with the sense key in Error

A sense is kept until REQUEST SENSE takes it or another command comes. A unit attention is a separate condition: it
fails the next command once, unless the command is one of those that ignore it.
"""

from collections.abc import Callable
from typing import Final

from chkpt.device import SECTOR_SIZE, BlockBackend
from chkpt.errors import StateError
from chkpt_devices.ide import mmc
from chkpt_devices.ide.config import DriveConfig, OnError
from chkpt_devices.ide.identify import identify_cdrom
from chkpt_devices.ide.mmc import CD_SECTOR, Packet
from chkpt_devices.ide.registers import COMMAND, PACKET_SIGNATURE, TO_HOST, Command
from chkpt_devices.ide.settings import Settings
from chkpt_devices.ide.state import (
    PACKET_SIZE,
    AtapiState,
    Attention,
    DriveState,
    MediaEvent,
    PowerMode,
    TransferKind,
    TransferState,
)
from chkpt_devices.ide.taskfile import HAS_REGISTERS, TaskFile
from chkpt_devices.ide.transfer import Transfer, check_transfer, drive_state, load_drive

DMA_OR_OVERLAP: Final = 0x03
"""Features of PACKET, DMA and OVL. This drive has neither."""

MAX_BLOCK: Final = 0xFFFE
"""The largest byte count limit; 0xFFFF means this (ATA/ATAPI-6, PACKET)."""

MAX_SECTORS: Final = 0xFFFF_FFFF
"""The most sectors that READ TOC can report, with the lead-out after the last."""

ABOVE_ATTENTION: Final = frozenset((Packet.INQUIRY, Packet.REQUEST_SENSE, Packet.GET_CONFIGURATION, Packet.GET_EVENT))
"""Packet commands that a unit attention does not fail (SFF-8020i; MMC-2 for the last two)."""

NEEDS_MEDIUM: Final = frozenset(
    (
        *(Packet.TEST_UNIT_READY, Packet.READ_CAPACITY, Packet.READ_10, Packet.READ_12, Packet.READ_CD, Packet.SEEK),
        *(Packet.READ_TOC, Packet.READ_DISC_INFORMATION),
    )
)


class Cdrom:
    """One CD-ROM drive. Without a backend it is empty."""

    signature: Final = PACKET_SIGNATURE
    ready_status: Final = 0x00
    """Status after a reset: DRDY comes with the first command (ATA/ATAPI-6, signatures)."""

    present: Final = True

    def __init__(
        self,
        config: DriveConfig,
        update_line: Callable[[], None],
        presence_changed: Callable[[], None],
        diagnose: Callable[[], None],
    ) -> None:
        """Make an empty drive. The arguments are those of `chkpt_devices.ide.ata.Disk`. The drive is always present."""
        del presence_changed
        self.config = config
        self.task = TaskFile(update_line)
        self.task.block_end = self._block_end
        self.settings = Settings(self.task)
        self._on_error = config.on_error
        self._backend: BlockBackend | None = None
        self._transfer: Transfer | None = None
        self._sense = (0, 0, 0)
        self._attention = Attention.RESET
        self._event = MediaEvent.NONE
        self._tray_open = False
        self._locked = False
        self.leaves_out = False
        self._commands: dict[int, Callable[[], None]] = {
            **self.settings.commands(),
            Command.DEVICE_RESET: self.sign,
            Command.DIAGNOSTIC: diagnose,
            Command.PACKET: self._take_packet,
            Command.IDENTIFY_PACKET: self._identify,
            Command.IDENTIFY: self._abort_as_packet_device,
            Command.READ_SECTORS: self._abort_as_packet_device,
            Command.SET_FEATURES: self._set_features,
        }
        self._packets: dict[int, Callable[[bytes], None]] = {
            Packet.TEST_UNIT_READY: lambda _: self._finish(),
            Packet.REQUEST_SENSE: self._request_sense,
            Packet.INQUIRY: self._inquiry,
            Packet.START_STOP: self._start_stop,
            Packet.PREVENT_ALLOW: self._prevent_allow,
            Packet.READ_CAPACITY: lambda _: self._read_capacity(),
            Packet.READ_10: lambda packet: self._read(_long(packet, 2), _short(packet, 7)),
            Packet.READ_12: lambda packet: self._read(_long(packet, 2), _long(packet, 6)),
            Packet.READ_CD: self._read_cd,
            Packet.READ_DISC_INFORMATION: self._read_disc_information,
            Packet.SEEK: self._seek,
            Packet.READ_TOC: self._read_toc,
            Packet.GET_CONFIGURATION: self._get_configuration,
            Packet.GET_EVENT: self._get_event,
            Packet.MODE_SENSE: self._mode_sense,
            Packet.SET_SPEED: lambda _: self._finish(),
            Packet.MECHANISM_STATUS: self._mechanism_status,
        }

    # -- the medium (RemovableFrontend) -------------------------------------------------------------------------------

    def connect(self, backend: BlockBackend, /) -> None:
        """Take a disc, and close the tray."""
        self._backend = backend
        self._tray_open = False
        self._medium_changed()

    def disconnect(self) -> None:
        """Remove the disc. A read that waits for it fails."""
        self._backend = None
        self._event = MediaEvent.REMOVAL
        self.retry()

    @property
    def tray_open(self) -> bool:
        """Whether the tray is open."""
        return self._tray_open

    @property
    def locked(self) -> bool:
        """Whether the guest keeps the tray closed (PREVENT ALLOW MEDIUM REMOVAL)."""
        return self._locked and not self._tray_open

    def request_eject(self) -> None:
        """Report to the guest that the button of the locked tray was pressed, unless another event waits for it."""
        if self._event is MediaEvent.NONE:
            self._event = MediaEvent.EJECT_REQUEST

    def eject(self) -> None:
        """Open the tray, locked or not. The disc stays until `disconnect` takes it."""
        if not self._tray_open:
            self._tray_open = True
            if self._backend is not None:
                self._event = MediaEvent.REMOVAL
        self.retry()

    def retry(self) -> None:
        """Try again the read that waits for the host."""
        transfer = self._transfer
        if transfer is not None and transfer.waiting:
            transfer.waiting = False
            self._read_block()

    def _medium_changed(self) -> None:
        self._event = MediaEvent.NEW_MEDIA
        if self._attention is Attention.NONE:  # an attention for a reset includes this
            self._attention = Attention.MEDIUM_CHANGED

    @property
    def _sectors(self) -> int:
        """The number of the disc's sectors; 0 without a disc or with the tray open."""
        return 0 if self._backend is None or self._tray_open else min(self._backend.size // CD_SECTOR, MAX_SECTORS)

    # -- resets and commands ------------------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Go to the state after power-on; the tray stays where it is."""
        self.settings.power_on()
        self._sense = (0, 0, 0)
        self._attention = Attention.RESET
        self._event = MediaEvent.NONE if self._backend is None else MediaEvent.NEW_MEDIA
        self._locked = False
        self.reset()

    def reset(self) -> None:
        """Drop the command in flight and show the signature, as the channel's reset does. Sense and lock stay."""
        self.sign()
        self.task.forget_previous()

    def sign(self) -> None:
        """Show the signature of a drive that has passed its test, and wake up. This is also DEVICE RESET."""
        self._transfer = None
        self.settings.power = PowerMode.ACTIVE
        self.task.sign(self.signature, self.ready_status)

    def command(self, code: int) -> None:
        """Carry out a command, or begin to. While one is in flight, and in sleep, all but DEVICE RESET are dropped.

        The write always withdraws the interrupt (ATA/ATAPI-6, INTRQ).
        """
        task = self.task
        task.clear_interrupt()
        if code != Command.DEVICE_RESET and (task.status & HAS_REGISTERS or self.settings.asleep):
            return
        self._commands.get(code, task.abort)()

    def _abort_as_packet_device(self) -> None:
        """Abort a disk's command with the signature in the registers (ATA/ATAPI-6, IDENTIFY DEVICE, READ SECTORS)."""
        self.task.sign(self.signature, self.ready_status)
        self.task.abort()

    def _identify(self) -> None:
        self._transfer = Transfer(TransferKind.IDENTIFY)
        self.task.offer(identify_cdrom(self.config, transfer_mode=self.settings.transfer_mode))
        self.task.raise_interrupt()

    def _set_features(self) -> None:
        if self.settings.set_feature():
            self.task.complete()
        else:
            self.task.abort()

    # -- the PACKET protocol ------------------------------------------------------------------------------------------

    def _take_packet(self) -> None:
        task = self.task
        if task.feature & DMA_OR_OVERLAP:
            task.abort()
            return
        self._transfer = Transfer(TransferKind.PACKET, block=task.hcyl << 8 | task.lcyl)
        task.nsector = COMMAND
        task.take(PACKET_SIZE)  # no interrupt: word 0 of IDENTIFY PACKET DEVICE says so

    def _block_end(self) -> None:
        """Go on after the host has moved a whole block."""
        transfer = self._transfer
        assert transfer is not None
        if transfer.kind is TransferKind.PACKET:
            self._execute(self.task.written_bytes())
        elif transfer.kind is TransferKind.IDENTIFY:
            self._transfer = None
            self.task.end_of_data()
        elif transfer.rest:
            self._offer_reply(transfer, transfer.rest)
        elif transfer.left:
            self._read_block()
        else:
            self._finish()

    def _execute(self, packet: bytes) -> None:
        """Carry out a command packet."""
        code = packet[0]
        if self._attention and code not in ABOVE_ATTENTION:
            self._fail_for_attention()
            return
        if code != Packet.REQUEST_SENSE:
            self._sense = (0, 0, 0)
        execute = self._packets.get(code)
        if execute is None:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.INVALID_OPERATION)
        elif code in NEEDS_MEDIUM and not self._sectors:
            self._fail(mmc.NOT_READY, mmc.MEDIUM_NOT_PRESENT)
        else:
            execute(packet)

    def _finish(self) -> None:
        self._transfer = None
        self.task.nsector = COMMAND | TO_HOST
        self.task.complete()

    def _fail(self, key: int, code: int, qualifier: int = 0) -> None:
        """End the packet command with an error and keep its sense."""
        self._transfer = None
        self._sense = (key, code, qualifier)
        self.task.nsector = COMMAND | TO_HOST
        self.task.abort(key << 4)

    def _fail_for_attention(self) -> None:
        attention, self._attention = self._attention, Attention.NONE
        self._fail(mmc.UNIT_ATTENTION, attention.value)

    def _block_size(self, transfer: Transfer, left: int) -> int:
        """Return the number of bytes in the next block, which is even unless the block is the last."""
        limit = min(transfer.block, MAX_BLOCK)
        return left if left <= limit else limit & ~1

    def _present_block(self, block: bytes) -> None:
        task = self.task
        task.lcyl = len(block) & 0xFF
        task.hcyl = len(block) >> 8
        task.nsector = TO_HOST
        task.offer(block)
        task.raise_interrupt()

    def _begin(self, kind: TransferKind, left: int) -> Transfer | None:
        """Return the transfer of a packet command's data, or None if the host's limit is 0 bytes."""
        packet = self._transfer
        assert packet is not None
        if not self._block_size(packet, left):
            self._transfer = None
            self.task.nsector = COMMAND | TO_HOST
            self.task.abort()
            return None
        self._transfer = Transfer(kind, block=packet.block)
        return self._transfer

    def _reply(self, data: bytes, allocated: int) -> None:
        """Send `data` to the host, cut to the length that the host has allocated."""
        data = data[:allocated]
        if not data:
            self._finish()
            return
        transfer = self._begin(TransferKind.REPLY, len(data))
        if transfer is not None:
            self._offer_reply(transfer, data)

    def _offer_reply(self, transfer: Transfer, data: bytes) -> None:
        size = self._block_size(transfer, len(data))
        transfer.rest = data[size:]
        self._present_block(data[:size])

    # -- reads --------------------------------------------------------------------------------------------------------

    def _read(self, lba: int, count: int, *, moves: bool = True) -> None:
        if lba + count > self._sectors:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.ADDRESS_OUT_OF_RANGE)
        elif not count or not moves:
            self._finish()
        else:
            self.settings.power = PowerMode.ACTIVE
            transfer = self._begin(TransferKind.READ_CD, count * CD_SECTOR)
            if transfer is not None:
                transfer.lba = lba
                transfer.left = count * CD_SECTOR
                self._read_block()

    def _read_cd(self, packet: bytes) -> None:
        """Read the user data of sectors, or none of it. An image has no other part of a sector."""
        kind, fields = packet[1] >> 2 & 0x07, packet[9] & mmc.MAIN_CHANNEL
        if kind not in {mmc.ANY_TYPE, mmc.MODE_1}:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.ILLEGAL_MODE)
        elif fields not in {0, mmc.USER_DATA} or packet[10] & mmc.SUB_CHANNEL:
            self._invalid_field()
        else:
            self._read(_long(packet, 2), int.from_bytes(packet[6:9], "big"), moves=bool(fields))

    def _read_block(self) -> None:
        """Read the next block from the disc, which may begin and end within a sector, and offer it to the host."""
        transfer, backend = self._transfer, self._backend
        assert transfer is not None
        size = self._block_size(transfer, transfer.left)
        count, end = divmod(transfer.skip + size, CD_SECTOR)
        if self._attention:  # another disc has come since the read began
            self._fail_for_attention()
            return
        if backend is None or self._tray_open:
            self._fail(mmc.NOT_READY, mmc.MEDIUM_NOT_PRESENT)
            return
        if transfer.lba + count + bool(end) > self._sectors:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.ADDRESS_OUT_OF_RANGE)
            return
        try:
            sectors = backend.read(transfer.lba * CD_SECTOR, (count + bool(end)) * CD_SECTOR)
        except OSError:
            self._fail_read(transfer)
            return
        block = sectors[transfer.skip : transfer.skip + size]
        transfer.lba += count
        transfer.skip = end
        transfer.left -= size
        self._present_block(block)

    def _fail_read(self, transfer: Transfer) -> None:
        """End the read with an error, or wait for the host with the read as it is."""
        if self._on_error is OnError.REPORT:
            self._fail(mmc.MEDIUM_ERROR, mmc.UNRECOVERED_READ)
            return
        transfer.waiting = True
        self.task.stall()

    # -- other packet commands ----------------------------------------------------------------------------------------

    def _request_sense(self, packet: bytes) -> None:
        key, code, qualifier = self._sense
        if not key and self._attention:
            key, code = mmc.UNIT_ATTENTION, self._attention.value
            self._attention = Attention.NONE
        self._sense = (0, 0, 0)
        self._reply(mmc.sense_data(key, code, qualifier), packet[4])

    def _inquiry(self, packet: bytes) -> None:
        if packet[1] & 0x01 or packet[2]:  # EVPD: vital product data, which this drive does not have
            self._invalid_field()
        else:
            self._reply(mmc.inquiry(self.config), packet[4])

    def _start_stop(self, packet: bytes) -> None:
        load_or_eject, start = packet[4] & 0x02, packet[4] & 0x01
        if packet[4] & 0xF0:  # a power condition: nothing to start or eject then (MMC-2)
            self._finish()
        elif load_or_eject and not start:
            self._eject()
        else:
            if load_or_eject and self._tray_open:
                self._tray_open = False
                if self._backend is not None:
                    self._medium_changed()
            if start and not load_or_eject and not self._sectors:
                self._fail(mmc.NOT_READY, mmc.MEDIUM_NOT_PRESENT)
            else:
                self._finish()

    def _eject(self) -> None:
        if self.locked:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.LOAD_OR_EJECT_FAILED, mmc.REMOVAL_PREVENTED)
            return
        self.eject()
        self._finish()

    def _prevent_allow(self, packet: bytes) -> None:
        self._locked = bool(packet[4] & 0x01)
        self._finish()

    def _read_capacity(self) -> None:
        self._reply((self._sectors - 1).to_bytes(4, "big") + CD_SECTOR.to_bytes(4, "big"), 8)

    def _seek(self, packet: bytes) -> None:
        if _long(packet, 2) >= self._sectors:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.ADDRESS_OUT_OF_RANGE)
        else:
            self._finish()

    def _read_toc(self, packet: bytes) -> None:
        msf = bool(packet[1] & 0x02)
        kind = packet[9] >> 6 or packet[2] & 0x0F  # SFF-8020i has the format in byte 9, MMC-2 in byte 2
        table: bytes | None = None
        if kind == 0:
            table = mmc.table_of_contents(self._sectors, packet[6], msf=msf)
        elif kind == 1:
            table = mmc.session_information(msf=msf)
        elif kind == 2:
            table = mmc.full_table_of_contents(self._sectors, packet[6])
        if table is None:
            self._invalid_field()
        else:
            self._reply(table, _short(packet, 7))

    def _read_disc_information(self, packet: bytes) -> None:
        if packet[1] & 0x07:  # the other data types are of rewritable discs
            self._invalid_field()
        else:
            self._reply(mmc.disc_information(), _short(packet, 7))

    def _get_configuration(self, packet: bytes) -> None:
        profile = 0
        if self._sectors:
            profile = mmc.PROFILE_CD if self._sectors <= mmc.LARGEST_CD else mmc.PROFILE_DVD
        only = packet[1] & 0x03 == 0x02  # RT: this feature and no other
        self._reply(mmc.configuration(_short(packet, 2), only=only, profile=profile), _short(packet, 7))

    def _get_event(self, packet: bytes) -> None:
        if not packet[1] & 0x01:  # IMMED clear asks for an answer later, which takes overlapped commands
            self._invalid_field()
            return
        allocated = _short(packet, 7)
        reply = mmc.media_event(
            packet[4], self._event, tray_open=self._tray_open, present=self._backend is not None and not self._tray_open
        )
        if packet[4] & 1 << mmc.MEDIA_CLASS and allocated > 4:
            self._event = MediaEvent.NONE
        self._reply(reply, allocated)

    def _mode_sense(self, packet: bytes) -> None:
        control, page = packet[2] >> 6, packet[2] & 0x3F
        if control == 3:
            self._fail(mmc.ILLEGAL_REQUEST, mmc.SAVING_UNSUPPORTED)
            return
        medium = 0x71 if self._tray_open else 0x01 if self._sectors else 0x70  # door open, data disc, door closed
        reply = mmc.mode_sense(page, control, medium, locked=self._locked)
        if reply is None:
            self._invalid_field()
        else:
            self._reply(reply, _short(packet, 7))

    def _mechanism_status(self, packet: bytes) -> None:
        self._reply(mmc.mechanism_status(tray_open=self._tray_open), _short(packet, 8))

    def _invalid_field(self) -> None:
        self._fail(mmc.ILLEGAL_REQUEST, mmc.INVALID_FIELD)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> DriveState:
        """Return the drive's state."""
        key, code, qualifier = self._sense
        atapi = AtapiState(key, code, qualifier, self._attention, self._event, self._tray_open, self._locked)
        disk = None if self._backend is None else self._backend.save()
        return drive_state(self.task, self.settings, self._transfer, atapi, disk)

    def check(self, state: DriveState, where: str) -> None:
        """Refuse a state that this drive cannot have. Change nothing. Raise StateError."""
        if (state.disk is None) != (self._backend is None) and not (self.leaves_out and self._backend is None):
            there, here = ("no disc", "one") if state.disk is None else ("a disc", "none")
            raise StateError(f"{where} has {there}, but this drive has {here}: connect or disconnect its backend")
        if self._backend is not None and state.disk is not None:
            self._backend.check(state.disk)
        if state.transfer is not None:
            check_transfer(state.transfer, state.status, where)
            _check_packet_transfer(state.transfer, where)

    def load(self, state: DriveState) -> None:
        """Take a state that `check` has passed."""
        atapi = state.atapi
        assert atapi is not None
        if self._backend is not None and state.disk is not None:
            self._backend.load(state.disk)
        self._transfer = load_drive(self.task, self.settings, state)
        self._sense = (atapi.sense_key, atapi.asc, atapi.ascq)
        self._attention = atapi.attention
        self._event = atapi.event
        self._tray_open = atapi.tray_open
        self._locked = atapi.locked
        if self._backend is None and state.disk is not None:
            self.eject()
            self.disconnect()


def _short(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 2], "big")


def _long(packet: bytes, at: int) -> int:
    return int.from_bytes(packet[at : at + 4], "big")


def _check_packet_transfer(state: TransferState, where: str) -> None:
    """Refuse a command in flight that no CD-ROM drive can have. Raise StateError."""
    kind = state.kind
    where = f"{where}.transfer"
    if kind in {TransferKind.READ, TransferKind.WRITE, TransferKind.VERIFY, TransferKind.FLUSH}:
        raise StateError(f"{where}: {kind} is not a command of a CD-ROM drive")
    if kind is TransferKind.IDENTIFY and state.length != SECTOR_SIZE:
        raise StateError(f"{where}: length is {state.length}, but IDENTIFY has {SECTOR_SIZE} bytes")
    if kind is TransferKind.READ_CD and state.waiting and not state.left:
        raise StateError(f"{where}: {kind} waits for no byte")
    more = state.left
    if kind is TransferKind.REPLY:
        more = len(state.buffer) - state.length
    if more and (state.block < 2 or state.length % 2):
        raise StateError(f"{where}: {more} bytes are left, with blocks of {state.block} and {state.length} bytes")
