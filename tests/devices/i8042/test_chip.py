"""The 8042 and its keyboard: commands, status, output buffer, translation, typing, address line 20 and reset."""

from dataclasses import replace
from typing import Any, cast

import pytest

from chkpt.errors import StateError
from chkpt.machine import Machine
from chkpt.testing import DeviceContract
from chkpt_devices.i8042.chip import I8042, I8042State, KeyboardState, Source
from tests.support.rig import rig, saved

TABLE = {"type": "i8042"}
OBF, SYS, A2, UNLOCKED, AUX_OBF, TIMEOUT = 0x01, 0x04, 0x08, 0x10, 0x20, 0x40
ACK, RESEND = 0xFA, 0xFE


class Desk:
    """A machine with a keyboard controller, and a user who types."""

    def __init__(self, *others: dict[str, object], **config: object) -> None:
        self.machine = rig({**TABLE, **config}, *others)
        self.edges: list[tuple[int, bool]] = []
        self.machine.irq.watch(lambda number, level: self.edges.append((number, level)))

    @property
    def device(self) -> I8042:
        return cast("I8042", self.machine.devices.find("i8042"))

    @property
    def status(self) -> int:
        return self.machine.ports.inb(0x64)

    def read(self) -> int:
        return self.machine.ports.inb(0x60)

    def command(self, value: int, *data: int) -> None:
        self.machine.ports.outb(0x64, value)
        for each in data:
            self.write(each)

    def write(self, *values: int) -> None:
        for value in values:
            self.machine.ports.outb(0x60, value)

    def ask(self, value: int) -> int:
        self.command(value)
        return self.read()

    def drain(self) -> bytes:
        """Read all that comes."""
        found = bytearray()
        while self.status & OBF:
            found.append(self.read())
        return bytes(found)

    def send_keyboard(self, *values: int) -> bytes:
        """Send bytes to the keyboard, and return what it answers to the last."""
        for value in values[:-1]:
            self.write(value)
            self.drain()
        self.write(values[-1])
        return self.drain()

    def type(self, text: bytes) -> bytes:
        """Type as slowly as the buffer asks for, and return the codes."""
        found = b""
        for character in text:
            self.device.receive(bytes((character,)))
            found += self.drain()
        return found


class TestI8042(DeviceContract):
    table = TABLE

    def stir(self, machine: Machine) -> None:
        desk = Desk.__new__(Desk)
        desk.machine = machine
        desk.command(0x60, 0x47)
        desk.write(0xF0)
        desk.read()
        desk.write(0x01)
        desk.drain()
        desk.device.receive(b"aB")
        desk.command(0xAA)
        desk.command(0xDD)
        desk.write(0xED)
        desk.command(0xD1)


# -- the controller ---------------------------------------------------------------------------------------------------


def test_after_a_reset() -> None:
    desk = Desk()
    assert (desk.status, desk.ask(0x20), desk.ask(0xD0)) == (A2 | UNLOCKED, 0x03, 0xCF)
    assert desk.machine.a20.level


@pytest.mark.parametrize(
    ("command", "answer"), [(0xA9, 0x00), (0xAA, 0x55), (0xAB, 0x00), (0xC0, 0xB0), (0xD0, 0xCF), (0xE0, 0x03)]
)
def test_a_command_that_is_answered(command: int, answer: int) -> None:
    desk = Desk()
    desk.command(command)
    assert desk.status & (OBF | AUX_OBF) == OBF
    assert desk.read() == answer
    assert not desk.status & OBF


@pytest.mark.parametrize(
    ("command", "byte"), [(0xA7, 0x23), (0xA8, 0x03), (0xAD, 0x13), (0xAE, 0x03), (0xAA, 0x07), (0x0F, 0x03)]
)
def test_a_command_that_changes_the_command_byte(command: int, byte: int) -> None:
    desk = Desk()
    desk.command(command)
    desk.drain()
    assert desk.ask(0x20) == byte


@pytest.mark.parametrize(("off", "on", "bit"), [(0xA7, 0xA8, 0x20), (0xAD, 0xAE, 0x10)])
def test_an_interface_is_disabled_and_enabled(off: int, on: int, bit: int) -> None:
    desk = Desk()
    desk.command(off)
    assert desk.ask(0x20) & bit
    desk.command(on)
    assert not desk.ask(0x20) & bit


