"""`chkpt run`: start a machine and serve it."""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chkpt.cli.destination import make_place, make_save_request
from chkpt.cli.options import (
    DEFAULT_STORE,
    ENCRYPTED,
    SUFFIX,
    AsJson,
    Dates,
    Drives,
    Identity,
    Recipients,
    RequireSignature,
    Sign,
    Store,
    is_path,
    parse_drives,
    read_trusted,
    saved_path,
)
from chkpt.cli.output import show
from chkpt.cli.progress import bar
from chkpt.cli.until import finish, parse_until
from chkpt.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from socket import socket

    from chkpt.interop.chardev import Chardev
    from chkpt.service.api.messages import MachineInfo


def run(
    machine: Annotated[
        Path | None,
        typer.Argument(metavar="[MACHINE.toml]", help="The machine's configuration; without it, the default machine."),
    ] = None,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The machine's name; replaces the TOML's.")] = None,
    load: Annotated[
        str | None,
        typer.Option(metavar="SNAPSHOT", help="Start from a snapshot; its configuration is used if there is no TOML."),
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Start paused.")] = False,
    qtest: Annotated[
        str | None,
        typer.Option(
            metavar="CHARDEV",
            help="Let a client drive the machine over QEMU's qtest: unix:PATH connects, "
            "unix:PATH,server=on[,wait=off] listens, stdio uses standard input and output.",
        ),
    ] = None,
    drive: Drives = None,
    char: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORT=BACKEND",
            help="Connect a serial port: com1=pty (its path is printed), null, stdio, file:PATH or "
            "unix:PATH[,server=on].",
        ),
    ] = None,
    trust_config: Annotated[
        bool,
        typer.Option("--trust-config", help="Use the images and backends in the snapshot's configuration, too."),
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT|TICKS|exit",
            help="End when the guest has sent TEXT, at a tick (+N: N from now), or when the guest ends the machine.",
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT", help="With --until, --console: the serial port; without it com1, or the only one."
        ),
    ] = None,
    console: Annotated[
        bool,
        typer.Option("--console", help="Attach this terminal to the serial port at the start; Ctrl-] leaves it."),
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="With --until: fail when that much of the machine's time has passed."),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(metavar="SNAPSHOT", help="With --until: save the machine at exactly that tick."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="With --save: replace an existing snapshot, but no other file.")
    ] = False,
    sign: Sign = None,
    recipient: Recipients = None,
    pace: Annotated[
        Literal["free", "idle", "wall"] | None,
        typer.Option(
            help="When the CPU waits for the host's clock: never (free), while it is halted (idle), or whenever it is "
            "ahead (wall)."
        ),
    ] = None,
    identity: Identity = None,
    require_signature: RequireSignature = None,
    time: Dates = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Start a machine and serve it until it is stopped.

    Without --console, prints one line when the machine answers: on stderr if stdout carries qtest or a serial port. The
    run ends with `chkpt stop`, SIGTERM, SIGINT or SIGHUP, or when a qtest client on stdio ends its input. If the guest
    ends the machine (isa_debug_exit), the run ends with the guest's status.

    With --until the run ends at a goal, at the same tick each time. The serial port's output goes to stdout. The status
    is 0 at the goal. If the guest ends the machine it is the guest's, but 1 in place of 0 if a text or a tick was
    wanted. Otherwise it is 1, with a message: the CPU is halted for good or shut down, --timeout has passed, or the
    machine was stopped. Write text:123 for a TEXT that is a number or `exit`. --sign and --recipient sign and encrypt
    what --save saves, as `chkpt save` does.

    With --console everything typed goes to the guest, Ctrl-C too, and the guest's output is shown from the first byte.
    Ctrl-] leaves the console, as in `chkpt console`, and restores the terminal: the machine goes on, and Ctrl-C now
    ends it.

    Without a CPU the virtual clock follows the host's clock; with --qtest only the client moves it. A machine with a
    CPU works as fast as it can, and waits while its guest waits (--pace idle; with --until the default is free). A
    machine that listens for its qtest client without wait=off is served at once, but takes no input from its backends
    until the client connects.

    A snapshot's configuration may name images, files and sockets of another host. They are used only if they are given
    again, or with --trust-config. With --drive DRIVE=none a drive starts without a medium; if the snapshot has a disc
    there, the guest finds it removed.

    With --require-signature the machine loads only what one of the keys has signed, now and later, for every client.
    """
    _refuse_stray_options(
        {
            "--load": {"--time": time} if load is None else {},
            "--save": {"--sign": sign, "--recipient": recipient} if save is None else {},
            "--until or --console": {"--port": port} if until is None and not console else {},
        }
    )
    into = None if save is None else make_save_request(save, store, force=force, sign=sign, recipients=recipient)
    goal = parse_until(until, port=port, timeout=timeout, save=into, force=force)
    if goal is not None and qtest is not None:
        raise UsageError("--until needs the machine's CPU, which does not run with --qtest")
    drives = parse_drives(drive)
    backends = {**drives, **dict(map(_parse_char, char or ()))}
    client = _parse_qtest(qtest)
    owner = _find_owner_of_stdio(backends, client, console=console, as_json=as_json)
    snapshot = None if load is None else saved_path(load, store)
    if machine is not None:
        _refuse_snapshot(machine, store)
    from chkpt.machine.config import Pace
    from chkpt.seal import open_snapshot
    from chkpt.service.configure import configure
    from chkpt.service.launch import Launch, serve

    keys = read_trusted(require_signature)
    with ExitStack() as opened:
        reader = None
        if snapshot is not None:  # opened once: the file that is verified here is the one that is loaded
            reader = opened.enter_context(open_snapshot(snapshot, identity=identity, trusted=keys))
        config = configure(machine, reader, name=name, backends=backends, trust=trust_config)
        if save is not None:
            make_place(save, store)
        launch = Launch(
            config,
            load=reader,
            left_out=[each for each, image in drives.items() if image is None],
            loading=lambda: bar(f"load {config.name}", quiet=as_json),
            dates_advance=time == "wall",
            trusted=keys,
            paused=paused,
            qtest=client,
            qtest_text=qtest,
            until=goal,
            output=sys.stdout.fileno() if goal is not None and owner is None else None,
            pace=None if pace is None else Pace(pace),
            attend=_make_attend(config.name) if console else None,
            port=port,
        )
        report = (
            _report_nothing if console else _make_report(err=owner is not None or goal is not None, as_json=as_json)
        )
        finish(serve(launch, report), goal, as_json=as_json)


def _refuse_stray_options(without: "Mapping[str, Mapping[str, object]]") -> None:
    """Raise UsageError if an option is given without the option that it needs. `without` holds the needed ones."""
    for needed, options in without.items():
        for option, value in options.items():
            if value is not None and value != []:
                raise UsageError(f"{option} goes with {needed}")


def _refuse_snapshot(machine: Path, store: Path) -> None:
    """Raise ChkptError if the argument for the machine's TOML can only mean a snapshot."""
    cure = f"to run a snapshot: chkpt run --load {machine}"
    if is_path(machine.name):
        raise UsageError(f"{machine} is the name of a snapshot's file, not of a machine's TOML; {cure}")
    known = (store / f"{machine}{ending}" for ending in (SUFFIX, ENCRYPTED))
    if not os.path.lexists(machine) and any(map(os.path.lexists, known)):
        raise NotFoundError(f"{machine}: no such file, but the store {store} has a snapshot of that name; {cure}")


