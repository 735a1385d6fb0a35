"""The command line: one command a file, and what all commands share.

Each module that `COMMANDS` names defines one function with the command's name and typer's annotated parameters. The
function's docstring is the help. The function imports heavy modules itself. Only the module of the given command is
imported; `--help` and completion import all of them.

A command prints its results with `chkpt.cli.output` and raises `ChkptError` for a failure. It raises
`typer.Exit(status)` if it ends with a status other than 0 that is not an error. `main` does the rest.
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperCommand, TyperGroup

from chkpt.cli.output import escape, on_stdout, show
from chkpt.errors import ChkptError, StorageError, UsageError
from chkpt.version import __version__

if TYPE_CHECKING:
    from typer._click import Context  # before typer 0.26 it is click's own

COMMANDS: Final = {
    "run": "chkpt.cli.commands.run",
    "save": "chkpt.cli.commands.save",
    "load": "chkpt.cli.commands.load",
    "inspect": "chkpt.cli.commands.inspect",
    "diff": "chkpt.cli.commands.diff",
    "list": "chkpt.cli.commands.list_",
    "rm": "chkpt.cli.commands.rm",
    "verify": "chkpt.cli.commands.verify",
    "keygen": "chkpt.cli.commands.keygen",
    "sign": "chkpt.cli.commands.sign",
    "compat": "chkpt.cli.commands.compat",
    "ps": "chkpt.cli.commands.ps",
    "media": "chkpt.cli.commands.media",
    "pause": "chkpt.cli.commands.pause",
    "resume": "chkpt.cli.commands.resume",
    "step": "chkpt.cli.commands.step",
    "reset": "chkpt.cli.commands.reset",
    "stop": "chkpt.cli.commands.stop",
    "console": "chkpt.cli.commands.console",
    "devices": "chkpt.cli.commands.devices",
    "prove": "chkpt.cli.commands.prove",
    "demo": "chkpt.cli.commands.demo",
}
"""The commands in the order of the help, each with its module. The module defines a function of its own name."""

EXIT_STATUS: Final = """\
\b
Exit status:
  0  done
  1  failed
  2  the request itself is wrong
  3  no such snapshot, context or device
  4  the snapshot was refused: corrupt, too new, not signed or for others, or --strict
  5  no such running machine, or several run and none was named
"""

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, the same as a shell's: 128 + SIGINT."""

NO_MEMORY: Final = (
    "there is not enough memory for this; allow the process more (ulimit -v shows the shell's limit), "
    "end other programs, or give the machine less memory"
)

SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_WrongUsage: "Final[type[typer.TyperException]]" = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ in {"TyperException", "ClickException"}
)
"""What typer raises for a wrong command line. It is public since typer 0.27.2; earlier it has another name."""


class Commands(TyperGroup):
    """The commands of the table. Each is imported when it is used."""

    def list_commands(self, ctx: "Context") -> list[str]:  # noqa: ARG002  the signature is typer's
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: "Context", cmd_name: str) -> TyperCommand | None:  # noqa: ARG002  the same
        """Import the command of this name; None if there is none."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)
        alone.command(cmd_name)(getattr(import_module(module), module.rpartition(".")[2]))
        command = typer.main.get_command(alone)
        assert isinstance(command, TyperCommand)
        return command

    def resolve_command(self, ctx: "Context", args: list[str]) -> tuple[str | None, TyperCommand | None, list[str]]:
        """Find the command that the first of `args` names."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            near = get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"no command {args[0]}" + (f"; did you mean {near[0]}?" if near else ""))
        return args[0], command, args[1:]

    def invoke(self, ctx: "Context") -> object:
        """Run the command. After Ctrl-C, report what the machine goes on with: typer would lose that message."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            if exc.args:
                _print_error(f"interrupted; {exc}", INTERRUPTED)
            raise


app = typer.Typer(
    name="chkpt",
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings=SETTINGS,
    epilog=EXIT_STATUS,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        show(f"chkpt {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    *,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, show_default=False, help="Log more: -v what is done, -vv every detail."
        ),
    ] = 0,
    version: Annotated[  # noqa: ARG001  its callback does it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Save running emulated machines, load them back by name, and look inside the snapshots."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UsageError.exit_status)
    from chkpt.cli.log import configure

    configure(verbose)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status. An error that a user can cause is one line on stderr."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # do not fail on a character that the terminal lacks
    try:
        status = _run_command(args)
        with on_stdout():
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has gone. The interpreter must not write to it again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except (OSError, StorageError) as exc:
        status = _print_error(str(exc), 1)
    except MemoryError:
        status = _print_error(NO_MEMORY, 1)
    sys.exit(status)


def _open_closed_streams() -> None:
    """Open /dev/null for each standard stream that is closed, so that no other file or socket gets its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  open until the process ends
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  the same
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  the same


def _run_command(args: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        result: object = command.main(args, prog_name="chkpt", standalone_mode=False)
    except _WrongUsage as exc:
        context: typer.Context | None = getattr(exc, "ctx", None)
        hint = "" if context is None else f" (see {context.command_path} --help)"
        return _print_error(exc.format_message().rstrip(".") + hint, exc.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except ChkptError as exc:
        return _print_error(str(exc), exc.exit_status)
    return result if isinstance(result, int) else 0


def _print_error(message: str, status: int) -> int:
    typer.echo(f"chkpt: {escape(message)}", err=True)
    return status
