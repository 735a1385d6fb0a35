"""Machines that are loaded with states near to real ones, and then used.

A load may be refused. After one that was not, nothing may raise but what the contract of a step allows, whatever the
guest and the outside world do; and the machine can be saved, and loaded from that.
"""

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final, cast

from chkpt.context import Checkpoint
from chkpt.device import DeviceType
from chkpt.errors import ChkptError
from chkpt.machine import Machine
from chkpt.machine.config import Unpack, parse
from chkpt.machine.kernel import KernelState
from chkpt.machine.parts import PARTS
from chkpt.manager import installed_device_types
from chkpt.prove.bench import Bench
from chkpt.prove.setup import Setup, setups_of
from chkpt.prove.talk import conversation
from chkpt.snapshot import loads
from chkpt.state import from_context, to_context
from tests.lab.fuzz.draws import Draws, one_in
from tests.lab.fuzz.states import damaged, state_of

WARM: Final = 40
"""Steps at most before the state is taken that the loaded one is near to."""

WILD: Final = (2, 10, 40, 100)
CAREFUL: Final = (1, 2, 5, 50)
"""Of 100 fields, how many are drawn anew. The fewer, the more often the state is accepted."""


def setups(name: str) -> list[Setup]:
    """Return the machines for a device type, as `chkpt prove` has them."""
    return setups_of(_types()[name])


def _types() -> Mapping[str, DeviceType[Any, Any]]:
    return {each.name: each for each in installed_device_types()}


def use(bench: Bench, choose: Random, steps: int, names: tuple[str, ...] = ()) -> None:
    """Let a conversation go on for some steps, by the grammars and by noise."""
    talk = conversation(bench.machine, choose, names)
    step = next(talk)
    for _ in range(steps):
        step = talk.send(bench.do(step))


def load_any(setup: Setup, draws: Draws, steps: int, *, whole: bool = False) -> bool:
    """Load a machine with any state of its device that has the ranges declared for it; where it takes that, use it.

    Args:
        setup: the machine, whose last device is loaded.
        draws: makes the choices.
        steps: how many accesses, waits and inputs the machine must stand afterwards.
        whole: only change values within their ranges; else the context may also be one that no state makes.

    Returns:
        Whether the state was accepted.
    """
    bench = Bench(setup)
    device = [entry.name for entry in bench.machine.devices][-1]
    seed = draws.integer(0, 0xFFFF)
    use(bench, Random(seed), draws.integer(0, WARM))
    checkpoint = loads(bench.save())
    devices = checkpoint.contexts["devices"]
    cls = bench.machine.devices.entry(device).type.state
    assert cls is not None
    base = from_context(devices.contexts[device], cls, device)
    changed = (CAREFUL if whole else WILD)[draws.integer(0, 3)]
    state = state_of(cls, draws, base, changed, bench.machine.clock.now)
    context = to_context(state, devices.contexts[device].type)
    if not whole:
        context = damaged(context, draws)
    checkpoint.contexts["devices"] = replace(devices, contexts={**devices.contexts, device: context})
    twin = Bench(setup)
    try:
        twin.machine.load(checkpoint, only=(device,) if one_in(draws, 8) else ())
    except ChkptError:
        return False
    use(twin, Random(seed + 1), steps)
    Bench(setup).load(twin.save(), twin)
    return True


# -- the machine's own parts ------------------------------------------------------------------------------------------

_TABLE: Final[Mapping[str, object]] = {
    "name": "parts",
    "memory": 0x10000,
    "device": [{"type": "pic"}, {"type": "pit"}, {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4}],
}


_BOOTED: Final[Mapping[str, object]] = {
    **_TABLE,
    "memory": 0x200000,
    "cpu": {"model": "unicorn"},
    "firmware": {"rom": "boot"},
    "kernel": {"image": ""},
}


def plain_machine() -> Machine:
    """Return a machine without a processor."""
    return Machine(parse(_TABLE))


def booted_machine() -> Machine:
    """Return a machine with every part that there is, as if a kernel had been booted on it."""
    machine = Machine(parse(_BOOTED), boot=False)
    assert machine.kernel is not None
    machine.kernel.state = KernelState(bytes(32), b"", "quiet", next(iter(Unpack)))
    return machine


def load_parts(draws: Draws) -> bool:
    """Load a machine with any parts but its processor; where it takes them, use it. Return whether it did."""
    machine = booted_machine() if one_in(draws, 8) else plain_machine()
    try:
        checkpoint = Checkpoint()
        machine.save(checkpoint)
        for name in sorted(PARTS.keys() & checkpoint.contexts.keys() - {"cpu"}):
            _draw_part(checkpoint, name, draws)
        if one_in(draws, 4):
            devices = checkpoint.contexts["devices"]
            checkpoint.contexts["devices"] = damaged(devices, draws)
        try:
            machine.load(checkpoint)
        except ChkptError:
            return False
        machine.step(1_000_000)
        machine.ports.outb(0x3F8, 0x41)
        machine.memory.write(0, b"\xff" * 0x100)
        machine.save(Checkpoint())
    finally:
        machine.close()
    return True


def _draw_part(checkpoint: Checkpoint, name: str, draws: Draws) -> None:
    context = checkpoint.contexts[name]
    state = state_of(PARTS[name], draws, from_context(context, PARTS[name], name), 60)
    if one_in(draws, 2):
        checkpoint.contexts[name] = damaged(to_context(state, name), draws)


def load_cpu(draws: Draws) -> bool:
    """Load a machine with any processor; where it takes it, let it run for a moment. Return whether it did."""
    from chkpt.machine.cpu.contract import CpuState

    machine = Machine(parse({**_TABLE, "cpu": {"model": "unicorn"}}))
    try:
        checkpoint = Checkpoint()
        machine.save(checkpoint)
        context = checkpoint.contexts["cpu"]
        state = state_of(CpuState, draws, from_context(context, CpuState, "cpu"), WILD[draws.integer(0, 3)])
        checkpoint.contexts["cpu"] = damaged(to_context(state, "cpu"), draws)
        code = draws.data(64)
        machine.memory.write(0x100, code)
        try:
            machine.load(checkpoint)
        except ChkptError:
            return False
        machine.run(ticks=cast("Any", state).ticks + 2000, until=machine.clock.now + 1_000_000)
        machine.save(Checkpoint())
    finally:
        machine.close()
    return True