# -- standard input and output ----------------------------------------------------------------------------------------


def _find_owner_of_stdio(
    backends: "Mapping[str, Mapping[str, object] | None]", client: "Chardev | None", *, console: bool, as_json: bool
) -> str | None:
    """Return the option or the port that uses standard input and output, None if there is none.

    Raises:
        UsageError: several would use them, or a console would without a terminal.
    """
    owners = [port for port, backend in backends.items() if backend == {"type": "stdio"}]
    if client is not None and client.path is None:
        owners.append("--qtest")
    if console:
        owners.append("--console")
    if len(owners) > 1:
        raise UsageError(f"{' and '.join(owners)} cannot both use standard input and output")
    if console and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--console needs a terminal as standard input and output; without one use chkpt console, which takes"
            " a pipe, or --char com1=stdio"
        )
    if console and as_json:
        raise UsageError("--json is for programs, --console for a user at a terminal: leave one out")
    return owners[0] if owners else None


def _make_attend(name: str) -> "Callable[[socket], AbstractContextManager[None]]":
    from chkpt.cli.terminal import attach

    return lambda stream: attach(stream, name)


def _make_report(*, err: bool, as_json: bool) -> "Callable[[MachineInfo, Path], None]":
    """Return the function that reports that the machine answers."""

    def report(info: "MachineInfo", api: Path) -> None:
        line = f"machine {info['name']} is running, process {info['pid']}, API {api}"
        line += "".join(f", {port} is {path}" for port, path in info["terminals"].items())
        show(json.dumps({**info, "api": str(api)}) if as_json else line, err=err)

    return report


def _report_nothing(_: "MachineInfo", __: Path) -> None:
    """Report nothing: the console has announced itself, and now it shows only the guest's output."""


# -- backends ---------------------------------------------------------------------------------------------------------


def _parse_qtest(qtest: str | None) -> "Chardev | None":
    from chkpt.interop.chardev import parse_chardev

    return None if qtest is None else parse_chardev(qtest)


def _parse_char(text: str) -> tuple[str, dict[str, object]]:
    form = "com1=pty, com1=null, com1=stdio, com1=file:PATH or com1=unix:PATH[,server=on]"
    port, backend = _split_pair("--char", text, form)
    kind, colon, rest = backend.partition(":")
    if not colon and kind in {"pty", "null", "stdio"}:
        return port, {"type": kind}
    path, *options = rest.split(",") if kind == "unix" else [rest]
    if kind == "file" and path:
        return port, {"type": "file", "path": str(Path(path).absolute())}
    if kind == "unix" and path and options in ([], ["server=on"], ["server=off"]):
        return port, {"type": "socket", "path": str(Path(path).absolute()), "listen": options == ["server=on"]}
    raise UsageError(f"--char {text}: write {form}")


def _split_pair(option: str, text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value or "\0" in value:
        raise UsageError(f"{option} {text}: write {form}")
    return name, value
