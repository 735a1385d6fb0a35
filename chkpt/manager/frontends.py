"""The frontends that devices offer, and the backends connected to them."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from chkpt.device import (
    BlockBackend,
    BlockFrontend,
    CharBackend,
    CharFrontend,
    ConsoleBackend,
    ConsoleFrontend,
    FrontendKind,
    NetBackend,
    NetFrontend,
)
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

    def __init__(self, kind: FrontendKind, attach: Callable[[B, F], None] | None = None) -> None:
        """Begin without frontends; `attach` gives a backend the frontend that it has just been connected to."""
        self.kind = kind
        self._attach = attach
        self._frontends: dict[str, F] = {}
        self._owners: dict[str, str] = {}
        self._backends: dict[str, B] = {}

    def add(self, name: str, frontend: F, owner: str) -> None:
        """Let backends be connected under `name`, to a frontend of the device `owner`.

        Raises:
            ConflictError: the name is taken, as when both device `a.0` and drive 0 of device `a` want `a.0`.
        """
        if name in self._frontends:
            raise ConflictError(f"there is a {self.kind} frontend {name} already, of device {self._owners[name]}")
        self._frontends[name] = frontend
        self._owners[name] = owner

    def find(self, name: str) -> F:
        """Return the frontend of this name. Raise NotFoundError, which lists the frontends."""
        try:
            return self._frontends[name]
        except KeyError:
            known = ", ".join(self._frontends) or "none"
            raise NotFoundError(f"no {self.kind} frontend {name}; there are: {known}") from None

    def connect(self, name: str, backend: B) -> F:
        """Connect `backend`, which the table owns from now on, and return the frontend.

        Raises:
            NotFoundError: there is no such frontend; `backend` still belongs to the caller.
            ExistsError: the frontend has a backend; `backend` still belongs to the caller.
        """
        frontend = self.find(name)
        if name in self._backends:
            raise ExistsError(f"{self.kind} frontend {name} has a backend; disconnect it first")
        frontend.connect(backend)
        self._backends[name] = backend
        try:
            if self._attach is not None:
                self._attach(backend, frontend)
        except BaseException:
            self.disconnect(name)
            raise
        return frontend

    def disconnect(self, name: str) -> B:
        """Disconnect the backend and return it to the caller, who owns it again. Raise NotFoundError."""
        frontend = self.find(name)
        if name not in self._backends:
            raise NotFoundError(f"{self.kind} frontend {name} has no backend")
        backend = self._backends.pop(name)
        frontend.disconnect()
        return backend

    def remove(self, name: str) -> None:
        """Forget a frontend. Disconnect and close a backend that is connected to it, even if one of the two fails."""
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

    def owner(self, name: str) -> str:
        """Return the name of the device that has this frontend. Raise NotFoundError."""
        self.find(name)
        return self._owners[name]

    def of(self, owner: str) -> tuple[str, ...]:
        """Return the names of one device's frontends. A name does not show its owner: device names may have dots."""
        return tuple(name for name, device in self._owners.items() if device == owner)

    @property
    def backends(self) -> dict[str, B]:
        """The connected backends by the name of their frontend."""
        return dict(self._backends)


class FrontendsByKind:
    """The frontends of a machine: `frontends[kind]` are those of one kind, such as `frontends["char"]`."""

    def __init__(self) -> None:
        self._tables: dict[FrontendKind, Frontends[Any, Any]] = {kind: Frontends(kind) for kind in FrontendKind}
        self._tables[FrontendKind.CHAR] = Frontends(
            FrontendKind.CHAR, attach=lambda backend, frontend: backend.attach(frontend)
        )

    @overload
    def __getitem__(self, kind: Literal[FrontendKind.BLOCK, "block"], /) -> Frontends[BlockFrontend, BlockBackend]: ...

    @overload
    def __getitem__(self, kind: Literal[FrontendKind.NET, "net"], /) -> Frontends[NetFrontend, NetBackend]: ...

    @overload
    def __getitem__(self, kind: Literal[FrontendKind.CHAR, "char"], /) -> Frontends[CharFrontend, CharBackend]: ...

    @overload
    def __getitem__(
        self, kind: Literal[FrontendKind.CONSOLE, "console"], /
    ) -> Frontends[ConsoleFrontend, ConsoleBackend]: ...

    @overload
    def __getitem__(self, kind: FrontendKind, /) -> Frontends[Any, Any]: ...

    def __getitem__(self, kind: FrontendKind | str, /) -> Frontends[Any, Any]:
        return self._tables[FrontendKind(kind)]

    def __iter__(self) -> Iterator[Frontends[Any, Any]]:
        return iter(self._tables.values())

    def of(self, owner: str) -> list[tuple[FrontendKind, str]]:
        """Return the frontends of one device: kind and name."""
        return [(table.kind, name) for table in self for name in table.of(owner)]
