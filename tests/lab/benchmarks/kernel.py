"""Debian's kernel from power-on to its first program, beside QEMU's translator with the same kernel and initramfs."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from chkpt.machine import Machine
from tests.guests import execution, linux, packages
from tests.lab.benchmarks.figure import Figure, figure

READY = b"is in user space"
SAMPLES = 3
BYTES_A_INSTRUCTION = 3.3
"""Of Linux as it boots: ticks (bytes of code) by instructions, counted once by an engine that stops at each."""


def kernel() -> list[Figure]:
    """Measure a boot; where a package is absent, say so."""
    with tempfile.TemporaryDirectory() as place:
        try:
            files = linux.make(Path(place), packages.unpacked)
        except (packages.UnavailableError, FileNotFoundError, subprocess.CalledProcessError) as exc:
            return [Figure("Debian's kernel to user space", float("nan"), 0, 0, "s", "-", f"skipped: {exc}")]
        pairs = [(_ours(files), _qemu(files)) for _ in range(SAMPLES)]
    taken = [ours for (ours, _), _ in pairs]
    rates = [ticks / ours for (ours, ticks), _ in pairs]
    theirs = sorted(qemu for _, qemu in pairs if qemu is not None)
    ours = sorted(taken)[SAMPLES // 2]
    beside = "no qemu-system-x86_64 here"
    if theirs:
        median = theirs[len(theirs) // 2]
        beside = f"QEMU's TCG {median:.3g} s, which unpacks it in the guest: {ours / median:.2g} times that"
    mips = (
        f"about {sorted(rates)[SAMPLES // 2] / BYTES_A_INSTRUCTION / 1e6:.0f} MIPS, at {BYTES_A_INSTRUCTION} bytes each"
    )
    return [
        figure("Debian's kernel to user space", taken, unit="s", target=None, baseline=beside),
        figure("ticks a second in that", rates, unit="M/s", target=None, baseline=mips, scale=1e-6),
    ]


def _ours(files: Path) -> tuple[float, int]:
    """Return the seconds and ticks of a boot; what reads and unpacks the kernel is part of it."""
    start = time.perf_counter()
    machine = Machine(linux.config(files))
    said: Any = machine.devices.frontends["char"].backends["com1"]
    machine.run(until=linux.LATE, enough=lambda: READY in said.output)
    taken = time.perf_counter() - start
    if READY not in said.output:
        raise RuntimeError("the kernel did not come to user space")
    ticks = execution(machine).cpu.ticks
    machine.close()
    return taken, ticks


def _qemu(files: Path) -> float | None:
    """Return the seconds of the same in QEMU, None where there is none."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        return None
    boot = linux.config(files).kernel
    assert boot is not None
    command = [
        program,
        "-accel",
        "tcg",
        "-M",
        "isapc",
        "-cpu",
        "qemu64",
        "-m",
        "128",
        "-nodefaults",
        "-display",
        "none",
    ]
    command += ["-serial", "stdio", "-kernel", boot.image, "-initrd", str(boot.initrd), "-append", boot.cmdline]
    command += ["-drive", f"file={files}/disk.img,format=raw,if=ide,snapshot=on"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if READY in line:
                return time.perf_counter() - start
        raise RuntimeError("QEMU ended before the kernel came to user space")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
