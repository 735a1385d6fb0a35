"""The operations of a machine's service, declared once for the service, its client and `openapi.json`."""

from dataclasses import MISSING, dataclass, fields
from typing import Final

from chkpt.service.api.messages import (
    DeviceList,
    DriveInfo,
    DriveList,
    LoadReply,
    MachineInfo,
    SaveReply,
    StepReply,
    StopReply,
)
from chkpt.service.api.requests import EmptyRequest, LoadRequest, MediaRequest, SaveRequest, StepRequest


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    `request` is the class of its body, None if it takes none; `reply` is the class of its answer with status 200.
    `refusals` are the HTTP statuses of its errors beside those that `statuses` adds. `verb` is what the machine does,
    in a message after "was asked to"; empty if it only answers.
    """

    name: str
    method: str
    path: str
    summary: str
    reply: type
    request: type | None = None
    refusals: tuple[int, ...] = ()
    description: str = ""
    verb: str = ""

    @property
    def statuses(self) -> list[int]:
        """The statuses of its answers. Any operation may fail or come too late; any body may be wrong or too long."""
        body = () if self.request is None else (400, 413)
        return sorted({200, *body, *self.refusals, 500, 503})

    @property
    def needs_body(self) -> bool:
        """Whether its request has a field without a default."""
        if self.request is None:
            return False
        return any(each.default is MISSING and each.default_factory is MISSING for each in fields(self.request))


MACHINE: Final = Operation("machine", "GET", "/v1/machine", "What the machine is and does", MachineInfo)

DEVICES: Final = Operation(
    "devices", "GET", "/v1/devices", "The devices, what they claim, and what is connected to them", DeviceList
)

MEDIA: Final = Operation("media", "GET", "/v1/media", "The drives, and what is in each", DriveList)

CHANGE_MEDIUM: Final = Operation(
    "changeMedium",
    "POST",
    "/v1/media",
    "Put an image into a drive, or take out its medium",
    DriveInfo,
    MediaRequest,
    (404, 409),
    "The guest finds the tray open, or another disc in it. If the guest has locked the tray, the change is refused "
    "(409) without `force`. The medium of a hard disk is never changed (400). The machine runs on while the image is "
    "opened.",
    verb="change a medium",
)

SAVE: Final = Operation(
    "save",
    "POST",
    "/v1/save",
    "Save the machine to a file",
    SaveReply,
    SaveRequest,
    (404, 409, 422),
    "The machine stands still while its state is copied, and runs on while the file is written. The answer comes when "
    "the file is whole and on disk. If anything fails, there is no new file.",
    verb="save",
)

LOAD: Final = Operation(
    "load",
    "POST",
    "/v1/load",
    "Load the machine from a file, whole or not at all",
    LoadReply,
    LoadRequest,
    (404, 409, 422),
    "Devices are loaded by name. With `only` or `skip` the machine's clock and RAM stay as they are.",
    verb="load",
)

PAUSE: Final = Operation(
    "pause",
    "POST",
    "/v1/pause",
    "Stop the clock and the input from backends",
    MachineInfo,
    EmptyRequest,
    (409,),
    verb="pause",
)

RESUME: Final = Operation(
    "resume", "POST", "/v1/resume", "Go on after a pause", MachineInfo, EmptyRequest, (409,), verb="resume"
)

STEP: Final = Operation(
    "step",
    "POST",
    "/v1/step",
    "Run a paused machine on, then leave it paused",
    StepReply,
    StepRequest,
    (409,),
    description="The answer comes at the end of the step, or when another request has ended it. No input from backends "
    "and consoles reaches the machine meanwhile.",
    verb="step",
)

RESET: Final = Operation(
    "reset",
    "POST",
    "/v1/reset",
    "Press the reset button; RAM, disks and the clock stay as they are",
    MachineInfo,
    EmptyRequest,
    (409,),
    verb="reset",
)

STOP: Final = Operation(
    "stop",
    "POST",
    "/v1/stop",
    "End the machine",
    StopReply,
    EmptyRequest,
    description="The answer comes at once. The machine has ended when the lock on `lock` in its directory is free.",
    verb="stop",
)

OPERATIONS: Final = (MACHINE, DEVICES, MEDIA, CHANGE_MEDIUM, SAVE, LOAD, PAUSE, RESUME, STEP, RESET, STOP)
"""All of them, in the order of the document."""