def test_the_self_test_sets_the_system_flag_and_the_command_byte_is_it() -> None:
    desk = Desk()
    assert not desk.status & SYS
    assert desk.ask(0xAA) == 0x55
    assert desk.status & SYS
    desk.command(0x60, 0x43)
    assert (desk.status & SYS, desk.ask(0x20)) == (0, 0x43)


def test_status_tells_a_command_from_data() -> None:
    desk = Desk()
    desk.command(0x60)
    assert desk.status & A2
    desk.write(0x03)
    assert not desk.status & A2


@pytest.mark.parametrize("other", [0xAE, 0x00])
def test_a_command_without_data_byte_gives_up_the_one_that_waited(other: int) -> None:
    desk = Desk()
    desk.command(0xD1)
    desk.command(other)
    desk.write(0xDD)
    assert (desk.machine.a20.level, desk.drain()) == (True, bytes((RESEND,)))


def test_a_reset_that_is_held_back_leaves_the_reset_line_high() -> None:
    desk = Desk()
    with desk.machine.requests.hold():
        desk.command(0xD1, 0xDE)
        assert desk.ask(0xD0) & 0x01


def test_another_command_in_place_of_the_data_byte_is_taken() -> None:
    desk = Desk()
    desk.command(0xD1)
    desk.command(0x60, 0x00)
    assert (desk.ask(0x20), desk.machine.a20.level) == (0x00, True)


def test_the_test_inputs_show_the_clock_held_low() -> None:
    desk = Desk()
    desk.command(0xAD)
    assert desk.ask(0xE0) == 0x02


def test_an_empty_output_buffer_shows_its_last_byte() -> None:
    desk = Desk()
    assert (desk.ask(0xAA), desk.read()) == (0x55, 0x55)


def test_an_answer_goes_before_what_the_keyboard_sends() -> None:
    desk = Desk()
    desk.device.receive(b"a")
    desk.command(0xAA)
    assert [desk.read() for _ in range(3)] == [0x1C, 0x55, 0xF0]


def test_the_second_of_two_answers_that_wait_is_kept() -> None:
    desk = Desk()
    desk.device.receive(b"a")
    desk.command(0xAA)
    desk.command(0xC0)
    assert desk.drain() == bytes((0x1C, 0xB0, 0xF0, 0x1C))


# -- address line 20 and reset ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "level", "output"),
    [
        (((0xD1, 0xDD),), False, 0xCD),
        (((0xD1, 0xDD), (0xD1, 0xDF)), True, 0xCF),
        (((0xD1, 0x03),), True, 0x03),
        (((0xDD,),), False, 0xCD),
        (((0xDD,), (0xDF,)), True, 0xCF),
    ],
)
def test_the_output_port_gates_address_line_20(commands: tuple[tuple[int, ...]], level: bool, output: int) -> None:
    desk = Desk()
    for command, *data in commands:
        desk.command(command, *data)
    assert (desk.machine.a20.level, desk.ask(0xD0)) == (level, output)


@pytest.mark.parametrize("commands", [(0xFE,), (0xF0,), (0xF6,), (0xD1, 0xDE)])
def test_the_machine_is_reset(commands: tuple[int, ...]) -> None:
    desk = Desk({"type": "dma_page"})
    desk.machine.ports.outb(0x80, 0x55)
    desk.command(0xDD)
    desk.command(commands[0], *commands[1:])
    assert desk.machine.ports.inb(0x80) == 0
    assert (desk.machine.a20.level, desk.ask(0xD0)) == (True, 0xCF)


@pytest.mark.parametrize("command", [0xFF, 0xF1, 0xFD, 0x92])
def test_a_pulse_of_other_lines_does_nothing(command: int) -> None:
    desk = Desk({"type": "dma_page"})
    desk.machine.ports.outb(0x80, 0x55)
    desk.command(command)
    assert (desk.machine.ports.inb(0x80), desk.machine.a20.level) == (0x55, True)


# -- interrupts -------------------------------------------------------------------------------------------------------


def test_each_byte_is_an_edge_of_its_own() -> None:
    desk = Desk()
    desk.device.receive(b"a")
    desk.drain()
    assert desk.edges == [(1, True), (1, False)] * 3


