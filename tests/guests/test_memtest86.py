"""memtest86+, as Debian has it, loaded by GRUB: it reaches its test screen, and finds what is wrong with memory."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from chkpt.machine import Machine
from tests.guests import execution
from tests.guests.board import LOOK, TYPING, board, run_until, said, screen, type_at, type_line
from tests.guests.grub import grub_disk
from tests.guests.packages import package

FAULT: Final = 0x50_0000
"""An address that is under test, and holds neither the program nor its data."""

BIT: Final = 0x10


@pytest.fixture(params=["memtest86+ia32.bin", pytest.param("memtest86+x64.bin", marks=pytest.mark.long)])
def testing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """Boot it, and let it test until the first test of memory with patterns is under way."""
    image = tmp_path / "memtest.img"
    image.write_bytes(grub_disk({"memtest": (package("memtest86+") / "boot" / request.param).read_bytes()}))
    machine = board({"unit": 0, "media": "disk", "image": str(image)}, memory="8M")
    run_until(machine, lambda: said(machine).endswith(b"grub> "))
    type_line(machine, "linux /memtest")
    run_until(machine, lambda: said(machine).count(b"grub> ") == 2)
    type_line(machine, "boot")
    run_until(machine, lambda: "<Enter> to start testing" in screen(machine))
    type_at(machine, (execution(machine).cpu.ticks + TYPING, "\r"), "i8042")  # else it waits for ten seconds
    run_until(machine, lambda: "Test #3" in screen(machine) and "Pattern: 0x" in screen(machine))
    yield machine
    machine.close()


def errors(machine: Machine) -> int:
    """Return the number of errors that it shows."""
    found = re.search(r"Errors: +(\d+)", screen(machine))
    assert found is not None, screen(machine)
    return int(found[1])


def test_it_tests_and_finds_nothing_until_a_bit_does_not_stay(testing: Machine) -> None:
    shown = screen(testing)
    for expected in (
        r"Memtest86\+ +v6\.\d+ +│ chkpt virtual CPU",
        r"CLK/Temp: +1000MHz",
        r"Memory +: +8MB",
        r"Test #3 +\[Moving inversions, 1s & 0s\]",
        r"Status: Testing",
    ):
        assert re.search(expected, shown), shown
    assert errors(testing) == 0, shown
    ram = testing.memory
    for _ in range(2000):
        ram.write(FAULT, bytes([ram.load(FAULT, 1) ^ BIT]))
        testing.run(ticks=execution(testing).cpu.ticks + LOOK)
        if errors(testing):
            break
    found = re.search(rf" 3 +0+{FAULT:x} \(5MB\) +([0-9a-f]+) +([0-9a-f]+)", screen(testing))
    assert found is not None, screen(testing)
    assert int(found[1], 16) ^ int(found[2], 16) == BIT
