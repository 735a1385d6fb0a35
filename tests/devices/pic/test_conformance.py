"""The 8259A pair against a reference chip written from the datasheet (Intel, 231468) that asks level by level.

What is exhaustive and what is sampled: every ISR x IRR is always gone through. The normal run has each of these 65,536
pairs on one of the two chips, and draws for it one mode, lowest level, mask, cascade and access; the long run has each
on both chips, in every mode and with every lowest level, 4.2 million states, and draws mask, cascade and access. The
draws are seeded.
"""

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chkpt.snapshot import dumps, loads
from chkpt_devices.pic import EdgeRequest
from chkpt_devices.pic.chip import Awaited, ChipState, PicState
from tests.devices.pic.bench import (
    EOI,
    MASTER,
    MASTER_DATA,
    POLL,
    READ_IRR,
    READ_ISR,
    ROTATE_EOI,
    SET_PRIORITY,
    SLAVE,
    SLAVE_DATA,
    Board,
)
from tests.devices.pic.model import Chip8259, Pair8259
from tests.support.rig import saved

PORTS = (MASTER, MASTER_DATA, SLAVE, SLAVE_DATA, 0x4D0, 0x4D1)

MODES: Mapping[str, Mapping[str, Any]] = {
    "fully nested": {},
    "special mask": {"special_mask": True},
    "automatic EOI": {"icw4": 0x03},
    "automatic EOI, rotating": {"icw4": 0x03, "rotate_on_aeoi": True},
    "special fully nested": {"icw4": 0x11},
    "special fully nested, special mask": {"icw4": 0x11, "special_mask": True},
    "level triggered": {"icw1": 0x19},
    "MCS-80, automatic EOI, level triggered": {"icw1": 0x1D, "icw4": 0x02},
}

BENCHES = {each: Board(edge_request=each) for each in EdgeRequest}
Access = tuple[str, int, int]


def do(board: Board, pair: Pair8259, access: Access) -> None:
    """Do an access on both, and compare the answer, every register and the pins."""
    kind, where, value = access
    match kind:
        case "out":
            board.out(where, value)
            pair.outb(where, value)
        case "in":
            assert board.inp(where) == pair.inb(where)
        case "line":
            board.machine.irq.force(where, bool(value))
            pair.set_line(where, bool(value))
        case _:
            assert board.ack() == pair.acknowledge()
    compare(board, pair)


def compare(board: Board, pair: Pair8259) -> None:
    state = pair.state()
    assert board.pic.save() == state
    assert (board.intr(), board.machine.irq.level(2)) == (state.master.int_out, state.slave.int_out)


# -- every ISR x IRR --------------------------------------------------------------------------------------------------


def chip(choose: random.Random, isr: int, irr: int, lowest: int, mode: Mapping[str, Any]) -> ChipState:
    masks = (0, 0, choose.randrange(256)) if "special_mask" not in mode else (isr, choose.randrange(256))
    state = ChipState(isr=isr, irr=irr, lines=irr, lowest=lowest, imr=choose.choice(masks), icw2=choose.randrange(256))
    return replace(state, **mode)


def pair_in(choose: random.Random, isr: int, irr: int, lowest: int, mode: str) -> Pair8259:
    """Return a pair whose master has this ISR and IRR, and whose slave has them the other way round.

    Both are in the mode, of which special fully nested changes nothing at a slave. Level triggered, the master's IR2
    requests as the slave's INT says. What becomes of an edge whose input falls is drawn, for both.
    """
    fields = MODES[mode]
    withdraws = choose.random() < 0.5
    slave = Chip8259.of(chip(choose, irr, isr, choose.choice([lowest, 7]), fields), master=False, withdraws=withdraws)
    slave.icw3 = 2
    master = Chip8259.of(chip(choose, isr, irr, lowest, fields), master=True, withdraws=withdraws)
    master.icw3 = choose.choice([0x04, 0x04, 0x00, choose.randrange(256)])
    master.pins[2] = slave.int_out()
    master.follow_pins()
    return Pair8259(master, slave)


def access(choose: random.Random) -> Access:
    """Return an acknowledge, an OCW2, an OCW3, an OCW1 or a line's change."""
    command = choose.choice([MASTER, SLAVE])
    return choose.choice(
        [
            ("ack", 0, 0),
            ("ack", 0, 0),
            ("out", command, choose.randrange(8) << 5 | choose.randrange(8)),  # OCW2
            ("out", command, 0x08 | choose.choice([0x00, 0x40, 0x60]) | choose.randrange(8)),  # OCW3
            ("out", command + 1, choose.randrange(256)),  # OCW1
            ("line", choose.choice([0, 1, 3, 4, 5, 6, 7, 8, 9, 12, 15]), choose.randrange(2)),
        ]
    )


