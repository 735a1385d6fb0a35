"""`chkpt resume`: let a machine go on after a pause."""

from chkpt.cli.options import AsJson, MachineName
from chkpt.cli.output import show, show_json


def resume(*, machine: MachineName = None, as_json: AsJson = False) -> None:
    """Let a machine go on after a pause.

    Its clock goes on from where it stopped: the guest does not notice the pause. Input that arrived meanwhile reaches
    it now. A step under way ends at once. Resuming a running machine does nothing.
    """
    from chkpt.service.http.client import find

    running = find(machine)
    info = running.resume()
    if as_json:
        show_json(info)
    else:
        show(f"resumed machine {running.name}")
