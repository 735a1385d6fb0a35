"""Measure what the conversations have reached: registers, fields of the states, branches of the devices' code."""

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from chkpt.context import Checkpoint, Context
from chkpt.grammar import In, Insw, Out, Outsw, Rdmsr, Read, Step, Write, Wrmsr
from chkpt.machine import Machine
from chkpt.manager import DeviceEntry, Resource
from chkpt.prove.attributes import own_objects
from chkpt.state import schema

Register = tuple[Resource, int, str]
"""The kind of resource, its number, and "read" or "write"."""

WORD: Final = 4
"""Bytes of memory that count as one register."""

MAX_REGISTERS: Final = 1024
"""A larger claim is a buffer, not registers, and is not counted."""

MEASURED: Final = 8
"""Branches are measured in one of so many runs, as a measured run takes several times as long."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of something was reached, and what was not. `total` is None if it was not measured."""

    reached: int
    total: int | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceReach:
    """What the conversations have reached of one device."""

    device: str
    registers: Share
    fields: Share
    branches: Share


class Reach:
    """Gathers what is reached, over all runs."""

    def __init__(self) -> None:
        self._registers: dict[str, set[Register]] = {}
        self._touched: set[Register] = set()
        self._fields: dict[str, dict[str, None]] = {}
        self._moved: dict[str, set[str]] = {}
        self._first: dict[tuple[str, str], object] = {}  # the first value seen of a field, by device and path
        self.files: dict[str, set[str]] = {}
        self._coverage: Any = None  # coverage.Coverage, whose package may be missing

    def add_machine(self, machine: Machine) -> None:
        """Add the registers, fields and files of a machine's devices."""
        for entry in machine.devices:
            self._registers.setdefault(entry.name, set()).update(_registers(machine, entry))
            self.files.setdefault(entry.name, set()).update(_files(entry))
            if entry.type.state is not None:
                self._fields.setdefault(entry.name, {}).update(dict.fromkeys(fields_of(schema(entry.type.state))))
                self._moved.setdefault(entry.name, set())

    def step(self, step: Step) -> None:
        """Note the registers that a step touches."""
        if isinstance(step, In):
            self._touched.update((Resource.PORT, step.port + at, "read") for at in range(step.width))
        elif isinstance(step, Insw | Outsw):
            self._touched.add((Resource.PORT, step.port, "read" if isinstance(step, Insw) else "write"))
        elif isinstance(step, Out):
            self._touched.update((Resource.PORT, step.port + at, "write") for at in range(step.width))
        elif isinstance(step, Read | Write):
            kind = "read" if isinstance(step, Read) else "write"
            first, last = step.address // WORD, (step.address + step.width - 1) // WORD
            self._touched.update((Resource.MEMORY, word * WORD, kind) for word in range(first, last + 1))
        elif isinstance(step, Rdmsr | Wrmsr):
            self._touched.add((Resource.MSR, step.msr, "read" if isinstance(step, Rdmsr) else "write"))

    def saved(self, machine: Machine) -> None:
        """Note the values of all fields as they would be saved now."""
        if all(len(moved) == len(self._fields[name]) for name, moved in self._moved.items()):
            return
        checkpoint = Checkpoint()
        machine.devices.save(checkpoint)
        for name, context in checkpoint.contexts["devices"].contexts.items():
            for path, field, value in _values(context):
                first = self._first.setdefault((name, path), value)
                if first is not value and first != value:
                    self._moved[name].add(field)

    def branches(self, number: int) -> AbstractContextManager[None]:
        """Measure the branches that run `number` takes, if it is one of the measured runs."""
        if number % MEASURED or sys.gettrace() is not None:  # a debugger, or another coverage, watches already
            return nullcontext()
        try:
            import coverage  # noqa: PLC0415  it is slow to import, and may be missing
        except ImportError:
            return nullcontext()
        if self._coverage is None:
            files = sorted(set().union(*self.files.values()))
            self._coverage = coverage.Coverage(
                data_file=None, branch=True, include=files, config_file=False, messages=False
            )
        return self._watching()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        self._coverage.start()
        try:
            yield
        finally:
            self._coverage.stop()

    def devices(self) -> tuple[DeviceReach, ...]:
        """Return what was reached of each device."""
        covered = {} if self._coverage is None else _report(self._coverage)
        return tuple(
            DeviceReach(name, self._register_share(name), self._field_share(name), _branch_share(covered, files))
            for name, files in self.files.items()
        )

    def _register_share(self, device: str) -> Share:
        registers = self._registers[device]
        missing = sorted(registers - self._touched)
        return Share(
            len(registers) - len(missing), len(registers), tuple(f"{kind} {at:#x} {way}" for kind, at, way in missing)
        )

    def _field_share(self, device: str) -> Share:
        fields, moved = self._fields.get(device, {}), self._moved.get(device, set())
        missing = tuple(field for field in fields if field not in moved)
        return Share(len(fields) - len(missing), len(fields), missing)