def check_from(pair: Pair8259, *accesses: Access) -> None:
    """Bring the product to this state, which a load refuses if INT is not what it would be, and go on from there."""
    before = pair.state()
    bench = BENCHES[EdgeRequest.WITHDRAWN if pair.master.withdraws else EdgeRequest.KEPT]
    bench.machine.irq.outside = 0
    bench.pic.load(before)
    bench.machine.irq.outside = before.master.lines & ~0x04 | before.slave.lines << 8
    compare(bench, pair)
    for each in accesses:
        do(bench, pair, each)


@pytest.mark.parametrize("block", range(16))
def test_every_isr_and_irr_gives_int_vector_and_registers_of_the_reference_chip(block: int) -> None:
    choose = random.Random(block)
    for isr in range(block << 4, block + 1 << 4):
        for irr in range(isr + 1):  # the slave has the other half
            pair = pair_in(choose, isr, irr, choose.randrange(8), choose.choice(tuple(MODES)))
            check_from(pair, access(choose))


@pytest.mark.parametrize("port", [MASTER, SLAVE])
def test_every_ocw2_from_every_isr(port: int) -> None:
    choose = random.Random(port)
    for isr in range(256):
        for command in range(0, 256, 0x20):
            levels = range(8) if command & 0x40 else (choose.randrange(8),)  # which L2-L0 count without SL is none
            for level in levels:
                pair = pair_in(choose, isr, isr, choose.randrange(8), choose.choice(tuple(MODES)))
                check_from(pair, ("out", port, command | level))


@pytest.mark.parametrize("port", [MASTER, SLAVE])
@pytest.mark.parametrize("mode", MODES)
def test_a_poll_from_every_irr(port: int, mode: str) -> None:
    choose = random.Random(mode)
    for irr in range(256):
        pair = pair_in(choose, choose.choice([0, 0x80, irr]), irr, choose.randrange(8), mode)
        check_from(pair, ("out", port, POLL), ("in", port + choose.randrange(2), 0), ("in", port, 0))


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lowest", range(8))
def test_every_isr_and_irr_in_every_mode_and_rotation(mode: str, lowest: int) -> None:
    choose = random.Random(f"{mode} {lowest}")
    for isr in range(256):
        for irr in range(256):
            check_from(pair_in(choose, isr, irr, lowest, mode), access(choose))


# -- from any state ---------------------------------------------------------------------------------------------------

bytes_ = st.integers(0, 0xFF)


@st.composite
def chips(draw: st.DrawFn, elcr_mask: int) -> ChipState:
    """Draw the registers of a chip; its IRR and INT are not yet what its inputs and registers make of them."""
    icw1 = draw(bytes_) | 0x10
    awaited = [Awaited.OCW1, Awaited.ICW2]
    if not icw1 & 0x02:
        awaited.append(Awaited.ICW3)
    if icw1 & 0x01:
        awaited.append(Awaited.ICW4)
    return ChipState(
        irr=draw(bytes_),
        isr=draw(bytes_),
        imr=draw(bytes_),
        lines=draw(bytes_),
        elcr=draw(bytes_) & elcr_mask,
        icw1=icw1,
        icw2=draw(bytes_),
        icw3=draw(bytes_),
        icw4=draw(bytes_) if icw1 & 0x01 else 0,
        awaited=draw(st.sampled_from(awaited)),
        lowest=draw(st.integers(0, 7)),
        rotate_on_aeoi=draw(st.booleans()),
        special_mask=draw(st.booleans()),
        poll=draw(st.booleans()),
        read_isr=draw(st.booleans()),
    )


@st.composite
def pairs(draw: st.DrawFn) -> Pair8259:
    """Draw any state that a pair can be in, of either kind of edges."""
    withdraws = draw(st.booleans())
    slave = Chip8259.of(draw(chips(elcr_mask=0xDE)), master=False, withdraws=withdraws)
    master = Chip8259.of(draw(chips(elcr_mask=0xF8)), master=True, withdraws=withdraws)
    for each in (slave, master):
        if withdraws:
            each.irr = [asks and high for asks, high in zip(each.irr, each.pins, strict=True)]
        each.follow_pins()
    master.pins[2] = slave.int_out()
    if withdraws and not master.pins[2]:
        master.irr[2] = False
    master.follow_pins()
    return Pair8259(master, slave)


