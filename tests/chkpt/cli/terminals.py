"""Commands, each on its own terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from typing import TypeAlias

from tests.support.processes import PATIENCE, spawn


class Terminal:
    """A pseudo-terminal with a command of chkpt on it."""

    def __init__(self, *args: object) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.process = spawn(*args, stdin=self.slave, stdout=self.slave, stderr=self.slave)

    def read_until(self, text: bytes) -> bytes:
        seen = b""
        while text not in seen:
            ready, _, _ = select.select([self.master], [], [], PATIENCE)
            assert ready, seen
            seen += os.read(self.master, 4096)
        return seen

    def type(self, keys: bytes) -> None:
        while keys:
            keys = keys[os.write(self.master, keys) :]

    def wait_until_raw(self) -> None:
        while termios.tcgetattr(self.slave) == self.before:
            time.sleep(0.01)

    def wait_until_restored(self) -> None:
        while termios.tcgetattr(self.slave) != self.before:
            time.sleep(0.01)

    def resize(self, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", rows, 80, 0, 0))
        self.process.send_signal(signal.SIGWINCH)  # the kernel signals only the terminal's own session

    def go_away(self) -> None:
        os.close(self.slave)
        os.close(self.master)

    def close(self) -> int:
        """Wait for the end; return the exit status. The terminal must be as it was."""
        status = self.process.wait(PATIENCE)
        assert termios.tcgetattr(self.slave) == self.before
        self.go_away()
        return status

    def end(self) -> None:
        """Kill what a test that failed has left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


Launcher: TypeAlias = Callable[..., Terminal]
"""A function that starts a command on its own terminal."""
