"""`chkpt step`: run a paused machine for a little."""

from typing import Annotated

import typer

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import escape, format_seconds, show, show_json
from chkpt.errors import UsageError

WHY = {
    "idle": "its CPU is halted, and only input would wake it",
    "interrupted": "it was paused, resumed, loaded or stopped during the step",
}


def step(
    ticks: Annotated[int | None, typer.Argument(metavar="[TICKS]", min=1, help="How many ticks of its CPU.")] = None,
    *,
    blocks: Annotated[int | None, typer.Option(min=1, metavar="N", help="Run N blocks of code instead.")] = None,
    ns: Annotated[int | None, typer.Option(min=1, metavar="N", help="Run N nanoseconds of its clock instead.")] = None,
    machine: MachineName = None,
    as_json: AsJson = False,
) -> None:
    """Run a paused machine for one block of code, or as far as given, and show where it is then.

    It stops at the first end of a block at or after that place. No input reaches it meanwhile, and stopping it does not
    change what its guest does. The exit status is 1 if the machine cannot get there.
    """
    from chkpt.service.http.client import find

    given = {"ticks": ticks, "blocks": blocks, "ns": ns}
    distance = {name: value for name, value in given.items() if value is not None}
    if len(distance) > 1:
        raise UsageError("give ticks, --blocks or --ns, not two of them")
    running = find(machine)
    reply = running.step(**distance)
    cpu = reply["machine"]["cpu"]
    if as_json:
        show_json(reply)
    elif reply["outcome"] == "enough" or cpu is None:
        where = "" if cpu is None else f", tick {cpu['ticks']}, {cpu['activity']} at {cpu['at']}"
        show(escape(f"machine {running.name} is at {format_seconds(reply['machine']['clock_ns'])}{where}"))
    else:
        reason = cpu["stands_still"] or WHY.get(reply["outcome"], reply["outcome"])
        typer.echo(escape(f"chkpt: machine {running.name} stopped at tick {cpu['ticks']}: {reason}"), err=True)
    if reply["outcome"] != "enough":
        raise typer.Exit(1)