accesses = st.one_of(
    st.just(("ack", 0, 0)),
    st.tuples(st.just("in"), st.sampled_from(PORTS), st.just(0)),
    st.tuples(st.just("out"), st.sampled_from(PORTS), bytes_),
    st.tuples(st.just("line"), st.integers(0, 15).filter(lambda line: line != 2), st.integers(0, 1)),
)


@given(pairs())
def test_every_possible_state_loads_as_it_is(pair: Pair8259) -> None:
    check_from(pair)


@settings(max_examples=150)
@given(pairs(), st.lists(accesses, min_size=1, max_size=3))
def test_any_access_from_any_state_does_what_the_reference_pair_does(pair: Pair8259, some: list[Access]) -> None:
    check_from(pair, *some)


# -- the same through the ports ---------------------------------------------------------------------------------------


def alone(lowest: int = 7) -> Board:
    """Return a board whose master is set up as the only chip, vectors from 0x20."""
    board = Board()
    board.out(MASTER, 0x13)
    board.out(MASTER_DATA, 0x20, 0x01)
    board.out(MASTER, SET_PRIORITY | lowest)
    return board


def by_priority(levels: int, lowest: int) -> list[int]:
    """Return the levels in a mask by the datasheet's picture of Automatic Rotation: the lowest's successor is first."""
    return [level % 8 for level in range(lowest + 1, lowest + 9) if levels >> level % 8 & 1]


@pytest.mark.parametrize("lowest", range(8))
def test_every_irr_is_served_in_order_of_priority(lowest: int) -> None:
    """Datasheet, "Fully Nested Mode" and "Specific Rotation"."""
    board = alone(lowest)
    for irr in range(256):
        board.pulse(*by_priority(irr, 3))
        assert board.irr() == irr
        vectors = []
        while board.intr():
            vectors.append(board.ack() - 0x20)
            assert board.isr() == 1 << vectors[-1]
            board.out(MASTER, EOI)
        assert vectors == by_priority(irr, lowest)
        assert (board.irr(), board.isr()) == (0, 0)


@pytest.mark.parametrize("lowest", range(8))
def test_every_isr_is_reached_from_the_lowest_up_and_ended_from_the_highest_down(lowest: int) -> None:
    """Datasheet, "Fully Nested Mode" and "End of Interrupt"."""
    board = alone(lowest)
    for isr in range(256):
        levels = by_priority(isr, lowest)
        for level in reversed(levels):
            board.pulse(level)
            assert board.intr()
            assert board.ack() == 0x20 + level
        assert board.isr() == isr
        for level in range(8):
            board.pulse(level)
            first = by_priority(isr | 1 << level, lowest)[0] == level and not isr >> level & 1
            assert board.intr() is first
            board.out(MASTER_DATA, 1 << level)
            assert not board.intr()
            board.out(MASTER_DATA, 0)
            if first:
                assert board.ack() == 0x20 + level
                board.out(MASTER, EOI)
            else:  # take the request back: no port does, but an initialization
                board.pic.load(PicState(replace(board.master, irr=0), board.slave))
        for number, level in enumerate(levels):
            assert by_priority(board.isr(), lowest)[0] == level
            board.out(MASTER, EOI)
            assert by_priority(board.isr(), lowest) == levels[number + 1 :]


def test_rotation_on_eoi_gives_eight_equal_devices_equal_turns() -> None:
    """Datasheet, "Automatic Rotation (Equal Priority Devices)": a device waits for seven others at the most."""
    board = alone()
    board.pulse(*range(8))
    turns = []
    for _ in range(32):
        turns.append(board.ack() - 0x20)
        board.out(MASTER, ROTATE_EOI)
        board.pulse(turns[-1])
    assert turns == [*range(8)] * 4


# -- requests: edge, level, spurious ----------------------------------------------------------------------------------

# "+" the input rises, "-" it falls, "a" an acknowledge, "e" the EOIs, "i" ICW1 to ICW4 once more; after each: INT
EDGE = {
    # "It will not generate another interrupt unless the request goes low and high": "Edge and Level Triggered Modes"
    "+": "1",
    "+-": "11",
    "+a-e": "1000",
    "+ae-+": "10001",
    "+a-+e": "10001",
    "+-a+e": "11001",
    "+i-+": "1001",
}
WITHDRAWN = {
    # The input must stay high "until after the falling edge of the first INTA": the same section
    **EDGE,
    "+-": "10",
    "+-+": "101",
    "+-a+e": "10011",
    "+-+ae-+": "1010001",
}
LEVEL = {
    # "The interrupt request must be removed before the EOI command is issued": the same section
    "+": "1",
    "+-": "10",
    "+-+": "101",
    "+a-e": "1000",
    "+ae": "101",
    "+aeae-": "101010",
    "+i-": "110",
}
INPUTS = [(how, line) for how in ("edge", "withdrawn") for line in (0, 3, 7, 8, 10, 15)]
INPUTS += [("LTIM", line) for line in (0, 3, 7, 8, 10, 15)]
INPUTS += [("ELCR", line) for line in (3, 4, 7)]  # behind a slave's the master's IR2 would still be edge triggered


