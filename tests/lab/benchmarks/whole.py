"""Save and load of machines with 256 MiB of RAM beside the zstd command on the same, and the pause their guests see.

One has programs and text in its RAM, the other what Debian's kernel has left there when its first program is done.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from chkpt import Checkpoint, LocalStore
from chkpt.machine import Machine
from chkpt.machine.config import DEFAULT, parse
from chkpt.snapshot import Reader
from tests.guests import linux, packages
from tests.lab.benchmarks.figure import Figure, figure

SAMPLES = 5
SIZE = 256 << 20
FIRMWARE = "b001e680f4"  # mov al, 1; out 80h, al; hlt


def whole() -> list[Figure]:
    """Measure both machines, and how soon a loaded one runs."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        place = Path(directory)
        return [*_filled(place), *_kernel(place), _first_instruction(place)]


def _filled(directory: Path) -> list[Figure]:
    """Measure a machine of whose RAM two fifths are zero."""
    machine = Machine(parse({**DEFAULT, "memory": SIZE}))
    _fill(machine)
    return _figures(machine, directory, "256 MiB")


def _kernel(directory: Path) -> list[Figure]:
    """Measure the machine of a kernel whose first program is done; where a package is absent, say so."""
    what = "the kernel's 256 MiB"
    try:
        files = linux.make(directory, packages.unpacked)
    except (packages.UnavailableError, FileNotFoundError, subprocess.CalledProcessError) as exc:
        return [Figure(f"save of {what}", float("nan"), 0, 0, "s", "-", f"skipped: {exc}")]
    machine = Machine(replace(linux.config(files), memory=SIZE))
    said: Any = machine.devices.frontends["char"].backends["com1"]
    machine.run(until=linux.LATE, enough=lambda: linux.DONE in said.output)
    if linux.DONE not in said.output:
        raise RuntimeError("the kernel's first program did not come to its end")
    figures = _figures(machine, directory, what)
    machine.close()
    return figures


def _fill(machine: Machine) -> None:
    """Put programs, libraries and text into the RAM, and some noise, as page caches and compressed images make it."""
    at, end = 1 << 20, SIZE * 3 // 5
    files = (path for path in sorted(Path(sys.base_prefix, "lib").rglob("*")) if path.suffix in {".so", ".py", ".a"})
    for path in files:
        content = path.read_bytes()[: end - at]
        machine.memory.write(at, content)
        at += -(-len(content) // 4096) * 4096
        if at >= end:
            break
    machine.memory.write(end - (8 << 20), Random(0).randbytes(8 << 20))


def _figures(machine: Machine, directory: Path, name: str) -> list[Figure]:
    store = LocalStore(directory)

    def save() -> None:
        checkpoint = Checkpoint()
        machine.save(checkpoint, copy=True)
        store.create("whole", checkpoint, force=True)

    def load() -> None:
        with Reader.open(directory / "whole.zst") as reader:
            machine.load(reader.checkpoint())

    def pause() -> None:
        machine.save(Checkpoint(), copy=True)

    saves = _times(save)
    size = (directory / "whole.zst").stat().st_size
    held = sum(len(piece) for _, piece in machine.memory.blob().pieces()) >> 20
    (directory / "ram").write_bytes(machine.memory.ram)
    tool = [_zstd(directory, "-1", "-T2", "ram", "-o", "ram.zst"), _zstd(directory, "-d", "ram.zst", "-o", "ram.again")]
    ram = (directory / "ram.zst").stat().st_size if shutil.which("zstd") else 0
    beside = f"zstd -1 -T2 of the RAM to a file: {tool[0]}, {ram / 1e6:.1f} MB" if ram else "no zstd here"
    again = f"zstd -d of the RAM to a file: {tool[1]}" if ram else "no zstd here"
    what = f"{name}, {held} MiB not zero"
    return [
        figure(f"save of {what}, to {size / 1e6:.1f} MB", saves, unit="s", target=None, baseline=beside),
        figure(f"load of {what}", _times(load), unit="s", target=None, baseline=again),
        figure(
            f"of a save of {name}, the guest stands still",
            _times(pause),
            unit="s",
            target=None,
            baseline="a copy of the RAM",
        ),
    ]


def _times(call: Callable[[], None]) -> list[float]:
    taken = []
    for _ in range(SAMPLES):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def _zstd(directory: Path, *args: str) -> str:
    """Return how long the tool takes, the median of some runs."""
    tool = shutil.which("zstd")
    if tool is None:
        return ""
    command = [tool, "-q", "-f", *args]

    def run() -> None:
        subprocess.run(command, cwd=directory, check=True)

    return f"{statistics.median(_times(run)):.2f} s"


def _first_instruction(directory: Path) -> Figure:
    """Measure a process: `chkpt run --load` of a machine with a processor, to its next tick."""
    bios = directory / "bios.bin"
    bios.write_bytes(bytes.fromhex(FIRMWARE).ljust(0xFF0, b"\xf4") + bytes.fromhex("ea00f000f0").ljust(16, b"\0"))
    table = {"name": "first", "memory": SIZE, "cpu": {}, "firmware": {"bios": str(bios.absolute())}}
    machine = Machine(parse(table))
    _fill(machine)
    LocalStore(directory).create("first", _saved(machine))
    machine.close()
    command = [sys.executable, "-m", "chkpt", "run", "--load", str((directory / "first.zst").absolute())]
    command += ["--trust-config", "--until", "+1", "--json"]

    def run() -> None:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert json.loads(done.stderr.splitlines()[-1])["end"] == "reached"

    baseline = "the whole process, 256 MiB: start, load, one block, end"
    return figure("chkpt run --load to the first instruction", _times(run), unit="s", target=None, baseline=baseline)


def _saved(machine: Machine) -> Checkpoint:
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    return checkpoint
