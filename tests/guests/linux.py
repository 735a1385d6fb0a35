"""Debian's kernel on our machine, as examples/linux has it.

`python -m tests.guests.linux FILES SNAPSHOT UNTIL` goes on from a snapshot.
"""

import hashlib
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chkpt.machine import Machine
from chkpt.machine.config import MachineConfig, parse
from chkpt.snapshot import loads
from tests.guests import SECOND, execution, output, packages

EXAMPLE = Path(__file__).parents[2] / "examples/linux"
DONE = b"guest: done"
LATE = 90 * SECOND
"""Of the guest's clock; it takes a third of that."""


def files(target: Path) -> Path:
    """Make kernel, initramfs and disk as the example's reader does; skip where a package cannot be had."""
    packages.tool("mke2fs", "e2fsprogs")
    return make(target, lambda name, _: packages.package(name))


def make(target: Path, tree: Callable[[str, Path], Path]) -> Path:
    """Make them of the packages that `tree` finds."""
    trees = [str(tree(name, packages.CACHE)) for name in ("linux-image-cloud-amd64", "busybox-static")]
    subprocess.run([sys.executable, str(EXAMPLE / "build.py"), *trees, str(target)], check=True, capture_output=True)
    return target


def chain_packages(target: Path) -> Path:
    """Put what grub.py wants of four packages into one tree, as who unpacks them into one directory has it."""
    for name, path in (
        ("grub-pc-bin", "usr/lib/grub"),
        ("grub-common", "usr/bin/grub-mkimage"),
        ("libdevmapper1.02.1", "lib/x86_64-linux-gnu"),
        ("seabios", "usr/share/seabios"),
    ):
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(packages.package(name) / path)
    return target


def config(directory: Path, machine: str = "machine.toml", **kernel: object) -> MachineConfig:
    """Return the example's machine, its serial port in memory."""
    table: dict[str, Any] = tomllib.loads((EXAMPLE / machine).read_text())
    for device in table["device"]:
        if device["type"] == "serial":
            device["backend"] = {"type": "memory"}
    if kernel:
        table["kernel"].update(kernel)
    return parse(table, directory)


def remains(machine: Machine) -> dict[str, object]:
    """Return the ticks of a machine, and digests of what it has."""
    disk: Any = machine.devices.frontends["block"].backends["ide0.0"]
    ram = hashlib.sha256(machine.memory.ram).hexdigest()
    content = hashlib.sha256(disk.read(0, disk.size)).hexdigest()
    cpu = hashlib.sha256(repr(execution(machine).save()).encode()).hexdigest()
    return {"ticks": execution(machine).cpu.ticks, "now": machine.clock.now, "cpu": cpu, "ram": ram, "disk": content}


def main(directory: str, snapshot: str, until: str) -> None:
    """Load, run on, and tell what remains."""
    machine = Machine(config(Path(directory)), boot=False)
    machine.load(loads(Path(snapshot).read_bytes()))
    machine.run(until=int(until))
    print(json.dumps({**remains(machine), "output": output(machine).decode("latin-1")}))  # noqa: T201
    machine.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
