"""What `chkpt run --until` means, and what it says at the end."""

import json
import os
import re
from typing import TYPE_CHECKING, Final, TypedDict

import typer

from chkpt.cli.destination import sealed
from chkpt.cli.output import plain, show
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.api.requests import SaveRequest
    from chkpt.service.until import End, Until

TICKS: Final = re.compile(r"(\+?)([0-9][0-9_]*)", re.ASCII)
"""A tick since power-on; with a plus sign so many from here."""

EXIT: Final = "exit"
TEXT: Final = "text:"
MOST: Final = (1 << 63) - 1  # of ticks and nanoseconds, as in a snapshot


def parse(
    goal: str | None, *, port: str | None, timeout: float | None, save: "SaveRequest | None", force: bool
) -> "Until | None":
    """Return what the options mean, None where the run has no end of its own.

    Raises:
        UsageError: they mean nothing.
    """
    if goal is None:
        given = {"--timeout": timeout, "--save": save, "--force": force or None}
        stray = next((option for option, value in given.items() if value is not None), None)
        if stray is not None:
            raise UsageError(f"{stray} goes with --until")
        return None
    from chkpt.service.until import Until

    if force and save is None:
        raise UsageError("--force goes with --save")
    if goal == EXIT and save is not None:
        raise UsageError("--save goes with --until TEXT or TICKS: a machine that its guest has ended is over")
    return Until(**_end(goal), port=port, timeout=None if timeout is None else _nanoseconds(timeout), save=save)


class _End(TypedDict, total=False):
    ticks: int
    relative: bool
    text: bytes


def _end(goal: str) -> _End:
    """Return where a run ends that is to reach GOAL."""
    if goal == EXIT:
        return {}
    ticks = TICKS.fullmatch(goal)
    if ticks is not None:
        number = int(ticks[2].replace("_", ""))
        if number > MOST:
            raise UsageError(f"--until {goal}: ticks are counted to {MOST}")
        return {"ticks": number, "relative": bool(ticks[1])}
    text = os.fsencode(goal.removeprefix(TEXT))
    if not text:
        raise UsageError("--until needs a text, a number of ticks, or exit")
    return {"text": text}


def _nanoseconds(seconds: float) -> int:
    if not 0 < seconds <= MOST / 1e9:  # nan is neither
        raise UsageError(f"--timeout {seconds:g}: write a number of seconds above 0")
    return round(seconds * 1e9)


def finish(end: "End", until: "Until | None", *, as_json: bool) -> None:
    """Say how a run ended, on stderr, and end with its status."""
    if until is not None and as_json:
        document = {
            "end": end.why,
            "status": end.status,
            "ticks": end.ticks,
            "clock_ns": end.clock_ns,
            "saved": None if end.saved is None else end.saved["path"],
        }
        if end.saved is not None:
            document |= {key: end.saved[key] for key in ("digest", "encrypted", "signed_by", "removed")}
        show(json.dumps(document), err=True)
    elif until is not None or end.status:
        saved = "" if end.saved is None else f"; saved to {end.saved['path']}{sealed(end.saved)}"
        typer.echo(plain(f"chkpt: {end.message}{saved}"), err=True)
    if end.status:
        raise typer.Exit(end.status)
