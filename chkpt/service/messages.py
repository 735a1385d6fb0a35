"""What a machine's service answers its clients. `openapi.json` describes the same, in its own words."""

from collections.abc import Mapping
from typing import Final, TypedDict

from chkpt import errors
from chkpt.errors import (
    ChkptError,
    ConflictError,
    ExistsError,
    NoMachineError,
    NotFoundError,
    RefusedError,
    StorageError,
    UsageError,
)

STATUSES: Final[Mapping[type[ChkptError], int]] = {
    UsageError: 400,
    NotFoundError: 404,
    ExistsError: 409,
    ConflictError: 409,
    StorageError: 409,
    RefusedError: 422,
    NoMachineError: 503,
    ChkptError: 500,
}
"""The HTTP status of each class of errors; the first class that fits counts."""


# -- answers ----------------------------------------------------------------------------------------------------------


class CpuInfo(TypedDict):
    """The processor. `at` is CS:RIP in hexadecimal; `stands_still` says why it will not go on, empty where it will."""

    ticks: int
    activity: str
    at: str
    stands_still: str
    pace: str


class WorkInfo(TypedDict):
    """A save or a load that is at work: `done` of `total` bytes of RAM and disks have been gone through."""

    what: str
    done: int
    total: int


class MachineInfo(TypedDict):
    """The machine as a whole. `clock_ns` is its virtual clock, `qtest` where qtest comes from, as it was given.

    `terminals` are the paths of the pseudo-terminals behind its serial ports, by the port's name.
    """

    name: str
    pid: int
    paused: bool
    clock_ns: int
    cpu: CpuInfo | None
    work: list[WorkInfo]
    qtest: str | None
    devices: list[str]
    terminals: dict[str, str]
    version: str


class BackendInfo(TypedDict):
    """What is connected to a frontend: its type, and the path or address where the host finds it."""

    type: str
    path: str | None


class FrontendInfo(TypedDict):
    """One frontend of a device. A serial port has a socket for consoles, too: a path in the machine's directory."""

    name: str
    kind: str
    backend: BackendInfo | None


class DeviceInfo(TypedDict):
    """One device. A claim reads like `port 0x3f8-0x3ff`."""

    name: str
    type: str
    claims: list[str]
    frontends: list[FrontendInfo]


class DeviceList(TypedDict):
    """All devices, in order of creation."""

    devices: list[DeviceInfo]


class MediumInfo(TypedDict):
    """What is in a drive: a type of backend, where the host finds it, its bytes."""

    type: str
    path: str | None
    size: int
    read_only: bool


class DriveInfo(TypedDict):
    """A drive. One that is `removable` has a tray, which may be open, or locked by the guest."""

    drive: str
    removable: bool
    tray_open: bool
    locked: bool
    medium: MediumInfo | None


class DriveList(TypedDict):
    """All drives, in order of creation."""

    drives: list[DriveInfo]


class SkipInfo(TypedDict):
    """One name that was passed over, and why."""

    name: str
    reason: str


class SaveReply(TypedDict):
    """What a save did. `digest` names the snapshot among all others; `signed_by` are ids of keys.

    `removed` are paths of files with signatures of a snapshot that was replaced.
    """

    path: str
    size: int
    digest: str
    clock_ns: int
    saved: list[str]
    skipped: list[SkipInfo]
    encrypted: bool
    signed_by: list[str]
    removed: list[str]


class LoadReply(TypedDict):
    """What a load did. `clock_ns` is the machine's clock after it; `signed_by` are ids of the keys in `require`.

    `dates_advanced` names the devices whose dates have gone on, by `dates_advanced_s` seconds; 0 where there are none.
    """

    path: str
    clock_ns: int
    loaded: list[str]
    skipped: list[SkipInfo]
    left: list[SkipInfo]
    unknown: list[str]
    signed_by: list[str]
    dates_advanced: list[str]
    dates_advanced_s: int


class StepReply(TypedDict):
    """How a step ended: `enough`, or why it was shorter; and the machine as it is there."""

    outcome: str
    machine: MachineInfo


class StopReply(TypedDict):
    """Nothing to say: the machine ends soon."""


class ErrorReply(TypedDict):
    """What went wrong: a class of `chkpt.errors`, its message, and the exit status it stands for."""

    error: str
    message: str
    exit_status: int


# -- errors -----------------------------------------------------------------------------------------------------------


def error_reply(exc: ChkptError) -> tuple[ErrorReply, int]:
    """Return what a client is told of an error, and the HTTP status."""
    status = next(status for kind, status in STATUSES.items() if isinstance(exc, kind))
    # A device from elsewhere may raise a class of its own: the client knows those of chkpt.errors.
    name = next(kind.__name__ for kind in type(exc).mro() if getattr(errors, kind.__name__, None) is kind)
    return ErrorReply(error=name, message=str(exc), exit_status=exc.exit_status), status


def error_of(document: object) -> ChkptError:
    """Return the error that a service has told of; one of an unknown class is a plain ChkptError."""
    if not isinstance(document, dict):
        return ChkptError("the machine answered with an error that cannot be read")
    kind = getattr(errors, str(document.get("error")), None)
    if not isinstance(kind, type) or not issubclass(kind, ChkptError):
        kind = ChkptError
    return kind(str(document.get("message")))
