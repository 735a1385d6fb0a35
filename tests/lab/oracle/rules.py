"""The one table of where QEMU answers otherwise: each rule says which bits or edges it excuses, when, and why.

A rule for answers returns the bits that it excuses, and must find in them the very value that QEMU's own arithmetic
gives (`theirs.py`). A rule for edges says that an edge which one side has told and the other has not may stay so for
now: in the end it must come, or the comparison fails. One rule drops edges: those that have no partner at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chkpt_devices.ide.registers import DEV, HOB
from chkpt_devices.ide.state import TransferKind
from chkpt_devices.pit.counter import STATUS_NULL_COUNT, STATUS_OUT, CounterState, Phase
from chkpt_devices.pit.waveform import MODE_OF_M, SQUARE_WAVE
from tests.lab.oracle.case import DISK_LINES, TIMER_LINES, Case


def _no_bits(_case: Case) -> int:
    return 0


def _no_edges(_case: Case) -> bool:
    return False


def _no_drop(_case: Case, _verb: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Rule:
    """One difference that is known."""

    name: str
    device: str
    qemu: str
    here: str
    reason: str
    bits: Callable[[Case], int] = _no_bits
    edges: Callable[[Case], bool] = _no_edges
    drops: Callable[[Case, str], bool] = _no_drop


# -- the 8254 ---------------------------------------------------------------------------------------------------------


def _status(case: Case) -> CounterState | None:
    """Return the counter whose latched status is read, None where the command reads none."""
    if case.sent.verb != "inb" or case.counter < 0:
        return None
    state = case.before.pit.counters[case.counter]
    return state if state.latched_status is not None else None


def _count(case: Case) -> CounterState | None:
    """Return the counter of whose count a byte is read, where QEMU gives what its arithmetic gives; else None."""
    if case.sent.verb != "inb" or case.counter < 0 or _status(case) is not None:
        return None
    return case.before.pit.counters[case.counter] if case.theirs_value == case.theirs.timer.last_read else None


def _null_count(case: Case) -> int:
    unset = _status(case) is not None and not case.theirs_value & STATUS_NULL_COUNT
    return STATUS_NULL_COUNT if unset else 0


def _out(case: Case) -> tuple[CounterState, int] | None:
    """Return the counter whose OUT is read, and its bit, where QEMU gives what its arithmetic gives; else None."""
    state = _status(case)
    if state is not None:
        fits = (case.theirs_value ^ case.theirs.timer.last_read) & STATUS_OUT == 0
        return (state, STATUS_OUT) if fits else None
    if case.sent.verb != "inb" or case.sent.port != 0x61:
        return None
    fits = bool(case.theirs_value & 0x20) is case.theirs.timer.counters[2].out(case.before.now)
    return (case.before.pit.counters[2], 0x20) if fits else None


def _inverted_out(case: Case) -> int:
    found = _out(case)
    if found is None:
        return 0
    state, bit = found
    return bit if state.phase is Phase.COUNTING and MODE_OF_M[state.mode] in {1, 2, 4, 5} else 0


def _waiting_out(case: Case) -> int:
    found = _out(case)
    if found is None or found[0].phase is Phase.COUNTING:
        return 0
    return found[1]


def _odd_square_wave(case: Case) -> int:
    state = _count(case)
    if state is None or MODE_OF_M[state.mode] != SQUARE_WAVE or state.bcd:
        return 0
    count = state.count if state.latched_count is None else case.theirs.timer.counters[case.counter].latched_of
    return 0xFF if count & 1 else 0


def _bcd_count(case: Case) -> int:
    state = _count(case)
    return 0xFF if state is not None and state.bcd else 0


def _bcd_out(case: Case) -> int:
    found = _out(case)
    return found[1] if found is not None and found[0].bcd and found[0].phase is Phase.COUNTING else 0


def _bcd(case: Case) -> int:
    return _bcd_count(case) | _bcd_out(case)


def _modes_6_and_7(case: Case) -> int:
    state, found = _count(case), _out(case)
    if state is not None:
        return 0xFF if state.mode == 7 else 0
    return found[1] if found is not None and found[0].mode in {6, 7} else 0


def _early_latch(case: Case) -> int:
    state = _count(case)
    return 0xFF if state is not None and state.latched_count is not None and not state.access else 0


def _control_port(case: Case) -> int:
    return 0xFF if case.sent.verb == "inb" and case.sent.port == 0x43 and not case.theirs_value else 0


def _refresh(case: Case) -> int:
    return 0x10 if case.sent.verb == "inb" and case.sent.port == 0x61 else 0


def _nmi_disables(case: Case) -> int:
    reads = case.sent.verb == "inb" and case.sent.port == 0x61
    return case.before.pit.port_b & 0x0C if reads and not case.theirs_value & 0x0C else 0


def _rate_edge(case: Case) -> bool:
    late = case.line in TIMER_LINES and case.ours_owed == ("raise",)
    counter = case.theirs.timer.counters[0]
    passed = counter.counted(case.after.now)
    at_edge = counter.mode == 2 and counter.access != 0 and passed > 0 and passed % counter.count == 0
    return late and at_edge and not case.theirs_owed


def _rate_fall(case: Case, verb: str) -> bool:
    """Drop a fall of line 0 in mode 2: it is told of by the rise that follows."""
    return verb == "lower" and case.line == ("irq_intercept_in pic0", 0) and case.theirs.timer.pulsed


def _control_word_edge(case: Case) -> bool:
    if case.line not in TIMER_LINES or case.theirs_owed or len(case.ours_owed) != 1:
        return False
    state = case.after.pit.counters[0]
    return bool(state.access) and state.phase is Phase.AWAITING_COUNT


# -- the 16550A -------------------------------------------------------------------------------------------------------


def _mcr_at_power_on(case: Case) -> int:
    reads = case.sent.verb == "inb" and case.sent.port == 0x3FC
    return 0x08 if reads and not case.theirs.uart.mcr_written and case.theirs_value == 0x08 else 0


def _no_deltas(case: Case) -> int:
    reads = case.sent.verb == "inb" and case.sent.port == 0x3FE
    return case.before.serial.msr & 0x0F if reads and not case.theirs_value & 0x0F else 0


def _word_length(case: Case) -> int:
    reads = case.sent.verb == "inb" and case.sent.port == 0x3F8 and not case.before.serial.lcr & 0x80
    mask = case.theirs.uart.read_mask
    return ~mask & 0xFF if reads and case.ours_value == case.theirs_value & mask else 0


# -- the ATA channel --------------------------------------------------------------------------------------------------


def _error_at_power_on(case: Case) -> int:
    reads = case.sent.verb == "inb" and case.sent.port == 0x1F1
    return 0x01 if reads and not case.theirs.bus.used and not case.theirs_value else 0


def _hob_features(case: Case) -> int:
    reads = case.sent.verb == "inb" and case.sent.port == 0x1F1 and case.before.ide.control & HOB
    return 0xFF if reads and case.theirs_value == case.theirs.bus.features[0] else 0


def _absent_drive(case: Case) -> int:
    if case.sent.verb != "inb" or not 0x1F1 <= case.sent.port <= 0x1F6 or not case.before.drive.device & DEV:
        return 0
    return 0xFF if case.theirs_value == case.theirs.bus.register(case.sent.port, case.before) else 0


def _identity_words(case: Case) -> range:
    """Return the numbers of the words of IDENTIFY DEVICE that the command reads."""
    transfer = case.before.drive.transfer
    if not case.sent.words or transfer is None or transfer.kind is not TransferKind.IDENTIFY or case.before.ide.unit:
        return range(0)
    first = transfer.offset // 2
    return range(first, first + case.sent.words)


def _kept_identity(case: Case) -> int:
    """Excuse the words of IDENTIFY that commands can change, where QEMU has them as it keeps them."""
    kept, words, bits = case.theirs.bus.identity, _identity_words(case), 0
    full = 0xFF if case.sent.verb == "inb" else 0xFFFF
    for at, number in enumerate(words):
        if number in kept and case.theirs_value >> 16 * at & full == kept[number] & full:
            bits |= full << 16 * at
    return bits


TRIM_WORDS: Final = {69: 0x4000, 106: 0x6000, 169: 0x0001}
"""Deterministic reads after a trim, the word on sector sizes, and the trim itself (ATA8-ACS)."""


def _trim_words(case: Case) -> int:
    bits = 0
    for at, number in enumerate(_identity_words(case)):
        tells = TRIM_WORDS.get(number, 0)
        if case.theirs_value >> 16 * at & tells == tells:
            bits |= tells << 16 * at
    return bits


def _main_loop(case: Case) -> bool:
    return case.line in DISK_LINES and case.theirs.bus.unsettled


RULES: Final = (
    Rule(
        "null-count",
        "pit",
        "never sets the null count",
        "set until the count is in the counting element",
        "8254, Status Byte",
        bits=_null_count,
    ),
    Rule(
        "inverted-out",
        "pit",
        "OUT of modes 1, 2, 4 and 5 is high where it should be low",
        "low during the one-shot and the strobe, and for the last clock of a period",
        "8254, Mode 1, Mode 2, Mode 4, Mode 5",
        bits=_inverted_out,
    ),
    Rule(
        "out-while-waiting",
        "pit",
        "a control word leaves OUT as the old count has it; modes 1 and 5 count without a trigger",
        "OUT at the mode's first level until a count is loaded",
        "8254, each mode",
        bits=_waiting_out,
    ),
    Rule(
        "odd-square-wave",
        "pit",
        "counts an odd N as N - 2d mod N",
        "N - 1 - 2d, in each half anew",
        "8254, Mode 3: odd counts",
        bits=_odd_square_wave,
    ),
    Rule("bcd", "pit", "BCD counts in binary", "in four decades", "8254, Control Word Format", bits=_bcd),
    Rule(
        "modes-6-and-7",
        "pit",
        "count as mode 2, OUT as in mode 0",
        "modes 2 and 3 throughout",
        "8254, Control Word Format: M2 does not count",
        bits=_modes_6_and_7,
    ),
    Rule(
        "early-latch",
        "pit",
        "a latch command before any control word is lost",
        "latches",
        "8254, Counter Latch Command",
        bits=_early_latch,
    ),
    Rule(
        "port-0x43-read",
        "pit",
        "reads 0",
        "floats",
        "8254, Read/Write Operations Summary: 3-state",
        bits=_control_port,
    ),
    Rule(
        "refresh-toggle",
        "pit",
        "bit 4 of port 0x61 changes with every read",
        "with every 18 clocks",
        "IBM PC AT Technical Reference, System Timers",
        bits=_refresh,
    ),
    Rule(
        "nmi-disables",
        "pit",
        "bits 3 and 2 of port 0x61 are not stored",
        "stored",
        "PIIX4, NMISC",
        bits=_nmi_disables,
    ),
    Rule(
        "rate-edge",
        "pit",
        "line 0 rises with the clock after the one that ends a period of mode 2",
        "with that clock",
        "8254, Mode 2",
        edges=_rate_edge,
    ),
    Rule(
        "rate-fall",
        "pit",
        "line 0 falls one clock after it has risen or should have, and is low until the first period ends",
        "one clock before it rises",
        "8254, Mode 2",
        drops=_rate_fall,
    ),
    Rule(
        "control-word-edge",
        "pit",
        "line 0 goes to the mode's first level with the count",
        "with the control word, and in mode 0 with the first byte of a count",
        "8254, Mode 0, Mode 3",
        edges=_control_word_edge,
    ),
    Rule("mcr-at-power-on", "serial", "MCR is 0x08", "0x00", "16550D, table I", bits=_mcr_at_power_on),
    Rule("no-deltas", "serial", "MSR has no delta bits", "it has, in loopback, too", "16550D 8.8", bits=_no_deltas),
    Rule(
        "word-length",
        "serial",
        "characters of 5 to 7 bits come back from loopback with 8",
        "cut to their length",
        "16550D 8.1",
        bits=_word_length,
    ),
    Rule(
        "error-at-power-on",
        "ide",
        "Error is 0x00 at power-on",
        "0x01",
        "ATA/ATAPI-6, signature",
        bits=_error_at_power_on,
    ),
    Rule(
        "hob-features",
        "ide",
        "with HOB set 0x1f1 gives the Features before the last ones",
        "Error",
        "ATA/ATAPI-6, HOB",
        bits=_hob_features,
    ),
    Rule(
        "absent-drive",
        "ide",
        "an absent drive 1 has registers of its own",
        "drive 0 answers with its own",
        "ATA/ATAPI-6, single device configurations",
        bits=_absent_drive,
    ),
    Rule(
        "kept-identity",
        "ide",
        "keeps the first answer to IDENTIFY, with the translation in words 3, 4 and 6; a reset leaves the cache off",
        "words 54-59, 62, 63, 85 and 88 are live, words 3, 4 and 6 are fixed",
        "ATA/ATAPI-6, IDENTIFY DEVICE",
        bits=_kept_identity,
    ),
    Rule(
        "trim-words",
        "ide",
        "words 69, 106 and 169 of IDENTIFY tell of sector sizes and a trim command",
        "0: reserved",
        "ATA/ATAPI-6, IDENTIFY DEVICE",
        bits=_trim_words,
    ),
    Rule(
        "main-loop",
        "ide",
        "INTRQ comes from the main loop, until BSY is clear",
        "with the command",
        "no hidden time (docs/DEVICES.md)",
        edges=_main_loop,
    ),
)


def excused_bits(case: Case) -> dict[str, int]:
    """Return by rule the differing bits of an answer that it excuses; of a bit with two reasons the first is named."""
    left = case.differing
    found: dict[str, int] = {}
    for rule in RULES:
        bits = rule.bits(case) & left if left and case.before.has(rule.device) else 0
        if bits:
            found[rule.name] = bits
            left &= ~bits
    return found


def excused_edges(case: Case) -> str | None:
    """Return the rule for which edges may stay without a partner, or None."""
    for rule in RULES:
        if case.before.has(rule.device) and rule.edges(case):
            return rule.name
    return None


def dropped(case: Case, verb: str) -> str | None:
    """Return the rule by which an edge has no partner, or None."""
    for rule in RULES:
        if case.before.has(rule.device) and rule.drops(case, verb):
            return rule.name
    return None
