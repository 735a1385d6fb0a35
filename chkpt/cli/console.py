"""`chkpt console`: attach the terminal to a serial port of a machine."""

import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from chkpt.cli.options import MachineName
from chkpt.cli.output import on_stdout
from chkpt.errors import ChkptError, NotFoundError, UsageError
from chkpt.service.client import MachineClient, find

LEAVE: Final = 0x1D
"""What Ctrl-] sends."""

CHUNK: Final = 4096


def console(
    *,
    machine: MachineName = None,
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="Which serial port; com1 when left out, or the only one.")
    ] = None,
) -> None:
    """Attach the terminal to a serial port; Ctrl-] leaves.

    Everything typed goes to the guest, Ctrl-C too. The guest's output is shown from now on. Several consoles may be
    attached; the port's own backend stays connected. In a pipe the end of input ends only the typing: a last Ctrl-]
    (0x1d) leaves.
    """
    if sys.__stdin__ is None:  # it was closed when the interpreter started; sys.stdin is /dev/null by now
        raise ChkptError("standard input is closed")
    running = find(machine)
    with _connected(running, port) as stream, _raw(running.name) as terminal, _signalled() as signalled:
        _converse(stream, signalled, terminal=terminal)


def _connected(running: MachineClient, port: str | None) -> socket.socket:
    ports = [
        frontend["name"]
        for device in running.devices()["devices"]
        for frontend in device["frontends"]
        if frontend["kind"] == "char"
    ]
    if port is None and len(ports) > 1 and "com1" not in ports:
        raise UsageError(f"machine {running.name} has several serial ports: {', '.join(ports)}; name one with --port")
    wanted = port or (ports[0] if len(ports) == 1 else "com1")
    if wanted not in ports:
        raise NotFoundError(f"machine {running.name} has no serial port {wanted}; it has: {', '.join(ports) or 'none'}")
    return running.console(wanted)


def _converse(stream: socket.socket, signalled: int, *, terminal: bool) -> None:
    """Carry bytes both ways until Ctrl-] is typed or the machine ends."""
    source, sink = sys.stdin.fileno(), sys.stdout.fileno()
    typing = True
    while True:
        ready, _, _ = select.select([stream, signalled, *([source] if typing else [])], [], [])
        if signalled in ready:
            os.read(signalled, CHUNK)
        if stream in ready:
            try:
                data = stream.recv(CHUNK)
            except ConnectionError:
                data = b""
            if not data:
                return
            _write(sink, data)
        if source in ready:
            try:
                data = os.read(source, CHUNK)
            except OSError:
                if not terminal:
                    raise
                data = b""
            if terminal and not data:  # no key makes an end of input on a raw terminal: it has gone
                return
            typed, leave, _ = data.partition(bytes([LEAVE]))
            with suppress(ConnectionError):  # the next read from the stream tells
                stream.sendall(typed)
                if not data:
                    stream.shutdown(socket.SHUT_WR)
            if leave:
                return
            typing = bool(data)


def _write(sink: int, data: bytes) -> None:
    with on_stdout():
        while data:
            data = data[os.write(sink, data) :]


@contextmanager
def _signalled() -> Iterator[int]:
    """Yield a descriptor that becomes readable with a signal; one that comes right before a wait would else be late."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


@contextmanager
def _raw(name: str) -> Iterator[bool]:
    """Let the terminal pass every key on, and restore it whatever ends the command. A pipe needs nothing.

    Yields whether it is a terminal: one that goes away is none any more.
    """
    source = sys.stdin.fileno()
    if not os.isatty(source):
        yield False
        return
    import termios
    import tty

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = termios.tcgetattr(source)
    handlers = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    typer.echo(f"console of machine {name}; Ctrl-] leaves", err=True)
    try:
        try:
            tty.setraw(source, termios.TCSADRAIN)  # what has been typed ahead is for the guest
        except termios.error as exc:
            raise ChkptError("the terminal has gone") from exc
        yield True
    finally:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(source, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        typer.echo("", err=True)
