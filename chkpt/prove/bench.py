"""A machine on the bench: the prover controls all its backends, does the steps, and logs everything it puts out."""

from collections.abc import Callable, Mapping
from struct import pack, unpack
from typing import Any, Final

from chkpt.context import Checkpoint, Context, Value
from chkpt.device import FrontendKind, LineError, ModemLine
from chkpt.errors import NotFoundError
from chkpt.grammar import (
    Acknowledge,
    Frame,
    In,
    Insw,
    Line,
    Medium,
    Modem,
    Out,
    Outsw,
    Plug,
    Rdmsr,
    Read,
    Receive,
    Reset,
    Retry,
    Room,
    Step,
    Wait,
    Write,
    Wrmsr,
)
from chkpt.machine import Machine
from chkpt.machine.board.lines import INTR
from chkpt.manager.names import pack_names
from chkpt.prove import ends
from chkpt.prove.setup import Setup
from chkpt.snapshot import dumps, loads
from chkpt.state import shift_times, to_context

NO_ANSWER: Final = 0
"""The answer of a step that reads nothing."""

FAULT: Final = -1
"""The answer of an access to an MSR that no device has: the processor raises #GP."""


A20: Final = INTR + 1
"""In an event: the gate of address line 20, in place of an interrupt line's number."""


_HEADER: Final = {"generator": "prove", "created": "1970-01-01T00:00:00Z"}


def snapshot_of(machine: Machine, **header: Value) -> bytes:
    """Return a machine as a snapshot file with fixed times and the given header. Equal machines give equal bytes."""
    checkpoint = Checkpoint()
    machine.save(checkpoint)
    checkpoint.header |= _HEADER | header
    return dumps(checkpoint)


