"""A terminal, or a pipe, at a serial port: what is typed goes there, what the guest sends comes back."""

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

from chkpt.cli.log import lines_end_in
from chkpt.cli.output import on_stdout
from chkpt.errors import ChkptError

log = logging.getLogger("chkpt.cli")

LEAVE: Final = 0x1D
"""What Ctrl-] sends."""

CHUNK: Final = 4096

GRACE_SECONDS: Final = 10
"""How long a terminal may take to show the last that the guest of an ended machine has sent."""


# -- both ways --------------------------------------------------------------------------------------------------------


def converse(stream: socket.socket, *, terminal: bool, wake: int | None = None) -> bool:
    """Carry bytes both ways until Ctrl-] is typed or the machine ends; return whether it was the machine.

    Args:
        stream: to and from the serial port.
        terminal: standard input is a terminal. One that goes away is left; on one Ctrl-] is seen at once, whatever the
            guest has not taken yet, while a pipe waits for the guest.
        wake: a descriptor that becomes readable with a signal, whose handler may end this.

    Raises:
        StorageError: standard output refuses.
        BrokenPipeError: whoever read standard output has gone.
    """
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    keys = _Keys(stream, terminal=terminal)
    while True:
        reads = [stream, *([] if wake is None else [wake]), *([source] if keys.wanted else [])]
        ready, room, _ = select.select(reads, [stream] if keys.unsent else [], [])
        if wake is not None and wake in ready:
            os.read(wake, CHUNK)
        if stream in ready:
            data = _received(stream)
            if not data:
                return True
            _write(sink, data)
        if room:
            keys.send()
        if source in ready and keys.take(_read(source, terminal=terminal)):
            return False


class _Keys:
    """What was typed on its way to the port."""

    def __init__(self, stream: socket.socket, *, terminal: bool) -> None:
        self.unsent = bytearray()
        self._stream = stream
        self._terminal = terminal
        self._over = False  # the end of what a pipe holds

    @property
    def wanted(self) -> bool:
        """Whether to read more now."""
        return not self._over and (self._terminal or not self.unsent)

    def take(self, data: bytes) -> bool:
        """Take what was read, nothing at the end of input; return whether Ctrl-] is in it or the terminal has gone."""
        if self._terminal and not data:  # no key makes an end of input on a raw terminal
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
        """Send what the port takes now."""
        with suppress(ConnectionError, BlockingIOError):  # the next read from the stream tells of an end
            if self.unsent:
                del self.unsent[: self._stream.send(self.unsent, socket.MSG_DONTWAIT)]
            if self._over and not self.unsent:
                self._stream.shutdown(socket.SHUT_WR)


def _received(stream: socket.socket) -> bytes:
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
    """Let a terminal pass every key on, and restore its mode whatever ends the block; yield what restores it before.

    Meanwhile the lines of the log begin at the left. Raise ChkptError where the terminal has gone.
    """
    import termios
    import tty

    before = termios.tcgetattr(source)

    def restore() -> None:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(source, termios.TCSADRAIN, before)

    try:
        with lines_end_in("\r\n"):
            try:
                tty.setraw(source, termios.TCSADRAIN)  # what has been typed ahead is for the guest
            except termios.error as exc:
                raise ChkptError("the terminal has gone") from exc
            yield restore
    finally:
        try:
            restore()
        except BaseException:  # of a signal's handler, which may come in the middle
            restore()
            raise


@contextmanager
def attended(stream: socket.socket, name: str) -> Iterator[None]:
    """Give the terminal to a serial port of machine `name` in this process, from now to the block's end or Ctrl-].

    The machine must have closed its end of `stream`, which is closed, by the end of the block. Raise as `raw` does.
    """
    typer.echo(f"machine {name} begins; its console is here, Ctrl-] leaves it", err=True)
    with stream, raw(sys.stdin.fileno()) as restore:
        thread = Thread(target=_attend, args=(stream, name, restore), name="console", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join(GRACE_SECONDS)
            if thread.is_alive():
                log.warning("the terminal does not take the last that the guest has sent")
    with suppress(OSError):
        typer.echo("", err=True)


def _attend(stream: socket.socket, name: str, restore: Callable[[], None]) -> None:
    """Converse until the machine ends. Where the terminal is left before, it is an ordinary one again."""
    try:
        ended = converse(stream, terminal=True)
    except (OSError, ChkptError) as exc:  # of a terminal that has gone
        log.warning("machine %s: its console has ended: %s", name, exc)
        ended = False
    if ended:
        return
    stream.shutdown(socket.SHUT_RDWR)  # the machine takes it for hung up
    restore()
    with suppress(OSError):
        typer.echo(f"\nmachine {name} runs on; chkpt console attaches again, Ctrl-C or chkpt stop ends it", err=True)
