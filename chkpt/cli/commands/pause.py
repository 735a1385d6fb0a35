"""`chkpt pause`: stop a machine's clock and the input from its backends."""

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import show, show_json


def pause(*, machine: MachineName = None, as_json: AsJson = False) -> None:
    """Stop a machine's clock, its CPU, and the input from its backends.

    It can still be saved, loaded, inspected and reset. A console stays attached; what is typed there waits and reaches
    the guest after `chkpt resume`. `chkpt step` runs a paused machine for a little. Pausing a paused machine does
    nothing.
    """
    from chkpt.service.http.client import find

    running = find(machine)
    info = running.pause()
    if as_json:
        show_json(info)
    else:
        show(f"paused machine {running.name}")
