"""The frontends that devices offer, and the backends connected to them."""

from typing import Any, Generic, Protocol, TypeVar

from chkpt.device import FrontendKind
from chkpt.errors import ConflictError, ExistsError, NotFoundError


class Backend(Protocol):
    """What every backend has in common."""

    def close(self) -> None:
        """Give back the host's resources."""


B = TypeVar("B", bound=Backend)
B_contra = TypeVar("B_contra", contravariant=True)


class Frontend(Protocol[B_contra]):
    """What every frontend has in common."""

    def connect(self, backend: B_contra, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend."""


F = TypeVar("F", bound=Frontend[Any])  # which backend it takes is the second parameter of `Frontends`


class Frontends(Generic[F, B]):
    """The frontends of one kind, by name. A connected backend belongs to the table and is closed with the device."""

    def __init__(self, kind: FrontendKind) -> None:
        self.kind = kind
        self._frontends: dict[str, F] = {}
        self._owners: dict[str, str] = {}
        self._backends: dict[str, B] = {}

    def add(self, name: str, frontend: F, owner: str) -> None:
        """Let backends be connected under `name`, to a frontend of the device `owner`.

        Raises:
            ConflictError: the name is taken. Device `a.0` and drive 0 of device `a` may both want `a.0`.
        """
        if name in self._frontends:
            raise ConflictError(f"there is a {self.kind} frontend {name} already, of device {self._owners[name]}")
        self._frontends[name] = frontend
        self._owners[name] = owner

    def find(self, name: str) -> F:
        """Return the frontend of this name. Raise NotFoundError, naming those there are."""
        try:
            return self._frontends[name]
        except KeyError:
            known = ", ".join(self._frontends) or "none"
            raise NotFoundError(f"no {self.kind} frontend {name}; there are: {known}") from None

    def connect(self, name: str, backend: B) -> F:
        """Connect `backend`, which the table owns from now on, and return the frontend.

        Raises:
            NotFoundError: there is no such frontend; `backend` still belongs to the caller.
            ExistsError: it has a backend; `backend` still belongs to the caller.
        """
        frontend = self.find(name)
        if name in self._backends:
            raise ExistsError(f"{self.kind} frontend {name} has a backend; disconnect it first")
        frontend.connect(backend)
        self._backends[name] = backend
        return frontend

    def disconnect(self, name: str) -> B:
        """Disconnect and return the backend, which belongs to the caller again. Raise NotFoundError."""
        frontend = self.find(name)
        if name not in self._backends:
            raise NotFoundError(f"{self.kind} frontend {name} has no backend")
        backend = self._backends.pop(name)
        frontend.disconnect()
        return backend

    def remove(self, name: str) -> None:
        """Forget a frontend; a backend connected to it is disconnected and closed, whatever fails."""
        frontend = self._frontends.pop(name)
        del self._owners[name]
        if name not in self._backends:
            return
        backend = self._backends.pop(name)
        try:
            frontend.disconnect()
        finally:
            backend.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all frontends."""
        return tuple(self._frontends)

    def of(self, owner: str) -> tuple[str, ...]:
        """Return the names of the frontends of one device. Device names may have dots, so no name shows its owner."""
        return tuple(name for name, device in self._owners.items() if device == owner)

    @property
    def backends(self) -> dict[str, B]:
        """The connected backends by the name of their frontend."""
        return dict(self._backends)
