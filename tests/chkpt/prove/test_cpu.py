"""The prover of the processor: no guest can tell, and each leaf of the state that a load forgets is found."""

import dataclasses
import struct
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import ConfigError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu.contract import Activity, CpuState
from chkpt.machine.cpu.power_on import power_on
from chkpt.prove.cpu import CpuProof, json_proof, make_program, prove_cpu, report_lines
from chkpt.prove.cpu.fields import FLAGS, IMAGE, leaves
from chkpt.prove.cpu.program import LIMIT, MACHINE, PHRASES_OF_A_PROGRAM, new_machine, put
from chkpt.prove.cpu.search import SHRINKS
from chkpt.state import from_context, to_context

AT_POWER_ON: Final = dict(leaves(dataclasses.replace(power_on(0, a20=False), sync=False)))
"""What a load that forgets a leaf leaves in it."""

UNREACHED: Final = {
    "activity": "a program that halts for good is over",
    "sync": "the loop works it out again, at the ticks where it looks",
    "reason": "only a shutdown has one",
    **dict.fromkeys(("rflags.TF", "rflags.NT", "rflags.RF", "rflags.VM", "rflags.VIF", "rflags.VIP"), "not used"),
    "rflags.IOPL": "programs run at CPL 0",
    **dict.fromkeys(("cs.base", "ss.base", "ds.base"), "programs are flat"),
    **{f"{name}.{part}": "not loaded" for name in ("ldtr", "tr") for part in ("selector", "base", "limit", "flags")},
    "cr8": "there is no local APIC",
    "dr4": "an alias of DR6",
    "dr5": "an alias of DR7",
    "fop": "the engine leaves it at 0",
    "msr 0x277": "the PAT has its value after power-on",
    "msr 0x402": "the log of a machine check takes zeros only",
}
"""Leaves that no program changes, or whose change no program looks at, and why."""

UNBOOTABLE: Final = {"ticks", "rip", "rsp", "cr0", "cr3", "cr4", "efer"}
"""Leaves without which no program would go on at all: found by the first cut, or refused."""

SAMPLE: Final = (
    *("rflags.AC", "rflags.ID", "msr 0xc0000102", "xmm8", "xmm15", "mxcsr", "a20", "cr2", "dr6", "fsw", "fcw"),
    *("shadow", "msr 0xd90", "msr 0x17a", "dr0", "dr7"),
)
"""Leaves that a processor has lost once, or could lose unseen by a guest that does not look."""

SHOWN_BY_THE_GUEST: Final = ("msr 0x17a", "msr 0xd90", "msr 0xc0000102", "fcs", "cr2", "rflags.AC")
"""Leaves that every state could lack; random programs show soon that one does."""

SHOWN_LATER: Final = ("msr 0xc0010117", "msr 0xc0000103", "dr6", "xmm15", "shadow")
"""Others like them, which take more programs."""


def with_leaf(state: CpuState, name: str, value: Any) -> CpuState:
    """Return a state with another value in one leaf, as `leaves` names it."""
    kind, _, part = name.partition(".")
    if kind == "rflags":
        at, width = (12, 3) if part == "IOPL" else (FLAGS[part], 1)
        return dataclasses.replace(state, rflags=state.rflags & ~(width << at) | value << at)
    if part:
        return dataclasses.replace(state, **{kind: dataclasses.replace(getattr(state, kind), **{part: value})})
    if name.startswith("msr "):
        msrs = tuple((number, value if number == int(name[4:], 16) else old) for number, old in state.msrs)
        return dataclasses.replace(state, msrs=msrs)
    if name.startswith("dr"):
        registers = list(state.dr)
        registers[int(name[2:])] = value
        return dataclasses.replace(state, dr=tuple(registers))
    if name in AT_POWER_ON and name not in {field.name for field in dataclasses.fields(state)}:
        return dataclasses.replace(state, fxsave=_with_register(bytearray(state.fxsave), name, value))
    return dataclasses.replace(state, **{name: value})


def _with_register(image: bytearray, name: str, value: Any) -> bytes:
    places = {part: (form, at) for part, form, at in IMAGE}
    if name in places:
        struct.pack_into(places[name][0], image, places[name][1], value)
    else:
        start = 32 + 16 * int(name[2:]) if name.startswith("st") else 160 + 16 * int(name[3:])
        image[start : start + len(value)] = value
    return bytes(image)


class Forgetful(Machine):
    """A machine whose loads change the processor's state."""

    change: Callable[[CpuState], CpuState]

    def load(self, checkpoint: Any, *args: Any, **options: Any) -> Any:
        loaded = super().load(checkpoint, *args, **options)
        self.processor().cpu.load(self.change(self.processor().save()))
        return loaded


class Holey(Machine):
    """A machine whose checkpoints lack a part of the processor's state: only the guest can show it."""

    change: Callable[[CpuState], CpuState]

    def save(self, checkpoint: Checkpoint, **options: Any) -> Any:
        report = super().save(checkpoint, **options)
        state = self.change(from_context(checkpoint.contexts["cpu"], CpuState, "cpu"))
        checkpoint.contexts["cpu"] = to_context(state, "cpu")
        return report


