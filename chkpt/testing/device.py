"""The tests that every device must pass."""

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from chkpt.context import Checkpoint, Context, Value
from chkpt.device import DeviceType
from chkpt.errors import LoadError, StateError
from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import DeviceTypes, installed_device_types
from chkpt.state import from_context, to_context
from chkpt.state.layout import layout_of
from chkpt.testing.contents import plain_checkpoint


class DeviceContract:
    """Test the contract of devices: a subclass, whose name begins with `Test`, inherits the tests.

    The subclass sets `table` and defines `stir`. `types` holds device types without an entry point. A device that needs
    more of a machine than other devices overrides `machine`.
    """

    table: Mapping[str, object]
    """The device as a machine's description has it, without a backend: `{"type": "scratchpad", "port": 0x2E0}`."""

    others: Iterable[Mapping[str, object]] = ({"type": "pic"},)
    """The other devices that the device needs."""

    types: Iterable[DeviceType[Any, Any]] = ()
    """Device types to add to the installed ones. They replace installed types of the same names."""

    @abstractmethod
    def stir(self, machine: Machine) -> None:
        """Bring the device into a state far from its reset state, in the same way every time."""

    def machine(self) -> Machine:
        """Build a machine with the device in it; two machines that it builds are alike."""
        types = {each.name: each for each in (*installed_device_types(), *self.types)}
        others = [other for other in self.others if other["type"] != self.table["type"]]
        config = parse({"name": "contract", "device": [*others, self.table]})
        return Machine(config, device_types=DeviceTypes(types.values()))

    @property
    def name(self) -> str:
        """The name of the device in its machine."""
        return str(self.table.get("name", self.table["type"]))

    def times(self, machine: Machine) -> frozenset[str]:
        """Return the tags of the device's state that are times."""
        return frozenset(times_of(machine.devices.entry(self.name).type.state))

    def test_save_is_a_pure_read(self) -> None:
        machine = self.machine()
        self.stir(machine)
        first = plain_checkpoint(saved(machine))
        assert plain_checkpoint(saved(machine)) == first

    def test_a_stirred_device_saves_other_values_than_a_new_one(self) -> None:
        machine = self.machine()
        fresh = plain_checkpoint(saved(machine))
        self.stir(machine)
        assert plain_checkpoint(saved(machine))["devices"][f"{self.name}/"] != fresh["devices"][f"{self.name}/"]

    def test_load_into_a_new_machine_gives_the_same_state(self) -> None:
        machine, twin = self.machine(), self.machine()
        self.stir(machine)
        checkpoint = saved(machine)
        twin.load(checkpoint, strict=True)
        assert plain_checkpoint(saved(twin)) == plain_checkpoint(checkpoint)

    def test_load_undoes_a_change(self) -> None:
        machine = self.machine()
        fresh = saved(machine)
        self.stir(machine)
        machine.load(fresh, strict=True)
        assert plain_checkpoint(saved(machine)) == plain_checkpoint(fresh)

    def test_load_drives_the_lines_of_a_new_machine(self) -> None:
        machine, twin = self.machine(), self.machine()
        self.stir(machine)
        twin.load(saved(machine))
        assert [twin.irq.level(n) for n in range(17)] == [machine.irq.level(n) for n in range(17)]
        assert twin.a20.level is machine.a20.level

    def test_load_arms_the_same_timers(self) -> None:
        machine, twin = self.machine(), self.machine()
        self.stir(machine)
        twin.load(saved(machine))
        deadlines = [timer.deadline for timer in machine.devices.entry(self.name).host.timers]
        assert [timer.deadline for timer in twin.devices.entry(self.name).host.timers] == deadlines

    def test_reset_brings_back_the_state_of_a_new_device(self) -> None:
        machine = self.machine()
        times = self.times(machine)
        fresh = plain_checkpoint(saved(machine))["devices"][f"{self.name}/"]
        self.stir(machine)
        machine.reset()  # at another time than power-on
        after = plain_checkpoint(saved(machine))["devices"][f"{self.name}/"]
        assert without(times, after) == without(times, fresh)

    def test_remove_gives_every_claim_back(self) -> None:
        machine = self.machine()
        self.stir(machine)
        claims = machine.devices.claims(self.name)
        machine.devices.remove(self.name)
        config = {key: value for key, value in self.table.items() if key not in {"type", "name"}}
        machine.devices.create(str(self.table["type"]), self.name, config)
        assert machine.devices.claims(self.name) == claims

    def test_every_tag_out_of_range_is_refused_and_nothing_changes(self) -> None:
        machine = self.machine()
        self.stir(machine)
        times, before = self.times(machine), plain_checkpoint(saved(machine))
        for path, broken in broken_copies(saved(machine).contexts["devices"].contexts[self.name], times):
            checkpoint = saved(machine)
            checkpoint.contexts["devices"].contexts = {
                **checkpoint.contexts["devices"].contexts,
                self.name: broken,
            }
            with pytest.raises((StateError, LoadError)):
                machine.load(checkpoint)
            assert plain_checkpoint(saved(machine)) == before, path

    def test_the_state_survives_a_context_and_back(self) -> None:
        machine = self.machine()
        self.stir(machine)
        entry = machine.devices.entry(self.name)
        device: Any = entry.device
        state = device.save()
        assert from_context(to_context(state, entry.type.name), type(state), self.name) == state

    def test_states_are_frozen_and_slotted(self) -> None:
        device: Any = self.machine().devices.find(self.name)
        state = device.save()
        assert type(state).__dataclass_params__.frozen
        assert not hasattr(state, "__dict__")
        assert dataclasses.is_dataclass(state)


def saved(machine: Machine) -> Checkpoint:
    """Save a machine."""
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    return checkpoint


def times_of(cls: type | None) -> Iterator[str]:
    """Yield the names of the fields that are times, of a state and of the states in it."""
    if cls is not None:
        layout = layout_of(cls)
        yield from (name for name, _ in layout.times)
        for kind in layout.kinds.values():
            yield from times_of(kind.nested)


def without(tags: frozenset[str], values: dict[str, Any]) -> dict[str, Any]:
    """Return plain values without those at the tags."""
    return {
        tag: without(tags, value) if isinstance(value, dict) else value
        for tag, value in values.items()
        if tag not in tags
    }


def broken_copies(context: Context, times: frozenset[str], path: str = "") -> Iterator[tuple[str, Context]]:
    """Yield copies of a context, each with one tag that is of the wrong kind or far out of range, or missing."""
    wrongs: tuple[Value, ...] = (1 << 63, -(1 << 62) - 1, "wrong", [[]])
    for tag in context.values:
        for wrong in wrongs:
            if isinstance(wrong, int) and tag in times:
                continue  # a time may be any number of 64 bits
            yield f"{path}.{tag}", dataclasses.replace(context, values={**context.values, tag: wrong})
        missing = {key: item for key, item in context.values.items() if key != tag}
        yield f"{path}.{tag}", dataclasses.replace(context, values=missing)
    for name, child in context.contexts.items():
        for inner, broken in broken_copies(child, times, f"{path}/{name}"):
            yield inner, dataclasses.replace(context, contexts={**context.contexts, name: broken})
        rest = {key: item for key, item in context.contexts.items() if key != name}
        yield f"{path}/{name}", dataclasses.replace(context, contexts=rest)
