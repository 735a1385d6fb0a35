"""The machine that is measured: the four devices at the demo's cut, the worst moment to save them."""

from importlib.resources import files

from chkpt.interop.qtest import QtestSession
from chkpt.interop.trace import parse_trace, perform
from chkpt.machine import Machine
from chkpt.machine.config import DEFAULT
from chkpt.machine.config import parse as parse_config


def at_the_cut(memory: str = "0") -> Machine:
    """Return a machine with the four devices in mid-operation."""
    machine = Machine(parse_config({**DEFAULT, "memory": memory}))
    trace = parse_trace(files("chkpt.interop").joinpath("demo.trace").read_text())
    session = QtestSession(machine)

    def send(command: str) -> list[str]:
        return session.feed(command.encode() + b"\n").decode().splitlines()

    for exchange in trace.exchanges[: trace.cuts[0]]:
        perform(exchange.command, send)
    session.close()
    return machine
