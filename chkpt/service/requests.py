"""What a machine's service is asked: bodies of requests, read and checked field by field."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

from chkpt.errors import UsageError
from chkpt.service.paths import problem

MAX_BODY: Final = 1 << 20
"""Bytes in the longest body."""

MAX_STEP: Final = 1 << 62
"""Ticks, blocks or nanoseconds in the longest step. A snapshot holds twice as many of each."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """Save the machine to the file at an absolute path; `force` replaces one that is there.

    `sign` is the absolute path of a secret key that signs it, `recipients` are those of age that alone can read it.
    """

    path: str
    force: bool = False
    sign: str | None = None
    recipients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Load the machine from the file at an absolute path. See `chkpt.machine.Machine.load`.

    `identity` is the absolute path of the identity that opens an encrypted file. `require` are public keys, in
    hexadecimal, each with what it is called; one of them must have signed. With `time` "wall" the dates that devices
    keep go on by the time since the snapshot was created. `drives` are drives whose media come with the load, each with
    the absolute path of its image; None empties one. The images of those in `raw` are taken as they are.
    """

    path: str
    strict: bool = False
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None
    require: Mapping[str, str] | None = None
    time: str = "freeze"
    drives: Mapping[str, str | None] = field(default_factory=dict)
    raw: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """Put the image at an absolute path into a drive; None takes out what is there, and leaves the tray open.

    `force` opens a tray that the guest has locked, `raw` takes the image as it is, whatever it looks like.
    """

    drive: str
    path: str | None
    force: bool = False
    raw: bool = False


@dataclass(frozen=True, slots=True)
class StepRequest:
    """Run a paused machine on by so many ticks, blocks of code, or nanoseconds of its clock; by a block without any."""

    ticks: int | None = None
    blocks: int | None = None
    ns: int | None = None


@dataclass(frozen=True, slots=True)
class EmptyRequest:
    """Nothing to say: no body, or an object without fields."""


def parse(body: bytes, request: type[R]) -> R:
    """Return the request in `body`.

    Raises:
        UsageError: not one JSON object, a field too many or too few, or a value that cannot be.
    """
    try:
        document: object = json.loads(body or b"{}", object_pairs_hook=_once)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"the body is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise UsageError("the body is not a JSON object")
    known = CHECKS[request]
    for name in document:
        if name not in known:
            raise UsageError(f"unknown field {name!a}; known are: {', '.join(known) or 'none'}")
    for name in ("drive", "path"):
        if name in known and name not in document:
            raise UsageError(f"field {name} is missing")
    fields: dict[str, object] = {}
    for name, value in document.items():
        problem = known[name](value)
        if problem is not None:
            raise UsageError(f"field {name} is {problem}")
        fields[name] = tuple(value) if isinstance(value, list) else value
    return cast("Callable[..., R]", request)(**fields)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return document


def _path(value: object) -> str | None:
    return problem(value) if isinstance(value, str) else "not a string"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "neither true nor false"


def _number(value: object) -> str | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_STEP):
        return None
    return f"not a number from 1 to {MAX_STEP}"


def _names(value: object) -> str | None:
    return None if isinstance(value, list) and all(isinstance(name, str) for name in value) else "not a list of names"


def _time(value: object) -> str | None:
    return None if isinstance(value, str) and value in {"freeze", "wall"} else "neither freeze nor wall"


def _renames(value: object) -> str | None:
    if isinstance(value, dict) and all(isinstance(name, str) for name in value.values()):
        return None
    return "not an object of old and new names"


def _drives(value: object) -> str | None:
    if not isinstance(value, dict):
        return "not an object of drives and the paths of their images"
    found = (_or_null(_path)(path) for path in value.values())
    return next((f"an object with a path that is {problem}" for problem in found if problem is not None), None)


def _name(value: object) -> str | None:
    return None if isinstance(value, str) else "not a string"


def _keys(value: object) -> str | None:
    if isinstance(value, dict) and all(_KEY.fullmatch(key) and isinstance(name, str) for key, name in value.items()):
        return None
    return "not an object of public keys in hexadecimal and their names"


def _or_null(check: Callable[[object], str | None]) -> Callable[[object], str | None]:
    return lambda value: None if value is None else check(value)


_KEY: Final = re.compile(r"[0-9a-f]{64}")

Check = Callable[[object], str | None]

CHECKS: Final[Mapping[type, Mapping[str, Check]]] = {
    SaveRequest: {"path": _path, "force": _flag, "sign": _or_null(_path), "recipients": _names},
    LoadRequest: {
        "path": _path,
        "strict": _flag,
        "only": _names,
        "skip": _names,
        "rename": _renames,
        "identity": _or_null(_path),
        "require": _or_null(_keys),
        "time": _time,
        "drives": _drives,
        "raw": _names,
    },
    MediaRequest: {"drive": _name, "path": _or_null(_path), "force": _flag, "raw": _flag},
    StepRequest: {"ticks": _number, "blocks": _number, "ns": _number},
    EmptyRequest: {},
}
"""For each request its fields, and what says why a value cannot be: a phrase after `is`, or None."""
