"""The client's side of a machine's service: each call returns the machine's answer, or raises its error.

    machine = find("traces")
    machine.save(SaveRequest(os.path.abspath("a.zst")))

It imports only the standard library, as a command must start fast.
"""

import json
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, cast

from chkpt import sockets
from chkpt.errors import ChkptError, NoMachineError
from chkpt.service import directory
from chkpt.service.api import operations
from chkpt.service.api.messages import (
    DeviceList,
    DriveInfo,
    DriveList,
    LoadReply,
    MachineInfo,
    SaveReply,
    StepReply,
    error_of,
)
from chkpt.service.api.operations import Operation
from chkpt.service.api.requests import LoadRequest, MediaRequest, SaveRequest, StepRequest, body_of

END_SECONDS: Final = 30
"""How long a machine may take to end."""


class MachineClient:
    """A running machine. Every call is one request; any number of clients may talk to one machine.

    Raises, in every call:
        NoMachineError: the machine has ended, is still starting, or does not answer in time.
        ChkptError: the error that the machine answered with, of the same class as there.
        KeyboardInterrupt: Ctrl-C; with a message if the machine goes on with the request nevertheless.
    """

    def __init__(self, name: str, path: Path) -> None:
        """Talk to the machine whose directory is `path`. Nothing is sent yet."""
        self.name = name
        self.path = path

    def machine(self, timeout: float | None = None) -> MachineInfo:
        """Return what the machine is and does. `timeout` is in seconds, None for no limit."""
        return cast("MachineInfo", self._request(operations.MACHINE, timeout=timeout))

    def devices(self) -> DeviceList:
        """Return the devices with what they claim and what is connected to them."""
        return cast("DeviceList", self._request(operations.DEVICES))

    def media(self) -> DriveList:
        """Return every drive with what is in it."""
        return cast("DriveList", self._request(operations.MEDIA))

    def change_medium(self, drive: str, path: Path | None, *, force: bool = False, raw: bool = False) -> DriveInfo:
        """Put the image at the absolute `path` into a drive, or take out the medium if it is None; return the drive.

        `force` opens a tray that the guest has locked. `raw` takes the image as a raw one, whatever it looks like.
        """
        request = MediaRequest(drive, None if path is None else str(path), force, raw)
        return cast("DriveInfo", self._request(operations.CHANGE_MEDIUM, request))

    def save(self, request: SaveRequest) -> SaveReply:
        """Save the machine to a file."""
        return cast("SaveReply", self._request(operations.SAVE, request))

    def load(
        self,
        path: Path,
        *,
        only: Collection[str] = (),
        skip: Collection[str] = (),
        rename: Mapping[str, str] | None = None,
        strict: bool = False,
        identity: Path | None = None,
        require: Mapping[str, str] | None = None,
        time: str = "freeze",
        drives: Mapping[str, Path | None] | None = None,
        raw: Collection[str] = (),
    ) -> LoadReply:
        """Load the machine from a file, as `chkpt.machine.Machine.load` does.

        Args:
            path: the absolute path of the snapshot.
            only: see there.
            skip: see there.
            rename: see there.
            strict: see there.
            identity: the absolute path of the identity that opens an encrypted file.
            require: public keys in hexadecimal, with their names. One of these keys must have signed.
            time: "wall" lets the dates that devices keep go on by the time since the snapshot was created.
            drives: drives whose media change with the load: the absolute path of an image, or None for an empty drive.
            raw: drives whose images are taken as raw ones, whatever they look like.
        """
        images = {drive: None if image is None else str(image) for drive, image in (drives or {}).items()}
        request = LoadRequest(
            str(path),
            strict=strict,
            only=tuple(only),
            skip=tuple(skip),
            rename=dict(rename or {}),
            identity=None if identity is None else str(identity),
            require=None if require is None else dict(require),
            time=time,
            drives=images,
            raw=tuple(raw),
        )
        return cast("LoadReply", self._request(operations.LOAD, request))

    def pause(self) -> MachineInfo:
        """Stop the machine's clock and the input from its backends."""
        return cast("MachineInfo", self._request(operations.PAUSE))

    def resume(self) -> MachineInfo:
        """Let the machine go on after a pause."""
        return cast("MachineInfo", self._request(operations.RESUME))

    def step(self, **distance: int) -> StepReply:
        """Run the paused machine on by `ticks`, `blocks` or `ns`, by default one block; return at the end of it."""
        return cast("StepReply", self._request(operations.STEP, StepRequest(**distance)))

    def reset(self) -> MachineInfo:
        """Press the machine's reset button."""
        return cast("MachineInfo", self._request(operations.RESET))

    def stop(self) -> None:
        """End the machine, and wait until its name is free again."""
        lock = directory.hold(self.path)
        if lock is None:
            raise NoMachineError(f"machine {self.name} has ended")
        try:
            self._request(operations.STOP)
            end = time.monotonic() + END_SECONDS
            with self._explaining_interrupt("stop", "goes on"):
                while not directory.is_over(lock):
                    if time.monotonic() > end:
                        raise ChkptError(f"machine {self.name} was asked to stop, but still runs")
                    time.sleep(0.01)
        finally:
            os.close(lock)

    def console(self, port: str) -> socket.socket:
        """Return a stream to and from the serial port `port`. Raise FileNotFoundError if there is no such port."""
        return sockets.connect(self.path / f"{port}{directory.CONSOLE}")

    def _request(self, operation: Operation, request: object = None, timeout: float | None = None) -> object:
        connection = _Connection(self.path / directory.API, timeout)
        try:
            body = None if request is None else json.dumps(body_of(request))
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.connect()
            with self._explaining_interrupt(operation.verb, "may go on"):
                connection.request(operation.method, operation.path, body, headers)
            with self._explaining_interrupt(operation.verb, "goes on"):
                response = connection.getresponse()
                answer = response.read()
        except TimeoutError as exc:
            raise NoMachineError(f"machine {self.name} does not answer") from exc
        except (OSError, HTTPException) as exc:
            raise self._explain_silence(exc) from exc
        finally:
            connection.close()
        try:
            document: object = json.loads(answer)
        except ValueError as exc:
            raise ChkptError(f"machine {self.name} answered with what is not JSON (HTTP {response.status})") from exc
        if response.status >= 400:
            raise error_of(document)
        return document

    @contextmanager
    def _explaining_interrupt(self, verb: str, goes_on: str) -> Iterator[None]:
        """Let Ctrl-C in the block report that the machine `goes_on` with the request, unless `verb` is empty."""
        try:
            yield
        except KeyboardInterrupt as exc:
            if not verb:
                raise
            raise KeyboardInterrupt(f"machine {self.name} was asked to {verb} and {goes_on} with it") from exc

    def _explain_silence(self, exc: OSError | HTTPException) -> NoMachineError:
        """Return the error for a request that failed with `exc` and was not answered."""
        if not directory.is_alive(self.path):
            return NoMachineError(f"machine {self.name} has ended")
        if isinstance(exc, FileNotFoundError | ConnectionRefusedError):  # there is no listener
            return NoMachineError(f"machine {self.name} is starting, or ending, and does not answer; try again")
        return NoMachineError(
            f"machine {self.name} has cut the connection: it is ending, or has too many clients; try again"
        )


class _Connection(HTTPConnection):
    """HTTP over the Unix socket at a path."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._seconds = timeout

    def connect(self) -> None:
        self.sock = sockets.connect(self._path, self._seconds)
        self.sock.settimeout(self._seconds)


def machines() -> list[MachineClient]:
    """Return this user's running machines by name. Raise StorageError, see `chkpt.service.directory.running`."""
    return [MachineClient(name, path) for name, path in directory.running().items()]


def find(name: str | None = None) -> MachineClient:
    """Return the running machine of this name; if `name` is None, the only one.

    Raises:
        NoMachineError: there is no such machine, or none at all, or `name` is None and there are several.
        StorageError: see `chkpt.service.directory.running`.
    """
    found = machines()
    names = ", ".join(machine.name for machine in found)
    if name is None:
        if len(found) == 1:
            return found[0]
        if found:
            raise NoMachineError(f"several machines are running: {names}; name one with -m")
        raise NoMachineError("no machine is running; start one with chkpt run")
    for machine in found:
        if machine.name == name:
            return machine
    raise NoMachineError(f"no machine {name} is running; running are: {names or 'none'}")
