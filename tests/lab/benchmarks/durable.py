"""Save to a durable file, beside a bare write of the same bytes."""

import os
import statistics
import tempfile
import time
from pathlib import Path

from chkpt import Checkpoint, LocalStore, dumps
from chkpt.machine import Machine
from tests.lab.benchmarks.figure import Figure, figure
from tests.lab.benchmarks.machines import at_the_cut

SAMPLES = 60
FILES = 30_000


def durable() -> list[Figure]:
    """Measure the four devices, in a machine without RAM and in one whose 16 MiB are looked through."""
    return [
        _compare("the four devices", at_the_cut(), target=1.5),
        _compare("the same with 16 MiB of RAM", at_the_cut("16M"), target=None),
        _beside_many(at_the_cut()),
    ]


def _beside_many(machine: Machine) -> Figure:
    """Take a save into a full directory and one into an empty one in turn; processor time, as the disks' differs."""
    taken: dict[str, list[float]] = {"full": [], "empty": []}
    with tempfile.TemporaryDirectory(dir=".") as directory:
        stores = {name: LocalStore(Path(directory) / name) for name in taken}
        stores["full"].directory.mkdir()
        for number in range(FILES):
            stores["full"].path(f"other-{number}").touch()
        for number in range(SAMPLES):
            for name, store in stores.items():
                checkpoint = _saved(machine)
                start = time.process_time()
                store.create(f"snapshot-{number}", checkpoint)
                taken[name].append(time.process_time() - start)
                if name == "empty":
                    store.remove(f"snapshot-{number}")
    ratios = [full / empty for full, empty in zip(taken["full"], taken["empty"], strict=True)]
    baseline = f"the same into an empty directory: {statistics.median(taken['empty']) * 1e3:.2f} ms of CPU"
    return figure(
        f"write the four devices' snapshot beside {FILES:,} others",
        ratios,
        unit="x empty",
        target=1.2,
        baseline=baseline,
    )


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
