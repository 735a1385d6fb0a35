"""Guests that triple-fault, halt for good, run into a hole, or need what the processor lacks: logged, saved, reset.

Each is a BIOS of 4 KiB in a machine of its own process, asked for on the command line.
"""

from pathlib import Path

import pytest

from tests.support.processes import Running, chkpt, line, running

EMPTY_IDT = "2e0f011e00f1"  # lidt [cs:f100h]: no entry at all, so an exception cannot be delivered
NO_SUCH = "c5fc58c0"  # vaddps ymm0, ymm0, ymm0: CPUID says that there is no AVX

GUESTS = {
    "triple fault": (EMPTY_IDT + "cc", "shutdown", "triple fault (vector 3), at f000:f007"),
    "unsupported": (EMPTY_IDT + NO_SUCH, "shutdown", "triple fault (vector 6), at f000:f006"),
    "hole": (
        EMPTY_IDT + "ea1000ffff",
        "shutdown",
        "no memory to run code from, at ffff:10",
    ),  # jmp to 1 MiB, where RAM ends
    "halt": ("faf4", "halted", "halted with interrupts off"),
}


def bios(place: Path, code: str) -> Path:
    """Make a BIOS that runs `code` from f000:f000 on; return its machine's TOML."""
    image = bytes.fromhex(code).ljust(0x100, b"\x90").ljust(0xFF0, b"\0") + bytes.fromhex("ea00f000f0").ljust(16, b"\0")
    (place / "bios.bin").write_bytes(image)
    toml = place / "m.toml"
    toml.write_text('name = "m"\nmemory = "1M"\n[cpu]\n[firmware]\nbios = "bios.bin"\n[[device]]\ntype = "port92"\n')
    return toml


def log_line(machine: Running) -> str:
    """Return what the machine's process logs about its processor."""
    said = line(machine.process.stderr)
    assert "the CPU stands still: " in said, said
    return said


@pytest.mark.parametrize(("code", "activity", "reason"), GUESTS.values(), ids=GUESTS)
def test_it_is_logged_saved_inspected_loaded_and_reset(
    home: Path, capsys: pytest.CaptureFixture[str], code: str, activity: str, reason: str
) -> None:
    toml = bios(home, code)
    with running(str(toml)) as machine:
        assert reason in (first := log_line(machine))
        assert "it can be saved and inspected, and a reset starts it again" in first
        assert chkpt(capsys, "save", "end").status == 0
        looked = chkpt(capsys, "inspect", "end", "cpu").out
        assert f'cpu.activity: "{activity}"\n' in looked, looked
        assert f'cpu.reason: "{reason if activity == "shutdown" else ""}"\n' in looked, looked
        assert chkpt(capsys, "load", "end").status == 0
        assert log_line(machine) == first
        assert chkpt(capsys, "reset").status == 0
        assert reason in log_line(machine)  # it has done the same once more
        assert chkpt(capsys, "stop").status == 0
        assert machine.wait().status == 0
    with running(str(toml), "--load", "end") as machine:  # it still stands, and stops without trouble
        assert reason in log_line(machine)
        outcome = machine.end()
        assert outcome.status == 0
        assert "Traceback" not in outcome.err
