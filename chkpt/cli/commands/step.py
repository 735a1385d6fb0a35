"""`chkpt step`: let a paused machine run on a little."""

from typing import Annotated

import typer

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import plain, seconds, show, show_json
from chkpt.errors import UsageError

WHY = {
    "idle": "its CPU is halted, and nothing but input would wake it",
    "interrupted": "it was paused, resumed, loaded or stopped meanwhile",
}


def step(
    ticks: Annotated[int | None, typer.Argument(metavar="[TICKS]", min=1, help="How many ticks of its CPU.")] = None,
    *,
    blocks: Annotated[int | None, typer.Option(min=1, metavar="N", help="So many blocks of code instead.")] = None,
    ns: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="So many nanoseconds of its clock instead.")
    ] = None,
    machine: MachineName = None,
    as_json: AsJson = False,
) -> None:
    """Let a paused machine run on, by one block of code or as far as is asked, and tell where it is then.

    It stops at the first end of a block at or after that place. Nothing typed or received reaches it meanwhile, and
    where it is stopped does not change what its guest does. Ends with 1 where the machine cannot get there.
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
        show(plain(f"machine {running.name} is at {seconds(reply['machine']['clock_ns'])}{where}"))
    else:
        reason = cpu["stands_still"] or WHY.get(reply["outcome"], reply["outcome"])
        typer.echo(plain(f"chkpt: machine {running.name} stopped at tick {cpu['ticks']}: {reason}"), err=True)
    if reply["outcome"] != "enough":
        raise typer.Exit(1)
