"""What all commands share: help, version, exit statuses, one line for every failure."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import typer

from chkpt import cli
from chkpt.cli import COMMANDS
from chkpt.context import Checkpoint
from chkpt.errors import ChkptError, CorruptError, NoMachineError, NotFoundError, UsageError
from chkpt.service import directory
from chkpt.service.http.client import find
from chkpt.snapshot import Reader, dumps
from tests.support.processes import chkpt, refused, spawn
from tests.support.served import launch, serving

HEAVY = ("rich", "starlette", "uvicorn", "anyio", "unicorn", "pydantic")


def test_help_lists_every_command_in_order_and_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--help", "-h"):
        outcome = chkpt(capsys, option)
        assert (outcome.status, outcome.err) == (0, "")
        listed = outcome.out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in listed] == list(COMMANDS)
        statuses = outcome.out.partition("Exit status:\n")[2].splitlines()
        assert [line.split()[0] for line in statuses] == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    outcome = chkpt(capsys, command, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: chkpt {command}")
    module = import_module(COMMANDS[command])
    summary = getattr(module, module.__name__.rpartition(".")[2]).__doc__.splitlines()[0]
    assert " ".join(summary.split()) in " ".join(outcome.out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert chkpt(capsys, "--version").out == "chkpt 0.1.0\n"


def test_no_command_shows_the_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = chkpt(capsys)
    assert (outcome.status, outcome.out) == (2, "")
    assert "Commands:" in outcome.err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sav"], "no command sav; did you mean save? (see chkpt --help)"),
        (["xyzzy"], "no command xyzzy (see chkpt --help)"),
        (["--nothing"], "No such option: --nothing (see chkpt --help)"),
        (["save", "--nothing"], "No such option: --nothing (see chkpt save --help)"),
        (["save", "a", "b"], "Got unexpected extra argument(s) (b) (see chkpt save --help)"),
        (["load"], "Missing argument 'SNAPSHOT' (see chkpt load --help)"),
        (["ps", "--json=3"], "Option '--json' does not take a value"),
    ],
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    assert refused(chkpt(capsys, *args), 2) == message


@pytest.mark.parametrize(
    ("error", "status"),
    [(ChkptError, 1), (UsageError, 2), (NotFoundError, 3), (CorruptError, 4), (NoMachineError, 5)],
)
def test_errors_end_with_their_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: type[ChkptError], status: int
) -> None:
    def fail() -> None:
        raise error("what\nhappened \x1b[31m")

    monkeypatch.setattr(directory, "running", fail)
    assert refused(chkpt(capsys, "ps"), status) == "what\\nhappened \\x1b[31m"


def test_interrupt_ends_with_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(directory, "running", interrupt)
    outcome = chkpt(capsys, "ps")
    assert (outcome.status, outcome.out, outcome.err) == (130, "", "")


def test_operating_systems_refusal_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise PermissionError(13, "Permission denied", "/some/where")

    monkeypatch.setattr(directory, "running", fail)
    assert refused(chkpt(capsys, "ps"), 1) == "[Errno 13] Permission denied: '/some/where'"


def test_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(directory, "running", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["ps"])


def test_table_of_commands_names_what_is_there() -> None:
    folder = Path(cli.__file__).parent / "commands"
    for command, name in COMMANDS.items():
        assert (folder / f"{name.removeprefix('chkpt.cli.commands.')}.py").is_file()
        assert name in {f"chkpt.cli.commands.{command}", f"chkpt.cli.commands.{command}_"}
    assert {path.stem.rstrip("_") for path in folder.glob("[a-z]*.py")} == set(COMMANDS)


IMPORTS = """
import json, sys
from chkpt.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]))
"""


def imported(*args: object) -> tuple[int, list[str]]:
    """Return a command's exit status and what its process has imported."""
    command = [sys.executable, "-c", IMPORTS, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, modules = json.loads(done.stdout.splitlines()[-1])
    return status, modules


def test_clients_import_nothing_heavy(home: Path) -> None:
    with serving(launch()):
        for args in (["save", home / "a.zst"], ["load", home / "a.zst"], ["ps"], ["--help"]):
            status, modules = imported(*args)
            assert status == 0
            assert not set(HEAVY) & set(modules), args
            assert "chkpt.service.api.openapi" not in modules
            if args[0] == "save":
                assert "chkpt.cli.commands.load" not in modules
                assert "chkpt.machine" not in modules
                assert "msgpack" not in modules
            if args[0] == "--help":
                assert not {"chkpt.service.http.client", "chkpt.service.api.operations", "http.client"} & set(modules)


def test_log_goes_to_stderr_and_results_to_stdout(home: Path) -> None:
    with spawn("-v", "run", "--name", "loud", cwd=home) as process:
        assert process.stdout is not None
        assert b"machine loud is running" in process.stdout.readline()
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, b"")
    assert err
    assert all(line.startswith(b"chkpt: info: ") for line in err.splitlines())


