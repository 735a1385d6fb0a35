"""Writes snapshots of whole machines that every later version must load, and beside each what it held (`.json`).

`machine-1.zst` has a device of every type, in the middle of things, and a disk with changes; `cpu-1.zst` a processor,
`kernel-1.zst` a kernel, `firmware-1.zst` a BIOS, `bios()`, which makes it anew for every load.
`schemas.json` has a fingerprint of what each type of state declares, by version.

The files are kept as they are. A state that changes gets a new VERSION, and a machine with it a new file here:

    python -m tests.snapshots.make_machines machine-2

which also records the new version's fingerprint, and touches nothing that was recorded before.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

from chkpt.cli.json_text import json_text
from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.machine.config import parse, without_host
from chkpt.machine.parts import PARTS
from chkpt.manager import installed_device_types
from chkpt.snapshot import Reader, dumps
from chkpt.snapshot.describe import json_context
from chkpt.state import declared
from tests.support.images import bzimage

HERE = Path(__file__).parent
FINGERPRINTS = HERE / "schemas.json"

EVERYTHING: dict[str, object] = {
    "name": "kept",
    "memory": "1M",
    "device": [
        {"type": "pic"},
        {"type": "pit"},
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4},
        {
            "type": "ide",
            "name": "ide0",
            "port": 0x1F0,
            "control": 0x3F6,
            "irq": 14,
            "drive": [{"unit": 0, "size": "1M"}, {"unit": 1, "media": "cdrom"}],
        },
        {"type": "cmos"},
        {"type": "i8042"},
        {"type": "port92"},
        {"type": "dma_page"},
        {"type": "debugcon"},
        {"type": "isa_debug_exit"},
        {"type": "reset_control"},
    ],
}

WITH_CPU: dict[str, object] = {
    "name": "kept-cpu",
    "memory": "2M",
    "cpu": {"model": "unicorn"},
    "device": [{"type": "pic"}, {"type": "pit"}],
}

LOOP = b"\x40\xe6\x80\xeb\xfb"  # inc ax; out 0x80, al; jmp $-3

WITH_BIOS: dict[str, object] = {
    "name": "kept-firmware",
    "memory": "1M",
    "cpu": {"model": "unicorn"},
    "firmware": {"bios": "bios.bin"},
    "device": [{"type": "pic"}, {"type": "pit"}],
}


def bios() -> bytes:
    """Return the BIOS of `firmware-1.zst`, which must stay what it is: a load compares it. It counts in its loop."""
    return LOOP.ljust(0xFF0, b"\x90") + b"\xea\x00\x00\x00\xff".ljust(16, b"\0")  # at FFFF0: jmp FF00:0


LOOKED_AT = (
    0x20, 0x21, 0xA0, 0xA1, 0x40, 0x41, 0x42, 0x61, 0x3F9, 0x3FB, 0x3FF, 0x1F2, 0x1F3, 0x1F7, 0x3F6, 0x71,
    0x64, 0x92, 0x81, 0xE9,
)  # fmt: skip
"""Ports that a guest reads after the load, in this order."""


def everything() -> Machine:
    """Return a machine with a device of every type, none of them as it was at power-on."""
    machine = Machine(parse(EVERYTHING))
    outb = machine.ports.outb
    for port, value in (
        (0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01), (0x21, 0xA5), (0x43, 0x34), (0x40, 0x9B), (0x40, 0x2E),
        (0x43, 0xB6), (0x42, 0x33), (0x61, 0x03), (0x3FB, 0x1B), (0x3FF, 0x5A), (0x3F9, 0x07), (0x70, 0x22),
        (0x71, 0x77), (0x70, 0x22), (0x64, 0x60), (0x60, 0x47), (0x92, 0x02), (0x81, 0x12), (0xE9, 0x41),
    ):  # fmt: skip
        outb(port, value)
    machine.memory.write(0x1000, bytes(range(256)))
    machine.step(3_000_000)
    for port, value in ((0x1F6, 0xE0), (0x1F2, 2), (0x1F3, 5), (0x1F4, 0), (0x1F5, 0), (0x1F7, 0x30)):
        outb(port, value)
    machine.step(10_000_000)
    for word in range(256 + 10):  # a whole sector, and ten words of the next, which waits
        machine.ports.outw(0x1F0, word)
    machine.step(123_457)
    return machine


def with_cpu() -> Machine:
    """Return a machine whose processor has been stopped in a loop."""
    machine = Machine(parse(WITH_CPU))
    machine.memory.write(0xFFFF0 if machine.memory.size > 0xFFFF0 else 0, b"\xea\x00\x10\x00\x00")  # jmp 0:1000
    machine.memory.write(0x1000, LOOP)
    machine.run(ticks=1003)
    return machine


def with_kernel() -> Machine:
    """Return a machine that was booted with a kernel, whose files the configuration does not name."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "vmlinuz").write_bytes(bzimage())
        kernel = {"image": "vmlinuz", "cmdline": "console=ttyS0"}
        machine = Machine(parse({**WITH_CPU, "name": "kept-kernel", "memory": "4M", "kernel": kernel}, Path(place)))
    machine.config = without_host(machine.config)[0]
    machine.run(ticks=1)
    return machine


