"""Loads that fail inside the machine: a device's `load` raises, a part of the machine does, memory runs out."""

import importlib
import importlib.util
import itertools
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from chkpt.context import Checkpoint
from chkpt.errors import ChkptError, HalfLoadedError, LoadError, StateError
from chkpt.machine import Machine
from chkpt.manager.names import pack_names, unpack_names
from chkpt.snapshot import loads
from tests.lab.reliability.pair import go_on, machine, snapshot, stir
from tests.lab.reliability.row import Row
from tests.lab.reliability.served import BrokenError
from tests.lab.reliability.tally import Tally, skipped_row

RAISED: Final = (ValueError, StateError, MemoryError, RecursionError, SystemExit)
"""What a device's `load` raises: a fault of its own, a refusal, no memory, no stack, the end of the process."""

HANGS: Final = 30
"""Seconds after which a load that does not end counts as hanging."""


class Faulty:
    """A device whose next `load` raises, before it has done anything or after everything; later ones work."""

    def __init__(self, device: Any, error: type[BaseException], *, late: bool) -> None:
        """Put the fault before a device."""
        self._device = device
        self._error: type[BaseException] | None = error
        self._late = late

    def reset(self) -> None:
        """Reset the device."""
        self._device.reset()

    def save(self) -> object:
        """Save the device."""
        return self._device.save()

    def load(self, state: object) -> None:
        """Load the device, or fail."""
        error, self._error = self._error, None
        if error is None or self._late:
            self._device.load(state)
        if error is not None:
            raise error("injected")


@contextmanager
def _pair_and_snapshot() -> Iterator[tuple[Machine, Machine, bytes]]:
    """Yield two equal machines and the snapshot of another one, with a processor if unicorn is installed."""
    has_cpu = importlib.util.find_spec("unicorn") is not None
    here, twin, other = (machine(cpu=has_cpu) for _ in range(3))
    try:
        for each, seed in ((here, "here"), (twin, "here"), (other, "other")):
            stir(each, seed)
        yield here, twin, snapshot(other)
    finally:
        for each in (here, twin, other):
            each.close()


def devices_raise(scratch: Path, *, sample: bool) -> Row:
    """Let the load of each device raise in turn, at each place in the order of loading."""
    del scratch
    tally = Tally()
    with _pair_and_snapshot() as (here, twin, content):
        names = [entry.name for entry in here.devices]
        faults = list(itertools.product(names, range(len(names)), RAISED, (False, True)))
        for number, (name, place, error, late) in enumerate(faults[:: 37 if sample else 1]):
            fault = f"{error.__name__} {'after' if late else 'before'} the load of {name}, as number {place + 1}"
            order = [each for each in names if each != name]
            order.insert(place, name)
            tally.attempt(fault, partial(_raise, (here, twin), _ordered(content, order), name, error, late=late))
            tally.attempt(fault, partial(_go_on, here, twin, f"{number}"))
    return tally.row(
        "If a device's `load` fails, every device, RAM, the clock, the lines and the processor are as they were",
        "the load of each device raises, before or after its own work, at each place in the order; snapshots of before"
        " and after compared byte by byte, and with a twin that never loaded",
        firecracker="the process ends if a load fails (documentation)",
        qemu="an assertion may end the process in `loadvm` (7.2, tried with `-M isapc`)",
    )


def _ordered(content: bytes, order: Sequence[str]) -> Checkpoint:
    """Return the checkpoint with its name table in this order, which is that of loading."""
    checkpoint = loads(content)
    devices = checkpoint.contexts["devices"]
    assert set(unpack_names(devices)) == set(order)
    devices.values["names"] = pack_names(order)
    return checkpoint


def _raise(
    pair: tuple[Machine, Machine], checkpoint: Checkpoint, name: str, error: type[BaseException], *, late: bool
) -> str:
    here, twin = pair
    before = snapshot(here)
    if before != snapshot(twin):
        raise BrokenError("machine and twin differ before the fault")
    entry = here.devices.entry(name)
    here.devices._entries[name] = replace(entry, device=Faulty(entry.device, error, late=late))
    try:
        here.load(checkpoint)
    except HalfLoadedError as exc:
        raise BrokenError(f"half loaded: {exc}") from exc
    except (StateError, LoadError, SystemExit) as exc:
        outcome = "as it was"
        if isinstance(exc, SystemExit) != issubclass(error, SystemExit):
            raise BrokenError(f"{exc!r} comes of it") from exc
    else:
        raise BrokenError("the load says it is done")
    finally:
        here.devices._entries[name] = entry
    if snapshot(here) != before:
        raise BrokenError("the machine is not as it was")
    return outcome


def _go_on(here: Machine, twin: Machine, seed: str) -> None:
    go_on(here, twin, seed)


# -- parts of the machine that fail -----------------------------------------------------------------------------------