def test_reader_that_goes_away_causes_no_traceback(home: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with spawn("--version", stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (1, b"")


def test_full_disk_is_reported(home: Path) -> None:
    (home / "snapshots").mkdir()
    (home / "snapshots" / "x.zst").write_bytes(dumps(Checkpoint({"machine": "m"}, {})))
    for args in (["--version"], ["list"], ["list", "--json"], ["inspect", "x"]):
        with Path("/dev/full").open("wb") as full, spawn(*args, stdout=full) as process:
            _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert err == b"chkpt: standard output: No space left on device\n"


def redirected(how: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a shell does with these redirections."""
    script = f'exec "$@" {how}'
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONWARNINGS": "error"}
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", sys.executable, "-m", "chkpt", *args],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("how", [">&-", "<&- >&-", "<&- >&- 2>&-", "<&-", "2>&-"])
def test_closed_streams_are_no_failure(home: Path, how: str) -> None:
    with serving(launch()):
        for args in (["save", "x", "--force"], ["list"], ["--version"], ["ps"]):
            done = redirected(how, *args)
            assert (done.returncode, done.stderr) == (0, ""), args
            assert bool(done.stdout) == (">&-" not in how.replace("2>&-", "")), args
    with Reader.open(home / "snapshots" / "x.zst") as reader:
        reader.verify()
    assert redirected(how, "inspect", "absent").returncode == NotFoundError.exit_status


def answers(name: str) -> bool:
    """Whether a machine of this name runs and answers by now."""
    try:
        return find(name).machine()["name"] == name
    except NoMachineError:
        return False


def test_a_machine_runs_without_standard_streams(home: Path) -> None:
    with subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "chkpt", "run", "--name", "closed"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as process:
        try:
            end = time.monotonic() + 30
            while not answers("closed"):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            streams = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in (0, 1, 2)]
            assert streams == ["/dev/null"] * 3
            find("closed").stop()
            assert process.wait(30) == 0
        finally:
            process.kill()


def test_a_console_without_standard_input_is_refused(home: Path) -> None:
    with serving(launch()):
        done = redirected("<&-", "console")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("chkpt: standard input is closed; connect")


def complete(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv("_CHKPT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    return chkpt(capsys).out.split()


def test_completion(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete("chkpt sa", monkeypatch, capsys) == ["save"]
    assert set(COMMANDS) <= set(complete("chkpt ", monkeypatch, capsys))
    assert "--strict" in complete("chkpt load --", monkeypatch, capsys)
    (home / "snapshots").mkdir()
    (home / "snapshots" / "morning.zst").touch()
    assert complete("chkpt load mo", monkeypatch, capsys) == ["morning"]
    with serving(launch(name="alpha")):
        assert complete("chkpt save -m al", monkeypatch, capsys) == ["alpha"]
    directory.root().chmod(0o755)
    assert complete("chkpt save -m al", monkeypatch, capsys) == []


def test_terminal_without_the_letters_causes_no_traceback(home: Path) -> None:
    with serving(launch(name="機械")):
        env = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(Path(__file__).parents[3])}
        done = subprocess.run([sys.executable, "-m", "chkpt", "ps"], capture_output=True, env=env, check=True)
        assert rb"\u6a5f\u68b0" in done.stdout


def test_commands_are_typer_functions_of_their_own() -> None:
    assert isinstance(cli.app, typer.Typer)
    assert not cli.app.registered_commands


def test_want_of_memory_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_args: object) -> int:
        raise MemoryError

    monkeypatch.setattr(cli, "_run_command", fails)
    assert "allow the process more (ulimit -v" in refused(chkpt(capsys, "ps"), 1)
