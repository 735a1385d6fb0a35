"""Save to a durable file, beside a bare write of the same bytes."""

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, figure
from benchmarks.machines import at_the_cut
from chkpt import Checkpoint, LocalStore, dumps
from chkpt.machine import Machine

SAMPLES = 60


def durable() -> list[Figure]:
    """Measure the four devices, in a machine without RAM and in one whose 16 MiB are looked through."""
    return [
        _compare("the four devices", at_the_cut(), target=1.5),
        _compare("the same with 16 MiB of RAM", at_the_cut("16M"), target=None),
    ]


def _compare(what: str, machine: Machine, *, target: float | None) -> Figure:
    """Take a bare write and a save in turn, so that both meet the same disk."""
    snapshot = dumps(_saved(machine))
    bare: list[float] = []
    ratios: list[float] = []
    with tempfile.TemporaryDirectory(dir=".") as directory:
        store = LocalStore(Path(directory))
        for number in range(SAMPLES):
            start = time.perf_counter()
            _bare(Path(directory), f"bare-{number}", snapshot)
            middle = time.perf_counter()
            store.create(f"snapshot-{number}", _saved(machine))
            end = time.perf_counter()
            bare.append(middle - start)
            ratios.append((end - middle) / (middle - start))
    baseline = (
        f"write + fsync + rename + directory fsync of {len(snapshot)} bytes: {statistics.median(bare) * 1e3:.2f} ms"
    )
    return figure(f"save {what} to a durable file", ratios, unit="x bare", target=target, baseline=baseline)


def _saved(machine: Machine) -> Checkpoint:
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    return checkpoint


def _bare(directory: Path, name: str, content: bytes) -> None:
    temporary = directory / f"{name}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, content)
    os.fsync(fd)
    os.close(fd)
    temporary.rename(directory / name)
    folder = os.open(directory, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
