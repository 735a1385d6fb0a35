"""`chkpt run`: start a machine and serve it."""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chkpt.cli.destination import make_place, save_request
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
    images,
    is_path,
    saved_path,
    trusted,
)
from chkpt.cli.output import show
from chkpt.cli.progress import bar
from chkpt.cli.until import finish
from chkpt.cli.until import parse as parse_until
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
        typer.Argument(metavar="[MACHINE.toml]", help="What the machine is made of; left out: the default machine."),
    ] = None,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its name, in place of the TOML's.")] = None,
    load: Annotated[
        str | None, typer.Option(metavar="SNAPSHOT", help="Begin from a snapshot; without a TOML it tells the machine.")
    ] = None,
    paused: Annotated[bool, typer.Option("--paused", help="Begin paused.")] = False,
    qtest: Annotated[
        str | None,
        typer.Option(
            metavar="CHARDEV",
            help="Be driven over QEMU's qtest: unix:PATH connects, unix:PATH,server=on[,wait=off] listens, stdio.",
        ),
    ] = None,
    drive: Drives = None,
    char: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORT=BACKEND",
            help="What is behind a serial port: com1=pty (whose path is printed), null, stdio, file:PATH or "
            "unix:PATH[,server=on].",
        ),
    ] = None,
    trust_config: Annotated[
        bool, typer.Option("--trust-config", help="Take images and backends from the snapshot's configuration, too.")
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT|TICKS|exit",
            help="End where the guest has sent TEXT, at a tick (+N: N from here), or where the guest ends the machine.",
        ),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(
            metavar="PORT", help="With --until, --console: the serial port; com1 when left out, or the only one."
        ),
    ] = None,
    console: Annotated[
        bool, typer.Option("--console", help="Attach this terminal to the serial port at once; Ctrl-] leaves it.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="With --until: fail where that much of the machine's time has passed."),
    ] = None,
    save: Annotated[
        str | None, typer.Option(metavar="SNAPSHOT", help="With --until: save the machine there, at that very tick.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="With --save: replace a snapshot that is there, but no other file.")
    ] = False,
    sign: Sign = None,
    recipient: Recipients = None,
    pace: Annotated[
        Literal["free", "idle", "wall"] | None,
        typer.Option(help="When the CPU waits for the host's clock: never, while it is halted, whenever it is ahead."),
    ] = None,
    identity: Identity = None,
    require_signature: RequireSignature = None,
    time: Dates = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Start a machine and serve it until it is stopped.

    Prints one line once the machine answers, on stderr where stdout carries qtest or a serial port. Ends with
    `chkpt stop`, SIGTERM, SIGINT or SIGHUP, when a qtest client on stdio ends its input, or when the guest ends the
    machine (isa_debug_exit), then with the guest's status.

    With --until the run has an end, which only the guest's doing decides: it is the same tick each time. What the
    serial port sends goes to stdout. Ends with 0 there; with the guest's status where the guest ends the machine; else
    with 1 and a message: the CPU is halted for ever or shut down, --timeout has come, or the machine was stopped.
    A TEXT that is a number or `exit` is written text:123. What --save makes is signed and encrypted by --sign and
    --recipient as by `chkpt save`.

    With --console everything typed goes to the guest, Ctrl-C too, and its output is shown from the first byte on.
    Ctrl-] leaves the console, as it leaves `chkpt console`, and the terminal is an ordinary one again: the machine goes
    on, and Ctrl-C now ends it.

    The virtual clock follows the host's clock, but with --qtest only the client moves it. A machine with a CPU works as
    fast as it can, and waits while its guest does (--pace idle; with --until it is free). A machine that listens for
    its qtest client without wait=off is served at once, and takes no input from its backends until the client comes.

    A snapshot's configuration may name images, files and sockets of the host it came from. They are not used unless
    they are given again or --trust-config is. With --drive DRIVE=none a drive begins without a medium; of a snapshot
    that has a disc there, the guest finds it taken out.

    With --require-signature the machine loads nothing that none of the keys has signed, neither now nor later, whoever
    asks.
    """
    _check(
        {
            "--load": {"--time": time} if load is None else {},
            "--save": {"--sign": sign, "--recipient": recipient} if save is None else {},
            "--until or --console": {"--port": port} if until is None and not console else {},
        }
    )
    into = None if save is None else save_request(save, store, force=force, sign=sign, recipients=recipient)
    goal = parse_until(until, port=port, timeout=timeout, save=into, force=force)
    if goal is not None and qtest is not None:
        raise UsageError("--until needs the machine's CPU to run, and on --qtest it does not")
    drives = images(drive)
    backends = {**drives, **dict(map(_char, char or ()))}
    client = _chardev(qtest)
    owner = _owner_of_stdio(backends, client, console=console, as_json=as_json)
    snapshot = None if load is None else saved_path(load, store)
    if machine is not None:
        _refuse_snapshot(machine, store)
    from chkpt.machine.config import Pace
    from chkpt.seal import open_snapshot
    from chkpt.service.configure import configuration
    from chkpt.service.launch import Launch, serve

    keys = trusted(require_signature)
    with ExitStack() as opened:
        reader = None
        if snapshot is not None:  # opened once: what is verified here is what the machine is made of and loads
            reader = opened.enter_context(open_snapshot(snapshot, identity=identity, trusted=keys))
        config = configuration(machine, reader, name=name, backends=backends, trust=trust_config)
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
            attend=_attend(config.name) if console else None,
            port=port,
        )
        tell = _silent if console else _teller(err=owner is not None or goal is not None, as_json=as_json)
        finish(serve(launch, tell), goal, as_json=as_json)


def _check(without: "Mapping[str, Mapping[str, object]]") -> None:
    """Raise UsageError where an option is given without the one that it goes with, which is not given."""
    for needed, options in without.items():
        for option, value in options.items():
            if value is not None and value != []:
                raise UsageError(f"{option} goes with {needed}")


def _refuse_snapshot(machine: Path, store: Path) -> None:
    """Raise ChkptError if what is given as the machine's TOML can only mean a snapshot."""
    cure = f"to run a snapshot: chkpt run --load {machine}"
    if is_path(machine.name):
        raise UsageError(f"{machine} is the name of a snapshot's file, not of a machine's TOML; {cure}")
    known = (store / f"{machine}{ending}" for ending in (SUFFIX, ENCRYPTED))
    if not os.path.lexists(machine) and any(map(os.path.lexists, known)):
        raise NotFoundError(f"{machine}: no such file, but the store {store} has a snapshot of that name; {cure}")


# -- who has standard input and output --------------------------------------------------------------------------------


def _owner_of_stdio(
    backends: "Mapping[str, Mapping[str, object] | None]", client: "Chardev | None", *, console: bool, as_json: bool
) -> str | None:
    """Return the option or the port that has standard input and output, None where nothing has.

    Raises:
        UsageError: several would, or a console would on what is no terminal.
    """
    owners = [port for port, backend in backends.items() if backend == {"type": "stdio"}]
    if client is not None and client.path is None:
        owners.append("--qtest")
    if console:
        owners.append("--console")
    if len(owners) > 1:
        raise UsageError(f"{' and '.join(owners)} cannot both have standard input and output")
    if console and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "--console needs a terminal as standard input and output; leave it out and use chkpt console, which takes a"
            " pipe, too, or --char com1=stdio"
        )
    if console and as_json:
        raise UsageError("--json is for programs, and --console for whoever sits at a terminal: leave one out")
    return owners[0] if owners else None


