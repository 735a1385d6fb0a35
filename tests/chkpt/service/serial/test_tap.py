"""A tap: the guest does not notice it, and listeners get what the backend has taken."""

from typing import Any

import pytest

from chkpt.device import CharFrontend, FrontendKind
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import installed_backend_types
from chkpt.service.serial.tap import Tap, add_taps
from tests.support.rig import saved
from tests.support.served import COM1, table

RBR_THR, FCR, LCR, MCR, LSR, MSR = 0x3F8, 0x3FA, 0x3FB, 0x3FC, 0x3FD, 0x3FE
BACKENDS: list[dict[str, object]] = [
    {"type": "null"},
    {"type": "memory"},
    {"type": "memory", "capacity": 2},
    {"type": "pty"},
]


def machine(backend: dict[str, object] | None, *, tap: bool) -> Machine:
    types = installed_backend_types()
    device = COM1 if backend is None else {**COM1, "backend": backend}
    made = Machine(parse(table(device)), backend_types=add_taps(types) if tap else types)
    if tap and backend is None:
        made.devices.connect_char("com1", Tap())
    return made


def conversation(made: Machine) -> list[int]:
    """Use everything of the port that a backend can be noticed by."""
    seen = [made.ports.inb(MSR), made.ports.inb(MSR)]
    made.ports.outb(FCR, 0x01)
    made.ports.outb(MCR, 0x03)
    for byte in b"hello, world: more than a FIFO holds":
        made.ports.outb(RBR_THR, byte)
        seen.append(made.ports.inb(LSR))
    made.ports.outb(LCR, 0x43)
    made.ports.outb(LCR, 0x03)
    seen += [made.ports.inb(LSR), made.ports.inb(MSR), made.ports.inb(RBR_THR)]
    made.step(1_000_000_000)
    return [*seen, made.ports.inb(LSR)]


@pytest.mark.parametrize("backend", [None, *BACKENDS], ids=str)
def test_guest_cannot_tell(backend: dict[str, object] | None) -> None:
    plain, behind = machine(backend, tap=False), machine(backend, tap=True)
    assert conversation(plain) == conversation(behind)
    assert saved(plain).contexts["devices"] == saved(behind).contexts["devices"]
    plain.close()
    behind.close()


def test_listeners_hear_what_the_backend_has_taken() -> None:
    made = machine({"type": "memory", "capacity": 2}, tap=True)
    tap: Any = made.devices.frontends["char"].backends["com1"]
    heard = bytearray()
    tap.listen(heard.extend)
    for byte in b"abc":
        made.ports.outb(RBR_THR, byte)
    assert heard == tap.backend.output == b"ab"
    tap.backend.output.clear()
    made.devices.frontends["char"].backends["com1"].poll()
    assert heard == b"abc"
    made.close()


def test_listeners_hear_without_a_backend() -> None:
    made = machine(None, tap=True)
    tap: Any = made.devices.frontends["char"].backends["com1"]
    heard = bytearray()
    tap.listen(heard.extend)
    made.ports.outb(RBR_THR, ord("x"))
    assert heard == b"x"
    assert tap.fileno() is None
    assert not tap.wants_write()
    tap.poll()
    made.close()


def test_what_is_typed_reaches_the_guest_beside_the_backends_input() -> None:
    made = machine({"type": "memory"}, tap=True)
    tap: Any = made.devices.frontends["char"].backends["com1"]
    made.ports.outb(FCR, 0x01)
    assert tap.room() == 16
    tap.type(b"ab")
    tap.backend.feed(b"cd")
    assert tap.room() == 12
    assert bytes(made.ports.inb(RBR_THR) for _ in range(4)) == b"abcd"
    made.close()


def test_unattached_tap_has_no_room() -> None:
    tap = Tap()
    assert tap.room() == 0
    tap.type(b"x")
    assert tap.write(b"xy") == 2


class Line:
    """A backend that notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def attach(self, frontend: CharFrontend, /) -> None:
        self.done.append(frontend)

    def write(self, data: bytes, /) -> int:
        self.done.append(data)
        return 1

    def set_break(self, level: bool, /) -> None:
        self.done.append(level)

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        self.done.append((dtr, rts))

    def fileno(self) -> int | None:
        return 7

    def wants_write(self) -> bool:
        return True

    def poll(self) -> None:
        self.done.append("poll")

    def close(self) -> None:
        self.done.append("close")


def test_everything_reaches_the_backend() -> None:
    line = Line()
    tap = Tap(line)
    assert tap.write(b"xy") == 1
    tap.set_break(True)
    tap.set_modem(True, False)
    tap.poll()
    tap.close()
    assert (tap.fileno(), tap.wants_write()) == (7, True)
    assert line.done == [b"xy", True, (True, False), "poll", "close"]


def test_only_character_backends_are_tapped() -> None:
    types, behind = installed_backend_types(), add_taps(installed_backend_types())
    assert [each.name for each in behind] == [each.name for each in types]
    for each in behind:
        assert (each.open is types.find(each.name).open) == (each.kind is not FrontendKind.CHAR)
