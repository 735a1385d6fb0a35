"""Registers, bits and codes of an ATA channel. Source: ATA/ATAPI-6 (T13/1410D revision 3b) and SFF-8020i revision 2.6.

The command block is eight ports from 0x1F0 on a PC, the control block one port at 0x3F6. All registers are 8 bits wide
but Data, which is 16. Reading and writing one address may mean two registers.
"""

from enum import IntEnum
from typing import Final

# Offsets in the command block (ATA/ATAPI-6, register descriptions)
DATA: Final = 0  # 16 bits: the PIO data block
ERROR: Final = 1  # read; Features when written
SECTOR_COUNT: Final = 2  # a packet device: the interrupt reason
LBA_LOW: Final = 3  # or the sector number of a CHS address
LBA_MID: Final = 4  # or cylinder low; a packet device: byte count low
LBA_HIGH: Final = 5  # or cylinder high; a packet device: byte count high
DEVICE: Final = 6  # drive, form of the address, head
STATUS: Final = 7  # read; Command when written

# Status and Alternate Status
ERR: Final = 0x01  # the command failed, see Error; a packet device calls it CHK
DRQ: Final = 0x08  # a data block waits to be moved
DSC: Final = 0x10  # seek complete (ATA-3); in ATA-6 the command's own
DRDY: Final = 0x40  # the drive takes commands
BSY: Final = 0x80  # the drive has the registers

READY: Final = DRDY | DSC  # a command is done
FAILED: Final = DRDY | ERR  # a command has failed
MOVING: Final = DRDY | DSC | DRQ  # a data block is waiting
STUCK: Final = DRDY | DSC | BSY  # the medium behind the drive has failed, and the drive waits for it

# Error
ABRT: Final = 0x04  # the command was aborted
PASSED: Final = 0x01  # after power-on, a reset or DIAGNOSTIC: this drive has passed its test (diagnostic codes)

# Device
HEAD: Final = 0x0F  # head of a CHS address, or bits 27-24 of a 28-bit LBA
DEV: Final = 0x10  # which drive
LBA: Final = 0x40  # the address is an LBA
OBSOLETE: Final = 0xA0  # bits 7 and 5, which ATA-3 requires to be set; they read as ones

# Device Control
NIEN: Final = 0x02  # INTRQ is not driven
SRST: Final = 0x04  # software reset, for as long as it is set
HOB: Final = 0x80  # reads give the bytes written before the last ones; any write to the command block clears it

# Interrupt reason of a packet device, in the sector count
COMMAND: Final = 0x01  # CoD: the block is a command packet, or the command is done
TO_HOST: Final = 0x02  # I/O: the block goes to the host

# Signatures in LBA mid and high
DISK_SIGNATURE: Final = (0x00, 0x00)
PACKET_SIGNATURE: Final = (0x14, 0xEB)


class Command(IntEnum):
    """Command codes. Those of ATA-1 that ATA-6 calls obsolete are marked."""

    NOP = 0x00
    DEVICE_RESET = 0x08
    RECALIBRATE = 0x10  # obsolete
    READ_SECTORS = 0x20
    READ_SECTORS_NO_RETRY = 0x21  # obsolete
    READ_SECTORS_EXT = 0x24
    READ_NATIVE_MAX_EXT = 0x27
    READ_MULTIPLE_EXT = 0x29
    WRITE_SECTORS = 0x30
    WRITE_SECTORS_NO_RETRY = 0x31  # obsolete
    WRITE_SECTORS_EXT = 0x34
    SET_MAX_EXT = 0x37
    WRITE_MULTIPLE_EXT = 0x39
    VERIFY = 0x40
    VERIFY_NO_RETRY = 0x41  # obsolete
    VERIFY_EXT = 0x42
    SEEK = 0x70
    DIAGNOSTIC = 0x90
    INITIALIZE_PARAMETERS = 0x91  # obsolete
    STANDBY_IMMEDIATE_OLD = 0x94  # obsolete, as are the five below
    IDLE_IMMEDIATE_OLD = 0x95
    STANDBY_OLD = 0x96
    IDLE_OLD = 0x97
    CHECK_POWER_OLD = 0x98
    SLEEP_OLD = 0x99
    PACKET = 0xA0
    IDENTIFY_PACKET = 0xA1
    SMART = 0xB0
    READ_MULTIPLE = 0xC4
    WRITE_MULTIPLE = 0xC5
    SET_MULTIPLE = 0xC6
    STANDBY_IMMEDIATE = 0xE0
    IDLE_IMMEDIATE = 0xE1
    STANDBY = 0xE2
    IDLE = 0xE3
    CHECK_POWER = 0xE5
    SLEEP = 0xE6
    FLUSH = 0xE7
    FLUSH_EXT = 0xEA
    IDENTIFY = 0xEC
    SET_FEATURES = 0xEF
    READ_NATIVE_MAX = 0xF8
    SET_MAX = 0xF9


class Feature(IntEnum):
    """The subcommands of SET FEATURES, in the Features register."""

    WRITE_CACHE_ON = 0x02
    TRANSFER_MODE = 0x03
    LOOK_AHEAD_OFF = 0x55
    KEEP_SETTINGS = 0x66  # a software reset leaves the settings alone
    WRITE_CACHE_OFF = 0x82
    LOOK_AHEAD_ON = 0xAA
    REVERT_SETTINGS = 0xCC  # a software reset gives them their values at power-on
