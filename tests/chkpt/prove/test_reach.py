"""What was reached is counted: registers, fields that moved, branches taken; and what was not is named."""

import sys

import pytest

from chkpt.device import Host
from chkpt.grammar import In, Insw, Out, Outsw, Rdmsr, Read, Step, Write, Wrmsr
from chkpt.prove import DeviceReach, setups_of
from chkpt.prove.bench import Bench
from chkpt.prove.reach import MEASURED, Reach, fields_of
from chkpt.state import schema
from chkpt_devices.ide.state import IdeState
from chkpt_devices.pit import PIT
from chkpt_devices.pit.chip import PitState
from tests.chkpt.prove import faulty
from tests.chkpt.prove.faulty import relay_type


def reached(*steps: Step, saved: bool = False, run: int | None = None) -> DeviceReach:
    (setup,) = setups_of(relay_type(faulty.Relay))
    bench = Bench(setup)
    reach = Reach()
    reach.add_machine(bench.machine)
    if saved:
        reach.saved(bench.machine)
    with reach.branches(1 if run is None else run):
        for step in steps:
            bench.do(step)
            reach.step(step)
    if saved:
        reach.saved(bench.machine)
    return next(each for each in reach.devices() if each.device == "relay")


def test_registers_are_those_that_are_claimed_and_answer() -> None:
    registers = reached().registers
    assert (registers.reached, registers.total) == (0, 7)
    assert set(registers.missing) == {
        "port 0x300 read",
        "port 0x300 write",
        "port 0x301 read",
        "memory 0xf0000000 read",
        "memory 0xf0000000 write",
        "MSR 0x40000000 read",
        "MSR 0x40000000 write",
    }


@pytest.mark.parametrize(
    ("step", "register"),
    [
        (In(0x300), "port 0x300 read"),
        (Out(0x300, 1), "port 0x300 write"),
        (Insw(0x301, 1), "port 0x301 read"),
        (Outsw(0x300, b"ab"), "port 0x300 write"),
        (Read(0xF000_0002, 1), "memory 0xf0000000 read"),
        (Write(0xF000_0000, 1), "memory 0xf0000000 write"),
        (Rdmsr(0x4000_0000), "MSR 0x40000000 read"),
        (Wrmsr(0x4000_0000, 1), "MSR 0x40000000 write"),
    ],
)
def test_a_step_reaches_its_register(step: Step, register: str) -> None:
    registers = reached(step).registers
    assert registers.reached == 1
    assert register not in registers.missing


def test_a_wide_access_reaches_all_its_ports() -> None:
    assert "port 0x301 read" not in reached(In(0x300, 2)).registers.missing


def test_a_buffer_is_not_counted_as_registers() -> None:
    class Framebuffer(faulty.Relay):
        def __init__(self, host: Host, config: faulty.RelayConfig) -> None:
            super().__init__(host, config)
            host.claim_memory(0xE000_0000, 1 << 20, lambda *_: 0, lambda *_: None)

    (setup,) = setups_of(relay_type(Framebuffer))
    reach = Reach()
    reach.add_machine(setup.machine())
    assert next(each for each in reach.devices() if each.device == "relay").registers.total == 7


def test_fields_are_reached_when_they_move() -> None:
    assert reached(saved=True).fields.missing == ("value", "level", "deadline", "waiting")
    fields = reached(Out(0x300, 5), In(0x301), saved=True).fields
    assert (fields.reached, fields.total, fields.missing) == (2, 4, ("level", "waiting"))


def test_a_field_of_many_parts_is_one() -> None:
    names = [*fields_of(schema(PitState))]
    assert "counters.mode" in names
    assert len(names) == len(set(names))
    assert "drive0.transfer.buffer" in [*fields_of(schema(IdeState))]


def test_branches_are_measured_in_every_so_many_runs() -> None:
    pytest.importorskip("coverage")
    if sys.gettrace() is not None:
        pytest.skip("a tracer runs already")
    measured = reached(Out(0x300, 1), In(0x301), run=MEASURED).branches
    assert measured.total
    assert 0 < measured.reached < measured.total
    assert all(branch.startswith("faulty.py:") for branch in measured.missing)
    assert reached(Out(0x300, 1), run=MEASURED + 1).branches.total is None


def test_the_files_of_a_device_are_its_own_and_its_neighbours() -> None:
    (setup,) = setups_of(PIT)
    reach = Reach()
    reach.add_machine(setup.machine())
    files = {file.rpartition("/")[2] for file in reach.files["pit"]}
    assert {"chip.py", "counter.py", "waveform.py"} <= files
    assert not {"clock.py", "device.py", "keyboard.py"} & files
