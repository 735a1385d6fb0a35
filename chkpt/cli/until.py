"""What `chkpt run --until` means, and what it prints at the end."""

import json
import os
import re
from typing import TYPE_CHECKING, Final, TypedDict

import typer

from chkpt.cli.destination import describe_sealing
from chkpt.cli.output import escape, show
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.api.requests import SaveRequest
    from chkpt.service.until import End, Until

TICKS: Final = re.compile(r"(\+?)([0-9][0-9_]*)", re.ASCII)
"""A number of ticks since power-on; with a plus sign, from now."""

EXIT: Final = "exit"
TEXT: Final = "text:"
MOST: Final = (1 << 63) - 1  # the most ticks and nanoseconds that a snapshot holds


def parse_until(
    goal: str | None, *, port: str | None, timeout: float | None, save: "SaveRequest | None", force: bool
) -> "Until | None":
    """Return the goal that the options give, None if the run has no goal.

    Raises:
        UsageError: an option is wrong, or needs another one.
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
        raise UsageError("--save goes with --until TEXT or TICKS: at its exit a machine has ended")
    return Until(
        **_parse_goal(goal), port=port, timeout=None if timeout is None else _to_nanoseconds(timeout), save=save
    )


class _Goal(TypedDict, total=False):
    ticks: int
    relative: bool
    text: bytes


def _parse_goal(goal: str) -> _Goal:
    """Return what GOAL means: ticks, a text, or neither for `exit`."""
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


def _to_nanoseconds(seconds: float) -> int:
    if not 0 < seconds <= MOST / 1e9:  # also false for nan
        raise UsageError(f"--timeout {seconds:g}: write a number of seconds above 0")
    return round(seconds * 1e9)


def finish(end: "End", until: "Until | None", *, as_json: bool) -> None:
    """Print on stderr how a run ended, and exit with its status."""
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
        saved = "" if end.saved is None else f"; saved to {end.saved['path']}{describe_sealing(end.saved)}"
        typer.echo(escape(f"chkpt: {end.message}{saved}"), err=True)
    if end.status:
        raise typer.Exit(end.status)
