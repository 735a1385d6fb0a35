"""`chkpt console`: a terminal, or a pipe, at a serial port."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chkpt.machine import Machine, MachineConfig
from chkpt.manager import BackendTypes
from chkpt.service import launch as server
from chkpt.service.http.client import MachineClient
from tests.chkpt.cli.terminals import Launcher
from tests.support.processes import PATIENCE, chkpt, refused, spawn
from tests.support.served import COM1, launch, serving

COM2 = {**COM1, "name": "com2", "port": 0x2F8, "irq": 3}
RBR_THR, LSR = 0, 5


class Echoing(Machine):
    """A machine whose guest sends back what it receives, in capital letters."""

    def __init__(self, config: MachineConfig, backend_types: BackendTypes, *, boot: bool) -> None:
        super().__init__(config, backend_types=backend_types, boot=boot)
        self._guest = self.clock.timer(self._run)
        self._guest.arm(0)

    def _run(self) -> None:
        for base in (0x3F8, 0x2F8):
            while self.ports.inb(base + LSR) == 0x61:  # THRE, TEMT and DR; a missing port reads 0xff
                self.ports.outb(base + RBR_THR, bytes([self.ports.inb(base + RBR_THR)]).upper()[0])
        self._guest.arm(self.clock.now + 1_000_000)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every machine an echo guest."""
    monkeypatch.setattr(server, "Machine", Echoing)


@pytest.fixture
def machine(home: Path, echo: None) -> Iterator[MachineClient]:
    with serving(launch(COM1)) as client:
        yield client


def test_terminal_is_raw_and_restored(at_terminal: Launcher, machine: MachineClient) -> None:
    terminal = at_terminal("console")
    terminal.read_until(b"console of machine m; Ctrl-] leaves")
    terminal.wait_until_raw()
    os.write(terminal.master, b"hi\x03\x1a")
    assert b"HI\x03\x1a" in terminal.read_until(b"\x1a")
    os.write(terminal.master, b"\x1d")
    assert terminal.close() == 0


def test_terminal_is_restored_when_the_machine_ends(at_terminal: Launcher, machine: MachineClient) -> None:
    terminal = at_terminal("console", "-m", "m", "--port", "com1")
    terminal.read_until(b"leaves")
    os.write(terminal.master, b"x")
    terminal.read_until(b"X")
    machine.stop()
    assert terminal.close() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_terminal_is_restored_after_a_signal(
    at_terminal: Launcher, machine: MachineClient, number: signal.Signals
) -> None:
    terminal = at_terminal("console")
    terminal.read_until(b"leaves")
    terminal.wait_until_raw()
    terminal.process.send_signal(number)
    assert terminal.close() == 128 + number


def test_a_resize_does_no_harm(at_terminal: Launcher, machine: MachineClient) -> None:
    terminal = at_terminal("console")
    terminal.read_until(b"leaves")
    for rows in range(20, 60):
        terminal.resize(rows)
        os.write(terminal.master, b"a")
    seen = terminal.read_until(b"A")
    while seen.count(b"A") < 40:
        seen += terminal.read_until(b"A")
    os.write(terminal.master, b"\x1d")
    assert terminal.close() == 0


def test_the_end_of_input_that_a_terminal_makes_is_for_the_guest(at_terminal: Launcher, machine: MachineClient) -> None:
    terminal = at_terminal("console")
    terminal.read_until(b"leaves")
    terminal.wait_until_raw()
    os.write(terminal.master, b"\x04x")
    assert b"\x04X" in terminal.read_until(b"X")
    os.write(terminal.master, b"\x1d")
    assert terminal.close() == 0


def test_ctrl_bracket_leaves_a_machine_that_takes_nothing(at_terminal: Launcher, machine: MachineClient) -> None:
    machine.pause()
    terminal = at_terminal("console")
    terminal.read_until(b"leaves")
    terminal.wait_until_raw()
    terminal.type(b"x" * 300_000)  # more than the machine's socket takes
    terminal.type(b"\x1d")
    assert terminal.close() == 0


def test_a_terminal_that_goes_away_ends_it(at_terminal: Launcher, machine: MachineClient) -> None:
    terminal = at_terminal("console")
    terminal.read_until(b"leaves")
    terminal.go_away()
    assert terminal.process.wait(PATIENCE) is not None
    assert machine.machine()["name"] == "m"


def test_pipe(machine: MachineClient) -> None:
    text = b"some words, more than a FIFO holds\n"
    with machine.console("com1") as watcher:
        with spawn("console") as process:
            out, err = process.communicate(text + b"\x1dnot this", timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
        assert text.upper().startswith(out)
        seen = b""
        while len(seen) < len(text):
            seen += watcher.recv(100)
        assert seen == text.upper()


def test_end_of_input_keeps_showing_output(machine: MachineClient) -> None:
    with spawn("console") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"abc")
        process.stdin.close()
        seen = b""
        while len(seen) < 3:
            seen += os.read(process.stdout.fileno(), 10)
        with machine.console("com1") as stream:
            stream.sendall(b"from elsewhere")
            while len(seen) < 17:
                seen += os.read(process.stdout.fileno(), 20)
        machine.stop()
        assert (process.wait(PATIENCE), seen) == (0, b"ABCFROM ELSEWHERE")


def test_reader_that_goes_away_ends_it(machine: MachineClient) -> None:
    read, write = os.pipe()
    with spawn("console", stdout=write) as process:
        os.close(write)
        os.close(read)
        assert process.stdin is not None
        process.stdin.write(b"abc")
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_which_port(home: Path, echo: None, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(launch({"type": "pit"})):
        assert refused(chkpt(capsys, "console"), 3) == "machine m has no serial port com1; it has: none"
    with serving(launch(COM1, COM2)):
        assert refused(chkpt(capsys, "console", "--port", "com3"), 3).endswith("it has: com1, com2")
        for args in ([], ["--port", "com2"]):
            with spawn("console", *args) as process:
                assert process.communicate(b"\x1d", timeout=PATIENCE) == (b"", b"")
    with serving(launch(COM2, {**COM1, "name": "com3"})):
        message = refused(chkpt(capsys, "console"), 2)
        assert message == "machine m has several serial ports: com2, com3; name one with --port"
    with serving(launch(COM2)), spawn("console") as process:
        assert process.communicate(b"\x1d", timeout=PATIENCE) == (b"", b"")
