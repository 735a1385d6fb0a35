"""Writes `format-1.zst`, the snapshot of format 1 that every later version must go on reading.

The file is kept as it is: it was written once, and is not written again when the writer changes. Run this only to make
the first file of a new format, under another name.
"""

from pathlib import Path

from chkpt.context import Checkpoint, Context, SparseBlob
from chkpt.snapshot import dumps

PATH = Path(__file__).with_name("format-1.zst")

PAGE = bytes(range(256)) * 16


def checkpoint() -> Checkpoint:
    """Return what the file holds: every kind of value, context, blob and piece that format 1 has."""
    counter = Context("", 1, {"mode": 3, "bcd": False, "cr": 0x4A9, "latched": None, "gate": True})
    drive = Context("", 2, {"model": "CHKPT TEST DISK", "changed": b"\x05"})
    drive.blobs["blocks"] = SparseBlob(3 * 4096 - 512, 4096, {0: PAGE, 2: b"\xee" * 3584})
    devices = Context("", 0, {"num_devs": 2, "names": b"pit".ljust(32, b"\0") + b"ide0".ljust(32, b"\0")})
    devices.contexts = {
        "pit": Context("pit", 1, {"deadline": 27_462_701}, {}, {"counters": Context(contexts={"0": counter})}),
        "ide0": Context("ide", 3, {"irq": False}, {}, {"drive": drive}),
    }
    return Checkpoint(
        {
            "generator": "chkpt 0.1.0",
            "created": "2026-11-23T09:04:12.345678Z",
            "machine": "kept",
            "clock_ns": 27_462_701,
            "config": {"memory": "16K", "device": [{"type": "pit"}, {"type": "ide", "name": "ide0", "port": 0x1F0}]},
            "a later key": ["is", "kept", 1],
        },
        {
            "clock": Context("clock", 1, {"now": 27_462_701}),
            "devices": devices,
            "memory": Context("memory", 1, {"size": 4 * 4096}, {"ram": SparseBlob(4 * 4096, 4096, {1: PAGE, 3: PAGE})}),
            "values": Context(
                "",
                0,
                {
                    "integers": [0, 127, 128, 255, 256, 65535, 65536, (1 << 32) - 1, 1 << 32, (1 << 64) - 1],
                    "negative": [-1, -32, -33, -128, -129, -32768, -32769, -(1 << 31), -(1 << 31) - 1, -(1 << 63)],
                    "floats": [0.0, -0.0, 1.5, 1e300, float("inf")],
                    "text": ["", "a", "ä" * 20, "\N{FLOPPY DISK}" * 100],
                    "bytes": [b"", b"\0", bytes(255), bytes(256)],
                    "map": {"nested": {"deep": [[], {}, None, True]}},
                },
            ),
        },
    )


if __name__ == "__main__":
    PATH.write_bytes(dumps(checkpoint()))
