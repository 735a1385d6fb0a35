"""`chkpt run --console`: the terminal at a serial port from the guest's first byte on, and every way out."""

import signal
from pathlib import Path

import pytest

from chkpt.service.http.client import find
from tests.chkpt.cli.terminals import Launcher
from tests.support.processes import PATIENCE, chkpt, refused, spawn

BEGINS = b"machine shell starts; this is its console, Ctrl-] leaves it\r\n"

Capture = pytest.CaptureFixture[str]


def test_the_guest_is_seen_from_its_first_byte_and_typed_to_until_it_ends(at_terminal: Launcher, toml: Path) -> None:
    terminal = at_terminal("run", toml, "--console", "--port", "com1")
    assert terminal.read_until(b"ready\r\n") == BEGINS + b"ready\r\n"
    for rows in range(20, 40):
        terminal.resize(rows)
        terminal.type(b"a")
    seen = terminal.read_until(b"A")
    while seen.count(b"A") < 20:
        seen += terminal.read_until(b"A")
    terminal.type(b"\x03q")  # Ctrl-C is the guest's
    assert terminal.read_until(b"33\r\n") == b"\x03\r\nchkpt: the guest of machine shell ended it with status 33\r\n"
    assert terminal.close() == 33


def test_ctrl_bracket_leaves_the_console_and_the_machine_goes_on(at_terminal: Launcher, toml: Path) -> None:
    terminal = at_terminal("run", toml, "--console")
    terminal.read_until(b"ready\r\n")
    terminal.type(b"\x1d")
    terminal.read_until(b"runs on; chkpt console attaches again, Ctrl-C or chkpt stop ends it\r\n")
    terminal.wait_until_restored()
    with find().console("com1") as stream:
        stream.sendall(b"y")
        while b"Y" not in stream.recv(4096):
            pass
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.close() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 2))])
def test_the_terminal_is_restored_after_a_signal(at_terminal: Launcher, toml: Path, number: int) -> None:
    terminal = at_terminal("run", toml, "--console", "--paused")
    terminal.read_until(b"leaves it\r\n")
    terminal.wait_until_raw()
    assert find().machine()["paused"]
    terminal.process.send_signal(number)
    assert terminal.close() == 0


def test_the_terminal_is_restored_after_a_failure_whose_log_begins_at_the_left(
    at_terminal: Launcher, toml: Path
) -> None:
    terminal = at_terminal("run", toml, "--console", "--until", "never")
    terminal.read_until(b"ready\r\n")
    terminal.type(b"d")
    seen = terminal.read_until(b"halted with interrupts off\r\n")
    assert b"chkpt: error: the CPU stands still" in seen
    while b"before it sent 'never': its CPU is halted" not in seen:
        seen += terminal.read_until(b"\n")
    assert seen.count(b"\n") == seen.count(b"\r\n")
    assert terminal.close() == 1


def test_a_missing_port_is_reported_on_an_ordinary_terminal(at_terminal: Launcher, toml: Path) -> None:
    terminal = at_terminal("run", toml, "--console", "--port", "com2")
    assert terminal.read_until(b"\r\n") == b"chkpt: machine shell has no serial port com2; it has: com1\r\n"
    assert terminal.close() == 3


@pytest.mark.long
def test_the_machine_of_a_terminal_that_goes_away_goes_on(at_terminal: Launcher, toml: Path) -> None:
    terminal = at_terminal("run", toml, "--console")
    terminal.read_until(b"ready\r\n")
    terminal.go_away()
    with find().console("com1") as stream:
        stream.sendall(b"y")
        while b"Y" not in stream.recv(4096):
            pass
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(PATIENCE) == 0


def test_it_is_refused_without_a_terminal(at_terminal: Launcher, toml: Path, capsys: Capture) -> None:
    words = refused(chkpt(capsys, "run", toml, "--console"), 2)
    assert words.startswith("--console needs a terminal as standard input and output; without one use chkpt console")
    terminal = at_terminal("ps")
    with spawn("run", toml, "--console", stdin=terminal.slave) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (2, b"", f"chkpt: {words}\n".encode())
    assert terminal.close() == 0


def test_it_is_refused_beside_what_has_standard_input_and_output(toml: Path, capsys: Capture) -> None:
    for other, name in ((["--char", "com1=stdio"], "com1"), (["--qtest", "stdio"], "--qtest")):
        words = refused(chkpt(capsys, "run", toml, "--console", *other), 2)
        assert words == f"{name} and --console cannot both use standard input and output"
    assert refused(chkpt(capsys, "run", toml, "--port", "com1"), 2) == "--port goes with --until or --console"