def test_without_its_enable_there_is_no_interrupt_and_the_enable_finds_the_byte() -> None:
    desk = Desk()
    desk.command(0x60, 0x00)
    desk.device.receive(b"a")
    assert (desk.edges, desk.status & OBF) == ([], OBF)
    desk.command(0x60, 0x01)
    assert desk.edges == [(1, True)]
    desk.command(0x60, 0x00)
    assert desk.edges == [(1, True), (1, False)]


def test_a_disabled_keyboard_does_not_interrupt() -> None:
    desk = Desk()
    desk.command(0xAD)
    desk.command(0xAA)
    assert (desk.edges, desk.status & OBF) == ([], OBF)


def test_the_output_port_shows_the_interrupts() -> None:
    desk = Desk()
    desk.device.receive(b"a")
    desk.command(0xD0)
    assert [desk.read(), desk.read()] == [0x1C, 0xDF]


def test_the_lines_are_where_they_are_put() -> None:
    desk = Desk(irq=5, aux_irq=6)
    desk.command(0xAA)
    desk.read()
    desk.command(0xD3, 0x11)
    assert desk.edges == [(5, True), (5, False), (6, True)]


# -- the auxiliary port -----------------------------------------------------------------------------------------------


def test_a_byte_written_to_the_buffers_comes_back() -> None:
    desk = Desk()
    desk.command(0xD2, 0x3C)
    assert (desk.status & 0xE1, desk.machine.irq.level(1), desk.read()) == (OBF, True, 0x3C)
    desk.command(0xD3, 0x5A)
    assert (desk.status & 0xE1, desk.machine.irq.level(12), desk.read()) == (OBF | AUX_OBF, True, 0x5A)
    assert not desk.machine.irq.level(12)


def test_no_device_answers_at_the_auxiliary_port() -> None:
    desk = Desk()
    desk.command(0xA7)
    desk.command(0xD4, 0xFF)
    assert desk.status & 0xE1 == OBF | AUX_OBF | TIMEOUT
    assert (desk.read(), desk.status & 0xE1) == (RESEND, 0)
    assert desk.ask(0x20) == 0x03


def test_the_auxiliary_interrupt_has_an_enable_of_its_own() -> None:
    desk = Desk()
    desk.command(0x60, 0x01)
    desk.command(0xD3, 0x5A)
    assert desk.edges == []


# -- the keyboard -----------------------------------------------------------------------------------------------------

ANSWERS = [
    ((0xEE,), (0xEE,)),
    ((0xF2,), (ACK, 0xAB, 0x83)),
    ((0xED,), (ACK,)),
    ((0xED, 0x07), (ACK,)),
    ((0xF3, 0x20), (ACK,)),
    ((0xF0, 0x00), (ACK, 0x02)),
    ((0xF0, 0x01), (ACK,)),
    ((0xF0, 0x03), (RESEND,)),
    ((0xF0, 0x01, 0xF0, 0x00), (ACK, 0x01)),
    ((0xF0, 0x01, 0xF6, 0xF0, 0x00), (ACK, 0x02)),
    ((0xF0, 0x01, 0xFF, 0xF0, 0x00), (ACK, 0x02)),
    ((0xED, 0xF2), (ACK, 0xAB, 0x83)),  # a command in place of the parameter
    ((0xF4,), (ACK,)),
    ((0xF5,), (ACK,)),
    ((0xF6,), (ACK,)),
    ((0xF7,), (ACK,)),
    ((0xFA,), (ACK,)),
    ((0xFB, 0x1C), (ACK,)),
    ((0xF2, 0xFE), (0x83,)),  # resend
    ((0xFF,), (ACK, 0xAA)),
    ((0xFF, 0xFE), (0xAA,)),
    ((0x00,), (RESEND,)),
    ((0xEF,), (RESEND,)),
]


@pytest.mark.parametrize(("commands", "answer"), ANSWERS)
def test_the_keyboard_answers(commands: tuple[int, ...], answer: tuple[int, ...]) -> None:
    assert Desk().send_keyboard(*commands) == bytes(answer)


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        ((0xF2,), (ACK, 0xAB, 0x41)),
        ((0xFF,), (ACK, 0xAA)),
        ((0xEE,), (0xEE,)),
        ((0xF0, 0x00), (ACK, 0x41)),
        ((0xF0, 0x01, 0xF0, 0x00), (ACK, 0x43)),
    ],
)
def test_answers_are_translated_like_keys(commands: tuple[int, ...], answer: tuple[int, ...]) -> None:
    desk = Desk()
    desk.command(0x60, 0x43)
    assert desk.send_keyboard(*commands) == bytes(answer)


