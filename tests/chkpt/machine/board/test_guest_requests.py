"""What devices request of the machine: a reset after the access, an end that its owner sees."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import pytest

from chkpt.device import DeviceType, Host, Port
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import DeviceTypes
from tests.support.rig import saved


@dataclass(frozen=True, slots=True)
class ButtonState:
    VERSION: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class ButtonConfig:
    pass


class Button:
    """Requests a reset in every way, and logs what happens in which order."""

    def __init__(self, host: Host, config: ButtonConfig) -> None:
        self.log: list[str] = []
        self.ask: Callable[[], None] = host.request_reset
        self.timer = host.timer(self.press)
        word = Port(write=self.take, write_word=self.take)
        host.claim_ports(0x100, [word, Port(write=self.take)])
        host.claim_msrs(0x10, 1, lambda msr: 0, lambda msr, value: self.press())
        host.claim_memory(0x1000, 4, lambda offset, width: 0, lambda offset, width, value: self.press())
        self.exit = host.request_exit

    def take(self, value: int) -> None:
        self.press()

    def press(self) -> None:
        self.ask()
        self.log.append("over")

    def reset(self) -> None:
        self.log.append("reset")

    def save(self) -> ButtonState:
        return ButtonState()

    def load(self, state: ButtonState) -> None:
        pass


BUTTON = DeviceType("button", Button, ButtonConfig, ButtonState)


def board() -> tuple[Machine, Button]:
    types = DeviceTypes([BUTTON])
    machine = Machine(parse({"device": [{"type": "button"}]}), device_types=types)
    return machine, cast("Button", machine.devices.find("button"))


ACCESSES: dict[str, tuple[Callable[[Machine], None], int]] = {
    "a byte": (lambda machine: machine.ports.outb(0x100, 1), 1),
    "a word": (lambda machine: machine.ports.outw(0x100, 1), 1),
    "two words": (lambda machine: machine.ports.outl(0x100, 1), 2),
    "bytes of a word": (lambda machine: machine.ports.outw(0x101, 1), 1),
    "an MSR": (lambda machine: machine.msrs.wrmsr(0x10, 1), 1),
    "memory": (lambda machine: machine.memory.store(0x1000, 4, 1), 1),
}


@pytest.mark.parametrize("access", ACCESSES)
def test_a_reset_happens_when_the_access_is_over(access: str) -> None:
    machine, button = board()
    write, cycles = ACCESSES[access]
    write(machine)
    assert button.log == ["over"] * cycles + ["reset"]
    assert not machine.requests.reset_pending


def test_a_timer_resets_when_its_callback_is_over() -> None:
    machine, button = board()
    button.timer.arm(10)
    machine.step(20)
    assert (button.log, machine.clock.now) == (["over", "reset"], 20)


def test_without_a_request_nothing_is_reset() -> None:
    machine, button = board()
    button.ask = lambda: None
    for write, _ in ACCESSES.values():
        write(machine)
    assert "reset" not in button.log


def test_a_slice_holds_a_reset_back_until_its_end() -> None:
    machine, button = board()
    with machine.requests.hold():
        with machine.requests.hold():
            machine.ports.outb(0x100, 1)
        machine.ports.outb(0x100, 1)
        assert button.log == ["over", "over"]
        assert machine.requests.reset_pending
    assert button.log == ["over", "over", "reset"]


def test_a_watcher_is_called_at_each_request_until_it_is_removed() -> None:
    machine, button = board()
    called: list[object] = []
    unwatch = machine.requests.watch(lambda: called.append(machine.requests.exit_status))
    machine.ports.outb(0x100, 1)
    button.exit(5)
    unwatch()
    button.exit(7)
    assert called == [None, 5]


def test_the_first_exit_counts() -> None:
    machine, button = board()
    assert machine.requests.exit_status is None
    button.exit(5)
    button.exit(7)
    assert machine.requests.exit_status == 5


def test_a_reset_does_not_take_an_exit_back() -> None:
    machine, button = board()
    button.exit(5)
    machine.reset()
    assert machine.requests.exit_status == 5


def test_a_whole_load_forgets_the_requests_of_the_machine_that_was() -> None:
    machine, button = board()
    checkpoint = saved(machine)
    with machine.requests.hold():
        machine.ports.outb(0x100, 1)
        button.exit(5)
        machine.load(checkpoint, strict=True)
    assert machine.requests.exit_status is None
    assert button.log == ["over"]
