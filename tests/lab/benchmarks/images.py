"""Identify an image of a disk, beside BLAKE3 over the whole file."""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from blake3 import blake3

from chkpt_devices.backends.identity import Kind, extents_of, identity_of
from tests.lab.benchmarks.figure import Figure, figure

SAMPLES: Final = 5
MIB: Final = 1 << 20


def images() -> list[Figure]:
    """Measure a file without holes, and one that is nearly all a hole."""
    with tempfile.TemporaryDirectory(dir=".") as directory:
        dense, sparse = Path(directory) / "dense", Path(directory) / "sparse"
        with dense.open("wb") as file:
            for _ in range(256):
                file.write(os.urandom(MIB))
        with sparse.open("wb") as file:
            file.truncate(1 << 30)
            file.write(os.urandom(16 * MIB))
        return [
            _compare("256 MiB without holes", dense, target=2.0),
            _compare("1 GiB, of which 16 MiB are no hole", sparse, target=0.2),
        ]


def _compare(what: str, path: Path, *, target: float) -> Figure:
    """Take both in turn, so that both meet the same disk and the same load."""
    whole: list[float] = []
    ratios: list[float] = []
    _identified(path)
    for _ in range(SAMPLES):
        start = time.perf_counter()
        _hashed(path)
        middle = time.perf_counter()
        _identified(path)
        end = time.perf_counter()
        whole.append(middle - start)
        ratios.append((end - middle) / (middle - start))
    baseline = f"read + BLAKE3 of the whole file: {statistics.median(whole) * 1e3:.0f} ms"
    return figure(f"identify an image of {what}", ratios, unit="x whole", target=target, baseline=baseline)


def _hashed(path: Path) -> bytes:
    hasher = blake3()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            hasher.update(piece)
    return hasher.digest()


def _identified(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        return identity_of(
            Kind.PIECES, size, lambda offset, length: os.pread(file, length, offset), extents_of(file, size)
        )
    finally:
        os.close(file)