def _registers(machine: Machine, entry: DeviceEntry) -> Iterator[Register]:
    for claim in machine.devices.claims(entry.name):
        step = WORD if claim.kind is Resource.MEMORY else 1
        numbers = range(claim.first // step * step, claim.first + claim.count, step)
        if len(numbers) > MAX_REGISTERS:
            continue
        for number in numbers:
            read, write = machine.ports.answers(number) if claim.kind is Resource.PORT else (True, True)
            yield from ((claim.kind, number, way) for way, there in (("read", read), ("write", write)) if there)


# -- fields -----------------------------------------------------------------------------------------------------------


def fields_of(declared: Mapping[str, object], before: str = "") -> Iterator[str]:
    """Yield the fields of a state by their paths: `counters.mode` stands for that of each counter."""
    for name, kind in cast("Mapping[str, object]", declared["fields"]).items():
        if isinstance(kind, Mapping):
            yield from fields_of(kind, f"{before}{name}.")
        else:
            yield f"{before}{name}"


def _values(context: Context, path: str = "", field: str = "") -> Iterator[tuple[str, str, object]]:
    """Yield the place, the field and the value of everything in a context."""
    for tag, value in context.values.items():
        yield f"{path}{tag}", f"{field}{tag}", value
    for tag, blob in context.blobs.items():
        yield f"{path}{tag}", f"{field}{tag}", [(index, bytes(piece)) for index, piece in blob.pieces()]
    for name, child in context.contexts.items():
        inner = field if name.isdecimal() else f"{field}{name}."
        yield from _values(child, f"{path}{name}.", inner)


# -- branches ---------------------------------------------------------------------------------------------------------


def _files(entry: DeviceEntry) -> Iterator[str]:
    """Yield the source files of a device: of its objects' classes, and what these import of the same package."""
    modules = {type(each).__module__ for each in own_objects(entry.device)} | {type(entry.device).__module__}
    found = [sys.modules[name] for name in modules if name in sys.modules]
    for module in found:
        yield from (file for file in (_file(module), *_neighbours(module)) if file)


def _neighbours(module: ModuleType) -> Iterator[str | None]:
    package = module.__name__.rpartition(".")[0]
    for value in vars(module).values():
        name = getattr(value, "__module__", None)
        if package and isinstance(name, str) and name.rpartition(".")[0] == package and name in sys.modules:
            yield _file(sys.modules[name])


def _file(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def _report(coverage: Any) -> dict[str, tuple[int, int, list[str]]]:
    """Return for each file the branches taken, all of them, and those not taken."""
    from coverage.exceptions import NoDataError  # noqa: PLC0415  the same

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "branches.json"
        try:
            coverage.json_report(outfile=str(path))
        except NoDataError:
            return {}
        files = json.loads(path.read_bytes())["files"]
    found: dict[str, tuple[int, int, list[str]]] = {}
    for name, report in files.items():
        summary = report["summary"]
        missing = [f"{Path(name).name}:{start}->{abs(end)}" for start, end in report["missing_branches"]]
        found[str(Path(name).resolve())] = (summary["covered_branches"], summary["num_branches"], missing)
    return found


def _branch_share(covered: Mapping[str, tuple[int, int, list[str]]], files: set[str]) -> Share:
    reports = [covered[str(Path(file).resolve())] for file in sorted(files) if str(Path(file).resolve()) in covered]
    if not reports:
        return Share(0, None)
    return Share(
        sum(taken for taken, _, _ in reports),
        sum(total for _, total, _ in reports),
        tuple(branch for _, _, missing in reports for branch in missing),
    )
