"""SeaBIOS, as Debian has it, on our devices: it finds them, boots from them, and does the same each time."""

import re
from pathlib import Path

import pytest

from chkpt.machine import Machine
from chkpt.machine.config import read
from chkpt.machine.cpu.execution import Outcome
from tests.guests import execution
from tests.guests.board import ROOT, SECOND, bios, board, end_of, plain, run_until, said
from tests.guests.media import boot_cdrom, boot_disk

DISK: dict[str, object] = {"unit": 0, "media": "disk", "size": "1M"}


def log(machine: Machine) -> str:
    return plain(said(machine, "debugcon"))


def booted(*drives: dict[str, object], model: str = "unicorn") -> Machine:
    """Run until SeaBIOS has nothing more to boot from."""
    machine = board(*drives, model=model)
    run_until(machine, lambda: b"No bootable device" in said(machine, "debugcon"))
    return machine


def test_it_finds_the_board_and_gives_up_on_an_empty_disk() -> None:
    machine = booted(DISK)
    text = log(machine)
    assert re.search(r"^SeaBIOS \(version 1\.\d+\.\d+", text)
    for line in (
        "RamSize: 0x01000000 [cmos]",
        "Detected non-PCI system",
        "Found 1 serial ports",
        "PS2 keyboard initialized",
        "ata0-0: CHKPT HARDDISK ATA-7 Hard-Disk (1 MiBytes)",
        "  3: 0000000000100000 - 0000000001000000 = 1 RAM",
        "Boot failed: not a bootable disk",
        "No bootable device.  Retrying in 60 seconds.",
    ):
        assert f"\n{line}\n" in text, text
    machine.close()


def test_without_a_disk_it_says_so_and_tries_again_after_a_minute() -> None:
    machine = booted()
    assert "Hard-Disk" not in log(machine)
    assert "Boot failed: could not read the boot disk" in log(machine)  # a diskette
    run_until(machine, lambda: "Attempting a hard reboot" in log(machine), seconds=90)
    assert 61 * SECOND < machine.clock.now < 64 * SECOND  # it has given up after 2.5 s
    run_until(machine, lambda: log(machine).count("No bootable device") == 2)
    machine.close()


@pytest.mark.parametrize("unit", [0, 1], ids=["master", "slave"])
def test_it_boots_a_sector_from_a_disk(unit: int, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(boot_disk("from a disk"))
    machine = board({"unit": unit, "media": "disk", "image": str(tmp_path / "disk.img")})
    assert machine.run(until=20 * SECOND) is Outcome.DEAD
    assert said(machine) == b"boot 80 0200 00000080 from a disk ticks\r\n"
    assert f"ata0-{unit}: CHKPT HARDDISK" in log(machine)
    machine.close()


def test_it_boots_from_a_cd_rom(tmp_path: Path) -> None:
    (tmp_path / "cd.iso").write_bytes(boot_cdrom("from a CD-ROM"))
    machine = board({"unit": 0, "media": "cdrom", "image": str(tmp_path / "cd.iso")})
    assert machine.run(until=20 * SECOND) is Outcome.DEAD
    assert "\nDVD/CD [ata0-0: CHKPT CD-ROM ATAPI-4 DVD/CD]\n" in log(machine)
    assert said(machine) == b"boot E0 0800 FFFFFFFF from a CD-ROM ticks\r\n"  # it does not tell how many sectors
    machine.close()


def test_it_boots_from_a_cd_rom_beside_a_disk_that_does_not_boot(tmp_path: Path) -> None:
    (tmp_path / "cd.iso").write_bytes(boot_cdrom("from the slave"))
    machine = board(DISK, {"unit": 1, "media": "cdrom", "image": str(tmp_path / "cd.iso")})
    assert machine.run(until=20 * SECOND) is Outcome.DEAD
    assert "Boot failed: not a bootable disk" in log(machine)
    assert said(machine) == b"boot E0 0800 FFFFFFFF from the slave ticks\r\n"
    machine.close()


def test_a_cd_rom_without_a_boot_catalog_does_not_boot(tmp_path: Path) -> None:
    image = bytearray(boot_cdrom("never"))
    image[19 * 2048 + 0x20] = 0  # not bootable
    (tmp_path / "cd.iso").write_bytes(image)
    machine = booted({"unit": 0, "media": "cdrom", "image": str(tmp_path / "cd.iso")})
    assert "Boot failed: Could not read from CDROM (code 000b)" in log(machine)
    machine.close()


def test_a_reset_boots_it_again() -> None:
    machine = booted(DISK)
    machine.reset()
    run_until(machine, lambda: log(machine).count("No bootable device") == 2)
    first, second = log(machine).split("SeaBIOS (version")[1::2]
    assert first.split("Scan for option roms")[0] == second.split("Scan for option roms")[0]
    machine.close()


def test_two_boots_are_one_whatever_counts_the_blocks() -> None:
    ends = []
    for model in ("unicorn", "unicorn", "unicorn-portable"):
        machine = booted(DISK, model=model)
        machine.run(ticks=execution(machine).cpu.ticks + 1_000_000)
        ends.append((end_of(machine) | {"saved": None}, said(machine, "debugcon")))
        machine.close()
    assert ends[0] == ends[1] == ends[2]


def test_it_boots_on_the_machine_of_the_documentation(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "GUESTS.md").read_text()
    toml = tmp_path / "pc.toml"
    toml.write_text(text.split("```toml\n")[1].split("```")[0].replace("/usr/share/seabios/bios.bin", str(bios())))
    machine = Machine(read(toml))
    log_file = tmp_path / "seabios.log"
    run_until(machine, lambda: log_file.exists() and b"No bootable device" in log_file.read_bytes())
    machine.close()
    promised = text.split("SeaBIOS (version")[1].split("```")[0].splitlines()[1:]
    lines = log_file.read_text().splitlines()
    assert [line for line in promised if line != "..." and line not in lines] == []
