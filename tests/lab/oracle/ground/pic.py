"""What is not sent to the two 8259A and the ELCR."""

from typing import Final

from chkpt_devices.pic.chip import ABOVE, HIGHEST, Awaited, ChipState
from tests.lab.oracle.case import Case
from tests.lab.oracle.ground.limit import Limit


def _chip(case: Case) -> tuple[int, ChipState] | None:
    """Return the chip whose port is accessed, None for another port."""
    if case.sent.port not in {0x20, 0x21, 0xA0, 0xA1}:
        return None
    number = case.sent.port >> 7
    return number, case.before.chip(number)


def _is_icw1(case: Case) -> bool:
    return case.sent.writes and case.sent.port in {0x20, 0xA0} and bool(case.sent.value & 0x10)


def _is_ocw3(case: Case) -> bool:
    return case.sent.writes and case.sent.port in {0x20, 0xA0} and case.sent.value & 0x18 == 0x08


def _forgotten(case: Case) -> bool:
    sent = case.sent
    return sent.verb == "set_irq_in" and bool(sent.value) and bool(case.theirs.inputs.forgotten >> sent.line & 1)


def _driven_inputs(case: Case) -> bool:
    """Tell of an ICW1 while a device, or the slave, holds an input high: QEMU's may drive it high once more."""
    if not _is_icw1(case):
        return False
    if case.sent.port == 0xA0:
        return case.before.has("ide") and case.before.drive.interrupt
    timer = case.before.has("pit") and case.before.pit.irq and case.before.pit.counters[0].mode != 2
    serial = case.before.has("serial") and bool(case.before.pic.master.lines & 0x10)
    return case.before.pic.slave.int_out or timer or serial


def _half_initialized(case: Case) -> bool:
    chip = _chip(case)
    if chip is None or not case.sent.reads:
        return False
    state = chip[1]
    return state.poll and state.awaited is not Awaited.OCW1 and bool(state.icw4 & 0x12)


def _masked_end(case: Case) -> bool:
    chip = _chip(case)
    if chip is None or not case.sent.writes or case.sent.port & 1 or case.sent.value & 0x18:
        return False
    state = chip[1]
    order = HIGHEST[state.lowest]
    return case.sent.value >> 5 in {1, 5} and state.special_mask and order[state.isr] != order[state.isr & ~state.imr]


def _late_int(case: Case) -> bool:
    """Tell of a change of the special mask mode that changes INT."""
    chip = _chip(case)
    if chip is None or not _is_ocw3(case) or not case.sent.value & 0x40:
        return False
    state = chip[1]
    foremost = HIGHEST[state.lowest][state.isr & ~state.imr if case.sent.value & 0x20 else state.isr]
    nested = state.icw3 if state.icw4 & 0x10 and not chip[0] else 0
    enabled = (ABOVE[state.lowest][foremost] | foremost & nested) & ~state.imr
    return bool(state.irr & enabled) is not state.int_out


def _fully_nested(case: Case) -> bool:
    """Tell of what could bring the master in special fully nested mode a request other than the slave's."""
    if not case.before.has("pic"):
        return False
    sent, master = case.sent, case.before.pic.master
    if sent.writes and sent.port == 0x21 and master.awaited is Awaited.ICW4 and sent.value & 0x10:
        alone = not master.irr & ~0x04 and master.icw3 == 0x04 and not master.icw1 & 0x02
        return not alone or case.before.has("pit")
    if not master.icw4 & 0x10:
        return False
    if _is_icw1(case) and sent.port == 0x20 and sent.value & 2:
        return True  # a single chip has no slave, but QEMU's still lets its requests through
    if sent.writes and sent.port == 0x21 and master.awaited is Awaited.ICW3:
        return sent.value != 0x04
    return sent.port == 0x4D0 or (sent.verb == "set_irq_in" and sent.line < 8 and sent.line != 2 and bool(sent.value))


def _late_level(case: Case) -> bool:
    if case.sent.port not in {0x4D0, 0x4D1} or not case.sent.writes:
        return False
    state = case.before.chip(case.sent.port & 1)
    return bool((state.irr ^ state.lines) & case.sent.value)


LIMITS: Final = (
    Limit(
        "input-raised-again",
        "pic",
        "after ICW1 an input that is high counts as low, so that driving it high again is an edge",
        "8259A, ICW1: an input must make a low-to-high transition",
        _forgotten,
    ),
    Limit(
        "initialized-under-a-high-input",
        "pic",
        "the same for inputs driven by devices, which drive them again whenever they look",
        "8259A, ICW1",
        _driven_inputs,
    ),
    Limit(
        "poll-before-icw4",
        "pic",
        "ICW1 alone clears automatic EOI and special fully nested mode",
        "8259A, ICW1: only IC4 = 0 does",
        _half_initialized,
    ),
    Limit(
        "end-under-special-mask",
        "pic",
        "a non-specific EOI ends masked levels, too",
        "8259A, Special Mask Mode: it passes over them",
        _masked_end,
    ),
    Limit(
        "int-after-ocw3",
        "pic",
        "a change of the special mask mode moves INT with a later command only",
        "8259A, Special Mask Mode",
        _late_int,
    ),
    Limit(
        "special-fully-nested",
        "pic",
        "while the slave is in service every level passes",
        "8259A, Special Fully Nested Mode: only the slave's",
        _fully_nested,
    ),
    Limit(
        "level-without-a-change",
        "pic",
        "an input made level triggered requests with its next change only",
        "a level-triggered request is the level (docs/DEVICES.md)",
        _late_level,
    ),
)
