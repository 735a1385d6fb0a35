"""`chkpt ps`: list the running machines."""

from typing import Final

from chkpt.cli.options import AsJson
from chkpt.cli.output import escape, format_seconds, show, show_columns, show_json
from chkpt.errors import ChkptError, NoMachineError

PATIENCE: Final = 5.0
"""Seconds to wait for a machine's answer; it may be busy with a save."""


def ps(*, as_json: AsJson = False) -> None:
    """List the running machines, with what their processors do: active, halted, or why one stands still.

    A machine that does not answer, or refuses because it has too many clients, has a row, too; stderr shows the reason.
    """
    from chkpt.service.http.client import machines

    found: list[dict[str, object]] = []
    rows: list[list[str]] = []
    silent: list[str] = []
    for machine in machines():
        try:
            info = machine.machine(PATIENCE)
        except ChkptError as exc:
            found.append({"name": machine.name, "answers": False, "reason": str(exc)})
            state = "no answer" if isinstance(exc, NoMachineError) else "refuses"
            rows.append([machine.name, "?", state, "?", "?", "?", "?", "?"])
            silent.append(f"chkpt: {machine.name}: {exc}")
            continue
        found.append({**info, "answers": True})
        state = "paused" if info["paused"] else "running"
        devices = ", ".join(info["devices"])
        devices += "".join(f"; {port} is {path}" for port, path in info.get("terminals", {}).items())
        cpu = info["cpu"]
        ticks, does = ("-", "-") if cpu is None else (str(cpu["ticks"]), cpu["stands_still"] or cpu["activity"])
        clock, qtest = format_seconds(info["clock_ns"]), info["qtest"] or "-"
        rows.append([info["name"], str(info["pid"]), state, clock, ticks, does, qtest, devices])
    if as_json:
        show_json(found)
    elif rows:
        show_columns(["NAME", "PROCESS", "STATE", "CLOCK", "TICKS", "CPU", "QTEST", "DEVICES"], rows)
        for reason in silent:
            show(escape(reason), err=True)
