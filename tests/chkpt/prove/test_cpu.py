"""The prover of the processor: no guest notices a restore, and each leaf of the state that a load forgets is found."""

import dataclasses
import re
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from unittest import mock

import pytest

from chkpt.context import Checkpoint
from chkpt.errors import ConfigError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.machine.cpu import MODELS
from chkpt.machine.cpu.contract import Activity, CpuState
from chkpt.machine.cpu.power_on import power_on
from chkpt.prove.cpu import CpuProof, Program, json_proof, make_program, prove_cpu, report_lines, search
from chkpt.prove.cpu.leaves import FLAGS, IMAGE, leaves
from chkpt.prove.cpu.program import LIMIT, MACHINE, PHRASES_OF_A_PROGRAM, new_machine, put
from chkpt.prove.cpu.search import SHRINKS
from chkpt.state import from_context, to_context

AT_POWER_ON: Final = dict(leaves(dataclasses.replace(power_on(0, a20=False), sync=False)))
"""What a load that forgets a leaf leaves in it."""

UNREACHED: Final = {
    "reason": "only a shutdown has one",
    **dict.fromkeys(("rflags.RF", "rflags.VM", "rflags.VIF", "rflags.VIP"), "no program sets it"),
    "ldtr.flags": "all LDTs have the same",
    "dr4": "an alias of DR6",
    "dr5": "an alias of DR7",
    "fop": "the engine leaves it at 0",
    "msr 0x277": "the PAT has its value after power-on",
    "msr 0x402": "the log of a machine check takes zeros only",
}
"""Leaves that no program changes, or whose change no program looks at, and why."""

UNBOOTABLE: Final = {"ticks", "rip", "rsp", "cr0", "cr3", "cr4", "efer"}
"""Leaves without which no program goes on as it did: found by the first programs."""

SAMPLE: Final = (
    *("rflags.AC", "rflags.ID", "msr 0xc0000102", "xmm8", "xmm15", "mxcsr", "a20", "cr2", "dr6", "fsw", "fcw"),
    *("shadow", "activity", "msr 0xd90", "msr 0x17a", "dr0", "dr7", "ldtr.base", "tr.selector", "cs.base", "cr8"),
)
"""Leaves that a processor has lost once, or could lose unseen by a guest that does not look."""

SHOWN_BY_THE_GUEST: Final = ("msr 0x17a", "msr 0xd90", "msr 0xc0000102", "fcs", "cr2", "rflags.AC")
"""Leaves that every state could lack; random programs show soon that one does."""

SHOWN_LATER: Final = ("msr 0xc0010117", "msr 0xc0000103", "dr6", "xmm15", "shadow")
"""Others like them, which take more programs."""


OTHERS: Final = sorted(AT_POWER_ON.keys() - UNREACHED.keys() - UNBOOTABLE - set(SAMPLE))
"""All other leaves."""


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
        self.processor().load(self.change(self.processor().save()))
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
    seed: int = 0,
    models: Sequence[str] = MODELS,
) -> CpuProof:
    """Look for a processor's state that each load, or each save, of machines with some engines changes.

    What is found is made shorter in so many tries.
    """

    def make(model: str) -> Machine:
        machine = kind(parse({**MACHINE, "cpu": {"model": model, "rate": 1_000_000}}))
        machine.change = change if model in models else lambda state: state
        return machine

    with mock.patch("chkpt.prove.cpu.search.SHRINKS", shrinks):
        return prove_cpu(programs=programs, seed=seed, make=make)


def forget(name: str) -> Callable[[CpuState], CpuState]:
    """Return what makes a load forget a leaf."""
    return lambda state: with_leaf(state, name, AT_POWER_ON[name])


def test_no_guest_can_tell() -> None:
    proof = prove_cpu(programs=40)
    assert proof.finding is None, "\n".join(report_lines(proof))
    assert proof.programs == 40
    assert 280 <= proof.cuts <= 320  # a cut behind the last instruction is none
    lines = [*report_lines(proof)]
    assert lines[0].startswith(f"40 programs, {proof.cuts} cuts and loads in ")
    assert lines[-1] == "no guest could tell"


@pytest.mark.long
def test_no_guest_of_ten_thousand_can_tell_and_only_these_leaves_stand_still() -> None:
    proof = prove_cpu(programs=10_000, seed=1)
    assert proof.finding is None, "\n".join(report_lines(proof))
    assert set(proof.unreached) <= set(UNREACHED)


