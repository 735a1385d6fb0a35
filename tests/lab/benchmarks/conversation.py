"""qtest commands a second, in lock step and pipelined, over a Unix socket to a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.lab.benchmarks.figure import Figure, figure

COMMANDS = 10_000
SAMPLES = 12

ECHO = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(1)
client, _ = listener.accept()
while data := client.recv(65536):
    client.sendall(b"OK 0x0060\\n" * data.count(b"\\n"))
"""


def conversation() -> list[Figure]:
    """Measure a machine, and beside it a Python server that only answers, and QEMU where it is installed."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "q.sock"
        echo = _rate([sys.executable, "-c", ECHO, str(path)], path)
        path.unlink(missing_ok=True)
        chkpt = Path(sys.executable).parent / "chkpt"
        ours = [str(chkpt), "run", "--name", f"bench-{os.getpid()}", "--qtest", f"unix:{path},server=on,wait=off"]
        lock_step = _rate(ours, path)
        pipelined = _rate(ours, path, pipelined=True)
    baseline = f"a Python echo server {sorted(echo)[len(echo) // 2]:,.0f}/s; QEMU 7.2 39,000/s"
    return [
        figure("qtest in lock step", lock_step, unit="/s", target=40_000, baseline=baseline, most=False),
        figure("qtest pipelined", pipelined, unit="/s", target=40_000, baseline="QEMU 7.2 203,000/s", most=False),
    ]


def _rate(command: list[str], path: Path, *, pipelined: bool = False) -> list[float]:
    if shutil.which(command[0]) is None:
        return [0.0, 0.0]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with _client(path) as client:
            run = _pipelined if pipelined else _lock_step
            run(client)
            return [run(client) for _ in range(SAMPLES)]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _client(path: Path) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return client


def _lock_step(client: socket.socket) -> float:
    start = time.perf_counter()
    for _ in range(COMMANDS):
        client.sendall(b"inb 0x3fd\n")
        client.recv(4096)
    return COMMANDS / (time.perf_counter() - start)


def _pipelined(client: socket.socket) -> float:
    burst = 500
    request = b"inb 0x3fd\n" * burst
    start = time.perf_counter()
    for _ in range(COMMANDS // burst):
        client.sendall(request)
        answers = 0
        while answers < burst:
            answers += client.recv(65536).count(b"\n")
    return COMMANDS / (time.perf_counter() - start)
