"""A serial line that can be listened in on: what a machine's service puts between each serial port and its backend."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

from chkpt.device import CharBackend, CharFrontend, FrontendKind
from chkpt.manager import BackendTypes
from chkpt.manager.types import AnyBackendType


class Tap:
    """The backend of a serial port: passes everything on to the backend that was configured, if one was.

    The guest cannot tell it from that backend alone, or from none. Whoever listens is told what the backend has taken;
    what is typed goes to the port beside the backend's own input.
    """

    def __init__(self, backend: CharBackend | None = None) -> None:
        self.backend = backend
        self._frontend: CharFrontend | None = None
        self._listeners: list[Callable[[bytes], None]] = []

    # -- for consoles -------------------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[bytes], None]) -> None:
        """Tell `listener` what the guest sends from now on. It must not wait."""
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
        """Take as much of `data` as the backend takes; all of it where there is none."""
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


def tapped(types: BackendTypes) -> BackendTypes:
    """Return the same types of backends, each character backend behind a tap."""
    return BackendTypes(_tapped(each) if each.kind is FrontendKind.CHAR else each for each in types)


def _tapped(backend_type: AnyBackendType) -> AnyBackendType:
    return replace(backend_type, open=lambda config: Tap(cast("CharBackend", backend_type.open(config))))