def with_bios(config: dict[str, object] = WITH_BIOS) -> Machine:
    """Return a machine with our BIOS, which has not run: `run` lets it."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "bios.bin").write_bytes(bios())
        table = {**config, "firmware": {"bios": "bios.bin"}}
        machine = Machine(parse(table, Path(place)))
    machine.config = without_host(machine.config)[0]
    return machine


def running_bios() -> Machine:
    """Return a machine that has been stopped in its BIOS."""
    machine = with_bios()
    machine.run(ticks=1003)
    return machine


def looked_at(machine: Machine) -> list[int]:
    """Return what a guest reads from the ports that the machine has."""
    return [machine.ports.inb(port) for port in LOOKED_AT]


def recorded(path: Path) -> dict[str, object]:
    """Return what is in a file: its digest, every context, and the digests of every blob's pieces."""
    with Reader.open(path) as reader:
        content = {
            "digest": reader.root_digest.hex(),
            "contexts": {name: json_context(context) for name, context in reader.checkpoint().contexts.items()},
            "blobs": [
                ["/".join(blob.path), blob.tag, [[index, digest.hex()] for index, digest in blob.digests()]]
                for blob in reader.blobs
            ],
        }
        found: dict[str, object] = json.loads("".join(json_text(content)))
        return found


def fingerprints() -> dict[str, tuple[int, str]]:
    """Return the version of each type of state here, and a digest of what it declares to hold.

    What of that a load compares with the machine (`fixed`) is not in it: it changes nothing in a file.
    """
    states = {each.name: each.state for each in installed_device_types() if each.state is not None} | {**PARTS}
    return {
        name: (
            int(str(declared(cls).get("version", 0))),
            hashlib.sha256(json.dumps(held(declared(cls))).encode()).hexdigest(),
        )
        for name, cls in states.items()
    }


def held(declaration: dict[str, object]) -> dict[str, object]:
    """Return a declaration without `fixed`, also in the contexts in it."""
    contexts = declaration.get("contexts")
    found = {key: value for key, value in declaration.items() if key != "fixed"}
    if isinstance(contexts, dict):
        found["contexts"] = {name: held(each) for name, each in contexts.items()}
    return found


def write(name: str, machine: Machine) -> None:
    """Write a machine's file and what it holds, and record the fingerprints that are not there yet."""
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    path = HERE / f"{name}.zst"
    if path.exists():
        raise SystemExit(f"{path.name} is kept as it is: give another name")
    path.write_bytes(dumps(checkpoint))
    content = recorded(path) | {"ports": [*looked_at(machine)]}
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    known: dict[str, dict[str, str]] = json.loads(FINGERPRINTS.read_text()) if FINGERPRINTS.exists() else {}
    for type_name, (version, digest) in fingerprints().items():
        known.setdefault(type_name, {}).setdefault(str(version), digest)
    FINGERPRINTS.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    machine.close()


if __name__ == "__main__":
    made = {"cpu": with_cpu, "kernel": with_kernel, "firmware": running_bios}.get(
        sys.argv[1].partition("-")[0], everything
    )
    write(sys.argv[1], made())
