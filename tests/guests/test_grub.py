"""GRUB, as Debian has it: started by SeaBIOS from our disk, driven by what is typed at its terminal, cut anywhere."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import pytest

from chkpt.machine import Machine
from chkpt.machine.cpu.execution import Outcome
from chkpt.snapshot import dumps, loads
from tests.guests import execution
from tests.guests.board import (
    LOOK,
    Key,
    board,
    end_in_another_process,
    end_of,
    plain,
    play,
    run_until,
    said,
    type_at,
    type_line,
)
from tests.guests.grub import grub_disk
from tests.support.rig import saved

PROMPT: Final = b"grub> "
DATA: Final = bytes(7 * i & 0xFF for i in range(200_000))
ENVIRONMENT: Final = b"# GRUB Environment Block\n".ljust(1024, b"#")
FILES: Final = {"hello.txt": b"hello from ext2\n", "data/big.bin": DATA, "grub/grubenv": ENVIRONMENT}


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grub") / "grub.img"
    path.write_bytes(grub_disk(FILES))
    return path


def with_grub(image: Path, **more: str) -> Machine:
    """Build a board that boots GRUB."""
    return board({"unit": 0, "media": "disk", "image": str(image)}, **more)


def wait(machine: Machine) -> None:
    """Run until GRUB prompts."""
    run_until(machine, lambda: said(machine).endswith(PROMPT))


@pytest.fixture(scope="session")
def at_prompt(image: Path) -> tuple[bytes, bytes]:
    """Boot once; return a snapshot with GRUB at its prompt, and what it said up to there."""
    machine = with_grub(image)
    wait(machine)
    snapshot, output = dumps(saved(machine)), said(machine)
    machine.close()
    return snapshot, output


class Conversation:
    """A machine whose GRUB is at its prompt, and everything that has been typed."""

    def __init__(self, image: Path, at_prompt: tuple[bytes, bytes]) -> None:
        snapshot, self._before = at_prompt
        self.machine = with_grub(image)
        self.machine.load(loads(snapshot))
        self.keys: list[Key] = []

    @property
    def output(self) -> bytes:
        """What GRUB has said since the machine was switched on."""
        return self._before + said(self.machine)

    def ask(self, command: str) -> str:
        """Type a command, and return what GRUB answers."""
        before = len(said(self.machine))
        self.keys += type_line(self.machine, command)
        wait(self.machine)
        shown = plain(said(self.machine)[before:]).removeprefix(command).removesuffix(PROMPT.decode())
        assert shown.startswith("\n"), shown
        return shown.strip()


@pytest.fixture
def grub(image: Path, at_prompt: tuple[bytes, bytes]) -> Iterator[Conversation]:
    conversation = Conversation(image, at_prompt)
    yield conversation
    conversation.machine.close()


def test_grub_comes_up_on_the_serial_port_and_answers_what_is_typed(grub: Conversation) -> None:
    assert "GNU GRUB  version 2." in plain(grub.output)
    assert grub.ask("ls") == "(hd0) (hd0,msdos1)"
    assert set(grub.ask("ls (hd0,msdos1)/").split()) == {"lost+found/", "hello.txt", "data/", "grub/"}
    settings = grub.ask("set").splitlines()
    assert {"grub_cpu=i386", "grub_platform=pc", "root=hd0,msdos1", "prefix=(hd0,msdos1)/grub"} <= set(settings)
    assert grub.ask("cat /hello.txt") == "hello from ext2"
    assert grub.ask("sha256sum /data/big.bin").split() == [hashlib.sha256(DATA).hexdigest(), "/data/big.bin"]
    assert grub.ask("cat /no-such-file") == "error: file `/no-such-file' not found."
    assert grub.ask("date").startswith("2000-01-01 00:00:0")
    memory = grub.ask("lsmmap").splitlines()
    assert "base_addr = 0x100000, length = 0xf00000, available RAM" in memory
    assert "Speed: " in grub.ask("testspeed /data/big.bin")


def test_grub_writes_to_the_disk_through_the_bios(grub: Conversation, image: Path) -> None:
    assert grub.ask("set answer=42") == ""
    assert grub.ask("save_env answer") == ""
    assert "answer=42" in grub.ask("cat /grub/grubenv")
    grub.ask("set answer=lost")
    grub.ask("load_env")
    assert grub.ask("echo $answer") == "42"
    content = grub.machine.devices.frontends["block"].backends["ide0.0"].read(0, image.stat().st_size)
    assert content.count(b"# GRUB Environment Block\nanswer=42\n#") == 1
    assert b"answer=42" not in image.read_bytes()


@pytest.mark.long  # it polls a million times
def test_grub_waits_for_a_second_of_the_machines_clock(grub: Conversation) -> None:
    second = int(grub.ask("date").split()[1][-2:])
    before = grub.machine.clock.now
    grub.ask("sleep 1")
    assert 1_000_000_000 < grub.machine.clock.now - before < 1_100_000_000
    assert int(grub.ask("date").split()[1][-2:]) == second + 1


def test_grub_halts_and_reboots_the_machine(grub: Conversation) -> None:
    machine = grub.machine
    grub.ask("set answer=42")
    type_line(machine, "reboot")
    run_until(machine, lambda: b"GNU GRUB" in said(machine))
    wait(machine)
    assert grub.ask("echo x$answer") == "x"
    type_line(machine, "halt")
    assert machine.run(until=machine.clock.now + 10**10) is Outcome.DEAD


# -- cut anywhere -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uncut:
    """A conversation that nobody cut: what was typed when, and what was left at a tick after it."""

    keys: list[Key]
    ticks: int
    end: dict[str, object]
    output: bytes


@pytest.fixture(scope="session")
def uncut(image: Path) -> Uncut:
    machine = with_grub(image)
    wait(machine)
    keys: list[Key] = []
    for command in ("ls (hd0,msdos1)/", "set answer=42", "save_env answer", "sha256sum /data/big.bin"):
        keys += type_line(machine, command)
        wait(machine)
    ticks = execution(machine).cpu.ticks + LOOK
    machine.run(ticks=ticks)
    end, output = end_of(machine), said(machine)
    machine.close()
    return Uncut(keys, ticks, end, output)


def cuts(uncut: Uncut, number: int) -> list[int]:
    """Return ticks at random: half of them while it is typed to and answers, where more happens in less time."""
    choose = Random("cuts")
    first = uncut.keys[0][0]
    return sorted(choose.randrange(*((0, first) if at % 2 else (first, uncut.ticks))) for at in range(number))


def check_cuts(uncut: Uncut, image: Path, place: Path, at: list[int]) -> None:
    """Save one run at each of the ticks, and let each snapshot go on in a process of its own."""
    machine = with_grub(image)
    keys, saves = list(uncut.keys), []
    for tick in at:
        while keys and keys[0][0] <= tick:
            type_at(machine, keys.pop(0))
        machine.run(ticks=tick)
        path = place / f"{tick}.zst"
        path.write_bytes(dumps(saved(machine)))
        saves.append((path, tuple(keys), said(machine)))
    play(machine, keys, uncut.ticks)
    assert said(machine) == uncut.output
    assert end_of(machine) == uncut.end, "the run that was saved is another one than the run that was not"
    machine.close()
    for path, rest, before in saves:
        assert uncut.output.startswith(before)
        end = end_in_another_process(path, rest, uncut.ticks, before)
        assert end == uncut.end, f"cut at tick {path.stem}"


def test_a_boot_and_a_conversation_go_on_in_another_process(uncut: Uncut, image: Path, tmp_path: Path) -> None:
    check_cuts(uncut, image, tmp_path, cuts(uncut, 20)[3::11])


@pytest.mark.long
def test_a_boot_and_a_conversation_go_on_from_each_of_20_ticks(uncut: Uncut, image: Path, tmp_path: Path) -> None:
    check_cuts(uncut, image, tmp_path, cuts(uncut, 20))


@pytest.mark.long  # SeaBIOS's boot shows it in less time
def test_what_counts_the_blocks_makes_no_difference(uncut: Uncut, image: Path) -> None:
    machine = with_grub(image, model="unicorn-portable")
    ticks = uncut.keys[0][0]
    machine.run(ticks=ticks)
    end = end_of(machine)
    machine.close()
    machine = with_grub(image)
    machine.run(ticks=ticks)
    assert end_of(machine) == end
    machine.close()
