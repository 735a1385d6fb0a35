"""A terminal or a pipe at a serial port: it sends what is typed and shows what the guest sends."""

import logging
import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Final

import typer

from chkpt.cli.log import end_lines_in
from chkpt.cli.output import on_stdout
from chkpt.errors import ChkptError

log = logging.getLogger("chkpt.cli")

LEAVE: Final = 0x1D
"""The byte of Ctrl-]."""

CHUNK: Final = 4096

GRACE_SECONDS: Final = 10
"""How long a terminal may take to show the last output of a machine that has ended."""


# -- both ways --------------------------------------------------------------------------------------------------------


def converse(stream: socket.socket, *, terminal: bool, wake: int | None = None) -> bool:
    """Carry bytes both ways until Ctrl-] is typed or the machine ends; return whether the machine ended.

    Args:
        stream: the connection to the serial port.
        terminal: whether standard input is a terminal. If a terminal goes away, this returns. On a terminal Ctrl-]
            works at once, even if the guest has not taken all input; a pipe is read only as fast as the guest takes it.
        wake: a descriptor that becomes readable when a signal arrives, so that its handler runs at once.

    Raises:
        StorageError: standard output cannot be written.
        BrokenPipeError: the reader of standard output has gone.
    """
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    keys = _Keys(stream, terminal=terminal)
    while True:
        reads = [stream, *([] if wake is None else [wake]), *([source] if keys.can_take else [])]
        ready, room, _ = select.select(reads, [stream] if keys.unsent else [], [])
        if wake is not None and wake in ready:
            os.read(wake, CHUNK)
        if stream in ready:
            data = _receive(stream)
            if not data:
                return True
            _write(sink, data)
        if room:
            keys.send()
        if source in ready and keys.take(_read(source, terminal=terminal)):
            return False


class _Keys:
    """The typed bytes on their way to the port."""

    def __init__(self, stream: socket.socket, *, terminal: bool) -> None:
        self.unsent = bytearray()
        self._stream = stream
        self._terminal = terminal
        self._over = False  # whether a pipe has ended

    @property
    def can_take(self) -> bool:
        """Whether to read more now."""
        return not self._over and (self._terminal or not self.unsent)

    def take(self, data: bytes) -> bool:
        """Take input, empty at its end; return whether Ctrl-] is in it or the terminal has gone."""
        if self._terminal and not data:  # on a raw terminal no key ends the input
            return True
        typed, leave, _ = data.partition(bytes([LEAVE]))
        self.unsent += typed
        self._over = not data
        if leave and not self._terminal:
            with suppress(ConnectionError):
                self._stream.sendall(self.unsent)
            return True
        self.send()
        return bool(leave)

    def send(self) -> None:
        """Send as much as the port takes now."""
        with suppress(ConnectionError, BlockingIOError):  # the next read from the stream notices the end
            if self.unsent:
                del self.unsent[: self._stream.send(self.unsent, socket.MSG_DONTWAIT)]
            if self._over and not self.unsent:
                self._stream.shutdown(socket.SHUT_WR)


def _receive(stream: socket.socket) -> bytes:
    try:
        return stream.recv(CHUNK)
    except ConnectionError:
        return b""


def _read(source: int, *, terminal: bool) -> bytes:
    try:
        return os.read(source, CHUNK)
    except OSError:
        if not terminal:
            raise
        return b""


def _write(sink: int, data: bytes) -> None:
    with on_stdout():
        while data:
            data = data[os.write(sink, data) :]


# -- the terminal's mode ----------------------------------------------------------------------------------------------


@contextmanager
def raw(source: int) -> Iterator[Callable[[], None]]:
    """Set a terminal to raw mode and restore it at the end of the block; yield a function that restores it earlier.

    In the block, log lines begin at the left. Raise ChkptError if the terminal has gone.
    """
    import termios
    import tty

    before = termios.tcgetattr(source)

    def restore() -> None:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(source, termios.TCSADRAIN, before)

    try:
        with end_lines_in("\r\n"):
            try:
                tty.setraw(source, termios.TCSADRAIN)  # TCSADRAIN keeps input typed before, for the guest
            except termios.error as exc:
                raise ChkptError("the terminal has gone") from exc
            yield restore
    finally:
        try:
            restore()
        except BaseException:  # a signal's handler may have interrupted it
            restore()
            raise


@contextmanager
def attach(stream: socket.socket, name: str) -> Iterator[None]:
    """Attach the terminal to a serial port of machine `name` in this process, until Ctrl-] or the end of the block.

    The machine must close its end of `stream` before the block ends; this closes the other end. Raise as `raw` does.
    """
    typer.echo(f"machine {name} starts; this is its console, Ctrl-] leaves it", err=True)
    with stream, raw(sys.stdin.fileno()) as restore:
        thread = Thread(target=_converse_until_end, args=(stream, name, restore), name="console", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join(GRACE_SECONDS)
            if thread.is_alive():
                log.warning("the terminal does not take the last output of the guest; it is lost")
    with suppress(OSError):
        typer.echo("", err=True)


def _converse_until_end(stream: socket.socket, name: str, restore: Callable[[], None]) -> None:
    """Converse until the machine ends. If the user leaves the console before, restore the terminal."""
    try:
        ended = converse(stream, terminal=True)
    except (OSError, ChkptError) as exc:  # the terminal has gone
        log.warning("machine %s: its console has ended: %s", name, exc)
        ended = False
    if ended:
        return
    stream.shutdown(socket.SHUT_RDWR)  # the machine sees that the console has hung up
    restore()
    with suppress(OSError):
        typer.echo(f"\nmachine {name} runs on; chkpt console attaches again, Ctrl-C or chkpt stop ends it", err=True)