def prove_without(
    change: Callable[[CpuState], CpuState],
    programs: int = 300,
    kind: type[Forgetful | Holey] = Forgetful,
    *,
    shrinks: int = 0,
) -> CpuProof:
    """Look for a processor's state that each load, or each save, changes; shorten what is found in so many tries."""

    def make() -> Machine:
        machine = kind(parse({**MACHINE, "cpu": {"model": "unicorn", "rate": 1_000_000}}))
        machine.change = change
        return machine

    with mock.patch("chkpt.prove.cpu.search.SHRINKS", shrinks):
        return prove_cpu(programs=programs, make=make)


def forget(name: str) -> Callable[[CpuState], CpuState]:
    """Return what makes a load forget a leaf."""
    return lambda state: with_leaf(state, name, AT_POWER_ON[name])


def test_no_guest_can_tell() -> None:
    proof = prove_cpu(programs=40)
    assert proof.finding is None, "\n".join(report_lines(proof))
    assert (proof.programs, proof.cuts) == (40, 320)
    lines = [*report_lines(proof)]
    assert lines[0].startswith("40 programs, 320 cuts and loads in ")
    assert lines[-1] == "no guest could tell"


@pytest.mark.long
def test_no_guest_of_ten_thousand_can_tell_and_only_these_leaves_stand_still() -> None:
    proof = prove_cpu(programs=10_000, seed=1)
    assert proof.finding is None, "\n".join(report_lines(proof))
    assert set(proof.unreached) <= set(UNREACHED)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_leaf_that_a_load_forgets_is_found(name: str) -> None:
    finding = prove_without(forget(name)).finding
    assert finding is not None
    assert finding.differences


@pytest.mark.parametrize("name", ["a20", "dr0", "mxcsr"])
def test_what_is_found_is_shortened(name: str) -> None:
    finding = prove_without(forget(name), shrinks=SHRINKS).finding
    assert finding is not None
    assert len(finding.program.phrases) <= 5 < finding.length == PHRASES_OF_A_PROGRAM
    assert finding.differences


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(AT_POWER_ON.keys() - UNREACHED.keys() - UNBOOTABLE - set(SAMPLE)))
def test_each_other_leaf_that_a_load_forgets_is_found(name: str) -> None:
    assert prove_without(forget(name), 3000).finding is not None


@pytest.mark.parametrize(
    "name", [*SHOWN_BY_THE_GUEST, *(pytest.param(each, marks=pytest.mark.long) for each in SHOWN_LATER)]
)
def test_a_leaf_that_no_state_holds_is_found_by_the_guest_alone(name: str) -> None:
    assert prove_without(forget(name), kind=Holey).finding is not None


def test_denormals_are_zeros_is_a_bit_of_its_own() -> None:
    def clear(state: CpuState) -> CpuState:
        mxcsr = dict(leaves(state))["mxcsr"]
        assert isinstance(mxcsr, int)
        return with_leaf(state, "mxcsr", mxcsr & ~0x40)

    assert prove_without(clear).finding is not None


def test_a_finding_is_shown_as_a_listing_and_as_json() -> None:
    proof = prove_without(forget("dr0"), shrinks=SHRINKS)
    finding = proof.finding
    assert finding is not None
    lines = [*report_lines(proof)]
    assert lines[0] == f"a restore shows, in program {finding.number} of seed 0, cut at tick {finding.tick}:"
    (first, *_) = [number for number, line in enumerate(lines) if line.startswith("; ")]
    code = "".join(line.split()[1] for line in lines[first + 1 :] if line[:4] >= "8000" and "  ; " in line)
    assert bytes.fromhex(code) in finding.program.code()
    plain = json_proof(proof)["finding"]
    assert isinstance(plain, dict)
    assert plain["phrases"] == len(finding.program.phrases)
    assert plain["tick"] == finding.tick


def test_equal_seeds_make_equal_programs_in_all_three_modes() -> None:
    programs = [make_program(seed) for seed in range(30)]
    assert programs == [make_program(seed) for seed in range(30)]
    assert [each.code() for each in programs] == [make_program(seed).code() for seed in range(30)]
    assert {each.bits for each in programs} == {16, 32, 64}


@pytest.mark.parametrize("seed", range(12))
def test_a_program_ends_halted_with_interrupts_off(seed: int) -> None:
    machine = new_machine()
    try:
        put(make_program(seed), machine)
        machine.run(ticks=LIMIT)
        state = machine.processor().save()
    finally:
        machine.close()
    assert state.activity == Activity.HALTED
    assert not state.rflags & 0x200
    assert state.ticks <= LIMIT


@pytest.mark.parametrize("name", AT_POWER_ON)
def test_a_leaf_is_changed_alone(name: str) -> None:
    state = power_on(7, a20=True)
    old = dict(leaves(state))[name]
    if name in ("reason", "activity"):
        other: Any = "a reason" if name == "reason" else Activity.SHUTDOWN
    elif isinstance(old, bytes):
        other = bytes(byte ^ 1 for byte in old)
    else:
        assert isinstance(old, int)
        other = not old if isinstance(old, bool) else old ^ 1
    changed = dict(leaves(with_leaf(state, name, other)))
    assert {each for each, value in leaves(state) if changed[each] != value} == {name}


def test_without_a_processor_it_is_refused() -> None:
    with pytest.raises(ConfigError):
        new_machine("no such engine")
