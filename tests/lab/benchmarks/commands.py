"""Whole commands as processes: what a user waits for."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from chkpt import Checkpoint, dumps
from tests.lab.benchmarks.figure import Figure, figure
from tests.lab.benchmarks.machines import at_the_cut

SAMPLES = 15


def commands() -> list[Figure]:
    """Measure CPU time (user and system) of each command."""
    machine = at_the_cut("16M")
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    chkpt = str(Path(sys.executable).parent / "chkpt")
    with tempfile.TemporaryDirectory() as directory:
        snapshot = Path(directory) / "bench.zst"
        snapshot.write_bytes(dumps(checkpoint))
        bare = sorted(_cpu([sys.executable, "-c", "pass"]))[SAMPLES // 2]
        baseline = f"python -c pass {bare * 1e3:.0f} ms"
        inspect = _cpu([chkpt, "inspect", "--json", str(snapshot)])
        usage = _cpu([chkpt, "--help"])
    return [
        figure("chkpt inspect --json, CPU", inspect, unit="ms", target=150, baseline=baseline, scale=1e3),
        figure("chkpt --help, CPU", usage, unit="ms", target=200, baseline=baseline, scale=1e3),
    ]


def _cpu(command: list[str]) -> list[float]:
    """Return the CPU seconds of each run."""
    samples: list[float] = []
    for _ in range(SAMPLES + 1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise RuntimeError(f"{command} ended with {process.returncode}")
        samples.append(usage.ru_utime + usage.ru_stime)
    return samples[1:]
