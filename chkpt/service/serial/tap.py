"""A tap on a serial line: a machine's service puts one between each serial port and its backend, to listen and type."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from chkpt.device import CharBackend, CharFrontend, FrontendKind
from chkpt.manager import BackendTypes
from chkpt.manager.types import AnyBackendType


class Tap:
    """The backend of a serial port: it passes everything on to the configured backend, if there is one.

    The guest does not notice it. Listeners get the bytes that the backend has taken; typed characters go to the port
    beside the backend's own input.
    """

    def __init__(self, backend: CharBackend | None = None) -> None:
        self.backend = backend
        self._frontend: CharFrontend | None = None
        self._listeners: list[Callable[[bytes], None]] = []

    # -- for consoles -------------------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Call `listener` with what the guest sends from now on. It must not wait."""
        self._listeners.append(listener)

    def room(self) -> int:
        """Return how many characters the port would take now without losing any."""
        return 0 if self._frontend is None else self._frontend.room()

    def type(self, data: bytes) -> None:
        """Send characters to the port, at most as many as it has room for."""
        if self._frontend is not None:
            self._frontend.receive(data)

    # -- CharBackend --------------------------------------------------------------------------------------------------

    def attach(self, frontend: CharFrontend, /) -> None:
        """Deliver what arrives to `frontend` from now on."""
        self._frontend = frontend
        if self.backend is not None:
            self.backend.attach(frontend)

    def write(self, data: bytes, /) -> int:
        """Take as much of `data` as the backend takes; all of it if there is no backend."""
        taken = len(data) if self.backend is None else self.backend.write(data)
        if taken:
            for listener in self._listeners:
                listener(data[:taken])
        return taken

    def set_break(self, level: bool, /) -> None:
        """Begin or end a break condition on the backend's line."""
        if self.backend is not None:
            self.backend.set_break(level)

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        """Show the backend the state of the two modem outputs."""
        if self.backend is not None:
            self.backend.set_modem(dtr, rts)

    def fileno(self) -> int | None:
        """Return the backend's descriptor."""
        return None if self.backend is None else self.backend.fileno()

    def wants_write(self) -> bool:
        """Whether the backend waits for room to write."""
        return self.backend is not None and self.backend.wants_write()

    def poll(self) -> None:
        """Move what the backend can move."""
        if self.backend is not None:
            self.backend.poll()

    def close(self) -> None:
        """Close the backend."""
        if self.backend is not None:
            self.backend.close()


def add_taps(types: BackendTypes) -> BackendTypes:
    """Return the same types of backends, but with a tap before each character backend."""
    return BackendTypes(_add_tap(each) if each.kind is FrontendKind.CHAR else each for each in types)


def _add_tap(backend_type: AnyBackendType) -> AnyBackendType:
    return replace(backend_type, open=lambda config: Tap(cast("CharBackend", backend_type.open(config))))
