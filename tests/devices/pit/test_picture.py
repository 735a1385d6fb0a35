"""The waveforms in docs/TIME.md are those of the device."""

import re
from pathlib import Path

import pytest

from chkpt.machine import Machine
from chkpt_devices.pit.waveform import moment

PAGE = (Path(__file__).parents[3] / "docs" / "TIME.md").read_text()
ROWS = dict(re.findall(r"^mode (\d) .*? ([#_]+)$", PAGE, re.MULTILINE))
GATE = 0x61
CONTROL = 0x43
COUNTER_2 = 0x42
TRIGGERED = (1, 5)


def test_every_mode_has_a_row() -> None:
    assert sorted(ROWS) == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("mode", range(6))
def test_out_is_as_drawn(mode: int) -> None:
    machine = Machine()
    machine.ports.outb(CONTROL, 0x90 | mode << 1)  # counter 2, LSB only
    machine.ports.outb(GATE, int(mode not in TRIGGERED))
    machine.ports.outb(COUNTER_2, 4)
    machine.ports.outb(GATE, 1)
    start, drawn = machine.clock.now, ""
    for clock in range(12):
        machine.step(moment(start, clock) - machine.clock.now)
        drawn += "###" if machine.ports.inb(GATE) & 0x20 else "___"
    assert drawn == ROWS[str(mode)]