@pytest.mark.parametrize(("how", "line"), INPUTS)
def test_an_input_requests_by_edge_or_by_level(how: str, line: int) -> None:
    for events, expected in {"edge": EDGE, "withdrawn": WITHDRAWN}.get(how, LEVEL).items():
        board = Board(edge_request="withdrawn" if how == "withdrawn" else "kept")
        seen = ""
        for event in "i" + events:
            match event:
                case "+":
                    board.up(line)
                case "-":
                    board.down(line)
                case "a":
                    board.ack()
                case "e":
                    board.out(SLAVE, EOI)
                    board.out(MASTER, EOI)
                case _:
                    board.init(icw1=0x19 if how == "LTIM" else 0x11)
                    board.out(0x4D0, 1 << line if how == "ELCR" else 0)
            seen += str(int(board.intr()))
        assert (events, seen[1:]) == (events, expected)


@pytest.mark.parametrize("line", [*range(2), *range(3, 16)])
@pytest.mark.parametrize("gone", ["low", "masked"])
def test_a_request_that_is_gone_at_the_acknowledge_is_the_chips_ir7(line: int, gone: str) -> None:
    """Datasheet, "Edge and Level Triggered Modes": "a default IR7 ... the corresponding ISR bit is not set"."""
    board = Board().init(icw1=0x19)
    board.up(line)
    assert board.intr()
    if gone == "low":
        board.down(line)
    else:
        board.out(SLAVE_DATA if line > 7 else MASTER_DATA, 1 << line % 8)
    assert not board.intr()
    assert board.ack() == 0x0F  # all is level triggered: the master's request is gone as well
    assert (board.isr(MASTER), board.isr(SLAVE)) == (0, 0)


@pytest.mark.parametrize("line", [*range(2), *range(3, 16)])
def test_an_edge_that_is_withdrawn_before_the_acknowledge_is_the_masters_ir7(line: int) -> None:
    board = Board(edge_request="withdrawn").init()
    board.up(line)
    assert board.intr()
    board.down(line)
    assert not board.intr()
    assert (board.irr(MASTER), board.irr(SLAVE)) == (0, 0)
    assert board.ack() == 0x0F
    assert (board.isr(MASTER), board.isr(SLAVE)) == (0, 0)


@pytest.mark.parametrize("line", range(8, 16))
def test_a_slaves_request_masked_too_late_is_irq_15_and_leaves_the_masters_level_2_in_service(line: int) -> None:
    board = Board().init()
    board.up(line)
    board.out(SLAVE_DATA, 1 << line % 8)
    assert board.ack() == 0x77
    assert (board.isr(MASTER), board.isr(SLAVE)) == (0x04, 0)


# -- initialization ---------------------------------------------------------------------------------------------------

INTERLUDES: Mapping[str, tuple[Access, ...]] = {
    "nothing": (),
    "an edge, acknowledged": (("line", 4, 1), ("line", 12, 1), ("ack", 0, 0), ("ack", 0, 0), ("line", 4, 0)),
    "reads": (("in", MASTER, 0), ("in", MASTER_DATA, 0), ("in", SLAVE, 0), ("in", SLAVE_DATA, 0)),
    "a poll": (("line", 1, 1), ("out", MASTER, POLL), ("out", SLAVE, POLL), ("in", MASTER, 0), ("in", SLAVE_DATA, 0)),
    "OCW2": (("out", MASTER, EOI), ("out", SLAVE, SET_PRIORITY | 2), ("out", MASTER, 0x80), ("out", SLAVE, 0x80)),
    "OCW3": (("out", MASTER, 0x6B), ("out", SLAVE, 0x6B), ("in", MASTER, 0), ("in", SLAVE, 0)),
    "ELCR": (("line", 11, 1), ("out", 0x4D0, 0xFF), ("out", 0x4D1, 0xFF), ("in", 0x4D0, 0), ("in", 0x4D1, 0)),
    "ICW1 again": (("out", MASTER, 0x13), ("out", SLAVE, 0x10)),
}


