"""A load whose any action fails, before or after its work, leaves every byte of the machine as it was.

The machine has a device of every built-in type, a processor, a BIOS, a disk and a CD-ROM drive, whose disc the load
may exchange. It is compared by its whole snapshot, and by the states that it goes on to.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chkpt.context import Checkpoint, Value, blob_bytes
from chkpt.errors import LoadError, StateError
from chkpt.machine import Machine
from chkpt.machine import machine as machine_module
from chkpt.machine.config import parse
from chkpt.machine.drives import open_image
from chkpt.manager import Action, Transaction
from chkpt.manager.names import pack_names
from chkpt.snapshot import dumps
from tests.lab.reliability.pair import DEVICES, MADE, stir
from tests.support.descriptors import open_descriptors
from tests.support.rig import saved

CD = "ide0.1"


def made(folder: Path, disc: str, seed: str) -> Machine:
    """Return a machine with every part that there is, in a state that depends on the seed."""
    pytest.importorskip("unicorn")
    ide = {
        "type": "ide",
        "name": "ide0",
        "drive": [
            {"unit": 0, "media": "disk", "backend": {"type": "guest", "name": "demo"}},
            {"unit": 1, "media": "cdrom", "image": disc},
        ],
    }
    devices = [ide if device["type"] == "ide" else dict(device) for device in DEVICES]
    table = {"name": "m", "memory": "1M", "cpu": {"model": "unicorn"}, "firmware": {"rom": "boot"}, "device": devices}
    machine = Machine(parse(table, folder))
    stir(machine, seed)
    machine.run(ticks=20_000)
    return machine


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name in "ab":
        (folder / name).write_bytes(name.encode() * 8192)
    return folder


@pytest.fixture(scope="module")
def pair(images: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    """Yield two equal machines, and another one whose snapshot the first is to load."""
    machines = made(images, "a", "here"), made(images, "a", "here"), made(images, "b", "other")
    yield machines
    for machine in machines:
        machine.close()


def whole(machine: Machine) -> bytes:
    checkpoint = saved(machine)
    checkpoint.header["created"] = MADE
    return dumps(checkpoint)


def without(checkpoint: Checkpoint, missing: set[str]) -> Checkpoint:
    """Return the checkpoint of a machine that lacks these devices: here they follow the clock."""
    devices = checkpoint.contexts["devices"]
    contexts = {name: context for name, context in devices.contexts.items() if name not in missing}
    values: dict[str, Value] = {"num_devs": len(contexts), "names": pack_names(contexts)}
    checkpoint.contexts["devices"] = replace(devices, values=values, contexts=contexts)
    return checkpoint


@dataclass(frozen=True)
class Fault:
    """Which action fails, when, and how often: the more often, the more of the taking back fails at first."""

    number: int
    late: bool
    error: type[BaseException]


def transaction_with(fault: Fault, begun: list[str]) -> Callable[..., Transaction]:
    """Return what makes transactions, in which one action fails."""

    def make(frozen_lines: Callable[..., object], actions: list[Action]) -> Transaction:
        number = fault.number % len(actions)

        def do() -> None:
            begun.append(actions[number].part)
            if fault.late:
                actions[number].do()
            raise fault.error("injected")

        changed = [replace(action, do=do) if at == number else action for at, action in enumerate(actions)]
        return Transaction(frozen_lines, changed)  # type: ignore[arg-type]  # it is passed on

    return make


FAULTS = st.builds(
    Fault, st.integers(-3, 15), st.booleans(), st.sampled_from([ValueError, MemoryError, StateError, KeyboardInterrupt])
)
NAMES = sorted(str(device.get("name", device["type"])) for device in DEVICES if device["type"] != "isa_debug_exit")
OTHERS = [name for name in NAMES if name != "ide0"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    fault=FAULTS,
    only=st.just(set()) | st.sets(st.sampled_from(NAMES), max_size=3),
    missing=st.sets(st.sampled_from(OTHERS), max_size=2),
)
def test_a_load_with_an_action_that_fails_changes_no_byte(
    pair: tuple[Machine, Machine, Machine], images: Path, fault: Fault, only: set[str], missing: set[str]
) -> None:
    here, twin, other = pair
    exchange = not only or "ide0" in only  # the snapshot has another disc than this machine
    checkpoint = without(saved(other), missing)
    media = {CD: open_image(here, CD, str(images / "b"))} if exchange else {}
    before, now, files = whole(here), here.clock.now, open_descriptors()
    assert before == whole(twin)
    begun: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_module, "Transaction", transaction_with(fault, begun))
        with pytest.raises((LoadError, StateError, KeyboardInterrupt)):
            here.load(checkpoint, only=only, media=media)
    assert begun
    assert not here.half_loaded
    assert (whole(here), here.clock.now) == (before, now)
    assert open_descriptors() == files  # nothing of the machine was closed
    for medium in media.values():
        medium.backend.close()
    for machine in (here, twin):
        machine.run(ticks=machine.processor().cpu.ticks + 500)
        machine.step(1_000)


@given(only=st.sets(st.sampled_from(OTHERS), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_a_partial_load_leaves_processor_ram_clock_and_the_other_devices_untouched(
    images: Path, pair: tuple[Machine, Machine, Machine], only: set[str]
) -> None:
    _, _, other = pair
    here = made(images, "a", "here")
    try:
        before = saved(here)
        sync = here.processor()._sync
        here.load(saved(other), only=only)
        after = saved(here)
        for name in ("clock", "cpu", "lines", "firmware"):
            assert after.contexts[name] == before.contexts[name]
        assert here.processor()._sync == sync
        assert blob_bytes(after.contexts["memory"].blobs["ram"]) == blob_bytes(before.contexts["memory"].blobs["ram"])
        devices = before.contexts["devices"].contexts
        for name in devices.keys() - only:
            assert after.contexts["devices"].contexts[name].values == devices[name].values
    finally:
        here.close()
