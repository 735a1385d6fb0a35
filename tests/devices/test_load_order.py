"""A restore neither invents nor loses an edge, whatever the order of the devices in the machine and in the snapshot.

See docs/decisions/0005. Each state is saved once, and a machine that was never saved shows what must follow. The normal
run loads every state in each order of creation, and in each order of the name table; a machine of each order is made
once, and loaded over and over. The long run takes every pair of orders, and a new machine each time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product

import pytest

from chkpt.context import Checkpoint
from chkpt.machine import Machine
from chkpt.manager.names import pack_names
from chkpt.snapshot import dumps, loads
from chkpt.testing import plain_checkpoint
from tests.support.rig import rig, saved

DEVICES: Mapping[str, Mapping[str, object]] = {
    "pic": {"type": "pic"},
    "pit": {"type": "pit"},
    "com1": {"type": "serial", "name": "com1"},
    "ide0": {"type": "ide", "name": "ide0", "drive": [{"unit": 0, "media": "disk", "size": "64K"}]},
}
ORDERS = list(permutations(DEVICES))
FIRST = ORDERS[0]
OUTSIDE = (4, 11)  # lines that a test bench drives; the first is the serial port's as well

Event = tuple[int, int, bool]  # time, line, level


@dataclass(frozen=True)
class State:
    """What is pending when the machine is saved."""

    out0: bool  # the timer's line
    serial: bool
    intrq: bool  # the disk's
    outside: bool
    pic: str  # what has become of the requests


PIC = ("requested", "masked", "in service", "served", "level triggered")
BOTH = (False, True)
STATES = [
    State(out0, serial, intrq, outside, pic)
    for out0, serial, intrq, outside, pic in product(BOTH, BOTH, BOTH, BOTH, PIC)
    if out0 or serial or intrq or outside
]


def machine(order: tuple[str, ...]) -> Machine:
    return rig(*(DEVICES[name] for name in order))


def init(machine: Machine) -> None:
    for port, *words in ((0x20, 0x11), (0x21, 0x08, 0x04, 0x01), (0xA0, 0x11), (0xA1, 0x70, 0x02, 0x01)):
        for word in words:
            machine.ports.outb(port, word)


def stir(stirred: Machine, state: State) -> None:
    """Bring a new machine into a state."""
    outb = stirred.ports.outb
    init(stirred)
    if state.pic == "masked":
        outb(0x21, 0xFF)
        outb(0xA1, 0xFF)
    if state.pic == "level triggered":
        outb(0x4D0, 0x10)
        outb(0x4D1, 0x48)
    stirred.step(12_345)
    outb(0x43, 0x36 if state.out0 else 0x30)  # a square wave begins high, mode 0 low
    outb(0x40, 0x40)
    outb(0x40, 0x01)
    if state.serial:
        outb(0x3F9, 0x02)  # THR is empty
    if state.intrq:
        outb(0x1F7, 0xEC)  # IDENTIFY: there is data
    for line in OUTSIDE if state.outside else ():
        stirred.irq.force(line, True)
    stirred.step(1000)
    if state.pic in {"in service", "served"}:
        while stirred.irq.intr:
            stirred.irq.acknowledge()
            if state.pic == "served":
                outb(0xA0, 0x20)
                outb(0x20, 0x20)
    levels = [stirred.irq.level(line) for line in (0, 4, 11, 14)]
    assert levels == [state.out0, state.serial or state.outside, state.outside, state.intrq]


def go_on(machine: Machine) -> list[object]:
    """Use the lines and the controllers; return all answers and, with their times, all changes of a line."""
    events: list[object] = []
    unwatch = machine.irq.watch(lambda line, level: events.append((machine.clock.now, line, level)))
    events += conversation(machine)
    unwatch()
    return events


def conversation(machine: Machine) -> Iterator[object]:
    inb, outb = machine.ports.inb, machine.ports.outb
    half_period = 134_095  # nanoseconds: 160 clocks, half of what the timer was given
    for _ in range(2):
        for chip in (0x20, 0xA0):
            for register in (0x0A, 0x0B):
                outb(chip, register)
                yield inb(chip)
        yield machine.irq.intr
        yield machine.irq.acknowledge()
        outb(0xA0, 0x20)
        outb(0x20, 0x20)
        machine.step(half_period)
        yield inb(0x3FA)  # the serial port's reason, which may end it
        yield inb(0x1F7)  # the disk's interrupt ends
        machine.irq.force(11, False)
        machine.step(half_period)
        outb(0x21, 0x00)
        outb(0xA1, 0x00)
        outb(0x3F9, 0x00)
        outb(0x3F9, 0x02)
        machine.irq.force(4, False)
        machine.irq.force(11, True)
        outb(0x1F7, 0x91)
        for _ in range(4):
            yield machine.irq.acknowledge()
            outb(0xA0, 0x20)
            outb(0x20, 0x20)


@cache
def original(state: State) -> tuple[bytes, list[tuple[int, bool]], dict[str, object], list[object]]:
    """Return a state's snapshot, its lines, its saved values and how it goes on, from a machine that only ran."""
    kept = machine(FIRST)
    stir(kept, state)
    checkpoint = saved(kept)
    lines = [(line, kept.irq.level(line)) for line in range(17)]
    return dumps(checkpoint), lines, plain_checkpoint(checkpoint)["devices"], go_on(kept)


def reordered(checkpoint: Checkpoint, order: tuple[str, ...]) -> bytes:
    """Return a snapshot whose name table, and whose sections, stand in this order."""
    devices = checkpoint.contexts["devices"]
    contexts = {name: devices.contexts[name] for name in order}
    checkpoint.contexts["devices"] = replace(
        devices, values={**devices.values, "names": pack_names(order)}, contexts=contexts
    )
    return dumps(checkpoint)


def check(machine: Machine, state: State, table: tuple[str, ...]) -> None:
    """Load a state whose name table is in this order, and hold the machine against the one that was never saved."""
    snapshot, lines, values, after = original(state)
    events: list[tuple[int, bool]] = []
    unwatch = machine.irq.watch(lambda line, level: events.append((line, level)))
    report = machine.load(loads(reordered(loads(snapshot), table)), strict=True)
    unwatch()
    assert report.loaded == table
    assert events == lines  # every line's level, once, and nothing else
    assert [(line, machine.irq.level(line)) for line in range(17)] == lines
    loaded = plain_checkpoint(saved(machine))["devices"]
    assert {name: loaded[f"{name}/"] for name in DEVICES} == {name: values[f"{name}/"] for name in DEVICES}
    assert go_on(machine) == after


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_devices_made_in_any_order(order: tuple[str, ...]) -> None:
    twin = machine(order)
    for state in STATES:
        check(twin, state, FIRST)


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_devices_listed_in_any_order(order: tuple[str, ...]) -> None:
    twin = machine(FIRST)
    for state in STATES:
        check(twin, state, order)


@pytest.mark.parametrize("order", ORDERS[1::5], ids=" ".join)
def test_a_new_machine_of_another_order(order: tuple[str, ...]) -> None:
    for state in STATES[:: len(PIC) + 1]:
        check(machine(order), state, order[::-1])


@pytest.mark.long
@pytest.mark.parametrize("made", ORDERS, ids=" ".join)
def test_every_pair_of_orders_in_new_machines(made: tuple[str, ...]) -> None:
    for listed in ORDERS:
        for state in STATES:
            twin = machine(made)
            check(twin, state, listed)
            twin.close()


def test_no_two_of_the_states_are_one() -> None:
    assert len({str(original(state)[2]) for state in STATES}) == len(STATES)