def test_every_field_of_the_state_has_a_hole_or_a_reason() -> None:
    def field(leaf: str) -> str:
        if leaf.startswith(("xmm", "st")) or leaf in {part for part, _, _ in IMAGE}:
            return "fxsave"
        return "dr" if re.fullmatch(r"dr\d", leaf) else re.sub("^msr$", "msrs", re.split("[. ]", leaf)[0])

    planted = {*SAMPLE, *OTHERS, *UNBOOTABLE}
    assert planted.isdisjoint(UNREACHED)
    assert planted | UNREACHED.keys() == AT_POWER_ON.keys()
    assert {field(leaf) for leaf in planted} | {"reason", "cr8"} == {each.name for each in dataclasses.fields(CpuState)}


def test_every_bit_of_the_flags_and_byte_of_the_fxsave_image_is_in_a_leaf_or_reserved() -> None:
    state = power_on(7, a20=True)
    known = dict(leaves(state))
    flags = [
        bit for bit in range(64) if dict(leaves(dataclasses.replace(state, rflags=state.rflags ^ 1 << bit))) == known
    ]
    assert flags == [1, 3, 5, 15, *range(22, 64)]  # SDM vol. 1, 3.4.3
    image = []
    for byte in range(512):
        changed = bytearray(state.fxsave)
        changed[byte] ^= 0xFF
        if dict(leaves(dataclasses.replace(state, fxsave=bytes(changed)))) == known:
            image.append(byte)
    unused = [32 + 16 * number + byte for number in range(8) for byte in range(10, 16)]
    assert image == [5, *range(28, 32), *unused, *range(416, 512)]  # SDM vol. 1, 10.5.1; 28 to 31 are MXCSR_MASK


@pytest.mark.parametrize("name", SAMPLE)
def test_a_leaf_that_a_load_forgets_is_found(name: str) -> None:
    finding = prove_without(forget(name)).finding
    assert finding is not None
    assert finding.differences


@pytest.mark.parametrize("name", ["a20", "dr0", "mxcsr"])
def test_what_is_found_is_shortened(name: str) -> None:
    finding = prove_without(forget(name), shrinks=SHRINKS).finding
    assert finding is not None
    assert len(finding.program.phrases) <= 8 < finding.length == PHRASES_OF_A_PROGRAM
    assert finding.differences


@pytest.mark.parametrize("name", sorted(UNBOOTABLE))
def test_a_leaf_without_which_no_program_goes_on_is_found_at_once(name: str) -> None:
    assert prove_without(forget(name), 5).finding is not None


@pytest.mark.long
@pytest.mark.parametrize("name", OTHERS)
def test_each_other_leaf_that_a_load_forgets_is_found(name: str) -> None:
    assert prove_without(forget(name), 3000).finding is not None


@pytest.mark.parametrize(
    "name", [*SHOWN_BY_THE_GUEST, *(pytest.param(each, marks=pytest.mark.long) for each in SHOWN_LATER)]
)
def test_a_leaf_that_no_state_holds_is_found_by_the_guest_alone(name: str) -> None:
    assert prove_without(forget(name), kind=Holey).finding is not None


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize(
    ("seed", "kind"),
    [(0, Holey), (0, Forgetful), *(pytest.param(seed, Forgetful, marks=pytest.mark.long) for seed in range(1, 5))],
)
def test_whether_an_interrupt_may_be_taken_is_state(seed: int, kind: type[Forgetful | Holey], sync: bool) -> None:
    finding = prove_without(lambda state: dataclasses.replace(state, sync=sync), kind=kind, seed=seed).finding
    assert finding is not None


@pytest.mark.parametrize("model", MODELS)
def test_loads_from_each_engine_into_the_other_are_tried(model: str) -> None:
    proof = prove_without(forget("xmm1"), models=[model])
    assert proof.finding is not None


def test_a_finding_is_made_short_at_the_same_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[Program, set[search.Cut]]] = []
    really = search._Runner.try_program

    def try_program(bench: Any, program: Program, cuts: Iterable[search.Cut]) -> Any:
        tried.append((program, set(cuts)))
        return really(bench, program, tried[-1][1])

    monkeypatch.setattr(search._Runner, "try_program", try_program)
    proof = prove_without(forget("xmm1"), shrinks=12)
    assert proof.finding is not None
    found = tried[proof.finding.number][1]
    shorter = tried[proof.finding.number + 1 :]
    assert shorter
    assert all(len(program.phrases) < PHRASES_OF_A_PROGRAM and found < cuts for program, cuts in shorter)
    again = prove_without(forget("xmm1"), shrinks=12)
    assert again.finding == proof.finding


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
