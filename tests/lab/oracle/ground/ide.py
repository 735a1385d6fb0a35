"""What is not sent to the ATA channel."""

from typing import Final

from chkpt_devices.ide.address import read_address, read_count
from chkpt_devices.ide.registers import DEV, DRQ, NIEN, SRST
from chkpt_devices.ide.registers import Command as Code
from chkpt_devices.ide.state import PowerMode
from chkpt_devices.ide.taskfile import TaskFile
from tests.lab.oracle.case import Case
from tests.lab.oracle.ground.limit import Limit
from tests.lab.oracle.theirs import COMMAND_PORT, DEVICE_CONTROL

SECTORS: Final = 32768
MULTIPLES: Final = frozenset((0, 1, 2, 4, 8, 16))


def _unsettled(case: Case) -> bool:
    sent = case.sent
    ends_reset = sent.writes and sent.port == DEVICE_CONTROL and sent.value & (SRST | NIEN) == NIEN
    return case.theirs.bus.unsettled and sent.verb != "await_ready" and not ends_reset


def _in_reset(case: Case) -> bool:
    if not case.before.has("ide") or not case.before.ide.control & SRST:
        return False
    return not (case.sent.writes and case.sent.port == DEVICE_CONTROL)


def _over_the_end(case: Case) -> bool:
    transfer = case.before.drive.transfer
    if not case.sent.words or transfer is None or case.before.ide.unit:
        return False
    return 2 * case.sent.words > transfer.length - transfer.offset


def _control_with_interrupt(case: Case) -> bool:
    """Tell of a Device Control that QEMU answers with another INTRQ."""
    sent, control = case.sent, case.before.ide.control
    if not sent.writes or sent.port != DEVICE_CONTROL:
        return False
    if case.before.drive.interrupt:
        return bool((sent.value ^ control) & NIEN or sent.value & SRST)
    return bool((sent.value | control) & SRST and not sent.value & NIEN)


def _reset_unselected(case: Case) -> bool:
    sent = case.sent
    return sent.writes and sent.port == DEVICE_CONTROL and bool(sent.value & SRST) and bool(case.before.ide.unit)


def _selected_away(case: Case) -> bool:
    sent, drive = case.sent, case.before.drive
    away = bool((sent.value ^ drive.device) & DEV)
    return sent.writes and sent.port == 0x1F6 and away and drive.interrupt


def _code(case: Case) -> int:
    """Return the command code that the selected, present drive gets, or -1."""
    sent = case.sent
    takes = sent.writes and sent.port == COMMAND_PORT and not case.before.drive.status & DRQ
    return sent.value & 0xFF if takes and not case.before.ide.unit else -1


EXTENDED: Final = frozenset({
    Code.READ_SECTORS_EXT, Code.READ_MULTIPLE_EXT, Code.WRITE_SECTORS_EXT, Code.WRITE_MULTIPLE_EXT, Code.VERIFY_EXT,
    Code.READ_NATIVE_MAX_EXT,
})  # fmt: skip
ADDRESSED: Final = EXTENDED | {
    Code.READ_SECTORS, Code.READ_SECTORS_NO_RETRY, Code.READ_MULTIPLE, Code.WRITE_SECTORS, Code.WRITE_SECTORS_NO_RETRY,
    Code.WRITE_MULTIPLE, Code.VERIFY, Code.VERIFY_NO_RETRY, Code.SEEK,
}  # fmt: skip
UNREAD: Final = frozenset({Code.VERIFY, Code.VERIFY_NO_RETRY, Code.VERIFY_EXT, Code.SEEK})


def _registers(case: Case) -> TaskFile:
    task, drive = TaskFile(lambda: None), case.before.drive
    task.nsector, task.sector, task.lcyl, task.hcyl = drive.nsector, drive.sector, drive.lcyl, drive.hcyl
    task.hob_nsector, task.hob_sector = drive.hob_nsector, drive.hob_sector
    task.hob_lcyl, task.hob_hcyl, task.device = drive.hob_lcyl, drive.hob_hcyl, drive.device
    return task


