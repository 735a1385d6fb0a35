"""The answers of a machine's service. Each field is declared here once; `openapi.json` is made from these classes."""

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
"""The HTTP status of each class of errors. The first class that fits counts."""


# -- answers ----------------------------------------------------------------------------------------------------------


class CpuInfo(TypedDict):
    """The processor."""

    ticks: Annotated[int, "Ticks since the machine was made: one for each byte of code, more for an access to a port."]
    activity: Annotated[str, one_of("active", "halted", "shutdown")]
    at: Annotated[str, "CS:RIP, in hexadecimal."]
    stands_still: Annotated[str, "Why it does not run on before a reset; empty if it does."]
    pace: Annotated[
        str,
        one_of("free", "idle", "wall"),
        "When it waits for the host's clock: never (`free`), while halted (`idle`), or whenever it is ahead (`wall`).",
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
    qtest: Annotated[str | None, "The address of its qtest client, as it was given to --qtest."]
    devices: Annotated[list[str], "The devices' names, in order of creation."]
    terminals: Annotated[
        dict[str, str], "The paths of the pseudo-terminals behind its serial ports, by the port's name."
    ]
    version: Annotated[str, "The version of chkpt that runs it."]


class BackendInfo(TypedDict):
    """What is connected to a frontend."""

    type: str
    path: Annotated[str | None, "The path on the host of its file, socket or pseudo-terminal."]


class FrontendInfo(TypedDict):
    """A device's connector for a backend. One of kind `char` has a socket `NAME.console` in the machine's directory."""

    name: str
    kind: Annotated[str, one_of("block", "net", "char", "console")]
    backend: BackendInfo | None


class DeviceInfo(TypedDict):
    """One device."""

    name: str
    type: str
    claims: Annotated[list[str], "What only this device may have, such as `port 0x3f8-0x3ff`."]
    frontends: list[FrontendInfo]


class DeviceList(TypedDict):
    """All devices, in order of creation."""

    devices: list[DeviceInfo]


class MediumInfo(TypedDict):
    """What is in a drive."""

    type: Annotated[str, "The type of its backend: `image`, `scratch`."]
    path: Annotated[str | None, "The path of its image on the host."]
    size: Annotated[int, "Bytes."]
    read_only: Annotated[bool, "Whether every write fails. No write ever reaches the image."]


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
    """The result of a save: every device is in `saved` or `skipped`."""

    path: str
    size: Annotated[int, "Bytes in the file."]
    digest: Annotated[str, "The root digest, BLAKE3-256 in hexadecimal, which identifies the snapshot."]
    clock_ns: Annotated[int, "The machine's clock at the save."]
    saved: list[str]
    skipped: list[SkipInfo]
    encrypted: bool
    signed_by: Annotated[list[str], "The ids of the keys that have signed it now."]
    removed: Annotated[list[str], "Files that were removed: detached signatures of the snapshot that was replaced."]


class LoadReply(TypedDict):
    """The result of a load: every name of the snapshot and every device of the machine is in one of the lists."""

    path: str
    clock_ns: Annotated[int, "The machine's clock after the load."]
    loaded: list[str]
    skipped: list[SkipInfo]
    left: Annotated[list[SkipInfo], "Devices of the machine that were left as they were."]
    unknown: Annotated[list[str], "Paths of values in the snapshot that no field of a state has taken."]
    signed_by: Annotated[list[str], "The ids of those keys in `require` that have signed it."]
    dates_advanced: Annotated[
        list[str], "The devices whose dates have gone on: they were loaded, and keep a date that is not stopped."
    ]
    dates_advanced_s: Annotated[int, "Seconds by which these dates have gone on; 0 if no device's has."]


class StepReply(TypedDict):
    """The result of a step."""

    outcome: Annotated[
        str,
        one_of("enough", "idle", "dead", "shutdown", "interrupted"),
        "`enough` if the step went the whole distance, else why it did not.",
    ]
    machine: MachineInfo


class StopReply(TypedDict):
    """An object without fields. The machine ends soon."""


class ErrorReply(TypedDict):
    """An error."""

    error: Annotated[str, "A class of chkpt.errors: `NotFoundError`."]
    message: str
    exit_status: Annotated[int, "The exit status of a command that meets this error."]


# -- errors -----------------------------------------------------------------------------------------------------------


def error_reply(exc: ChkptError) -> tuple[ErrorReply, int]:
    """Return the answer that reports an error to a client, and its HTTP status."""
    status = next(status for kind, status in STATUSES.items() if isinstance(exc, kind))
    # A third-party device may raise a class of its own. The client knows only those of chkpt.errors.
    name = next(kind.__name__ for kind in type(exc).mro() if getattr(errors, kind.__name__, None) is kind)
    return ErrorReply(error=name, message=str(exc), exit_status=exc.exit_status), status


def error_of(document: object) -> ChkptError:
    """Return the error that a service has reported; a ChkptError if its class is unknown."""
    if not isinstance(document, dict):
        return ChkptError("the machine answered with an error that cannot be read")
    kind = getattr(errors, str(document.get("error")), None)
    if not isinstance(kind, type) or not issubclass(kind, ChkptError):
        kind = ChkptError
    return kind(str(document.get("message")))
