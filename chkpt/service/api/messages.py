"""What a machine's service answers its clients. Each field is declared here once, and `openapi.json` made from it."""

from collections.abc import Mapping
from typing import Annotated, Final, TypedDict

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
from chkpt.service.api.fields import one_of

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
    """The processor."""

    ticks: Annotated[int, "Since the machine was made: bytes of code that were run, and what accesses to ports cost."]
    activity: Annotated[str, one_of("active", "halted", "shutdown")]
    at: Annotated[str, "CS:RIP, in hexadecimal."]
    stands_still: Annotated[str, "Why it does not run on before a reset; empty if it does."]
    pace: Annotated[
        str,
        one_of("free", "idle", "wall"),
        "When it waits for the host's clock: never, while it is halted, or whenever it is ahead.",
    ]


class WorkInfo(TypedDict):
    """How far a save or a load has come."""

    what: Annotated[str, one_of("save", "load")]
    done: Annotated[int, "Bytes of RAM and disks that have been read or written."]
    total: Annotated[int, "Bytes of RAM and disks."]


class MachineInfo(TypedDict):
    """The machine as a whole."""

    name: str
    pid: Annotated[int, "The number of its process."]
    paused: bool
    clock_ns: Annotated[int, "Its virtual clock, in nanoseconds."]
    cpu: CpuInfo | None
    work: Annotated[list[WorkInfo], "The saves and loads in progress."]
    qtest: Annotated[str | None, "Where qtest comes from, as it was given to --qtest."]
    devices: Annotated[list[str], "The devices' names, in order of creation."]
    terminals: Annotated[
        dict[str, str], "The paths of the pseudo-terminals behind its serial ports, by the port's name."
    ]
    version: Annotated[str, "The version of chkpt that runs it."]


class BackendInfo(TypedDict):
    """What is connected to a frontend."""

    type: str
    path: Annotated[str | None, "Where the host finds it: a file, a socket, a pseudo-terminal."]


class FrontendInfo(TypedDict):
    """What a backend can be connected to. One of kind `char` has a socket `NAME.console` in the machine's directory."""

    name: str
    kind: Annotated[str, one_of("block", "net", "char", "console")]
    backend: BackendInfo | None


class DeviceInfo(TypedDict):
    """One device."""

    name: str
    type: str
    claims: Annotated[list[str], "What no other device may have: `port 0x3f8-0x3ff`."]
    frontends: list[FrontendInfo]


class DeviceList(TypedDict):
    """All devices, in order of creation."""

    devices: list[DeviceInfo]


class MediumInfo(TypedDict):
    """What is in a drive."""

    type: Annotated[str, "The type of its backend: `image`, `scratch`."]
    path: Annotated[str | None, "Where the host finds it."]
    size: Annotated[int, "Bytes."]
    read_only: Annotated[bool, "Whether every write fails. What is written never reaches the image."]


class DriveInfo(TypedDict):
    """A drive."""

    drive: Annotated[str, "Its name: `ide1.0`."]
    removable: Annotated[bool, "Whether its medium can be changed while the machine runs."]
    tray_open: bool
    locked: Annotated[bool, "Whether the guest keeps the tray closed."]
    medium: MediumInfo | None


class DriveList(TypedDict):
    """All drives, in order of creation."""

    drives: list[DriveInfo]


class SkipInfo(TypedDict):
    """One name that was skipped, and why."""

    name: str
    reason: str


class SaveReply(TypedDict):
    """What a save did: every device is in `saved` or `skipped`."""

    path: str
    size: Annotated[int, "Bytes in the file."]
    digest: Annotated[str, "BLAKE3-256, in hexadecimal, which names the snapshot among all others."]
    clock_ns: Annotated[int, "The machine's clock at the save."]
    saved: list[str]
    skipped: list[SkipInfo]
    encrypted: bool
    signed_by: Annotated[list[str], "The ids of the keys that have signed it now."]
    removed: Annotated[list[str], "Paths of files with detached signatures of the snapshot that was replaced."]


class LoadReply(TypedDict):
    """What a load did: every name of the snapshot and every device of the machine is in one of the lists."""

    path: str
    clock_ns: Annotated[int, "The machine's clock after the load."]
    loaded: list[str]
    skipped: list[SkipInfo]
    left: Annotated[list[SkipInfo], "Devices of the machine that were left as they were."]
    unknown: Annotated[list[str], "Paths of tags that no field of a state took."]
    signed_by: Annotated[list[str], "The ids of the keys that have signed it, of those in `require`."]
    dates_advanced: Annotated[
        list[str], "The devices whose dates have gone on: those that were loaded, keep a date, and are not stopped."
    ]
    dates_advanced_s: Annotated[int, "Seconds by which these dates have gone on; 0 if no device's has."]


class StepReply(TypedDict):
    """Where a step has led to."""

    outcome: Annotated[
        str,
        one_of("enough", "idle", "dead", "shutdown", "interrupted"),
        "`enough` if it went as far as was asked, else why it did not.",
    ]
    machine: MachineInfo


class StopReply(TypedDict):
    """An object without fields: the machine ends soon."""


class ErrorReply(TypedDict):
    """What went wrong."""

    error: Annotated[str, "A class of chkpt.errors: `NotFoundError`."]
    message: str
    exit_status: Annotated[int, "The exit status of a command that meets this error."]


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
