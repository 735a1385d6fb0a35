"""What every device must keep to. A device's tests inherit `DeviceContract` and say how to make and stir it."""

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from chkpt.context import Checkpoint, Context, Value, blob_bytes
from chkpt.errors import LoadError, StateError
from chkpt.machine import Machine
from chkpt.state import from_context, to_context
from tests.support.rig import rig, saved


def plain(context: Context) -> dict[str, Any]:
    """Return a context as plain values that can be compared."""
    values: dict[str, Any] = {tag: _plain_value(value) for tag, value in context.values.items()}
    values |= {tag: blob_bytes(blob) for tag, blob in context.blobs.items()}
    return values | {f"{name}/": plain(child) for name, child in context.contexts.items()}


def _plain_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def plain_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return all contexts of a checkpoint as plain values."""
    return {name: plain(context) for name, context in checkpoint.contexts.items()}


class DeviceContract:
    """Tests that every device passes. `table` and `stir` say which device and what to do with it."""

    table: Mapping[str, object]
    others: Iterable[Mapping[str, object]] = ({"type": "pic"},)  # what it needs beside it

    @abstractmethod
    def stir(self, machine: Machine) -> None:
        """Bring the device into a state far from its reset state."""

    def machine(self) -> Machine:
        others = [other for other in self.others if other["type"] != self.table["type"]]
        return rig(*others, self.table)

    @property
    def name(self) -> str:
        return str(self.table.get("name", self.table["type"]))

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
        fresh = plain_checkpoint(saved(machine))["devices"][f"{self.name}/"]
        self.stir(machine)
        machine.reset()
        after = plain_checkpoint(saved(machine))["devices"][f"{self.name}/"]
        assert without_times(after) == without_times(fresh)

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
        before = plain_checkpoint(saved(machine))
        for path, broken in broken_copies(saved(machine).contexts["devices"].contexts[self.name]):
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


def without_times(values: dict[str, Any]) -> dict[str, Any]:
    """Return plain values without those that are times: a reset happens at another time than power-on."""
    kept: dict[str, Any] = {}
    for tag, value in values.items():
        if isinstance(value, dict):
            kept[tag] = without_times(value)
        elif not tag.endswith(("start", "deadline", "time", "since", "at")):
            kept[tag] = value
    return kept


def broken_copies(context: Context, path: str = "") -> Iterable[tuple[str, Context]]:
    """Yield copies of a context, each with one tag that is of the wrong kind or far out of range, or missing."""
    for tag, value in context.values.items():
        wrongs: tuple[Value, ...] = (1 << 63, -(1 << 62) - 1, "wrong", [[]])
        for wrong in wrongs:
            changed = {**context.values, tag: wrong}
            if isinstance(wrong, int) and is_time(tag, value):
                continue
            yield f"{path}.{tag}", dataclasses.replace(context, values=changed)
        missing = {key: item for key, item in context.values.items() if key != tag}
        yield f"{path}.{tag}", dataclasses.replace(context, values=missing)
    for name, child in context.contexts.items():
        for inner, broken in broken_copies(child, f"{path}/{name}"):
            yield inner, dataclasses.replace(context, contexts={**context.contexts, name: broken})
        rest = {key: item for key, item in context.contexts.items() if key != name}
        yield f"{path}/{name}", dataclasses.replace(context, contexts=rest)


def is_time(tag: str, value: object) -> bool:
    """Tell whether any 64-bit number may stand at this tag: the times of a state."""
    return (value is None or isinstance(value, int)) and tag.endswith(("start", "deadline", "time", "since", "at"))
