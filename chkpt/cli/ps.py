"""`chkpt ps`: list the running machines."""

from typing import Final

from chkpt.cli.options import AsJson
from chkpt.cli.output import seconds, show_columns, show_json
from chkpt.errors import NoMachineError
from chkpt.service.client import machines

PATIENCE: Final = 5.0
"""Seconds that a machine may take to answer; it may be busy with a save."""


def ps(*, as_json: AsJson = False) -> None:
    """List the running machines, with what their processors do: active, halted, or why one stands still."""
    found: list[dict[str, object]] = []
    rows: list[list[str]] = []
    for machine in machines():
        try:
            info = machine.machine(PATIENCE)
        except NoMachineError:
            found.append({"name": machine.name, "answers": False})
            rows.append([machine.name, "?", "no answer", "?", "?", "?", "?", "?"])
            continue
        found.append({**info, "answers": True})
        state = "paused" if info["paused"] else "running"
        devices = ", ".join(info["devices"])
        cpu = info["cpu"]
        ticks, does = ("-", "-") if cpu is None else (str(cpu["ticks"]), cpu["stands_still"] or cpu["activity"])
        clock, qtest = seconds(info["clock_ns"]), info["qtest"] or "-"
        rows.append([info["name"], str(info["pid"]), state, clock, ticks, does, qtest, devices])
    if as_json:
        show_json(found)
    elif rows:
        show_columns(["NAME", "PROCESS", "STATE", "CLOCK", "TICKS", "CPU", "QTEST", "DEVICES"], rows)