def parts_raise(scratch: Path, *, sample: bool) -> Row:
    """Let each step of a load beside the devices fail after it is done."""
    del scratch, sample
    tally = Tally()
    with _pair_and_snapshot() as (here, twin, content):
        steps: list[tuple[object, str]] = [(here.memory, "replace"), (here.irq, "_report"), (here.a20, "_notify")]
        if here.execution is not None:
            steps.append((here.execution, "load"))
        for number, (owner, name) in enumerate(steps):
            for error in (MemoryError, ValueError):
                fault = f"{error.__name__} after {type(owner).__name__}.{name}"
                tally.attempt(fault, partial(_part_raises, here, content, owner, name, error))
                tally.attempt(fault, partial(_go_on, here, twin, f"{number}{error.__name__}"))
    return tally.row(
        "The same if RAM, the clock, the interrupt lines or the processor fail, after all devices have been loaded",
        "each of them raises after its own step of a whole load; the same comparison",
        firecracker="the process ends if a load fails (documentation)",
    )


def _part_raises(here: Machine, content: bytes, owner: object, name: str, error: type[Exception]) -> str:
    before = snapshot(here)
    step: Callable[..., object] = getattr(owner, name)
    left = [error]

    def fail(*arguments: object, **options: object) -> None:
        step(*arguments, **options)
        if left and not getattr(owner, "_frozen", 0):  # the lines report at the end of the load
            raise left.pop()("injected")

    setattr(owner, name, fail)
    try:
        here.load(loads(content))
    except HalfLoadedError as exc:
        raise BrokenError(f"half loaded: {exc}") from exc
    except (error, ChkptError):
        pass
    else:
        raise BrokenError("the load says it is done")
    finally:
        delattr(owner, name)
    if left:
        raise BrokenError("the fault was never reached")
    if snapshot(here) != before:
        raise BrokenError("the machine is not as it was")
    return "as it was"


# -- memory that runs out ---------------------------------------------------------------------------------------------


def no_memory(scratch: Path, *, sample: bool) -> Row:
    """Let every nth allocation of a load fail, alone or with all after it, each in a process of its own."""
    del scratch
    promise = "If memory runs out in a load, the machine is as it was, or loaded whole, or gone; never half loaded"
    tried = "the nth allocation by Python of a load fails, alone or with 19 or 199 after it, each in its own process"
    if importlib.util.find_spec("_testcapi") is None:
        return skipped_row(promise, tried, "this Python has no _testcapi, whose set_nomemory makes allocations fail")
    tally = Tally()
    here, other = machine(cpu=False), machine(cpu=False)
    try:
        stir(here, "here")
        stir(other, "other")
        content, before = snapshot(other), snapshot(here)
        here_after = machine(cpu=False)
        here_after.load(loads(content))
        after = snapshot(here_after)
        here_after.close()
        total = _allocations(here, content)
        for width in (1, 20, 200):
            for number in range(1, total + 1, total // 15 if sample else 1 + width // 20):
                fault = f"no memory for allocations {number} to {number + width - 1}"
                tally.attempt(fault, partial(_starve, here, (content, before, after), (number, width)))
    finally:
        here.close()
        other.close()
    return tally.row(
        promise,
        f"{tried} (of some {total:,})",
    )


def _allocations(here: Machine, content: bytes) -> int:
    """Return how many allocations a load makes, by looking for the first that it does not reach."""
    low, high = 1, 1 << 22
    while low < high:
        middle = (low + high) // 2
        if _in_a_child(here, content, (middle, 1)) == "loaded":
            high = middle
        else:
            low = middle + 1
    return low


def _starve(here: Machine, contents: tuple[bytes, bytes, bytes], missing: tuple[int, int]) -> str:
    content, before, after = contents
    outcome = _in_a_child(here, content, missing, (before, after))
    if outcome.startswith("broken"):
        raise BrokenError(outcome)
    return outcome


def _in_a_child(
    here: Machine, content: bytes, missing: tuple[int, int], compare: tuple[bytes, bytes] | None = None
) -> str:
    """Load in a child process, with a fault, and return what became of the machine there."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: the child uses none
        child = os.fork()
    if not child:
        os.close(reading)
        said = "broken: the child failed"
        signal.alarm(HANGS)
        with suppress(BaseException):
            said = _load_starved(here, content, missing, compare)
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        said = file.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    if status == signal.SIGALRM:
        return f"broken: it hangs for {HANGS} seconds"
    return said if said and not status else "gone"


def _load_starved(here: Machine, content: bytes, missing: tuple[int, int], compare: tuple[bytes, bytes] | None) -> str:
    faults = importlib.import_module("_testcapi")
    checkpoint = loads(content)
    raised: BaseException | None = None
    faults.set_nomemory(missing[0], sum(missing))
    try:
        here.load(checkpoint)
    except BaseException as exc:  # noqa: BLE001  it is examined below
        raised = exc
    finally:
        faults.remove_mem_hooks()
    if here.half_loaded:
        return "gone, as it says that it is half loaded"  # and its service ends it
    if compare is None:
        return "loaded" if raised is None else "failed"
    found = snapshot(here)
    if raised is None:
        return "loaded" if found == compare[1] else "broken: it says it is done, and is not"
    if found == compare[0]:
        return "as it was"
    return f"broken: neither as it was nor gone, after {''.join(traceback.format_exception(raised))[-1500:]}"
