"""The channel: ports, drive selection, interrupts and resets of two drives on one cable.

Source: ATA/ATAPI-6 (T13/1410D): registers, resets, single device configurations; if the standard leaves a point
open, QEMU's `hw/ide/core.c`: the channel drops what the host writes while a drive has the registers.

Each drive has its own registers and its own pending interrupt, writes go to both drives, and only the selected one
drives INTRQ. Drive 0 answers for an absent drive 1, with a Status of 0. An absent drive 0 reads as 0, and so does a
channel without drives.
"""

from struct import pack, unpack_from
from typing import Final

from chkpt.device import Host, Port
from chkpt.errors import StateError
from chkpt_devices.ide.ata import Disk
from chkpt_devices.ide.atapi import Cdrom
from chkpt_devices.ide.config import DriveConfig, IdeConfig, Media, check
from chkpt_devices.ide.registers import BSY, DEV, HOB, NIEN, OBSOLETE, SRST, Command
from chkpt_devices.ide.state import DriveState, IdeState
from chkpt_devices.ide.taskfile import HAS_REGISTERS, TaskFile

Drive = Disk | Cdrom

CONTROL_BITS: Final = HOB | SRST | NIEN
NOT_HOB: Final = 0xFF & ~HOB


class Channel:
    """An ATA channel with up to two drives, which moves data by PIO."""

    def __init__(self, host: Host, config: IdeConfig) -> None:
        """Claim the ports and the line, and offer a frontend for each drive.

        Raises:
            ConfigError: two drives of one unit, or a string that IDENTIFY cannot report.
            ConflictError: another device has the ports.
        """
        check(config)
        self._control = 0
        self._unit = 0
        self._absent = TaskFile(lambda: None)
        self._drives: list[Drive | None] = [None, None]
        for drive in config.drive:
            self._drives[drive.unit] = self._make_drive(drive)
        self._line = host.irq_line(config.irq)
        self._presence_changed()
        self.reset()
        host.claim_ports(config.port, self._command_block())
        host.claim_ports(config.control, (Port(self._read_alternate_status, self._write_control),))
        for unit, frontend in enumerate(self._drives):
            if frontend is not None:
                host.add_block_frontend(frontend, unit)

    def _make_drive(self, config: DriveConfig) -> Drive:
        kind = Disk if config.media is Media.DISK else Cdrom
        return kind(config, self._update_line, self._presence_changed, self._diagnose)

    def _command_block(self) -> tuple[Port, ...]:
        return (
            Port(self._read_data_low, None, self._read_data, self._write_data, self._read_block, self._write_block),
            Port(self._read_error, self._write_feature),
            Port(self._read_nsector, self._write_nsector),
            Port(self._read_sector, self._write_sector),
            Port(self._read_lcyl, self._write_lcyl),
            Port(self._read_hcyl, self._write_hcyl),
            Port(self._read_device, self._write_device),
            Port(self._read_status, self._write_command),
        )

    # -- who answers --------------------------------------------------------------------------------------------------

    def _presence_changed(self) -> None:
        """Find the present drives again, after one has appeared or vanished."""
        present = [drive for drive in self._drives if drive is not None and drive.present]
        self._tasks = tuple(drive.task for drive in present)
        for drive in present:
            drive.task.device = OBSOLETE | drive.task.device & ~DEV | (DEV if self._unit else 0)
            if self._control & SRST:
                drive.reset()
                drive.task.status = BSY
        self._select(self._unit)

    def _select(self, unit: int) -> None:
        """Select drive `unit`.

        `_task` has the registers, `_selected` answers for Status and Data, `_drive` takes the commands.

        `_shown` answers for Error, Sector Count and the address. In place of an absent drive 1 a disk 0 shows its own,
        and a packet device 0 zeros (ATA/ATAPI-6, "Device 0 only configurations"): else a guest would find it twice.
        """
        self._unit = unit
        drive = self._drives[unit]
        self._drive = drive if drive is not None and drive.present else None
        self._selected = self._absent if self._drive is None else self._drive.task
        first = self._drives[0]
        stand_in = self._drive or (first if first is not None and first.present else None)
        self._task = self._absent if stand_in is None else stand_in.task
        silent = self._drive is None and stand_in is not None and stand_in.config.media is Media.CDROM
        self._shown = self._absent if silent else self._task
        self._update_line()

    def _update_line(self) -> None:
        """Drive INTRQ as the selected drive wants it."""
        self._line.set(self._selected.interrupt and not self._control & NIEN)

    # -- Data ---------------------------------------------------------------------------------------------------------

    def _read_data(self) -> int:
        words = self._selected.words_in
        if not words:
            return 0
        word = words.pop()
        if not words:
            self._selected.block_end()
        return word

    def _read_data_low(self) -> int:
        """Read 8 bits and consume a whole word, as in QEMU: an old Solaris boot loader relies on it."""
        return self._read_data() & 0xFF

    def _write_data(self, value: int) -> None:
        task = self._selected
        if task.out_end:
            words = task.words_out
            words.append(value)
            if len(words) == task.out_end:
                task.out_end = 0
                task.block_end()

    def _read_block(self, count: int, width: int) -> bytes:
        """Read what waits, except the last word, which ends the block."""
        words, each = self._selected.words_in, width // 2
        taken = min(count, (len(words) - 1) // each) * each
        if taken <= 0:
            return b""
        block = words[-taken:]
        del words[-taken:]
        block.reverse()
        return pack(f"<{taken}H", *block)

    def _write_block(self, data: bytes, width: int) -> int:
        """Take what there is room for, except the last word, which ends the block."""
        task, each = self._selected, width // 2
        taken = min(len(data) // width, (task.out_end - len(task.words_out) - 1) // each)
        if taken <= 0:
            return 0
        task.words_out += unpack_from(f"<{taken * each}H", data)
        return taken

    # -- the other registers, read ------------------------------------------------------------------------------------

    def _read_error(self) -> int:
        return self._shown.error

    def _read_nsector(self) -> int:
        task = self._shown
        return task.hob_nsector if self._control & HOB else task.nsector

    def _read_sector(self) -> int:
        task = self._shown
        return task.hob_sector if self._control & HOB else task.sector

    def _read_lcyl(self) -> int:
        task = self._shown
        return task.hob_lcyl if self._control & HOB else task.lcyl

    def _read_hcyl(self) -> int:
        task = self._shown
        return task.hob_hcyl if self._control & HOB else task.hcyl

    def _read_device(self) -> int:
        return self._task.device

    def _read_status(self) -> int:
        """Read Status, which withdraws the interrupt."""
        task = self._selected
        if task.interrupt:
            task.interrupt = False
            self._line.set(False)
        return task.status

    def _read_alternate_status(self) -> int:
        return self._selected.status

    # -- the other registers, written ---------------------------------------------------------------------------------

    def _write_feature(self, value: int) -> None:
        if not self._task.status & HAS_REGISTERS:
            self._control &= NOT_HOB
            for task in self._tasks:
                task.feature = value

    def _write_nsector(self, value: int) -> None:
        if not self._task.status & HAS_REGISTERS:
            self._control &= NOT_HOB
            for task in self._tasks:
                task.hob_nsector = task.nsector
                task.nsector = value

    def _write_sector(self, value: int) -> None:
        if not self._task.status & HAS_REGISTERS:
            self._control &= NOT_HOB
            for task in self._tasks:
                task.hob_sector = task.sector
                task.sector = value

    def _write_lcyl(self, value: int) -> None:
        if not self._task.status & HAS_REGISTERS:
            self._control &= NOT_HOB
            for task in self._tasks:
                task.hob_lcyl = task.lcyl
                task.lcyl = value

    def _write_hcyl(self, value: int) -> None:
        if not self._task.status & HAS_REGISTERS:
            self._control &= NOT_HOB
            for task in self._tasks:
                task.hob_hcyl = task.hcyl
                task.hcyl = value

    def _write_device(self, value: int) -> None:
        if not self._task.status & HAS_REGISTERS:
            self._control &= NOT_HOB
            for task in self._tasks:
                task.device = value | OBSOLETE
            self._select(1 if value & DEV else 0)

    def _write_command(self, value: int) -> None:
        """Take a command. In reset the drives ignore all commands, also DEVICE RESET."""
        if self._control & SRST:
            return
        self._control &= NOT_HOB
        drive = self._drive
        if drive is None and value == Command.DIAGNOSTIC:
            drive = self._drives[0]
        if drive is not None and drive.present:
            drive.command(value)

    def _write_control(self, value: int) -> None:
        """Write Device Control. The drives are in reset from the moment SRST is set until it is cleared."""
        changed = (self._control ^ value) & SRST
        self._control = value & CONTROL_BITS
        if changed:
            for drive in self._drives:
                if drive is None or not drive.present:
                    continue
                if value & SRST:
                    drive.reset()
                    drive.task.status = BSY
                else:
                    drive.task.status = drive.ready_status
                self._calm(drive.task)  # again: without a drive 0, drive 1 takes writes of Device in reset
            self._select(0)
        else:
            self._update_line()

    # -- resets -------------------------------------------------------------------------------------------------------

    def _calm(self, task: TaskFile) -> None:
        """Withdraw a drive's interrupt, and select drive 0 in its Device register."""
        task.interrupt = False
        task.device = OBSOLETE

    def _diagnose(self) -> None:
        """Carry out EXECUTE DEVICE DIAGNOSTIC: both drives pass and show their signatures; drive 0 interrupts.

        A drive that sleeps takes no part.
        """
        for drive in self._drives:
            if drive is not None and drive.present:
                if not drive.settings.asleep:
                    drive.sign()
                self._calm(drive.task)
        self._select(0)
        if self._drive is not None:
            self._drive.task.raise_interrupt()

    def reset(self) -> None:
        """Power on: the reset line of the cable is pulsed."""
        self._control = 0
        for drive in self._drives:
            if drive is not None and drive.present:
                drive.power_on()
                self._calm(drive.task)
        self._select(0)

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> IdeState:
        """Return the state of the channel and its drives."""
        first, second = self._drives
        return IdeState(
            self._control,
            self._unit,
            None if first is None else first.save(),
            None if second is None else second.save(),
        )

    def load(self, state: IdeState, /) -> None:
        """Take the saved state of the channel.

        Raises:
            StateError: only one side has a drive, the drives differ in kind or medium, or the parts of the state
                contradict each other. Nothing has changed.
        """
        if state.control & ~CONTROL_BITS:
            raise StateError(f"control is {state.control:#04x}, with bits that Device Control does not keep")
        states = (state.drive0, state.drive1)
        for unit, (drive, saved) in enumerate(zip(self._drives, states, strict=True)):
            self._check(unit, drive, saved, state)
        self._load_drives(states)
        self._control = state.control
        self._select(state.unit)

    def _check(self, unit: int, drive: Drive | None, saved: DriveState | None, state: IdeState) -> None:
        """Raise StateError if this drive cannot have the saved state."""
        where = f"drive{unit}"
        if drive is None or not drive.present:
            if saved is not None:
                raise StateError(f"the state has a {_kind(saved)} as drive {unit}, but this channel has none there")
            return
        if saved is None:
            raise StateError(f"the state has no drive {unit}, but this channel has a {drive.config.media} there")
        if _kind(saved) != drive.config.media:
            raise StateError(f"the state has a {_kind(saved)} as drive {unit}, this channel a {drive.config.media}")
        if (saved.ata is None) == (saved.atapi is None):
            raise StateError(f"{where} has ata and atapi, but a drive has only one of them")
        if saved.device & (OBSOLETE | DEV) != OBSOLETE | (DEV if state.unit else 0):
            raise StateError(f"{where}.device is {saved.device:#04x}, but the selected drive is {state.unit}")
        if state.control & SRST and (saved.status != BSY or saved.transfer is not None):
            raise StateError(f"{where}.status is {saved.status:#04x} while the channel is in reset")
        if not state.control & SRST and saved.transfer is None and saved.status & HAS_REGISTERS:
            raise StateError(f"{where}.status is {saved.status:#04x}, which cannot be without a transfer in flight")
        drive.check(saved, where)

    def _load_drives(self, states: tuple[DriveState | None, DriveState | None]) -> None:
        """Load every drive, or none: a medium read from a file may prove corrupt on the way.

        A drive whose load fails has not changed, so only the first of the two may need its old state again.
        """
        first, second = self._drives
        one, two = states
        before = first.save() if first is not None and two is not None else None
        if first is not None and one is not None:
            first.load(one)
        try:
            if second is not None and two is not None:
                second.load(two)
        except BaseException:
            if first is not None and before is not None:
                first.load(before)
            raise


def _kind(state: DriveState) -> Media:
    return Media.CDROM if state.ata is None else Media.DISK
