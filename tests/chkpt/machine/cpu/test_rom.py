"""Code in the ROM below 4 GiB. The source, `tests/guests/rom.asm`, has what the guest does, and what it writes down."""

import struct
from pathlib import Path
from random import Random

import pytest

from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.execution import Outcome
from chkpt.snapshot import dumps, loads
from tests.guests import HERE, differences, everything, execution, finish
from tests.support.rig import saved

ROM = HERE / "rom.bin"
IMAGE = ROM.read_bytes()
PLACE = (1 << 32) - len(IMAGE)
RESULT = 0x5000
MARK = 0x600D
ALIAS = 0x40_0000 - 0xFFC0_0000
"""What is added to an address in the ROM to have it in the alias that the guest's page tables make."""


def machine(model: str = "unicorn", path: Path = ROM) -> Machine:
    return Machine(parse({"memory": "2M", "cpu": {"model": model}, "firmware": {"bios": str(path)}}))


@pytest.fixture(scope="module")
def uncut() -> tuple[dict[str, object], int]:
    """What is saved of a run that was not cut, and its ticks."""
    one = machine()
    assert finish(one) is Outcome.DEAD
    result = everything(one), execution(one).cpu.ticks
    one.close()
    return result


@pytest.mark.parametrize("model", ["unicorn", "unicorn-portable"])
def test_code_runs_in_the_rom_which_stays_as_it_is(model: str) -> None:
    one = machine(model)
    assert finish(one) is Outcome.DEAD, execution(one).cpu.reason
    mark, read, added, popped, interrupts, calls, aliased, total = struct.unpack("<8I", one.memory.read(RESULT, 32))
    assert (mark, interrupts, calls) == (MARK, 2, 2)
    assert read == added == popped == 0xCAFE_F00D
    assert IMAGE[(aliased - ALIAS) - PLACE - 5] == 0xE8, "it is not behind the CALL that pushed it"
    assert total == sum(struct.unpack("<2048I", IMAGE)) & 0xFFFF_FFFF
    assert execution(one).save().cs.selector == 8
    assert PLACE <= execution(one).save().rip < 1 << 32
    assert one.memory.read(PLACE, len(IMAGE)) == IMAGE
    one.close()


def test_both_engines_run_alike(uncut: tuple[dict[str, object], int]) -> None:
    one = machine("unicorn-portable")
    finish(one)
    assert not list(differences(everything(one), uncut[0]))
    one.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_guest_in_the_rom_is_cut_and_goes_on_in_another_machine(
    seed: int, uncut: tuple[dict[str, object], int]
) -> None:
    choose = Random(seed)
    one = machine()
    for at in sorted(choose.randrange(uncut[1]) for _ in range(6)):
        one.run(ticks=at)
        snapshot = dumps(saved(one))
        one.close()
        one = machine(choose.choice(("unicorn", "unicorn-portable")))
        if choose.random() < 0.5:
            finish(one)  # a used machine, which has translated the ROM's code and has its page tables on
        one.load(loads(snapshot))
    assert finish(one) is Outcome.DEAD
    assert not list(differences(everything(one), uncut[0]))
    one.close()


def test_two_machines_have_a_rom_each(tmp_path: Path) -> None:
    other_image = IMAGE.replace(struct.pack("<I", MARK), struct.pack("<I", MARK + 1), 1)
    path = tmp_path / "other.bin"
    path.write_bytes(other_image)
    one, other = machine(), machine(path=path)
    for ticks in range(0, 200_000, 10_000):
        one.run(ticks=ticks)
        other.run(ticks=ticks)
    assert finish(one) is finish(other) is Outcome.DEAD
    assert [each.memory.load(RESULT, 4) for each in (one, other)] == [MARK, MARK + 1]
    assert other.memory.load(RESULT + 0x1C, 4) == sum(struct.unpack("<2048I", other_image)) & 0xFFFF_FFFF
    one.close()
    other.close()


def test_the_rom_is_as_it_was_after_a_reset() -> None:
    one = machine()
    finish(one)
    first = one.memory.read(RESULT, 32)
    one.memory.write(RESULT, bytes(32))
    one.reset()
    assert one.run(until=2_000_000_000) is Outcome.DEAD
    assert one.memory.read(RESULT, 32) == first
    one.close()
