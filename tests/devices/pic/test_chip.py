"""The 8259A pair: the datasheet's tables, and save and load anywhere. `model.py` is a second pair."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chkpt.errors import ConfigError, ConflictError, StateError
from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from chkpt_devices.pic import EdgeRequest
from chkpt_devices.pic.chip import Awaited, ChipState, PicState
from tests.devices.pic.bench import (
    AEOI,
    CLEAR_ROTATE_IN_AEOI,
    CLEAR_SPECIAL_MASK,
    ELCR1,
    ELCR2,
    EOI,
    MASTER,
    MASTER_DATA,
    POLL,
    READ_IRR,
    READ_ISR,
    ROTATE_EOI,
    ROTATE_SPECIFIC_EOI,
    SET_PRIORITY,
    SET_ROTATE_IN_AEOI,
    SET_SPECIAL_MASK,
    SFNM,
    SLAVE,
    SLAVE_DATA,
    SPECIFIC_EOI,
    UPM,
    Board,
)
from tests.support.rig import rig, saved


@pytest.fixture
def board() -> Board:
    return Board().init()


# -- initialization ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("icw1", "following"),
    [
        (0x10, ("icw2", "icw3")),
        (0x11, ("icw2", "icw3", "icw4")),
        (0x12, ("icw2",)),
        (0x13, ("icw2", "icw4")),
    ],
)
@pytest.mark.parametrize("port", [MASTER, SLAVE])
def test_icw1_tells_which_words_follow_and_then_comes_the_mask(
    icw1: int, following: tuple[str, ...], port: int
) -> None:
    board = Board()
    before = board.master if port == MASTER else board.slave
    board.out(port, icw1)
    values = {"icw1": icw1, "icw2": before.icw2, "icw3": before.icw3 if port == MASTER else 7, "icw4": before.icw4}
    if not icw1 & 1:
        values["icw4"] = 0
    for number, word in enumerate(following):
        chip = board.master if port == MASTER else board.slave
        assert chip.awaited == word
        values[word] = 0xA1 + 0x12 * number
        board.out(port + 1, values[word])
        assert board.inp(port + 1) == 0  # the mask is not touched
    board.out(port + 1, 0x5A)
    assert board.inp(port + 1) == 0x5A
    chip = board.master if port == MASTER else board.slave
    assert {name: getattr(chip, name) for name in values} == values
    assert chip.awaited is Awaited.OCW1


def test_icw1_clears_what_the_datasheet_lists(board: Board) -> None:
    for port in (MASTER, SLAVE):
        board.out(port + 1, 0x40)
        board.out(port, SET_PRIORITY | 3, SET_SPECIAL_MASK, READ_ISR, SET_ROTATE_IN_AEOI)
    board.up(1, 5, 9)
    assert board.poll(MASTER) == 0x85
    board.out(SLAVE, POLL)
    board.out(SLAVE, 0x11)
    board.out(MASTER, 0x11)
    assert board.master == ChipState(lines=0x22, icw2=0x08, awaited=Awaited.ICW2)
    assert board.slave == ChipState(lines=0x02, icw2=0x70, icw3=7, awaited=Awaited.ICW2)
    assert not board.intr()


def test_icw4_is_kept_until_the_next_one_where_icw1_announces_it_and_cleared_where_not(board: Board) -> None:
    board.init(master_icw4=UPM | AEOI | SFNM)
    board.out(MASTER, 0x11)
    assert board.master.icw4 == UPM | AEOI | SFNM
    board.out(MASTER, 0x10)
    assert board.master.icw4 == 0


def test_an_input_that_is_high_at_icw1_must_fall_and_rise_again(board: Board) -> None:
    board.up(3)
    board.init()
    assert (board.irr(), board.intr()) == (0, False)
    board.down(3)
    assert (board.irr(), board.intr()) == (0, False)
    board.up(3)
    assert (board.irr(), board.intr()) == (0x08, True)


def test_operation_words_at_a0_0_are_obeyed_in_the_middle_of_an_initialization(board: Board) -> None:
    board.out(MASTER, 0x11)
    board.out(MASTER_DATA, 0x20)
    board.up(4)
    assert board.intr()
    assert board.isr() == 0
    assert board.poll() == 0x84
    assert board.isr() == 0x10
    board.out(MASTER, EOI)
    assert board.isr() == 0
    board.out(MASTER_DATA, 0x04, UPM, 0xFE)
    assert board.inp(MASTER_DATA) == 0xFE
    assert (board.master.icw2, board.master.icw3, board.master.icw4) == (0x20, 0x04, UPM)


def test_icw1_in_the_middle_of_an_initialization_begins_again(board: Board) -> None:
    board.out(MASTER, 0x11)
    board.out(MASTER_DATA, 0x20, 0x04)
    board.out(MASTER, 0x13)
    board.out(MASTER_DATA, 0x30, UPM | AEOI, 0x7F)
    assert (board.master.icw2, board.master.icw4, board.master.imr) == (0x30, UPM | AEOI, 0x7F)


def test_at_power_on_the_pair_works_as_wired_with_vectors_from_0() -> None:
    board = Board()
    assert board.pic.save() == PicState()
    board.up(5)
    assert board.ack() == 5
    board.out(MASTER, EOI)
    board.up(12)
    assert board.ack() == 4
    assert (board.isr(MASTER), board.isr(SLAVE)) == (0x04, 0x10)


# -- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("icw1", "icw2", "icw4", "line", "vector"),
    [
        (0x11, 0x08, 0x01, 0, 0x08),
        (0x11, 0x08, 0x01, 7, 0x0F),
        (0x11, 0xFF, 0x01, 3, 0xFB),  # T2-T0 are not part of the vector
        (0x11, 0x20, 0x00, 3, 0x18),  # MCS-80, interval 8: A7 A6 level 0 0 0
        (0xF1, 0x20, 0x00, 3, 0xD8),  # A5 comes from the level
        (0xB5, 0x20, 0x00, 3, 0xAC),  # interval 4: A7 A6 A5 level 0 0
        (0x14, 0x20, None, 7, 0x1C),  # no ICW4 means MCS-80
        (0x33, 0x60, 0x01, 1, 0x61),  # alone
    ],
)
def test_the_vector_is_made_of_the_icws_and_the_level(
    icw1: int, icw2: int, icw4: int | None, line: int, vector: int
) -> None:
    board = Board()
    board.out(MASTER, icw1)
    board.out(MASTER_DATA, *[word for word in (icw2, None if icw1 & 2 else 0x04, icw4) if word is not None])
    board.up(line)
    assert board.ack() == vector
    assert board.isr() == 1 << line


def test_a_slaves_vector_comes_from_the_slave_and_both_levels_are_in_service(board: Board) -> None:
    board.up(14)
    assert (board.irr(SLAVE), board.irr(MASTER), board.intr()) == (0x40, 0x04, True)
    assert board.ack() == 0x76
    assert (board.isr(SLAVE), board.isr(MASTER), board.irr(SLAVE), board.irr(MASTER)) == (0x40, 0x04, 0, 0)
    assert not board.intr()
    assert not board.machine.irq.level(2)


def test_the_slaves_int_is_line_2(board: Board) -> None:
    assert not board.machine.irq.level(2)
    board.up(9)
    assert board.machine.irq.level(2)
    assert board.master.lines == 0x04
    board.out(SLAVE_DATA, 0x02)
    assert not board.machine.irq.level(2)
    assert (board.master.lines, board.irr(MASTER)) == (0, 0x04)  # the edge stays latched


def test_without_its_bit_in_icw3_the_cascade_input_is_an_input_like_any_other(board: Board) -> None:
    board.out(MASTER, 0x11)
    board.out(MASTER_DATA, 0x08, 0x00, UPM)
    board.up(9)
    assert board.ack() == 0x0A
    assert (board.isr(MASTER), board.isr(SLAVE), board.irr(SLAVE)) == (0x04, 0, 0x02)


def test_a_master_told_that_it_is_alone_gives_the_vector_of_its_input_2(board: Board) -> None:
    board.out(MASTER, 0x13)
    board.out(MASTER_DATA, 0x08, UPM)
    board.up(9)
    assert board.ack() == 0x0A
    assert board.isr(SLAVE) == 0


def test_where_no_slave_has_the_address_the_bus_floats_and_the_slave_keeps_its_request(board: Board) -> None:
    board.out(SLAVE, 0x11)
    board.out(SLAVE_DATA, 0x70, 0x05, UPM)
    board.up(9)
    assert board.ack() == 0xFF
    assert (board.isr(MASTER), board.isr(SLAVE), board.irr(SLAVE)) == (0x04, 0, 0x02)
    board.init()
    board.out(MASTER, 0x11)
    board.out(MASTER_DATA, 0x08, 0x0C, UPM)  # a second slave, at input 3, that is not there
    board.up(3)
    assert board.ack() == 0xFF
    assert board.isr(MASTER) == 0x08


def test_only_the_low_three_bits_of_icw3_are_a_slaves_address(board: Board) -> None:
    board.out(SLAVE, 0x11)
    board.out(SLAVE_DATA, 0x70, 0xFA, UPM)
    board.up(9)
    assert board.ack() == 0x71


def test_a_slave_that_took_an_icw1_for_being_alone_still_answers(board: Board) -> None:
    board.out(SLAVE, 0x13)
    board.out(SLAVE_DATA, 0x70, UPM)
    board.up(9)
    assert board.ack() == 0x71


# -- requests ---------------------------------------------------------------------------------------------------------


def test_an_edge_stays_requested_after_its_line_drops_until_it_is_acknowledged(board: Board) -> None:
    board.pulse(6)
    assert (board.irr(), board.intr()) == (0x40, True)
    assert board.ack() == 0x0E
    assert (board.irr(), board.isr(), board.intr()) == (0, 0x40, False)


@pytest.mark.parametrize("masked", [False, True])
def test_a_withdrawn_edge_leaves_the_irr_with_its_line(masked: bool) -> None:
    board = Board(edge_request="withdrawn").init()
    board.out(MASTER_DATA, 0x40 if masked else 0x00)
    board.up(6)
    assert (board.irr(), board.intr()) == (0x40, not masked)
    board.down(6)
    assert (board.irr(), board.intr()) == (0, False)
    board.up(6)
    board.out(MASTER_DATA, 0x00)
    assert board.ack() == 0x0E
    board.down(6)
    assert (board.irr(), board.isr()) == (0, 0x40)


def test_a_player_that_polls_irr_sees_the_timers_square_wave() -> None:
    machine = rig({"type": "pic", "edge_request": "withdrawn"}, {"type": "pit"})
    machine.ports.outb(MASTER_DATA, 0x01)
    machine.ports.outb(0x43, 0x36)
    machine.ports.outb(0x40, 0x00)
    machine.ports.outb(0x40, 0x01)  # 256 clocks: 107 microseconds high, 107 low
    machine.ports.outb(MASTER, READ_IRR)
    seen = []
    for _ in range(1000):
        machine.step(1000)
        seen.append(machine.ports.inb(MASTER) & 0x01)
    changes = [at for at in range(1, 1000) if seen[at] != seen[at - 1]]
    assert len(changes) == 9
    assert {after - before for before, after in pairwise(changes)} <= {107, 108}


def test_a_request_that_was_saved_as_kept_is_kept_where_edges_are_withdrawn_and_the_other_way_round() -> None:
    """The choice is no part of the state: a snapshot from before there was one loads into either machine."""
    kept, withdrawing = Board().init(), Board(edge_request="withdrawn").init()
    kept.pulse(6, 9)
    withdrawing.up(6)
    withdrawing.machine.load(saved(kept.machine), strict=True)
    assert (withdrawing.irr(MASTER), withdrawing.irr(SLAVE), withdrawing.intr()) == (0x44, 0x02, True)
    assert [withdrawing.ack(), withdrawing.irr()] == [0x71, 0x40]
    withdrawing.out(SLAVE, EOI)
    withdrawing.out(MASTER, EOI)
    assert withdrawing.ack() == 0x0E
    withdrawing.up(5)
    withdrawing.out(MASTER, EOI)
    kept.machine.load(saved(withdrawing.machine), strict=True)
    kept.down(5)
    assert kept.ack() == 0x0D


@pytest.mark.parametrize("edges", EdgeRequest)
@pytest.mark.parametrize("status_first", [False, True])
def test_every_sector_of_a_transfer_interrupts_though_the_drive_takes_no_time(
    edges: EdgeRequest, status_first: bool
) -> None:
    """The line falls and rises again within the handler: when Status is read, and with the next sector."""
    drive = {"unit": 0, "media": "disk", "size": "1M"}
    machine = rig({"type": "pic", "edge_request": edges}, {"type": "ide", "drive": [drive]})
    ports = machine.ports
    for port, value in ((0x1F6, 0xE0), (0x1F2, 8), (0x1F3, 1), (0x1F4, 0), (0x1F5, 0), (0x1F7, 0x20)):
        ports.outb(port, value)
    count = 0
    while machine.irq.intr:
        assert machine.irq.acknowledge() == 6  # the slave's level, vectors from 0
        count += 1
        if status_first:
            assert ports.inb(0x1F7) & 0x08
        ports.outb(SLAVE, EOI)
        ports.outb(MASTER, EOI)
        if not status_first:
            assert ports.inb(0x1F7) & 0x08
        for _ in range(256):
            ports.inw(0x1F0)
    assert (count, ports.inb(0x1F7)) == (8, 0x50)


def test_what_becomes_of_an_edge_is_kept_or_withdrawn() -> None:
    with pytest.raises(ConfigError, match="edge_request"):
        Board(edge_request="forgotten")


def test_a_line_that_stays_high_requests_once(board: Board) -> None:
    board.up(6)
    assert board.ack() == 0x0E
    board.out(MASTER, EOI)
    assert (board.irr(), board.intr()) == (0, False)


def test_a_masked_request_is_kept(board: Board) -> None:
    board.out(MASTER_DATA, 0x40)
    board.pulse(6)
    assert (board.irr(), board.intr()) == (0x40, False)
    board.out(MASTER_DATA, 0x00)
    assert board.intr()
    assert board.inp(MASTER_DATA) == 0


@pytest.mark.parametrize("how", ["ltim", "elcr"])
@pytest.mark.parametrize("line", [4, 12])
def test_a_level_triggered_request_follows_its_line(how: str, line: int) -> None:
    board = Board()
    if how == "ltim":
        board.init(icw1=0x19)
    else:
        board.init().out(ELCR2 if line & 8 else ELCR1, 0x10)
    port = SLAVE if line & 8 else MASTER
    board.up(line)
    assert (board.irr(port), board.intr()) == (0x10, True)
    board.down(line)
    assert board.irr(port) == 0
    assert board.intr() is (line == 12 and how == "elcr")  # then the master's input 2 has latched the slave's edge
    board.up(line)
    board.ack()
    assert (board.irr(port), board.isr(port)) == (0x10, 0x10)  # an acknowledge does not take it back
    board.out(port, EOI)
    board.out(MASTER, EOI)
    assert board.intr()
    board.down(line)
    assert board.irr(port) == 0


def test_elcr_bits_of_inputs_that_are_always_edge_triggered_stay_0(board: Board) -> None:
    board.out(ELCR1, 0xFF)
    board.out(ELCR2, 0xFF)
    assert (board.inp(ELCR1), board.inp(ELCR2)) == (0xF8, 0xDE)
    board.pulse(0)
    assert board.irr() == 0x01


def test_icw1_keeps_the_request_of_a_level_triggered_input_that_is_high(board: Board) -> None:
    board.out(ELCR1, 0x20)
    board.up(4, 5)
    board.out(MASTER, 0x11)
    assert (board.irr(), board.intr()) == (0x20, True)
    board.out(MASTER, 0x19)
    assert board.irr() == 0x30
    board.out(MASTER, 0x11)
    assert board.irr() == 0x20


def test_an_input_made_level_triggered_requests_as_its_level_says(board: Board) -> None:
    board.up(3)
    board.ack()
    board.out(MASTER, EOI)
    board.pulse(4)
    board.out(ELCR1, 0x18)
    assert (board.irr(), board.intr()) == (0x08, True)


def test_an_input_made_edge_triggered_keeps_its_request(board: Board) -> None:
    board.out(ELCR1, 0x08)
    board.up(3)
    board.out(ELCR1, 0x00)
    board.down(3)
    assert board.irr() == 0x08


def test_ltim_outweighs_the_elcr(board: Board) -> None:
    board.init(icw1=0x19)
    board.out(ELCR1, 0x00)
    board.up(6)
    board.down(6)
    assert board.irr() == 0


# -- spurious interrupts ----------------------------------------------------------------------------------------------


def test_an_acknowledge_that_finds_nothing_gives_level_7_and_puts_nothing_in_service(board: Board) -> None:
    assert board.ack() == 0x0F
    assert (board.isr(), board.irr()) == (0, 0)


@pytest.mark.parametrize("gone", ["masked", "line dropped"])
def test_a_request_gone_before_its_acknowledge_is_a_spurious_irq_7(board: Board, gone: str) -> None:
    board.out(ELCR1, 0x20)
    board.up(5)
    assert board.intr()
    if gone == "masked":
        board.out(MASTER_DATA, 0x20)
    else:
        board.down(5)
    assert not board.intr()
    assert board.ack() == 0x0F
    assert board.isr() == 0


def test_a_slaves_request_gone_before_its_acknowledge_is_a_spurious_irq_15(board: Board) -> None:
    board.out(ELCR2, 0x02)
    board.up(9)
    board.down(9)
    assert board.intr()
    assert board.ack() == 0x77
    assert (board.isr(SLAVE), board.isr(MASTER)) == (0, 0x04)
    board.out(MASTER, EOI)
    assert board.isr(MASTER) == 0


def test_a_spurious_interrupt_does_not_rotate(board: Board) -> None:
    board.init(master_icw4=UPM | AEOI)
    board.out(MASTER, SET_ROTATE_IN_AEOI, SET_PRIORITY | 2)
    assert board.ack() == 0x0F
    assert board.master.lowest == 2


# -- priority, end of interrupt, rotation ----------------------------------------------------------------------------


def test_a_higher_level_interrupts_a_lower_one_and_not_the_other_way(board: Board) -> None:
    board.pulse(4)
    assert board.ack() == 0x0C
    board.pulse(5, 4)
    assert not board.intr()
    board.pulse(3)
    assert board.intr()
    assert board.ack() == 0x0B
    assert board.isr() == 0x18
    board.out(MASTER, EOI)
    assert (board.isr(), board.intr()) == (0x10, False)
    board.out(MASTER, EOI)
    assert (board.isr(), board.intr()) == (0, True)
    assert board.ack() == 0x0C
    assert board.irr() == 0x20


def test_the_slaves_lines_rank_between_1_and_3(board: Board) -> None:
    board.pulse(3, 8, 15, 1)
    vectors = []
    while board.intr():
        vectors.append(board.ack())
        board.out(SLAVE, EOI)
        board.out(MASTER, EOI)
    assert vectors == [0x09, 0x70, 0x77, 0x0B]


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        (EOI, (0b0010_0100, 7), (0b0010_0000, 7)),
        (EOI, (0b0010_0100, 3), (0b0000_0100, 3)),
        (EOI, (0b0000_0000, 7), (0b0000_0000, 7)),
        (EOI | 5, (0b0010_0100, 7), (0b0010_0000, 7)),  # the level does not count
        (SPECIFIC_EOI | 5, (0b0010_0100, 7), (0b0000_0100, 7)),
        (SPECIFIC_EOI | 1, (0b0010_0100, 7), (0b0010_0100, 7)),
        (ROTATE_EOI, (0b0010_0100, 7), (0b0010_0000, 2)),
        (ROTATE_EOI, (0b0010_0100, 3), (0b0000_0100, 5)),
        (ROTATE_EOI, (0b0000_0000, 4), (0b0000_0000, 4)),  # with nothing in service it does nothing
        (ROTATE_SPECIFIC_EOI | 5, (0b0010_0100, 7), (0b0000_0100, 5)),
        (ROTATE_SPECIFIC_EOI | 6, (0b0010_0100, 7), (0b0010_0100, 6)),  # it rotates even so
        (SET_PRIORITY | 0, (0b0010_0100, 7), (0b0010_0100, 0)),
        (SET_PRIORITY | 6, (0b0000_0000, 7), (0b0000_0000, 6)),
        (0x40, (0b0010_0100, 5), (0b0010_0100, 5)),  # no operation
        (0x47, (0b0010_0100, 5), (0b0010_0100, 5)),
        (SET_ROTATE_IN_AEOI, (0b0010_0100, 5), (0b0010_0100, 5)),
        (CLEAR_ROTATE_IN_AEOI, (0b0010_0100, 5), (0b0010_0100, 5)),
    ],
)
@pytest.mark.parametrize("port", [MASTER, SLAVE])
def test_ocw2_changes_isr_and_lowest_priority(
    port: int, command: int, before: tuple[int, int], after: tuple[int, int]
) -> None:
    board = Board()
    isr, lowest = before
    chip = ChipState(isr=isr, lowest=lowest)
    board.pic.load(PicState(master=chip) if port == MASTER else PicState(slave=replace(chip, icw3=2)))
    board.out(port, command)
    chip = board.master if port == MASTER else board.slave
    assert (board.isr(port), chip.lowest) == after
    assert chip.rotate_on_aeoi is (command == SET_ROTATE_IN_AEOI)


def test_set_priority_may_raise_int_for_what_waits(board: Board) -> None:
    board.pulse(4)
    board.ack()
    board.pulse(5)
    assert not board.intr()
    board.out(MASTER, SET_PRIORITY | 4)
    assert board.intr()
    assert board.ack() == 0x0D


def test_automatic_eoi_leaves_nothing_in_service(board: Board) -> None:
    board.init(master_icw4=UPM | AEOI)
    board.pulse(4, 6)
    assert board.ack() == 0x0C
    assert (board.isr(), board.intr()) == (0, True)
    assert board.ack() == 0x0E
    assert (board.isr(), board.intr(), board.master.lowest) == (0, False, 7)


def test_rotation_in_automatic_eoi_gives_each_level_its_turn(board: Board) -> None:
    board.init(master_icw4=UPM | AEOI)
    board.out(MASTER, SET_ROTATE_IN_AEOI)
    board.pulse(0, 1)
    assert board.ack() == 0x08
    board.pulse(0)
    assert board.ack() == 0x09
    assert board.ack() == 0x08
    board.out(MASTER, CLEAR_ROTATE_IN_AEOI)
    board.pulse(3)
    board.ack()
    assert board.master.lowest == 0


def test_int_does_not_pulse_at_an_acknowledge(board: Board) -> None:
    levels: list[bool] = []
    board.init(master_icw4=UPM | AEOI)
    board.machine.irq.watch(lambda number, level: levels.append(level) if number == 16 else None)
    board.pulse(3, 4)
    board.ack()
    assert levels == [True]
    board.ack()
    assert levels == [True, False]


def test_an_auto_eoi_slave_with_a_second_request_keeps_its_int_high_so_the_master_sees_no_edge(board: Board) -> None:
    board.init(slave_icw4=UPM | AEOI)
    board.pulse(9, 10)
    assert board.ack() == 0x71
    assert board.machine.irq.level(2)
    board.out(MASTER, EOI)
    assert (board.irr(MASTER), board.irr(SLAVE), board.intr()) == (0, 0x04, False)


# -- special mask mode, special fully nested mode ----------------------------------------------------------------------


def test_special_mask_mode_lets_lower_levels_interrupt_a_masked_one_in_service(board: Board) -> None:
    board.pulse(3)
    board.ack()
    board.out(MASTER_DATA, 0x08)
    board.pulse(6)
    assert not board.intr()
    board.out(MASTER, SET_SPECIAL_MASK)
    assert board.intr()  # judged at once
    assert board.ack() == 0x0E
    board.pulse(7)
    assert not board.intr()  # 6 is in service and not masked
    board.out(MASTER, CLEAR_SPECIAL_MASK)
    assert (board.isr(), board.master.special_mask) == (0x48, False)


def test_in_special_mask_mode_a_non_specific_eoi_passes_over_masked_levels(board: Board) -> None:
    board.pulse(3)
    board.ack()
    board.out(MASTER, SET_SPECIAL_MASK)
    board.out(MASTER_DATA, 0x08)
    board.pulse(6)
    board.ack()
    board.out(MASTER, EOI)
    assert board.isr() == 0x08
    board.out(MASTER, ROTATE_EOI)
    assert (board.isr(), board.master.lowest) == (0x08, 7)
    board.out(MASTER, SPECIFIC_EOI | 3)
    assert board.isr() == 0


def test_ocw3_without_esmm_leaves_the_special_mask_mode(board: Board) -> None:
    board.out(MASTER, SET_SPECIAL_MASK, 0x08, 0x28)
    assert board.master.special_mask
    board.out(MASTER, CLEAR_SPECIAL_MASK, 0x28)
    assert not board.master.special_mask


def test_in_fully_nested_mode_a_slave_in_service_is_locked_out(board: Board) -> None:
    board.pulse(12)
    assert board.ack() == 0x74
    board.pulse(9)
    assert (board.irr(MASTER), board.intr()) == (0x04, False)


def test_in_special_fully_nested_mode_a_higher_request_of_the_slave_in_service_interrupts(board: Board) -> None:
    board.init(master_icw4=UPM | SFNM)
    board.pulse(12)
    assert board.ack() == 0x74
    board.pulse(14)  # lower within the slave: its INT stays low
    assert not board.intr()
    board.pulse(9)
    assert board.intr()
    assert board.ack() == 0x71
    assert (board.isr(SLAVE), board.isr(MASTER)) == (0x12, 0x04)
    board.out(SLAVE, EOI)
    assert board.isr(SLAVE) == 0x10  # not empty, so the master gets no EOI yet
    board.out(SLAVE, EOI)
    assert board.isr(SLAVE) == 0
    assert board.intr()
    assert board.ack() == 0x76


def test_in_special_fully_nested_mode_only_the_slaves_level_passes(board: Board) -> None:
    board.init(master_icw4=UPM | SFNM)
    board.pulse(9)
    board.ack()
    board.pulse(3, 7)
    assert not board.intr()  # lower than the slave in service
    board.pulse(1)
    assert board.ack() == 0x09
    board.pulse(1)
    assert not board.intr()  # no slave is at input 1
    board.out(SLAVE, EOI)
    board.pulse(9)
    assert not board.intr()  # level 1 is above the slave


# -- reads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [MASTER, SLAVE])
def test_the_register_selected_stays_selected(board: Board, port: int) -> None:
    first = 8 if port == SLAVE else 0
    board.pulse(first + 4)
    board.poll(port)
    board.pulse(first + 1)
    assert board.inp(port) == 0x02  # the IRR after ICW1
    board.out(port, READ_ISR)
    assert [board.inp(port), board.inp(port)] == [0x10, 0x10]
    board.out(port, 0x08, 0x09)  # without RR
    assert board.inp(port) == 0x10
    board.out(port, READ_IRR)
    assert board.inp(port) == 0x02


@pytest.mark.parametrize("port", [MASTER_DATA, SLAVE_DATA])
def test_the_mask_reads_back(board: Board, port: int) -> None:
    board.out(port, 0xA5)
    assert board.inp(port) == 0xA5


@pytest.mark.parametrize("port", [MASTER, SLAVE])
@pytest.mark.parametrize("a0", [0, 1])
def test_a_poll_acknowledges_at_the_next_read_of_either_port(board: Board, port: int, a0: int) -> None:
    first = 8 if port == SLAVE else 0
    board.pulse(first + 5)
    board.out(port + 1, 0x01)
    board.out(port, POLL)
    assert board.inp(port + a0) == 0x85
    assert (board.inp(port + 1), board.isr(port), board.irr(port)) == (0x01, 0x20, 0)


def test_a_poll_with_nothing_pending_reads_0_and_is_over(board: Board) -> None:
    board.out(MASTER, POLL)
    assert board.inp(MASTER) == 0
    board.pulse(3)
    assert board.inp(MASTER) == 0x08


def test_a_poll_comes_before_the_register_asked_for_with_it(board: Board) -> None:
    board.pulse(3)
    board.out(MASTER, POLL | READ_ISR)
    assert board.inp(MASTER) == 0x83
    assert board.inp(MASTER) == 0x08


def test_a_poll_waits_for_its_read_through_other_commands_but_not_through_icw1(board: Board) -> None:
    board.pulse(3)
    board.out(MASTER, POLL, READ_ISR, EOI)
    board.out(MASTER_DATA, 0x00)
    assert board.inp(MASTER_DATA) == 0x83
    board.out(MASTER, POLL, 0x11)
    assert board.inp(MASTER_DATA) == 0


def test_a_polled_slave_lowers_line_2_and_the_master_keeps_the_edge(board: Board) -> None:
    board.pulse(10)
    assert board.poll(SLAVE) == 0x82
    assert not board.machine.irq.level(2)
    assert (board.irr(MASTER), board.intr()) == (0x04, True)
    assert board.poll(MASTER) == 0x82
    assert not board.intr()


def test_a_poll_does_automatic_eoi_and_its_rotation(board: Board) -> None:
    board.init(master_icw4=UPM | AEOI)
    board.out(MASTER, SET_ROTATE_IN_AEOI)
    board.pulse(4)
    assert board.poll() == 0x84
    assert (board.isr(), board.master.lowest) == (0, 4)


# -- the machine around it --------------------------------------------------------------------------------------------


def test_the_ports_come_from_the_configuration() -> None:
    board = Board(master_port=0x320, slave_port=0x3A0, elcr_port=0x5D0)
    board.out(0x321, 0x12)
    board.out(0x3A1, 0x34)
    board.out(0x5D0, 0xF8)
    board.out(0x5D1, 0x04)
    state = board.pic.save()
    assert (state.master.imr, state.slave.imr, state.master.elcr, state.slave.elcr) == (0x12, 0x34, 0xF8, 0x04)
    assert board.inp(MASTER_DATA) == 0xFF


def test_two_chips_at_one_port_are_a_conflict() -> None:
    with pytest.raises(ConflictError):
        Board(slave_port=0x20)


def test_reset_goes_to_power_on_but_the_lines_keep_their_levels() -> None:
    board = Board().init(icw1=0x19, master_icw4=UPM | AEOI)
    board.out(ELCR1, 0x10)
    board.out(MASTER_DATA, 0x81)
    board.out(MASTER, SET_SPECIAL_MASK, READ_ISR, SET_PRIORITY | 2)
    board.up(5, 12)
    board.machine.reset()
    assert board.pic.save() == PicState(ChipState(lines=0x20), ChipState(icw3=2, lines=0x10))
    assert not board.intr()
    assert not board.machine.irq.level(2)
    board.down(5)
    board.up(5)
    assert board.ack() == 5


# -- save and load ----------------------------------------------------------------------------------------------------


def test_load_drives_line_2_and_intr() -> None:
    first = Board().init()
    first.up(9)
    second = Board()
    second.pic.load(first.pic.save())
    assert second.intr()
    assert second.machine.irq.level(2)
    assert second.pic.save() == first.pic.save()
    second.pic.load(PicState())
    assert not second.intr()
    assert not second.machine.irq.level(2)


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (PicState(ChipState(elcr=0x04)), "master.elcr"),
        (PicState(slave=ChipState(elcr=0x20)), "slave.elcr"),
        (PicState(ChipState(icw1=0x01)), "master.icw1"),
        (PicState(ChipState(icw1=0x13, awaited=Awaited.ICW3)), "master.icw3 is awaited"),
        (PicState(ChipState(icw1=0x10, icw4=0, awaited=Awaited.ICW4)), "master.icw4 is awaited"),
        (PicState(ChipState(icw1=0x10, icw4=1)), "master.icw4 is not 0"),
        (PicState(ChipState(elcr=0x10, lines=0x10, imr=0x10)), "master.irr differs"),
        (PicState(ChipState(icw1=0x19, irr=0x01, int_out=True)), "master.irr differs"),
        (PicState(ChipState(irr=0x10)), "master.int_out"),
        (PicState(slave=ChipState(int_out=True)), "slave.int_out is not"),
        (PicState(slave=ChipState(irr=0x10, int_out=True)), "slave.int_out is high"),
    ],
)
def test_a_state_that_no_pair_can_be_in_is_refused_and_changes_nothing(
    board: Board, state: PicState, what: str
) -> None:
    board.up(3, 9)
    before = board.pic.save()
    with pytest.raises(StateError, match=f"^{what}"):
        board.pic.load(state)
    assert board.pic.save() == before
    assert board.intr()


# -- cut anywhere -----------------------------------------------------------------------------------------------------

Step = tuple[str, int, int]
bytes_ = st.integers(0, 0xFF)
ports = st.sampled_from([MASTER, MASTER_DATA, SLAVE, SLAVE_DATA, ELCR1, ELCR2])
steps = st.one_of(
    st.tuples(st.just("out"), ports, bytes_),
    st.tuples(st.just("in"), ports, st.just(0)),
    st.tuples(st.just("line"), st.integers(0, 15).filter(lambda line: line != 2), st.integers(0, 1)),
    st.tuples(st.just("ack"), st.just(0), st.just(0)),
)


def do(board: Board, step: Step) -> tuple[int, bool, bool]:
    """Do one step; return what a guest and the processor see of it."""
    kind, where, value = step
    answer = 0
    match kind:
        case "out":
            board.out(where, value)
        case "in":
            answer = board.inp(where)
        case "line":
            board.machine.irq.force(where, bool(value))
        case "ack":
            answer = board.ack()
    return answer, board.intr(), board.machine.irq.level(2)


@given(st.lists(steps, max_size=40), st.lists(steps, min_size=1, max_size=40))
def test_a_pair_loaded_anywhere_goes_on_as_the_saved_one(before: list[Step], after: list[Step]) -> None:
    first, second = Board(), Board()
    for step in before:
        do(first, step)
    saved = first.pic.save()
    assert first.pic.save() == saved
    with second.machine.irq.freeze():
        second.machine.irq.outside = first.machine.irq.outside
        second.pic.load(saved)
    assert second.pic.save() == saved
    assert [do(second, step) for step in after] == [do(first, step) for step in after]
    assert second.pic.save() == first.pic.save()


# -- what every device must keep to -----------------------------------------------------------------------------------


class TestPic(DeviceContract):
    table = {"type": "pic"}

    def stir(self, machine: Machine) -> None:
        """Leave both chips with requests waiting and in service, in rare modes, the slave in mid-initialization."""
        for port, *values in (
            (MASTER, 0x11),
            (MASTER_DATA, 0x08, 0x04, UPM | SFNM),
            (SLAVE, 0x11),
            (SLAVE_DATA, 0x70, 0x02, UPM | AEOI),
            (ELCR1, 0x20),
            (ELCR2, 0x40),
        ):
            for value in values:
                machine.ports.outb(port, value)
        for line in (4, 9, 1):
            machine.irq.force(line, True)
            machine.irq.force(line, False)
        assert machine.irq.acknowledge() == 0x09
        machine.ports.outb(MASTER, SET_PRIORITY | 3)
        machine.ports.outb(MASTER, SET_SPECIAL_MASK)
        machine.ports.outb(MASTER, POLL | READ_ISR)
        machine.ports.outb(MASTER_DATA, 0x40)
        machine.ports.outb(SLAVE, 0x19)
        machine.ports.outb(SLAVE_DATA, 0x78)
        machine.ports.outb(SLAVE, SET_ROTATE_IN_AEOI)
