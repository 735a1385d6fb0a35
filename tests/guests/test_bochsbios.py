"""Bochs' BIOS, as Debian has it, on our devices: it looks for PCI, and for drives and boot order in the CMOS RAM."""

from pathlib import Path

import pytest

from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.execution import Outcome
from tests.guests.board import SECOND, plain, said
from tests.guests.media import boot_cdrom, boot_disk
from tests.guests.packages import package


def board(*drives: dict[str, object], **cmos: object) -> Machine:
    devices = [
        {"type": "pic"},
        {"type": "pit"},
        {"type": "cmos", **cmos},
        {"type": "i8042", "backend": {"type": "memory"}},
        {"type": "port92"},
        {"type": "reset_control"},
        {"type": "dma_page"},
        {"type": "debugcon", "backend": {"type": "memory"}},
        {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4, "backend": {"type": "memory"}},
        {"type": "ide", "name": "ide0", "drive": list(drives)},
    ]
    bios = package("bochsbios") / "usr/share/bochs/BIOS-bochs-latest"
    return Machine(parse({"memory": "16M", "cpu": {}, "firmware": {"bios": str(bios)}, "device": devices}))


def log(machine: Machine) -> str:
    return plain(said(machine, "debugcon"))


def test_looking_for_pci_does_not_reset_the_machine_and_the_whole_of_a_disk_is_seen() -> None:
    machine = board({"unit": 0, "size": "2G"}, boot=["disk"])
    assert machine.run(until=20 * SECOND) is Outcome.DEAD
    assert log(machine).count("Starting rombios32") == 1
    assert "ata0-0: PCHS=4161/16/63 translation=lba LCHS=520/128/63\n" in log(machine)
    assert log(machine).endswith("No bootable device.\n")
    machine.close()


@pytest.mark.parametrize(
    ("cmos", "begins"),
    [
        ({}, "from a disk"),
        ({"boot": ["cdrom", "disk"]}, "from a CD-ROM"),
        ({"boot": ["disk"], "bytes": [[0x3D, 0x03]]}, "from a CD-ROM"),
    ],
    ids=["default", "boot", "bytes"],
)
def test_it_boots_in_the_order_that_the_toml_says(tmp_path: Path, cmos: dict[str, object], begins: str) -> None:
    (tmp_path / "disk.img").write_bytes(boot_disk("from a disk"))
    (tmp_path / "cd.iso").write_bytes(boot_cdrom("from a CD-ROM"))
    machine = board(
        {"unit": 0, "image": str(tmp_path / "disk.img")},
        {"unit": 1, "media": "cdrom", "image": str(tmp_path / "cd.iso")},
        **cmos,
    )
    assert machine.run(until=20 * SECOND) is Outcome.DEAD
    assert begins in said(machine).decode("latin-1")
    machine.close()
