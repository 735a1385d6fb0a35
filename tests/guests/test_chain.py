"""From power-on to user space with firmware and devices only: SeaBIOS, GRUB, Debian's kernel, all from one disk."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from chkpt.machine import Machine
from chkpt.snapshot import Reader, dumps
from examples.linux import grub
from tests.guests import SECOND, execution, linux, output
from tests.guests.grub import grub_disk
from tests.support.rig import saved

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

LATE: Final = 300 * SECOND
DONE: Final = linux.DONE.decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make kernel, initramfs, BIOS and disk as the example's reader does."""
    target = linux.files(tmp_path_factory.mktemp("chain"))
    tree = linux.chain_packages(target / "pc")
    subprocess.run([sys.executable, str(linux.EXAMPLE / "grub.py"), str(tree), str(target)], check=True)
    shutil.copy(linux.EXAMPLE / "grub.toml", target)
    return target


def chkpt(place: Path, *arguments: str) -> bytes:
    """Run a command in a process of its own; return what it sends to stdout."""
    (place / "run").mkdir(mode=0o700, exist_ok=True)
    command = [str(Path(sys.executable).parent / "chkpt"), *arguments]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(place / "run")}
    ended = subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


def end(place: Path, name: str) -> dict[str, object]:
    """Return the ticks, and the digests of processor, RAM and disk in a snapshot."""
    machine = Machine(linux.config(place, "grub.toml"), boot=False)
    with Reader.open(place / f"snapshots/{name}.zst") as reader:
        machine.load(reader.checkpoint())
    result = linux.remains(machine)
    machine.close()
    return result


@dataclass(frozen=True)
class Whole:
    """A run that nobody stopped, and what it said."""

    end: dict[str, object]
    said: bytes


@pytest.fixture(scope="module")
def whole(place: Path) -> Whole:
    said = chkpt(place, "run", "grub.toml", "--until", DONE, "--timeout", "300", "--save", "whole")
    return Whole(end(place, "whole"), said)


def test_the_firmware_loads_grub_and_grub_the_kernel_which_finds_its_disk_again(place: Path, whole: Whole) -> None:
    assert whole.said.index(b"Loading the kernel") < whole.said.index(b"Linux version 6.")
    assert b"BIOS-e820: [mem 0x0000000000100000-0x0000000007ffffff] usable" in whole.said
    assert b"guest: vmlinuz: OK\r\ninitramfs.cpio: OK" in whole.said  # by its own driver what GRUB read by the BIOS
    assert b"cannot be loaded" not in whole.said
    machine = Machine(linux.config(place, "grub.toml"), boot=False)
    assert "kernel" not in machine.config.table
    with Reader.open(place / "snapshots/whole.zst") as reader:
        machine.load(reader.checkpoint())
    disk: Any = machine.devices.frontends["block"].backends["ide0.0"]
    content = disk.read(0, disk.size)
    assert b"written by 6." in content
    assert b"written by 6." not in (place / "grub.img").read_bytes()
    machine.close()


def run_to(machine: Machine, text: bytes) -> None:
    """Run until the guest has said `text`."""
    machine.run(until=LATE, enough=lambda: text in output(machine))
    assert text in output(machine), output(machine)[-2000:]


def transfer(machine: Machine) -> Any:
    """Return the command of the disk that is not done yet."""
    ide: Any = machine.devices.find("ide0")
    return ide.save().drive0.transfer


def into_a_sector(machine: Machine) -> None:
    """Run on until a sector is half read: a guest's instruction is, too."""
    for _ in range(10_000):
        machine.run(ticks=execution(machine).cpu.ticks + 10_007)
        moving = transfer(machine)
        if moving is not None and 0 < moving.offset < moving.length:
            assert moving.kind == "read"
            return
    pytest.fail("no sector was ever half read")


def save(machine: Machine, place: Path, name: str) -> bytes:
    """Save a machine; return what it has said by then."""
    (place / "snapshots").mkdir(exist_ok=True)
    (place / f"snapshots/{name}.zst").write_bytes(dumps(saved(machine)))
    return output(machine)


def test_a_boot_is_cut_in_a_sector_of_the_kernel_and_in_the_kernel(place: Path, whole: Whole) -> None:
    machine = Machine(linux.config(place, "grub.toml"))
    run_to(machine, b"Loading the kernel")
    machine.run(ticks=execution(machine).cpu.ticks + 400_000_000)
    into_a_sector(machine)
    assert b"initramfs" not in output(machine)
    before = {"loading": save(machine, place, "loading")}
    run_to(machine, b"Switched to clocksource tsc")
    assert execution(machine).save().rip >> 63 or execution(machine).save().cs.selector & 3
    before["inside"] = save(machine, place, "inside")
    machine.run(ticks=int(str(whole.end["ticks"])))
    assert output(machine) == whole.said
    assert linux.remains(machine) == whole.end, "the run that was saved is another one than the run that was not"
    machine.close()
    for cut, said in before.items():
        goal = ("--until", DONE, "--timeout", "300", "--save", f"{cut}-end")
        rest = chkpt(place, "run", "grub.toml", "--load", cut, *goal)
        assert said + rest == whole.said, cut
        assert end(place, f"{cut}-end") == whole.end, cut


def test_the_kernel_comes_up_by_its_code_for_real_mode(place: Path) -> None:
    files = {name: (place / name).read_bytes() for name in ("vmlinuz", "initramfs.cpio")}
    (place / "linux16.img").write_bytes(grub_disk(grub.boot_files(files, "16"), grub.SIZE, grub.MODULES))
    table: Any = linux.config(place, "grub.toml").table
    for device in table["device"]:
        for drive in device.get("drive", ()):
            drive["image"] = "linux16.img"
    from chkpt.machine.config import parse

    machine = Machine(parse(table, place))
    run_to(machine, b"is in user space")
    assert b"BIOS-e820: [mem 0x0000000000100000-0x0000000007ffffff] usable" in output(machine)
    machine.close()
