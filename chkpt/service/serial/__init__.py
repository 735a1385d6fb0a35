"""The serial ports of a running machine: their consoles, and the taps that listen to them."""

from collections.abc import Sequence

from chkpt.errors import NotFoundError, UsageError


def find_port(machine: str, ports: Sequence[str], port: str | None) -> str:
    """Return the name of a port; if `port` is None, com1 or the only port.

    Raises:
        UsageError: `port` is None, there are several ports, and com1 is not one of them.
        NotFoundError: the machine has no such port.
    """
    if port is None and len(ports) > 1 and "com1" not in ports:
        raise UsageError(f"machine {machine} has several serial ports: {', '.join(ports)}; name one with --port")
    wanted = port or (ports[0] if len(ports) == 1 else "com1")
    if wanted not in ports:
        raise NotFoundError(f"machine {machine} has no serial port {wanted}; it has: {', '.join(ports) or 'none'}")
    return wanted
