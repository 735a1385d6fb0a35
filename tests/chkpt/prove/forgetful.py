"""Devices with a planted hole: copies of good ones whose state leaves one field out."""

import dataclasses
import enum
import typing
from collections.abc import Iterator, Sequence
from typing import Any, cast

from chkpt.device import DeviceType, Host, Range
from chkpt.prove import Setup, setups_of
from chkpt.prove.reach import fields_of
from chkpt.state import schema


def fields(device_type: DeviceType[Any, Any]) -> Iterator[str]:
    """Yield the fields of a device type's state by their paths; `counters.mode` is that of every counter."""
    assert device_type.state is not None
    return fields_of(schema(device_type.state))


def forgetful(device_type: DeviceType[Any, Any], field: str) -> DeviceType[Any, Any]:
    """Return the device type with one field of its state left out: it is always saved as a new device has it."""
    fresh = {repr(config): state for config, state in _fresh(device_type)}

    def create(host: Host, config: Any) -> Any:
        device = device_type.create(host, config)
        save = cast("Any", device).save
        cast("Any", device).save = lambda: without(save(), fresh[repr(config)], field.split("."))
        return device

    return dataclasses.replace(device_type, create=create)


def _fresh(device_type: DeviceType[Any, Any]) -> Iterator[tuple[object, object]]:
    """Yield each configuration of the type's grammar and the state of a new device of it."""
    for setup in setups_of(device_type):
        machine = setup.machine()
        entry = machine.devices.entry(device_type.name)
        yield entry.config, entry.save()
        machine.close()


def without(state: Any, fresh: Any, path: Sequence[str]) -> Any:
    """Return a state with the field at `path` as `fresh` has it; where that has none, as a field of its kind begins."""
    if isinstance(state, tuple):
        news = fresh if isinstance(fresh, tuple) else (None,) * len(state)
        return tuple(without(each, new, path) for each, new in zip(state, news, strict=True))
    name, *rest = path
    value = getattr(state, name)
    new = first(type(state), name) if fresh is None else getattr(fresh, name)
    if rest and value is not None:
        new = without(value, new, rest)
    return dataclasses.replace(state, **{name: value if rest and value is None else new})


def first(cls: type, name: str) -> Any:
    """Return what a field holds before anything was put there."""
    hint = typing.get_type_hints(cls, include_extras=True)[name]
    base, *notes = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    if base is int:
        bounds = next(note for note in notes if isinstance(note, Range))
        return min(max(0, bounds.least), bounds.greatest)
    if isinstance(base, type) and issubclass(base, enum.Enum):
        return next(iter(base))
    return base() if base in {bool, bytes, str} else None


def setups(device_type: DeviceType[Any, Any], field: str) -> list[Setup]:
    """Return machines with a forgetful device."""
    return setups_of(forgetful(device_type, field))
