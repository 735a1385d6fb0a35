"""A machine of `chkpt demo` that is driven over qtest."""

import socket
from collections.abc import Sequence

from chkpt.cli.demo.stage import MachineProcess, Stage


class QtestMachine:
    """A machine in a process of its own, and the qtest connection to it. `sent` counts the commands."""

    def __init__(self, stage: Stage) -> None:
        self.sent = 0
        self.process = MachineProcess(stage)
        self._stage = stage
        self._connection: socket.socket | None = None
        self._received = b""
        stage.call_at_end(self.close)

    def start(self, arguments: Sequence[str]) -> None:
        """Run `chkpt run` with these arguments; return when the machine answers and has connected. Raise ChkptError."""
        number = len(list(self._stage.directory.glob("*.log")))
        path = self._stage.directory / f"qtest-{number}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(1)
            self.process.start([*arguments, "--qtest", f"unix:{path}"])
            self.process.wait_for(listener.fileno(), "connect")
            self._connection, _ = listener.accept()
            path.unlink()
        self.process.wait_until_ready()

    def send(self, command: str) -> list[str]:
        """Send one qtest command and return its answer lines. Raise ChkptError if the machine has ended."""
        connection = self._connection
        assert connection is not None
        try:
            connection.sendall(command.encode() + b"\n")
            lines: list[str] = []
            while True:
                lines.append(self._line(connection))
                if not lines[-1].startswith("IRQ "):
                    self.sent += 1
                    return lines
        except OSError as exc:
            raise self.process.make_error(f"has gone at {command} ({exc.strerror})") from exc

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _line(self, connection: socket.socket) -> str:
        while b"\n" not in self._received:
            self.process.wait_for(connection.fileno(), "answer")
            data = connection.recv(1 << 16)
            if not data:
                raise self.process.make_error("has closed the connection")
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line.decode()