def test_a_byte_for_the_keyboard_enables_it() -> None:
    desk = Desk()
    desk.command(0xAD)
    assert desk.send_keyboard(0xEE) == b"\xee"
    assert desk.ask(0x20) == 0x03


def test_a_command_gives_up_what_was_to_be_answered() -> None:
    desk = Desk()
    desk.write(0xF2)
    desk.write(0xEE)
    assert desk.drain() == bytes((ACK, 0xEE))


def test_answers_go_before_keys() -> None:
    desk = Desk()
    desk.device.receive(b"a")
    desk.write(0xF2)
    assert desk.drain() == bytes((0x1C, ACK, 0xAB, 0x83, 0xF0, 0x1C))


@pytest.mark.parametrize(
    ("command", "left"), [(0xF4, b""), (0xF5, b""), (0xF6, b""), (0xFF, b"\xaa"), (0xEE, b"\xf0\x1c")]
)
def test_some_commands_clear_the_keys(command: int, left: bytes) -> None:
    desk = Desk()
    desk.device.receive(b"a")
    desk.write(command)
    assert desk.drain()[2:] == left


def test_a_keyboard_that_does_not_scan_sends_no_keys() -> None:
    desk = Desk()
    desk.send_keyboard(0xF5)
    assert desk.device.room() == 0
    assert desk.type(b"a") == b""
    desk.send_keyboard(0xF6)
    assert desk.type(b"a") == b""
    desk.send_keyboard(0xF4)
    assert desk.type(b"a") == b"\x1c\xf0\x1c"


def test_after_its_reset_it_scans() -> None:
    desk = Desk()
    desk.send_keyboard(0xF5)
    desk.send_keyboard(0xFF)
    assert desk.type(b"a") == b"\x1c\xf0\x1c"


def test_another_scan_set_clears_the_keys() -> None:
    desk = Desk()
    desk.write(0xF0)
    desk.device.receive(b"a")
    desk.write(0x01)
    assert desk.drain() == bytes((ACK, ACK))


# -- typing -----------------------------------------------------------------------------------------------------------

CODES = [
    # set 2, and set 1 (AT Technical Reference, "Scan Codes"; Shift is 12 and 2A, Ctrl 14 and 1D)
    (b"a", "1c f01c", "1e 9e"),
    (b"A", "12 1c f01c f012", "2a 1e 9e aa"),
    (b"1", "16 f016", "02 82"),
    (b"!", "12 16 f016 f012", "2a 02 82 aa"),
    (b"z", "1a f01a", "2c ac"),
    (b"?", "12 4a f04a f012", "2a 35 b5 aa"),
    (b"~", "12 0e f00e f012", "2a 29 a9 aa"),
    (b"\\", "5d f05d", "2b ab"),
    (b" ", "29 f029", "39 b9"),
    (b"\r", "5a f05a", "1c 9c"),
    (b"\n", "5a f05a", "1c 9c"),
    (b"\t", "0d f00d", "0f 8f"),
    (b"\b", "66 f066", "0e 8e"),
    (b"\x7f", "66 f066", "0e 8e"),
    (b"\x1b", "76 f076", "01 81"),
    (b"\x03", "14 21 f021 f014", "1d 2e ae 9d"),
    (b"\x01", "14 1c f01c f014", "1d 1e 9e 9d"),
    (b"\x00\x80\xff", "", ""),
]


@pytest.mark.parametrize(("text", "set_2", "set_1"), CODES)
def test_a_text_is_typed_on_a_us_keyboard(text: bytes, set_2: str, set_1: str) -> None:
    assert Desk().type(text) == bytes.fromhex(set_2)
    translating = Desk()
    translating.command(0x60, 0x41)
    assert translating.type(text) == bytes.fromhex(set_1)
    switched = Desk()
    switched.send_keyboard(0xF0, 0x01)
    assert switched.type(text) == bytes.fromhex(set_1)


def test_every_printable_character_has_a_key_of_its_own() -> None:
    desk = Desk()
    typed = [desk.type(bytes((character,))) for character in range(0x20, 0x7F)]
    assert all(typed)
    assert len(set(typed)) == len(typed)