def _attend(name: str) -> "Callable[[socket], AbstractContextManager[None]]":
    from chkpt.cli.terminal import attended

    return lambda stream: attended(stream, name)


def _teller(*, err: bool, as_json: bool) -> "Callable[[MachineInfo, Path], None]":
    """Return what says that the machine answers."""

    def tell(info: "MachineInfo", api: Path) -> None:
        line = f"machine {info['name']} is running, process {info['pid']}, API {api}"
        line += "".join(f", {port} is {path}" for port, path in info["terminals"].items())
        show(json.dumps({**info, "api": str(api)}) if as_json else line, err=err)

    return tell


def _silent(_: "MachineInfo", __: Path) -> None:
    """Say nothing: the console has said that it is there, and what it shows now is the guest's."""


# -- what is connected ------------------------------------------------------------------------------------------------


def _chardev(qtest: str | None) -> "Chardev | None":
    from chkpt.interop import chardev

    return None if qtest is None else chardev.parse(qtest)


def _char(text: str) -> tuple[str, dict[str, object]]:
    form = "com1=pty, com1=null, com1=stdio, com1=file:PATH or com1=unix:PATH[,server=on]"
    port, backend = _pair("--char", text, form)
    kind, colon, rest = backend.partition(":")
    if not colon and kind in {"pty", "null", "stdio"}:
        return port, {"type": kind}
    path, *options = rest.split(",") if kind == "unix" else [rest]
    if kind == "file" and path:
        return port, {"type": "file", "path": str(Path(path).absolute())}
    if kind == "unix" and path and options in ([], ["server=on"], ["server=off"]):
        return port, {"type": "socket", "path": str(Path(path).absolute()), "listen": options == ["server=on"]}
    raise UsageError(f"--char {text}: write {form}")


def _pair(option: str, text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or not value or "\0" in value:
        raise UsageError(f"{option} {text}: write {form}")
    return name, value
