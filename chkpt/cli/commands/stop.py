"""`chkpt stop`: end a machine."""

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import show, show_json


def stop(*, machine: MachineName = None, as_json: AsJson = False) -> None:
    """End a machine and wait until it has ended. Its unsaved state is lost."""
    from chkpt.service.http.client import find

    running = find(machine)
    running.stop()
    if as_json:
        show_json({"name": running.name})
    else:
        show(f"stopped machine {running.name}")