class Bench:
    """One machine, driven step by step.

    `events` are the changes of the interrupt lines with their times, INTR as line 16 and A20 as line 17; `logs` is
    what each end has seen. `forget` empties both.
    """

    def __init__(self, setup: Setup) -> None:
        self.machine = machine = setup.machine()
        self.events: list[tuple[int, int, bool]] = []
        self._setup = setup
        self.ends: dict[str, ends.BenchEnd] = {}
        frontends = machine.devices.frontends
        self._kinds: dict[str, FrontendKind] = {}
        for table in frontends:
            self._kinds |= dict.fromkeys(table.backends, table.kind)
            self.ends |= {name: end for name, end in table.backends.items() if isinstance(end, ends.BenchEnd)}
        self._unplugged: set[str] = set()
        self.logs = [end.log for end in self.ends.values()]
        machine.irq.watch(lambda number, level: self.events.append((machine.clock.now, number, level)))
        machine.a20.watch(lambda level: self.events.append((machine.clock.now, A20, level)))
        ports = machine.ports
        self._in = {1: ports.inb, 2: ports.inw, 4: ports.inl}
        self._output = {1: ports.outb, 2: ports.outw, 4: ports.outl}
        self._do: Mapping[type, Callable[[Any], int | None]] = {
            In: lambda step: self._in[step.width](step.port),
            Out: self._write_port,
            Insw: self._read_words,
            Outsw: self._write_words,
            Read: lambda step: machine.memory.load(step.address, step.width),
            Write: lambda step: machine.memory.store(step.address, step.width, step.value),
            Rdmsr: self._rdmsr,
            Wrmsr: self._wrmsr,
            Wait: self._wait,
            Line: lambda step: machine.irq.force(step.number, step.level),
            Acknowledge: lambda _: machine.irq.acknowledge(),
            Receive: lambda step: frontends["char"].find(step.frontend).receive(step.data, LineError(step.errors)),
            Modem: lambda step: frontends["char"].find(step.frontend).set_modem(ModemLine(step.lines)),
            Room: self._make_room,
            Medium: self._set_works,
            Plug: self._plug,
            Retry: lambda _: machine.retry(),
            Frame: lambda step: int(frontends["net"].find(step.frontend).receive(step.data)),
            Reset: lambda _: machine.reset(),
        }

    def do(self, step: Step) -> int:
        """Do one step and return its answer. An error that a device raises is not caught."""
        return self._do[type(step)](step) or NO_ANSWER

    def _write_port(self, step: Out) -> None:
        self._output[step.width](step.port, step.value)

    def _read_words(self, step: Insw) -> int:
        inw, port = self.machine.ports.inw, step.port
        return int.from_bytes(pack(f"<{step.count}H", *[inw(port) for _ in range(step.count)]), "little")

    def _write_words(self, step: Outsw) -> None:
        outw, port = self.machine.ports.outw, step.port
        for word in unpack(f"<{len(step.data) // 2}H", step.data):
            outw(port, word)

    def _rdmsr(self, step: Rdmsr) -> int:
        try:
            return self.machine.msrs.rdmsr(step.msr)
        except NotFoundError:
            return FAULT

    def _wrmsr(self, step: Wrmsr) -> int:
        try:
            self.machine.msrs.wrmsr(step.msr, step.value)
        except NotFoundError:
            return FAULT
        return NO_ANSWER

    def _wait(self, step: Wait) -> None:
        clock = self.machine.clock
        clock.advance_to((clock.next_deadline or clock.now) if step.ns is None else clock.now + step.ns)

    def _make_room(self, step: Room) -> None:
        line = self.ends[step.frontend]
        assert isinstance(line, ends.SerialEnd)
        line.make_room(step.count)

    def _set_works(self, step: Medium) -> None:
        medium = self.ends[step.frontend]
        assert isinstance(medium, ends.DiskEnd)
        medium.works = step.works

    def _plug(self, step: Plug) -> None:
        """Connect an end or disconnect it; where it is so already, nothing happens."""
        if step.plugged is (step.frontend in self._unplugged):
            end = self.ends[step.frontend]
            if isinstance(end, ends.SerialEnd):
                end.levels = ends.NO_LEVELS
            devices, kind = self.machine.devices, self._kinds[step.frontend]
            if step.plugged:
                devices.connect(kind, step.frontend, end)
            else:
                devices.disconnect(kind, step.frontend)
            self._unplugged ^= {step.frontend}

    # -- what shows outside -------------------------------------------------------------------------------------------

    def levels(self) -> tuple[object, ...]:
        """Return every level that is not a change: interrupt lines, A20, and what each serial line shows."""
        irq = self.machine.irq
        lines = (*(irq.level(number) for number in range(17)), self.machine.a20.level)
        return (*lines, *(end.levels for end in self.ends.values() if isinstance(end, ends.SerialEnd)))

    def media(self, device: str) -> list[tuple[str, ends.DiskEnd]]:
        """Return the media behind a device's frontends, by their names."""
        own = ((name, self.ends.get(name)) for name in self.machine.devices.frontends["block"].of(device))
        return [(name, end) for name, end in own if isinstance(end, ends.DiskEnd)]

    def timers(self) -> list[int | None]:
        """Return the deadline of every timer of every device."""
        return [timer.deadline for entry in self.machine.devices for timer in entry.host.timers]

    def forget(self) -> None:
        """Empty the logs and the events."""
        self.events.clear()
        for log in self.logs:
            log.clear()

    # -- save and load ------------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Return the machine as the bytes of a snapshot file. Equal machines give equal bytes."""
        return snapshot_of(self.machine)

    def states(self, shift: int = 0) -> bytes:
        """Return the states of the devices, with their times shifted, in the form of a snapshot file."""
        states = {entry.name: (entry.type.name, entry.save()) for entry in self.machine.devices if entry.saves}
        contexts = {name: to_context(shift_times(state, shift), kind) for name, (kind, state) in states.items()}
        devices = Context(values={"num_devs": len(contexts), "names": pack_names(contexts)}, contexts=contexts)
        return dumps(Checkpoint(dict(_HEADER), {"devices": devices}))

    def load(self, snapshot: bytes, host: "Bench", *, partial: bool = False) -> None:
        """Load `snapshot`, make the ends like those of `host`, and start the clock.

        Args:
            snapshot: the bytes that `save` has returned.
            host: the machine that was saved.
            partial: load every device by its name, and do not set the clock.

        Raises:
            ChkptError: the machine refuses the snapshot.
        """
        for name in self.ends:
            self.do(Plug(name, name not in host._unplugged))
            self.ends[name].follow(host.ends[name], whole=name in host._unplugged)
        only: list[str] = []
        if partial:  # the lines driven from outside must be as they were saved, too
            only = [entry.name for entry in self.machine.devices if entry.loads]
            for number in range(16):
                self.machine.irq.force(number, bool(host.machine.irq.outside >> number & 1))
        self.machine.load(loads(snapshot), strict=True, only=only)
        self.do(Wait(0))

    def load_and_take_back(self, host: "Bench") -> None:
        """Load all devices and the clock of `host`, and undo that, as a load does if it fails at its end.

        Raises:
            ChkptError: the machine refuses the snapshot, and is as it was.
            HalfLoadedError: the load could not be undone.
        """
        for name in self.ends:
            host.do(Plug(name, name not in self._unplugged))
        checkpoint = loads(host.save())
        plan = self.machine.devices.plan_load(checkpoint)
        now = checkpoint.header["clock_ns"]
        assert isinstance(now, int)
        plan.apply(now=now)
        plan.revert(RuntimeError("the prover takes it back"))
        self.forget()

    def twin(self, snapshot: bytes, used: "tuple[Step, ...]" = (), ahead: int = 0) -> "Bench":
        """Return another machine that has done the steps `used` and then loaded `snapshot`.

        If `ahead` is not 0, its clock is first moved to so many nanoseconds after ours, or more, and the load is
        partial.
        """
        twin = Bench(self._setup)
        for step in used:
            twin.do(step)
        if ahead:
            twin.do(Wait(max(self.machine.clock.now + ahead - twin.machine.clock.now, 0)))
        twin.load(snapshot, self, partial=bool(ahead))
        twin.forget()
        return twin