def test_scan_codes_are_sent_as_they_come() -> None:
    desk = Desk(input="scan codes")
    assert desk.device.room() == 16
    desk.device.receive(b"\xe0\x75\xe0\xf0\x75")
    assert desk.drain() == b"\xe0\x75\xe0\xf0\x75"
    desk.command(0x60, 0x41)
    desk.device.receive(b"\xe0\x75\xe0\xf0\x75\x83\x84\xf0\x83")
    assert desk.drain() == b"\xe0\x48\xe0\xc8\x41\x54\xc1"


def test_a_release_is_remembered_until_its_code_comes() -> None:
    desk = Desk(input="scan codes")
    desk.command(0x60, 0x41)
    desk.device.receive(b"\xf0")
    assert not desk.status & OBF
    twin = Desk(input="scan codes")
    twin.machine.load(saved(desk.machine), strict=True)
    twin.device.receive(b"\x1c\x1c")
    assert twin.drain() == b"\x9e\x1e"


def test_a_disabled_keyboard_keeps_its_keys() -> None:
    desk = Desk()
    desk.command(0xAD)
    desk.device.receive(b"a")
    assert not desk.status & OBF
    desk.command(0xAE)
    assert desk.drain() == b"\x1c\xf0\x1c"


@pytest.mark.parametrize(("scan_set", "code"), [(2, 0x00), (1, 0xFF)])
def test_the_seventeenth_code_is_an_overrun(scan_set: int, code: int) -> None:
    desk = Desk(input="scan codes")
    desk.send_keyboard(0xF0, scan_set)
    desk.command(0xAD)
    desk.device.receive(bytes(range(0x10, 0x22)))
    desk.device.receive(b"\x22")
    assert desk.device.room() == 0
    desk.command(0xAE)
    assert desk.drain() == bytes((*range(0x10, 0x20), code))


def test_there_is_room_for_as_many_characters_as_surely_fit() -> None:
    desk = Desk()
    desk.command(0xAD)
    rooms = []
    for _ in range(3):
        rooms.append(desk.device.room())
        desk.device.receive(b"A")
    assert rooms == [2, 1, 0]


# -- load -------------------------------------------------------------------------------------------------------------


def test_a_load_drives_address_line_20_and_the_interrupts() -> None:
    desk, twin = Desk(), Desk()
    desk.command(0xDD)
    desk.device.receive(b"a")
    twin.machine.load(saved(desk.machine), strict=True)
    assert (twin.machine.a20.level, twin.machine.irq.level(1)) == (False, True)
    assert twin.drain() == b"\x1c\xf0\x1c"


def broken(keyboard: dict[str, Any] | None = None, **changes: Any) -> I8042State:
    state = Desk().device.save()
    return replace(state, keyboard=replace(state.keyboard, **keyboard or {}), **changes)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (broken(output_port=0xCE), "output_port"),
        (broken(output_port=0xDF), "output_port"),
        (broken(command=0xAA), "takes no data byte"),
        (broken(command=0xD1, a2=False), "a2 says"),
        (broken(answer=1, answer_source=Source.KBD), "answer waits"),
        (broken(answer=1), "has no source"),
        (broken({"keys": b"a"}), "bytes to send"),
        (broken({"answers": b"a"}), "bytes to send"),
        (broken({"parameter_of": 0xEE}), "parameter_of"),
        (broken({"keys": bytes(16) + b"\x01"}, command_byte=0x10), "overrun"),
    ],
)
def test_a_state_that_cannot_be_is_refused_and_nothing_changes(state: I8042State, message: str) -> None:
    desk = Desk()
    before = desk.device.save()
    with pytest.raises(StateError, match=message):
        desk.device.load(state)
    assert desk.device.save() == before


def test_a_full_state_is_taken() -> None:
    keyboard = KeyboardState(
        scan_set=1, scanning=True, keys=bytes(16) + b"\xff", answers=b"abc", last_sent=7, parameter_of=0xF0
    )
    state = broken(
        command_byte=0x53, command=0xD1, output=9, output_source=Source.AUX, answer=4, answer_source=Source.AUX_TIMEOUT
    )
    desk = Desk()
    desk.device.load(replace(state, keyboard=keyboard))
    assert desk.device.save() == replace(state, keyboard=keyboard)
