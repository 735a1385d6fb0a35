"""The command line: one command a file, and what all of them have in common.

Each module of this package that `COMMANDS` names defines one function with the command's name and typer's annotated
parameters; its docstring is the help. It imports what is heavy inside the function. Only the module of the command that
is given is imported; `--help` and completion import all of them.

A command prints its results with `chkpt.cli.output`, raises `ChkptError` for what went wrong, and `typer.Exit(status)`
where it ends with another status than 0 without being an error. `main` does the rest.
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

from chkpt.cli.output import on_stdout, plain, show
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
"""The commands in the order of the help, each with its module, which defines a function of the module's own name."""

EXIT_STATUS: Final = """\
\b
Exit status:
  0  done
  1  failed
  2  the request itself is wrong
  3  no such snapshot, context or device
  4  the snapshot was refused: corrupt, too new, not signed or for others, or --strict
  5  no such running machine, or several and none was named
"""

INTERRUPTED: Final = 130
"""The exit status after Ctrl-C, as of a shell: 128 + SIGINT."""


NO_MEMORY: Final = (
    "there is not enough memory for this; allow the process more (ulimit -v shows the shell's limit), "
    "end other programs, or give the machine less"
)

SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_WrongUsage: "Final[type[typer.TyperException]]" = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ in {"TyperException", "ClickException"}
)
"""What typer raises for a wrong command line: public since typer 0.27.2, under another name before."""


class Commands(TyperGroup):
    """The commands of the table, each imported when it is asked for."""

    def list_commands(self, ctx: "Context") -> list[str]:  # noqa: ARG002  the signature is typer's
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: "Context", cmd_name: str) -> TyperCommand | None:  # noqa: ARG002  the same
        """Import the command of this name; None where there is none."""
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
        """Run the command; after Ctrl-C, report what a machine goes on with. What typer raises then has no cause."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as exc:
            if exc.args:
                _failed(f"interrupted; {exc}", INTERRUPTED)
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


def _version(wanted: bool) -> None:
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Save running emulated machines, load them back by name, and look inside the snapshots."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UsageError.exit_status)
    from chkpt.cli.log import configure

    configure(verbose)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status. What a user can cause ends in one line on stderr."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name the terminal has no letters for is no reason to fail
    try:
        status = _run(args)
        with on_stdout():
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter must not try again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except (OSError, StorageError) as exc:
        status = _failed(str(exc), 1)
    except MemoryError:
        status = _failed(NO_MEMORY, 1)
    sys.exit(status)


def _open_closed_streams() -> None:
    """Put /dev/null in place of each standard stream that is closed: no file or socket must get its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: those below are open by now
            os.set_inheritable(opened, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  open until the process ends
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  the same
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  the same


def _run(args: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        result: object = command.main(args, prog_name="chkpt", standalone_mode=False)
    except _WrongUsage as exc:
        context: typer.Context | None = getattr(exc, "ctx", None)
        hint = "" if context is None else f" (see {context.command_path} --help)"
        return _failed(exc.format_message().rstrip(".") + hint, exc.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except ChkptError as exc:
        return _failed(str(exc), exc.exit_status)
    return result if isinstance(result, int) else 0


def _failed(message: str, status: int) -> int:
    typer.echo(f"chkpt: {plain(message)}", err=True)
    return status
