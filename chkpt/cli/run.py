"""`chkpt run`: start a machine and serve it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chkpt.cli.options import DEFAULT_STORE, AsJson, Store, snapshot_path
from chkpt.cli.output import show
from chkpt.errors import ChkptError, UsageError

if TYPE_CHECKING:
    from chkpt.service.messages import MachineInfo

EXTRA: Final = frozenset({"starlette", "uvicorn", "anyio", "h11"})
"""What the extra `serve` installs."""


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
    drive: Annotated[
        list[str] | None, typer.Option(metavar="DRIVE=PATH", help="The image of a drive: ide0.0=disk.img.")
    ] = None,
    char: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PORT=BACKEND",
            help="What is behind a serial port: com1=pty, null, stdio, file:PATH or unix:PATH[,server=on].",
        ),
    ] = None,
    trust_config: Annotated[
        bool, typer.Option("--trust-config", help="Take images and backends from the snapshot's configuration, too.")
    ] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Start a machine and serve it until it is stopped.

    Prints one line once the machine answers, on stderr where stdio carries qtest or a serial port. Ends with
    `chkpt stop`, SIGTERM, SIGINT or SIGHUP, or when a qtest client on stdio ends its input.

    The virtual clock follows the host's clock, but with --qtest only the client moves it. A machine that listens for
    its qtest client without wait=off is served at once, and takes no input from its backends until the client comes.

    A snapshot's configuration may name images, files and sockets of the host it came from. They are not used unless
    they are given again or --trust-config is.
    """
    from chkpt.interop import chardev

    given = {**dict(map(_drive, drive or ())), **dict(map(_char, char or ()))}
    client = None if qtest is None else chardev.parse(qtest)
    on_stdio = [port for port, backend in given.items() if backend == {"type": "stdio"}]
    if client is not None and client.path is None:
        on_stdio.append("--qtest")
    if len(on_stdio) > 1:
        raise UsageError(f"{' and '.join(on_stdio)} cannot both have standard input and output")

    def ready(info: "MachineInfo", api: Path) -> None:
        line = f"machine {info['name']} is running, process {info['pid']}, API {api}"
        show(json.dumps({**info, "api": str(api)}) if as_json else line, err=bool(on_stdio))

    snapshot = None if load is None else snapshot_path(load, store)
    try:
        from chkpt.service.configure import configuration
        from chkpt.service.server import Launch, serve
    except ModuleNotFoundError as exc:
        if exc.name not in EXTRA:
            raise
        raise ChkptError(f"{exc.name} is not installed, which chkpt run needs: pip install 'chkpt[serve]'") from exc
    config = configuration(machine, snapshot, name=name, backends=given, trust=trust_config)
    serve(Launch(config, load=snapshot, paused=paused, qtest=client, qtest_text=qtest), ready)


def _drive(text: str) -> tuple[str, dict[str, object]]:
    frontend, path = _pair("--drive", text, "ide0.0=PATH")
    return frontend, {"type": "image", "path": str(Path(path).absolute())}


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
