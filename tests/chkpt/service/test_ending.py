"""Real machines, ended by one signal or two, with clients in every state: nothing of them is left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from chkpt import sockets
from chkpt.errors import ChkptError
from chkpt.service import directory
from chkpt.service.api.requests import SaveRequest
from chkpt.service.http.client import MachineClient
from chkpt.snapshot import Reader

CHKPT = Path(sys.executable).parent / "chkpt"


@contextmanager
def running(*options: str) -> Iterator[tuple[MachineClient, "subprocess.Popen[str]"]]:
    """Run a machine in a process of its own, which has to end by itself."""
    program = [str(CHKPT), "run", "--name", "m", *options]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert "is running" in process.stdout.readline()
            yield MachineClient("m", directory.root() / "m"), process
            errors = process.communicate(timeout=60)[1]
        except BaseException:
            process.kill()
            raise
    assert "Traceback" not in errors


def left(runtime: Path) -> list[str]:
    return [path.name for path in (runtime / "chkpt").rglob("*")]


@pytest.mark.parametrize(
    "signals",
    [
        [signal.SIGTERM],
        [signal.SIGINT, signal.SIGINT],
        [signal.SIGHUP, signal.SIGTERM],
        [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM],
    ],
    ids=lambda each: "-".join(number.name for number in each),
)
def test_signals_end_it_whatever_clients_do(runtime: Path, tmp_path: Path, signals: list[signal.Signals]) -> None:
    with ExitStack() as stack, running("--qtest", f"unix:{tmp_path}/q,server=on,wait=off") as (machine, process):
        for begin in (b"", b"GET /v1", b"POST /v1/save HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"):
            stack.enter_context(sockets.connect(machine.path / "api.sock")).sendall(begin)
        stack.enter_context(machine.console("com1")).sendall(b"typed")
        stack.enter_context(machine.console("com1")).shutdown(socket.SHUT_WR)
        stack.enter_context(sockets.connect(tmp_path / "q")).sendall(b"inb 0x40\nread 0x0 0x100000\noutb")
        machine.machine()
        for number in signals:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
    # A signal that comes when all has been removed already, as the interpreter ends, may end it its own way.
    assert process.returncode in {0, *(-number for number in signals[1:])}
    assert left(runtime) == [".lock"]
    assert not (tmp_path / "q").exists()


def test_end_in_the_midst_of_saves_leaves_whole_files_only(runtime: Path, tmp_path: Path) -> None:
    paths: list[str] = []

    def save(number: int) -> None:
        with suppress(ChkptError):
            for turn in range(10_000):
                paths.append(machine.save(SaveRequest(str(tmp_path / f"{number}-{turn}.zst")))["path"])

    with running() as (machine, process):
        threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(paths) < 8:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert process.returncode == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {Path(path).name for path in paths} <= names
    for name in names:
        with Reader.open(tmp_path / name) as reader:  # and no temporary one is among them
            reader.verify()
    assert left(runtime) == [".lock"]


def test_stopped_process_is_told_of_and_not_swept(runtime: Path) -> None:
    """A machine that does not answer, because its process is stopped, is still there for all others."""
    with running() as (machine, process):
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(ChkptError, match="does not answer"):
            machine.machine(timeout=0.2)
        assert directory.running() == {"m": machine.path}
        process.send_signal(signal.SIGCONT)
        assert machine.machine(timeout=60)["name"] == "m"
        machine.stop()
    assert process.returncode == 0
    assert left(runtime) == [".lock"]


def test_console_that_is_never_read_neither_blocks_the_guest_nor_grows(runtime: Path, tmp_path: Path) -> None:
    """The guest sends 300,000 characters while one console reads nothing, and another has all of them at once."""
    burst, bursts = 16 * 60, 320
    fast = b"outb 0x3fb 0x83\noutb 0x3f8 1\noutb 0x3f9 0\noutb 0x3fb 3\noutb 0x3fa 1\n"  # 115200 baud, with its FIFO
    with (
        running("--qtest", f"unix:{tmp_path}/q,server=on,wait=off") as (machine, process),
        machine.console("com1"),
        machine.console("com1") as reader,
        sockets.connect(tmp_path / "q") as driver,
        driver.makefile("rb") as answers,
    ):
        driver.sendall(fast)
        assert [answers.readline() for _ in range(5)] == [b"OK\n"] * 5
        before = memory(process.pid)
        got = 0
        for number in range(1, bursts + 1):
            driver.sendall((b"outb 0x3f8 0x78\n" * 16 + b"clock_step 1400000\n") * (burst // 16))
            for _ in range(17 * burst // 16):
                assert answers.readline().startswith(b"OK")
            while got < number * burst:
                got += len(reader.recv(1 << 16))
        assert got == burst * bursts > 300_000
        assert memory(process.pid) - before < 16 << 20
        assert machine.machine()["name"] == "m"
        machine.stop()
    assert left(runtime) == [".lock"]


def memory(pid: int) -> int:
    """Return the bytes that a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS:"))