def _address(case: Case) -> int | None:
    """Return the address in the registers, None where it is none."""
    ata = case.before.drive.ata
    assert ata is not None
    extended = _code(case) in EXTENDED
    return read_address(_registers(case), ata.heads, ata.sectors_per_track, extended=extended)


def _no_address(case: Case) -> bool:
    return _code(case) in ADDRESSED and _address(case) is None


def _unread_past_the_end(case: Case) -> bool:
    code = _code(case)
    if code not in UNREAD or (address := _address(case)) is None:
        return False
    count = 1 if code == Code.SEEK else read_count(_registers(case), extended=code in EXTENDED)
    return address + count > SECTORS


def _refused_multiple(case: Case) -> bool:
    return _code(case) == Code.SET_MULTIPLE and case.before.drive.nsector not in MULTIPLES


def _refused_translation(case: Case) -> bool:
    return _code(case) == Code.INITIALIZE_PARAMETERS and not case.before.drive.nsector


def _standby_checked(case: Case) -> bool:
    standby = case.before.drive.power is PowerMode.STANDBY
    return standby and _code(case) in {Code.CHECK_POWER, Code.CHECK_POWER_OLD}


def _absent_diagnosed(case: Case) -> bool:
    sent = case.sent
    return sent.writes and sent.port == COMMAND_PORT and sent.value == Code.DIAGNOSTIC and bool(case.before.ide.unit)


LIMITS: Final = (
    Limit(
        "disk-at-work",
        "ide",
        "completes commands, blocks and resets in its main loop",
        "what looks at the drive before BSY is clear is a race",
        _unsettled,
    ),
    Limit(
        "held-in-reset",
        "ide",
        "a software reset is over while SRST is still set",
        "ATA/ATAPI-6, Device Control: BSY until it is cleared",
        _in_reset,
    ),
    Limit("over-a-block", "ide", "words read past a block are a race", "the same as disk-at-work", _over_the_end),
    Limit(
        "control-under-interrupt",
        "ide",
        "nIEN loses a pending interrupt or leaves it driven, SRST raises or keeps one",
        "ATA/ATAPI-6, Device Control and software reset",
        _control_with_interrupt,
    ),
    Limit(
        "reset-of-an-absent-drive",
        "ide",
        "SRST leaves drive 1 selected",
        "ATA/ATAPI-6, software reset: Device is 0 then",
        _reset_unselected,
    ),
    Limit(
        "selected-under-interrupt",
        "ide",
        "INTRQ is the channel's, not the selected drive's",
        "ATA/ATAPI-6, INTRQ",
        _selected_away,
    ),
    Limit(
        "no-such-address",
        "ide",
        "takes a CHS address outside the translation, and EXT commands in CHS",
        "ATA/ATAPI-6: aborted",
        _no_address,
    ),
    Limit(
        "unread-past-the-end",
        "ide",
        "VERIFY and SEEK past the end succeed",
        "ATA/ATAPI-6: aborted",
        _unread_past_the_end,
    ),
    Limit(
        "refused-multiple",
        "ide",
        "a refused SET MULTIPLE keeps the old count",
        "ATA/ATAPI-6, SET MULTIPLE MODE: READ and WRITE MULTIPLE are off",
        _refused_multiple,
    ),
    Limit("translation-of-nothing", "ide", "command 0x91 takes a count of 0", "ATA-3: aborted", _refused_translation),
    Limit(
        "standby-checked",
        "ide",
        "has no power modes",
        "ATA/ATAPI-6, CHECK POWER MODE: 0x00 in standby, which the sector count then holds",
        _standby_checked,
    ),
    Limit(
        "absent-drive-diagnosed",
        "ide",
        "EXECUTE DEVICE DIAGNOSTIC to an absent drive 1 is ignored",
        "ATA/ATAPI-6, EXECUTE DEVICE DIAGNOSTIC: it is for both, whichever is selected",
        _absent_diagnosed,
    ),
)
