"""The requests that a machine's service takes. Each field is declared here once, with its type, range and default.

`read_request` reads a body by these declarations, `body_of` writes one, and `chkpt.service.api.openapi` describes them.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Final, TypeAlias, TypeVar, cast

from chkpt.errors import UsageError
from chkpt.service.api.fields import Rule, fields_of, one_of, to_json, within
from chkpt.service.paths import PATH_MAX, find_problem

MAX_BODY: Final = 1 << 20
"""Bytes in the longest body."""

MAX_STEP: Final = 1 << 62
"""Ticks, blocks or nanoseconds in the longest step: half of what a snapshot can hold."""

R = TypeVar("R")


# -- what a field may hold --------------------------------------------------------------------------------------------

_KEY: Final = re.compile(r"[0-9a-f]{64}")

PublicKey: TypeAlias = Annotated[
    str,
    Rule(
        {"pattern": f"^{_KEY.pattern}$"},
        lambda key: None if _KEY.fullmatch(key) else "not an Ed25519 public key in 64 hexadecimal digits",
    ),
]

AbsolutePath: TypeAlias = Annotated[str, Rule({"pattern": "^/([^/]*/)*[^/]+$", "maxLength": PATH_MAX}, find_problem)]
"""A path from the root directory of the machine's process. `find_problem` checks more than the schema says."""

Distance: TypeAlias = Annotated[int, within(1, MAX_STEP)]

SEEN: Final = "The machine's process resolves it, with its own root directory, mounts and user's rights."

SNAPSHOT_PATH: Final = (
    f"An absolute path. {SEEN} Not below /proc, /sys or /dev (but /dev/shm), nor in the directory of running machines."
)


# -- the requests -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Where to save the machine, which key signs the snapshot, and who can read it."""

    path: Annotated[AbsolutePath, SNAPSHOT_PATH]
    force: Annotated[bool, "Replace the file if there is one, all at once."] = False
    sign: Annotated[
        AbsolutePath | None, "The absolute path of a secret Ed25519 key in PEM, which signs the snapshot."
    ] = None
    recipients: Annotated[tuple[str, ...], "Recipients of age. If there are any, only they can read the file."] = ()


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load, and which devices. See `chkpt.machine.Machine.load`."""

    path: Annotated[AbsolutePath, SNAPSHOT_PATH]
    strict: Annotated[bool, "Refuse the snapshot if something would be skipped."] = False
    only: Annotated[tuple[str, ...], "Names of the machine's devices to load; all if empty."] = ()
    skip: Annotated[tuple[str, ...], "Names of the machine's devices not to load."] = ()
    rename: Annotated[Mapping[str, str], "Name in the snapshot -> name in the machine."] = field(default_factory=dict)
    identity: Annotated[
        AbsolutePath | None,
        "The absolute path of the identity of age, or of the SSH key, that opens an encrypted file.",
    ] = None
    require: Annotated[
        Mapping[PublicKey, str] | None,
        "Ed25519 public key in 64 hexadecimal digits -> its name. One of these keys must have signed.",
    ] = None
    time: Annotated[
        str,
        one_of("freeze", "wall"),
        "What the dates that devices keep show: the dates of the save, or with `wall` also the time since the snapshot "
        "was created, as if a battery had kept them going.",
    ] = "freeze"
    drives: Annotated[
        Mapping[str, AbsolutePath | None],
        "Drive -> the absolute path of the image to put in with the load; null to leave the drive empty. If the load "
        "is refused, the media stay as they are, too.",
    ] = field(default_factory=dict)
    raw: Annotated[tuple[str, ...], "Drives whose image in `drives` is a raw one, whatever it looks like."] = ()


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """A drive, and the image to put into it."""

    drive: Annotated[str, "Its name, as in DriveInfo."]
    path: Annotated[
        AbsolutePath | None,
        f"The absolute path of an image, or of a block device. {SEEN} Not below /proc, /sys or /dev (but /dev/shm and "
        "block devices), nor in the directory of running machines. Null takes the medium out and leaves the tray open.",
    ]
    force: Annotated[bool, "Open the tray even if the guest has locked it."] = False
    raw: Annotated[bool, "The image is a raw one, whatever it looks like."] = False


@dataclass(frozen=True, slots=True)
class StepRequest:
    """How far to run; one block of code if no field is given. At most one field may be given."""

    ticks: Annotated[Distance | None, "Ticks of the processor."] = None
    blocks: Annotated[Distance | None, "Blocks of code."] = None
    ns: Annotated[Distance | None, "Nanoseconds of the machine's clock."] = None


@dataclass(frozen=True, slots=True)
class EmptyRequest:
    """An object without fields; the body may be left out."""


# -- from and to JSON -------------------------------------------------------------------------------------------------


def read_request(body: bytes, request: type[R]) -> R:
    """Return the request in `body`.

    Raises:
        UsageError: not a JSON object, an unknown or missing field, or a value that is not valid for its field.
    """
    try:
        document: object = json.loads(body or b"{}", object_pairs_hook=_make_object)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"the body is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UsageError("the body is not a JSON object")
    known = fields_of(request)
    for name in document:
        if name not in known:
            raise UsageError(f"unknown field {name!a}; known are: {', '.join(known) or 'none'}")
    for name, declared in known.items():
        if declared.required and name not in document:
            raise UsageError(f"field {name} is missing")
    for name, value in document.items():
        reason = known[name].check(value)
        if reason is not None:
            raise UsageError(f"field {name} is {reason}")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
    return cast("Callable[..., R]", request)(**values)


def body_of(request: object) -> dict[str, object]:
    """Return the body of a request, without the fields that have their default, so that an older service takes it."""
    body: dict[str, object] = {}
    for each in fields(request):  # type: ignore[arg-type]
        value = getattr(request, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if value != default:
            body[each.name] = to_json(value)
    return body


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has the same name twice")
    return document
