"""`chkpt resume`: let a machine go on after a pause."""

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import show, show_json
from chkpt.service.client import find


def resume(*, machine: MachineName = None, as_json: AsJson = False) -> None:
    """Let a machine go on after a pause."""
    running = find(machine)
    info = running.resume()
    if as_json:
        show_json(info)
    else:
        show(f"resumed machine {running.name}")
