"""`chkpt reset`: press a machine's reset button."""

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import show, show_json


def reset(*, machine: MachineName = None, as_json: AsJson = False) -> None:
    """Press a machine's reset button. RAM, disks and the clock stay as they are."""
    from chkpt.service.http.client import find

    running = find(machine)
    info = running.reset()
    if as_json:
        show_json(info)
    else:
        show(f"reset machine {running.name}")
