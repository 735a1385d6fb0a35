"""What all character backends keep to, and the two that touch nothing of the host's."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import pytest

from chkpt.device import BackendType, CharBackend, FrontendKind
from chkpt.machine import Machine
from chkpt.manager import BackendTypes
from chkpt.state import from_table
from chkpt_devices.backends.char import FILE, MEMORY, NULL, PTY, SOCKET, STDIO, Memory, MemoryConfig, Null, NullConfig
from chkpt_devices.serial.chip import Serial
from tests.devices.backends.terminal import Terminal, is_awake, run, settle
from tests.support.descriptors import none_left
from tests.support.rig import rig

TYPES: tuple[BackendType[object], ...] = cast(
    "tuple[BackendType[object], ...]", (NULL, MEMORY, FILE, PTY, SOCKET, STDIO)
)
OPTIONS: Mapping[str, Mapping[str, object]] = {"file": {"path": "out"}, "socket": {"path": "line.sock"}}


@pytest.fixture(params=[each for each in TYPES if each is not STDIO], ids=lambda each: each.name)
def opened(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CharBackend]:
    monkeypatch.chdir(tmp_path)
    kind: BackendType[object] = request.param
    backend = cast("CharBackend", kind.open(from_table(OPTIONS.get(kind.name, {}), kind.config, kind.name)))
    yield backend
    backend.close()


def test_each_type_has_the_name_of_its_entry_point() -> None:
    assert [each.name for each in TYPES] == ["null", "memory", "file", "pty", "socket", "stdio"]
    assert {each.kind for each in TYPES} == {FrontendKind.CHAR}


def test_with_nobody_at_the_other_end_everything_is_taken(opened: CharBackend) -> None:
    terminal = Terminal(opened)
    for _ in range(5000):
        assert terminal.send(b"0123456789abcdef")
    settle(opened)


def test_break_and_modem_lines_are_taken(opened: CharBackend) -> None:
    opened.set_break(True)
    opened.set_modem(True, False)
    assert opened.write(b"a") == 1


def test_without_a_frontend_nothing_is_read_and_the_run_loop_sleeps(opened: CharBackend) -> None:
    opened.poll()
    settle(opened)


def test_a_second_close_does_nothing(opened: CharBackend) -> None:
    opened.close()
    opened.close()


def test_close_gives_every_descriptor_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with none_left():
        for kind in TYPES:
            if kind is STDIO:
                continue
            backend = cast("CharBackend", kind.open(from_table(OPTIONS.get(kind.name, {}), kind.config, kind.name)))
            Terminal(backend)
            settle(backend)
            backend.close()


def test_null_brings_nothing() -> None:
    null = Null(NullConfig())
    terminal = Terminal(null)
    null.poll()
    assert null.fileno() is None
    assert terminal.received == b""


# -- memory -----------------------------------------------------------------------------------------------------------


def test_memory_keeps_what_is_sent() -> None:
    memory = Memory(MemoryConfig())
    terminal = Terminal(memory)
    terminal.send(b"hello, ")
    terminal.send(b"world")
    assert memory.output == b"hello, world"


def test_memory_blocks_at_its_capacity_until_output_is_taken() -> None:
    memory = Memory(MemoryConfig(capacity=4))
    terminal = Terminal(memory)
    assert not terminal.send(b"abcdef")
    assert memory.fileno() is None
    assert (bytes(memory.output), bytes(terminal.unsent)) == (b"abcd", b"ef")
    memory.poll()
    assert terminal.unsent == b"ef"
    memory.output.clear()
    run(memory, lambda: not terminal.unsent)
    assert memory.output == b"ef"
    settle(memory)
    memory.close()


def test_memory_delivers_as_much_as_there_is_room_for_and_the_rest_later() -> None:
    memory = Memory(MemoryConfig())
    terminal = Terminal(memory, room=3)
    memory.feed(b"abcdef")
    assert memory.fileno() is None
    assert terminal.received == b"abc"
    terminal.free = 2
    run(memory, lambda: terminal.received == b"abcde")
    memory.feed(b"g")
    assert terminal.received == b"abcde"
    terminal.free = 2
    run(memory, lambda: terminal.received == b"abcdefg")
    memory.close()


def test_memory_keeps_what_is_fed_before_a_frontend_comes() -> None:
    memory = Memory(MemoryConfig())
    memory.feed(b"early")
    assert not is_awake(memory)
    terminal = Terminal(memory)
    run(memory, lambda: terminal.received == b"early")
    memory.close()


def test_a_machine_opens_its_backends_from_their_tables() -> None:
    table = {"type": "serial", "backend": {"type": "memory", "capacity": 2}}
    machine: Machine = rig(table, backends=BackendTypes([MEMORY]))
    for byte in b"abcd":
        machine.ports.outb(0x3F8, byte)
    memory = cast("Memory", machine.devices.frontends["char"].backends["serial"])
    assert memory.output == b"ab"
    memory.feed(b"x")
    assert cast("Serial", machine.devices.find("serial")).room() == 0
    assert machine.ports.inb(0x3F8) == ord("x")
    machine.close()
