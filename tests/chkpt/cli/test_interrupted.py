"""Ctrl-C: before a command runs, and while a machine carries out its request."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chkpt.machine import Machine
from chkpt.service import control as running
from chkpt.service.api.requests import SaveRequest
from tests.chkpt.cli.terminals import Launcher
from tests.support.processes import PATIENCE, line, spawn
from tests.support.served import launch, serving


class Held:
    """A function that waits, once it is called, until the test lets it go on."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.called, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *args: object, **options: object) -> object:
        self.called.set()
        assert self.go_on.wait(PATIENCE)
        return self.function(*args, **options)


@contextmanager
def held(where: object, name: str) -> Iterator[Held]:
    with pytest.MonkeyPatch.context() as patch:
        function = Held(getattr(where, name))

        def call(*args: object, **options: object) -> object:  # a function, as a class makes a method of it
            return function(*args, **options)

        patch.setattr(where, name, call)
        try:
            yield function
        finally:
            function.go_on.set()


def test_interrupted_save_says_that_the_machine_goes_on_with_it_and_it_does(home: Path) -> None:
    with serving(launch()), held(running, "dump") as dump, spawn("save", "boot") as process:
        assert dump.called.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (130, b"")
        assert err.decode() == "chkpt: interrupted; machine m was asked to save and goes on with it\n"
        assert not (home / "snapshots" / "boot.zst").exists()
        dump.go_on.set()
        end = time.monotonic() + PATIENCE
        while not (home / "snapshots" / "boot.zst").exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert (home / "snapshots" / "boot.zst").is_file()


def test_interrupted_load_says_so_on_a_terminal_after_its_bar(home: Path, at_terminal: Launcher) -> None:
    with serving(launch()) as machine:
        saved = machine.save(SaveRequest(str(home / "boot.zst")))["clock_ns"]
        machine.pause()
        assert machine.step(ns=1_000_000)["machine"]["clock_ns"] > saved
        with held(Machine, "prepare") as prepare:
            terminal = at_terminal("load", "boot.zst")
            assert prepare.called.wait(PATIENCE)
            terminal.read_until(b"load m")  # the bar
            terminal.process.send_signal(signal.SIGINT)
            said = terminal.read_until(b"with it\r\n")
            assert b"chkpt: interrupted; machine m was asked to load and goes on with it" in said
            assert b"\x1b[?25h" in said  # the cursor is shown again
            assert terminal.close() == 130
            prepare.go_on.set()
            end = time.monotonic() + PATIENCE
            while machine.machine()["clock_ns"] != saved and time.monotonic() < end:
                time.sleep(0.01)
            assert machine.machine()["clock_ns"] == saved


def test_command_that_only_asks_has_nothing_to_say_of_ctrl_c(home: Path) -> None:
    with serving(launch()), held(running.RunningMachine, "describe") as describe, spawn("ps") as process:
        assert describe.called.wait(PATIENCE)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == 130


SLOW = """
import sys, time
print("importing", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("start", [["-m", "chkpt"], ["-c", "from chkpt.__main__ import main; main()"]])
def test_ctrl_c_while_python_still_imports_prints_nothing(tmp_path: Path, start: list[str]) -> None:
    (tmp_path / "typer.py").write_text(SLOW)
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"}
    with subprocess.Popen(
        [sys.executable, *start, "ps"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert line(process.stdout) == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == (b"", b"")
        assert process.returncode == -signal.SIGINT  # which a shell reports as 130


def test_command_that_is_started_with_sigint_ignored_keeps_ignoring_it(home: Path) -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from chkpt.__main__ import main\n"
        "try: main()\n"
        "finally: assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    done = subprocess.run([sys.executable, "-c", program, "ps"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_nothing_is_imported_before_ctrl_c_is_taken_but_what_takes_it() -> None:
    program = "import sys; before = {*sys.modules}; import chkpt; print({*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "{'chkpt'}\n"
