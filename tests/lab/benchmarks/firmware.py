"""SeaBIOS, from the reset of a machine that is there to "No bootable device", beside the same in QEMU's translator."""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from chkpt.machine import Machine
from chkpt.machine.config import parse
from tests.guests.packages import CACHE, UnavailableError, unpacked
from tests.lab.benchmarks.figure import Figure, figure

SAMPLES = 12
END = b"No bootable device"
PATIENCE = 60
WHAT = 'SeaBIOS to "No bootable device"'

QEMU = "qemu-system-x86_64"
OPTIONS = (
    "-S", "-accel", "tcg", "-icount", "shift=3,sleep=off",  # its clock, too, jumps where the guest only waits
    "-machine", "isapc", "-cpu", "qemu64", "-m", "16", "-nodefaults", "-vga", "none", "-display", "none",
    "-qmp", "stdio",
)  # fmt: skip


def firmware() -> list[Figure]:
    """Measure both in turn; where something cannot be had there is a line that tells why."""
    try:
        bios = unpacked("seabios", CACHE) / "usr/share/seabios/bios.bin"
    except UnavailableError as exc:
        return [_skipped(str(exc))]
    ours: list[float] = []
    theirs: list[float] = []
    has_qemu = shutil.which(QEMU) is not None
    for _ in range(SAMPLES + 1):
        ours.append(_ours(bios))
        if has_qemu:
            theirs.append(_theirs(bios))
    baseline = f"{QEMU} is not installed"
    if has_qemu:
        other, own = sorted(theirs[1:])[SAMPLES // 2], sorted(ours[1:])[SAMPLES // 2]
        baseline = f"QEMU's TCG {other * 1e3:.0f} ms: {own / other:.1f} times that"
    return [figure(WHAT, ours[1:], unit="ms", target=None, baseline=baseline, scale=1e3)]


def _skipped(reason: str) -> Figure:
    return Figure(WHAT, float("nan"), float("nan"), float("nan"), "ms", "-", f"skipped: {reason}")


def _ours(bios: Path) -> float:
    devices: list[Mapping[str, object]] = [
        *({"type": name} for name in ("pic", "pit", "cmos", "i8042", "port92", "dma_page")),
        {"type": "debugcon", "backend": {"type": "memory"}},
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4},
        {"type": "ide", "name": "ide0", "drive": [{"unit": 0, "size": "1M"}]},
    ]
    table = {"name": "bench", "memory": "16M", "cpu": {}, "firmware": {"bios": str(bios)}, "device": devices}
    machine = Machine(parse(table))
    backend = machine.devices.frontends["char"].backends["debugcon"]
    output: bytearray = getattr(backend, "output")  # noqa: B009  of the backend in memory alone
    start = time.perf_counter()
    machine.run(until=PATIENCE * 10**9, enough=lambda: END in output)
    taken = time.perf_counter() - start
    if END not in output:
        raise RuntimeError("SeaBIOS did not come to its end")
    machine.close()
    return taken


def _theirs(bios: Path) -> float:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path, disk = Path(directory) / "debugcon.sock", Path(directory) / "disk.img"
        disk.write_bytes(bytes(1 << 20))
        listener.bind(str(path))
        listener.listen(1)
        command = [QEMU, *OPTIONS, "-bios", str(bios), "-drive", f"file={disk},format=raw,if=ide"]
        command += ["-chardev", f"socket,id=log,path={path}", "-device", "isa-debugcon,iobase=0x402,chardev=log"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                listener.settimeout(PATIENCE)
                connection, _ = listener.accept()
                with connection:
                    return _until_end(process, connection)
            finally:
                process.kill()


def _until_end(process: "subprocess.Popen[bytes]", connection: socket.socket) -> float:
    """Let a QEMU that stands go, and wait for the text."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()  # its greeting: all is set up
    start = time.perf_counter()
    for name in ("qmp_capabilities", "cont"):
        process.stdin.write(json.dumps({"execute": name}).encode() + b"\n")
    process.stdin.flush()
    connection.settimeout(PATIENCE)
    said = b""
    while END not in said:
        more = connection.recv(4096)
        if not more:
            raise RuntimeError("QEMU ended before SeaBIOS did")
        said += more
    return time.perf_counter() - start
