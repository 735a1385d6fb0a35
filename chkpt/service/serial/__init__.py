"""The serial ports of a running machine: their consoles, and what listens in."""

from collections.abc import Sequence

from chkpt.errors import NotFoundError, UsageError


def find_port(machine: str, ports: Sequence[str], port: str | None) -> str:
    """Return the name of the port that `port` names; None is com1, or the only one.

    Raises:
        UsageError: none is named, there are several, and com1 is not one of them.
        NotFoundError: the machine has no such port.
    """
    if port is None and len(ports) > 1 and "com1" not in ports:
        raise UsageError(f"machine {machine} has several serial ports: {', '.join(ports)}; name one with --port")
    wanted = port or (ports[0] if len(ports) == 1 else "com1")
    if wanted not in ports:
        raise NotFoundError(f"machine {machine} has no serial port {wanted}; it has: {', '.join(ports) or 'none'}")
    return wanted
