"""`chkpt console`: attach the terminal to a serial port of a machine."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from chkpt.cli.options import MachineName
from chkpt.cli.terminal import converse, raw
from chkpt.errors import ChkptError
from chkpt.service.serial import find_port

if TYPE_CHECKING:
    from chkpt.service.http.client import MachineClient


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
    from chkpt.service.http.client import find

    if sys.__stdin__ is None:  # it was closed when the interpreter started; sys.stdin is /dev/null by now
        raise ChkptError("standard input is closed")
    running = find(machine)
    with _connected(running, port) as stream, _at_terminal(running.name) as terminal, _signalled() as signalled:
        converse(stream, terminal=terminal, wake=signalled)


def _connected(running: "MachineClient", port: str | None) -> socket.socket:
    ports = [
        frontend["name"]
        for device in running.devices()["devices"]
        for frontend in device["frontends"]
        if frontend["kind"] == "char"
    ]
    return running.console(find_port(running.name, ports, port))


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
def _at_terminal(name: str) -> Iterator[bool]:
    """Take the terminal, and restore it whatever ends the command. A pipe needs nothing; yield whether it is none."""
    source = sys.stdin.fileno()
    if not os.isatty(source):
        yield False
        return
    with _left_by_signals():
        typer.echo(f"console of machine {name}; Ctrl-] leaves", err=True)
        try:
            with raw(source):
                yield True
        finally:
            typer.echo("", err=True)


@contextmanager
def _left_by_signals() -> Iterator[None]:
    """Let the signals that would end the process at once end it in order."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