@pytest.mark.parametrize("interlude", INTERLUDES)
@pytest.mark.parametrize("port", [MASTER, SLAVE])
def test_an_initialization_cut_at_every_byte(interlude: str, port: int) -> None:
    """Datasheet, "Initialization Command Words" and figure 6, the initialization sequence."""
    words = [("out", port + 1, value) for value in (0x48, 0x04 if port == MASTER else 0x02, 0x03)]
    for icw1 in range(0x10, 0x20):
        for cut in range(5):
            board, pair = Board().init(), Pair8259.of(PicState())
            for each in (MASTER, SLAVE):
                for at, value in ((0, 0x11), (1, each // 2), (1, 4 if each == MASTER else 2), (1, 1)):
                    pair.outb(each + at, value)
            pair.master.icw2, pair.slave.icw2 = 0x08, 0x70
            compare(board, pair)
            steps: list[Access] = [("line", 6, 1), ("line", 14, 1), ("ack", 0, 0), ("line", 5, 1), ("out", port, icw1)]
            steps += [*words[:cut], *INTERLUDES[interlude], *words[cut:]]
            steps += [("out", port + 1, 0x21), ("in", port + 1, 0), ("line", 7, 1), ("line", 15, 1), ("ack", 0, 0)]
            for step in steps:
                do(board, pair, step)


# -- any programme ----------------------------------------------------------------------------------------------------


def init(choose: random.Random, port: int) -> list[Access]:
    """Return an initialization, cut after any byte."""
    slaves = [0x04, 0x00, 0xFF] if port == MASTER else [0x02, 0x03]
    words = [choose.randrange(0x10, 0x20), choose.randrange(256), choose.choice(slaves)]
    words += [choose.choice([0x01, 0x01, 0x03, 0x11, 0x00]), choose.randrange(256)]
    return [("out", port + (at > 0), word) for at, word in enumerate(words[: choose.randrange(1, 6)])]


def line(choose: random.Random, port: int) -> list[Access]:
    return [("line", choose.choice([*range(2), *range(3, 16)]), choose.randrange(2))]


def acknowledge(choose: random.Random, port: int) -> list[Access]:
    return [("ack", 0, 0)] * choose.randrange(1, 3)


def ocw(choose: random.Random, port: int) -> list[Access]:
    commands = [EOI, ROTATE_EOI, READ_IRR, READ_ISR, POLL, 0x68, 0x48, 0x80, 0x00]
    commands += [command | choose.randrange(8) for command in (0x60, 0xC0, 0xE0)]
    if choose.random() < 0.1:
        return [("out", port + 1, choose.choice([0x00, 0x00, choose.randrange(256)]))]
    return [("out", port, choose.choice(commands))]


def read(choose: random.Random, port: int) -> list[Access]:
    return [("in", choose.choice(PORTS), 0)]


def anything(choose: random.Random, port: int) -> list[Access]:
    return [("out", choose.choice(PORTS), choose.randrange(256))]


PHRASES = [init, line, line, line, acknowledge, acknowledge, ocw, ocw, ocw, read, anything]


def programme(choose: random.Random) -> list[Access]:
    return choose.choice(PHRASES)(choose, choose.choice([MASTER, SLAVE]))


def run(seed: int, length: int, reopened: float) -> None:
    """Run a programme; those of odd seeds on chips that take back the request of an input that falls."""
    choose = random.Random(seed)
    edges = EdgeRequest.WITHDRAWN if seed & 1 else EdgeRequest.KEPT
    board, pair = Board(edge_request=edges), Pair8259.of(PicState(), withdraws=edges is EdgeRequest.WITHDRAWN)
    for number in range(length):
        if choose.random() < reopened:
            other = Board(edge_request=edges)
            other.machine.load(loads(dumps(saved(board.machine))), strict=True)
            board = other
        for each in programme(choose):
            try:
                do(board, pair, each)
            except AssertionError as exc:
                raise AssertionError(f"seed {seed}, step {number}: {each}") from exc


@pytest.mark.parametrize("seed", range(40))
def test_any_programme_gives_the_answers_of_the_reference_pair(seed: int) -> None:
    run(seed, 300, 0.0)


@pytest.mark.parametrize("seed", range(1000, 1010))
def test_any_programme_does_so_when_it_is_saved_and_loaded_on_the_way(seed: int) -> None:
    run(seed, 200, 0.1)


@pytest.mark.long
@pytest.mark.parametrize("block", range(50))
def test_thousands_of_programmes_give_the_answers_of_the_reference_pair(block: int) -> None:
    for seed in range(100_000 + 100 * block, 100_100 + 100 * block):
        run(seed, 300, 0.01)
