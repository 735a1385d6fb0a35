"""Every field of a processor's state comes back, into a new processor and into one that was used."""

import dataclasses
import struct
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.machine import Machine
from chkpt.machine.cpu.contract import CpuState, SegmentState, TableState
from chkpt.machine.cpu.power_on import MSRS, power_on
from tests.guests import busy, computer, execution

MODELS = ["unicorn", "unicorn-portable"]
FLAGS = 0x24_5CD5  # CF PF AF ZF SF IF DF OF NT AC ID; IOPL is 3 or 0
MACHINE_CHECKS = {0x17B, *range(0x400, 0x428, 4)}  # they take all ones or zeros
NARROW = {0x174: 0xFFFF}


def some_state(seed: int) -> CpuState:
    """Return a state with something else than after power-on in every field."""
    choose = Random(seed)

    def bits(count: int) -> int:
        return choose.getrandbits(count) | 1

    def segment(flags: int) -> SegmentState:
        return SegmentState(bits(16) & 0xFFFC, bits(32) & ~0xF, bits(32), flags)

    def msr(number: int) -> int:
        return 0 if number in MACHINE_CHECKS else bits(32) & NARROW.get(number, 0xFFFF_FFFF)

    image = struct.pack(
        "<HHBxHQQII", bits(16) & 0x1F7F, bits(16), bits(8), bits(11), bits(48), bits(48), bits(16), 0xFFFF
    )
    image += b"".join(struct.pack("<QH6x", bits(64), bits(16)) for _ in range(8)) + choose.randbytes(256)
    base = power_on(bits(40), a20=choose.random() < 0.5)
    general = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16))]
    changes: dict[str, Any] = {name: bits(64) for name in (*general, "cr2")}
    return dataclasses.replace(
        base,
        sync=False,
        shadow=choose.random() < 0.5,
        rip=bits(32),
        rflags=(bits(22) & FLAGS) | (choose.choice((0, 3)) << 12) | 2,
        es=segment(0xCF_9300),
        cs=segment(0xCF_9B00),
        ss=segment(0xCF_9300),
        ds=segment(0xCF_9300),
        fs=segment(0xCF_9300),
        gs=segment(0xCF_F300),
        ldtr=segment(0x40_8200),
        tr=segment(0x40_8B00),
        gdtr=TableState(bits(32), bits(16)),
        idtr=TableState(bits(32), bits(16)),
        cr0=0x6000_0033,
        cr3=bits(20) << 12,
        cr4=0x690,
        cr8=bits(4),
        dr=(bits(32), bits(32), bits(32), bits(32), 0, 0, bits(4) | 0xFFFF_0FF0, 0x400),
        efer=choose.choice((0, 0x801)),
        fxsave=image.ljust(512, b"\0"),
        fcs=bits(16),
        fds=bits(16),
        msrs=tuple((number, msr(number)) for number in MSRS),
        **changes,
    )


def fields(state: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the leaves of a state by their paths; of the FXSAVE image each register."""
    for field in dataclasses.fields(state):  # type: ignore[arg-type]  # a state is a dataclass
        value = getattr(state, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{path}{field.name}.")
        elif field.name == "fxsave":
            names = ("fcw", "fsw", "ftw", "fop", "fip", "fdp", "mxcsr", "mxcsr_mask")
            yield from zip(names, struct.unpack_from("<HHBxHQQII", value), strict=True)
            yield from ((f"st{number}", value[32 + 16 * number :][:10]) for number in range(8))
            yield from ((f"xmm{number}", value[160 + 16 * number :][:16]) for number in range(16))
        elif field.name == "msrs":
            yield from ((f"msr {number:#x}", content) for number, content in value)
        elif field.name == "dr":
            yield from ((f"dr{number}", content) for number, content in enumerate(value))
        else:
            yield f"{path}{field.name}", value


def reload(machine: Machine, state: CpuState) -> CpuState:
    cpu = execution(machine).cpu
    cpu.check(state)
    cpu.load(state)
    return cpu.save(sync=False)


@pytest.fixture(scope="module", params=MODELS)
def used(request: pytest.FixtureRequest) -> Iterator[Machine]:
    machine = busy(request.param)
    machine.run(ticks=100_000)
    yield machine
    machine.close()


@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 32))
def test_every_field_comes_back_whatever_the_processor_was(used: Machine, seed: int) -> None:
    state = some_state(seed)
    assert dict(fields(reload(used, state))) == dict(fields(state))


@pytest.mark.parametrize("model", MODELS)
def test_every_field_comes_back_into_a_new_processor(model: str) -> None:
    machine = computer(model)
    state = some_state(1)
    assert dict(fields(reload(machine, state))) == dict(fields(state))
    machine.close()


def test_the_state_that_is_tried_has_something_in_every_field() -> None:
    """Otherwise the tests above could not find a lost field."""
    begin = dict(fields(power_on(0, a20=True)))
    changed: set[str] = set()
    for seed in range(20):
        changed |= {name for name, value in fields(some_state(seed)) if begin[name] != value}
    # DR4 and DR5 cannot change, DR7 arms breakpoints (below), and a shutdown is not a register
    assert set(begin) - changed == {"activity", "reason", "dr4", "dr5", "dr7", "mxcsr_mask"}


def test_what_an_older_state_does_not_have_is_as_after_power_on(used: Machine) -> None:
    reload(used, some_state(3))
    older = dataclasses.replace(some_state(4), msrs=((0xC000_0102, 7),))
    expected = dict(power_on(0, a20=True).msrs) | {0xC000_0102: 7}
    assert dict(reload(used, older).msrs) == expected
