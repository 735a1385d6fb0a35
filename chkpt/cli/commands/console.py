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
        str | None, typer.Option(metavar="PORT", help="Which serial port; without it com1, or the only one.")
    ] = None,
) -> None:
    """Attach the terminal to a serial port; Ctrl-] leaves.

    Everything typed goes to the guest, Ctrl-C too. The guest's output is shown from now on. Several consoles may be
    attached; the port's own backend stays connected. If input is a pipe, its end does not end the console: send Ctrl-]
    (0x1d) to leave.
    """
    from chkpt.service.http.client import find

    if sys.__stdin__ is None:  # it was closed at the start; sys.stdin is /dev/null now
        raise ChkptError("standard input is closed; connect a terminal or a pipe")
    running = find(machine)
    with _connect(running, port) as stream, _take_terminal(running.name) as terminal, _wake_on_signal() as signalled:
        converse(stream, terminal=terminal, wake=signalled)


def _connect(running: "MachineClient", port: str | None) -> socket.socket:
    ports = [
        frontend["name"]
        for device in running.devices()["devices"]
        for frontend in device["frontends"]
        if frontend["kind"] == "char"
    ]
    return running.console(find_port(running.name, ports, port))


@contextmanager
def _wake_on_signal() -> Iterator[int]:
    """Yield a descriptor that becomes readable with a signal, so that a signal just before a wait ends the wait."""
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield read
    finally:
        signal.set_wakeup_fd(before)
        os.close(read)
        os.close(write)


@contextmanager
def _take_terminal(name: str) -> Iterator[bool]:
    """Put the terminal in raw mode and restore it at the end; yield whether there is one. A pipe needs nothing."""
    source = sys.stdin.fileno()
    if not os.isatty(source):
        yield False
        return
    with _exit_on_signals():
        typer.echo(f"console of machine {name}; Ctrl-] leaves", err=True)
        try:
            with raw(source):
                yield True
        finally:
            typer.echo("", err=True)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit in the block, so that the terminal is restored."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
