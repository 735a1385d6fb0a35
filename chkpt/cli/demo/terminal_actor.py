"""A machine of `chkpt demo` with a terminal at its serial port."""

import select
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from chkpt.cli.demo.stage import MachineProcess, Stage
from chkpt.errors import NoMachineError
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient

PORT: Final = "com1"


class TerminalMachine:
    """A machine in its own process, and a terminal at its first serial port. `text` is what it has sent."""

    def __init__(self, stage: Stage, name: str, *, home: Path | None = None, show: Callable[[str], None]) -> None:
        """Prepare the machine; see `start`.

        Args:
            stage: the stage of its process.
            name: the machine's name.
            home: its runtime directory; None for the stage's own.
            show: called with each whole line that the guest sends.
        """
        self.process = MachineProcess(stage)
        self.client = MachineClient(name, (home or stage.directory) / "chkpt" / name)
        self.text = b""
        self._home = home
        self._show = show
        self._shown = 0
        self._stream: socket.socket | None = None
        stage.call_at_end(self.close)

    def start(self, arguments: Sequence[str]) -> None:
        """Run `chkpt run` with these arguments; return when the machine runs. Raise ChkptError if it fails.

        It starts paused, so that no character of its output is missed.
        """
        self.process.start([*arguments, "--paused"], self._home)
        self.process.wait_until_ready()
        try:
            self._stream = self.client.console(PORT)
            self.client.resume()
        except (OSError, NoMachineError) as exc:
            raise self.process.make_error(f"does not answer ({exc})") from exc

    def type(self, text: bytes) -> None:
        """Type at the terminal. Raise ChkptError if the machine has ended."""
        assert self._stream is not None
        try:
            self._stream.sendall(text)
        except OSError as exc:
            raise self.process.make_error(f"does not take a key ({exc.strerror})") from exc

    def read_to(self, enough: Callable[[bytes], bool]) -> None:
        """Read until `enough` of all sent text returns True. Raise ChkptError if the machine ends before."""
        while not enough(self.text):
            assert self._stream is not None
            self.process.wait_for(self._stream.fileno(), "answer")
            if not self._receive():
                raise self.process.make_error("has closed the connection")

    def sleep(self) -> None:
        """Wait until the guest sleeps and no time passes; before that, a key's tick would depend on the host's time.

        Raises:
            ChkptError: the machine has ended, or its clock does not stop.
        """
        seen = [-1]

        def stands_still() -> bool:  # a processor that is awake runs on between two requests
            seen.append(self.client.machine()["clock_ns"])
            return seen[-1] == seen[-2]

        self.process.wait_until(stands_still, "come to rest")

    def read_now(self) -> None:
        """Read what has arrived."""
        while self._stream is not None and select.select([self._stream], [], [], 0)[0] and self._receive():
            pass

    def _receive(self) -> bool:
        assert self._stream is not None
        try:
            data = self._stream.recv(1 << 16)
        except OSError:
            data = b""
        self.text += data
        *lines, _ = self.text[self._shown :].split(b"\n")
        for line in lines:
            self._shown += len(line) + 1
            self._show(line.decode("ascii", "replace").rstrip())
        return bool(data)

    def save(self, path: Path) -> None:
        """Save the machine to a new file. Raise ChkptError."""
        self.client.save(SaveRequest(str(path)))

    def kill(self) -> None:
        """End the process at once, as `kill -9` does, and read the last output."""
        self.process.kill()
        self.read_now()
        self.close()

    def close(self) -> None:
        """Leave the terminal."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
