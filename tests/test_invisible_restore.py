"""A guest cannot tell: a machine cut anywhere in any conversation answers as the one that never was.

Original and twin get the same accesses in lock step. Every answer, every change of a line with its time, every byte
sent, every pending timer and, in the end, every saved value must be the same.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chkpt.machine import Machine
from chkpt.machine.config import parse
from chkpt.manager import DeviceTypes
from chkpt.snapshot import dumps, loads
from devices.backends.char import Memory
from devices.ide import IDE
from devices.pic import PIC
from devices.pit import PIT
from devices.serial import SERIAL
from tests.contract import plain_checkpoint
from tests.rig import saved

TYPES = DeviceTypes("device type", [PIC, PIT, SERIAL, IDE])
DISK = {"unit": 0, "media": "disk", "size": "64K", "model": "DISK", "on_error": "wait"}
CDROM = {"unit": 1, "media": "cdrom", "size": "64K"}
TABLES = [
    {"type": "pic"},
    {"type": "pit"},
    {"type": "serial", "name": "com1", "port": 0x3F8, "irq": 4, "backend": {"type": "memory", "capacity": 20}},
    {"type": "ide", "name": "ide0", "drive": [DISK, CDROM]},
]

BYTE_PORTS = [
    0x20,
    0x21,
    0xA0,
    0xA1,
    0x4D0,
    0x4D1,
    *range(0x40, 0x44),
    0x61,
    *range(0x3F8, 0x400),
    *range(0x1F0, 0x1F8),
    0x3F6,
]
ATA_COMMANDS = [0x20, 0x24, 0x29, 0x30, 0x34, 0x39, 0x40, 0xC4, 0xC5, 0xA1, 0xC6, 0xE5, 0xE7, 0xEC, 0xF8, 0x08, 0x90]
ATA_SETTINGS = [  # features, count, address, device, command
    *((features, 0, 0, 0xE0, 0xEF) for features in (0x02, 0x82, 0x55, 0xAA, 0x66, 0xCC)),
    (0x03, 0x0C, 0, 0xE0, 0xEF),
    (0, 8, 0, 0xA3, 0x91),
    (0, 1, 99, 0xE0, 0xF9),
    (0, 0, 99, 0xE0, 0xF9),
    (0xD8, 0, 0xC24F00, 0xE0, 0xB0),
    (0xD9, 0, 0xC24F00, 0xE0, 0xB0),
    *((0, 0, 0, 0xE0, command) for command in (0xE0, 0xE1, 0xE2, 0xE6, 0x08)),
]
PACKETS = [0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x43, 0x46, 0x4A, 0x5A, 0xA8, 0xBD]

Step = tuple[str, int, int]


def conversation(choose: random.Random, length: int) -> list[Step]:
    """Return a conversation beyond noise: commands with their data, initialisations cut short, bytes to read."""
    steps: list[Step] = []
    while len(steps) < length:
        steps += choose.choices(PHRASES, WEIGHTS)[0](choose)
    return steps[:length]


def noise(choose: random.Random) -> Iterator[Step]:
    port = choose.choice(BYTE_PORTS)
    yield ("in", port, 0) if choose.random() < 0.5 else ("out", port, choose.randrange(256))


def clock(choose: random.Random) -> Iterator[Step]:
    yield "step", choose.choice([0, 1, 838, 839, 10_000, 347_220, 1_000_000, 54_925_439]), 0


def lines(choose: random.Random) -> Iterator[Step]:
    yield "force", choose.randrange(16), choose.randrange(2)


def pic(choose: random.Random) -> Iterator[Step]:
    base = choose.choice([0x20, 0xA0])
    for value in [0x11 | choose.randrange(16), 0x20, 0x04, choose.choice([1, 3, 0x11])][: choose.randint(1, 4)]:
        yield "out", base if value & 0x10 and value < 0x20 else base + 1, value
    yield "out", base + 1, choose.choice([0, 0xFE, choose.randrange(256)])
    yield "out", base, choose.choice([0x0A, 0x0B, 0x0C, 0x20, 0x60 | choose.randrange(8), 0x68, 0x48, 0xA0, 0x80])
    yield "in", base, 0
    yield "acknowledge", 0, 0


def pit(choose: random.Random) -> Iterator[Step]:
    counter = choose.randrange(3)
    yield "out", 0x43, counter << 6 | choose.randrange(4) << 4 | choose.randrange(16)
    for _ in range(choose.randrange(3)):
        yield "out", 0x40 + counter, choose.choice([0, 1, 2, choose.randrange(256)])
    yield "out", 0x43, choose.choice([0xC0 | choose.randrange(64), counter << 6])
    yield "out", 0x61, choose.randrange(4)
    yield "step", choose.choice([0, 838, 100_000]), 0
    for _ in range(choose.randrange(4)):
        yield "in", 0x40 + counter, 0


def uart(choose: random.Random) -> Iterator[Step]:
    yield "out", 0x3FA, choose.choice([0, 1, 7, 0x81, 0xC7])
    yield "out", 0x3F9, choose.randrange(16)
    yield "out", 0x3FC, choose.choice([0x0B, 0x0B, 0x1B, 0x13])
    for _ in range(choose.randrange(20)):
        yield "out", 0x3F8, choose.randrange(256)
    yield "feed", choose.randrange(20), choose.randrange(256)
    if choose.random() < 0.3:
        yield "drain", 0, 0
    for _ in range(choose.randrange(6)):
        yield "in", choose.choice([0x3F8, 0x3F9, 0x3FA, 0x3FD, 0x3FE]), 0


def ata(choose: random.Random) -> Iterator[Step]:
    unit = choose.choice([0, 0, 0, 0x10])
    yield "out", 0x1F1, choose.choice([0, choose.randrange(256)])
    for port, values in ((0x1F2, (0, 1, 2)), (0x1F3, (1, 2, 60)), (0x1F4, (0, 0, 0)), (0x1F5, (0, 0, 0))):
        yield "out", port, choose.choice([*values, *values, choose.randrange(256)])
    yield "out", 0x1F6, choose.choice([0xA0, 0xE0, 0xE0]) | unit
    yield "out", 0x1F7, choose.choice(ATA_COMMANDS)
    yield from data(choose)


def settings_of_a_drive(choose: random.Random) -> Iterator[Step]:
    for _ in range(choose.choice([0, 0, 512])):  # a drive with data to hand over hears no command
        yield "in16", 0x1F0, 0
    features, count, lba, device, command = choose.choice(ATA_SETTINGS)
    yield "out", 0x1F1, features
    yield "out", 0x1F2, count
    for at in range(3):
        yield "out", 0x1F3 + at, lba >> 8 * at & 0xFF
    yield "out", 0x1F6, device | choose.choice([0, 0, 0x10])
    yield "out", 0x1F7, 0xF8 if command == 0xF9 else command
    if command == 0xF9:  # SET MAX ADDRESS must follow READ NATIVE MAX ADDRESS
        yield "out", 0x1F2, count
        for at in range(3):
            yield "out", 0x1F3 + at, lba >> 8 * at & 0xFF
        yield "out", 0x1F7, command


def packet(choose: random.Random) -> Iterator[Step]:
    yield "out", 0x1F6, 0xB0
    yield "out", 0x1F1, 0
    yield "out", 0x1F4, choose.choice([0, 2, 12])
    yield "out", 0x1F5, choose.choice([0, 8])
    yield "out", 0x1F7, 0xA0
    command, byte4 = choose.choice(PACKETS), choose.choice([0, 1, 2, 3])
    content = bytes(
        [command, choose.choice([0, 1]), 0, 0, byte4, 0, 0, choose.choice([0, 1]), choose.choice([8, 1]), 1, 0, 0]
    )
    for at in range(0, choose.choice([12, 12, 12, 4]), 2):
        yield "out16", 0x1F0, int.from_bytes(content[at : at + 2], "little")
    yield from data(choose)


def data(choose: random.Random) -> Iterator[Step]:
    way = choose.choice(["in16", "out16"])
    for _ in range(choose.choice([0, 1, 10, 255, 256, 300])):
        yield way, 0x1F0, choose.randrange(1 << 16)
    yield "in", choose.choice([0x1F7, 0x3F6]), 0


def control(choose: random.Random) -> Iterator[Step]:
    yield "out", 0x3F6, choose.choice([0, 2, 4, 6, 0x80])


PHRASES: list[Callable[[random.Random], Iterator[Step]]]
PHRASES = [noise, clock, lines, pic, pit, uart, ata, settings_of_a_drive, packet, control]
WEIGHTS = [10, 8, 2, 3, 4, 3, 4, 3, 3, 1]


@dataclass
class Witness:
    """A machine, and all that could be noticed of it."""

    machine: Machine
    char: Memory
    sent: bytes = b""
    events: list[tuple[int, int, bool]] = field(default_factory=list)

    @classmethod
    def new(cls) -> "Witness":
        machine = Machine(parse({"name": "m", "device": TABLES}), device_types=TYPES)
        char = machine.devices.ends.char.backends["com1"]
        assert isinstance(char, Memory)
        witness = cls(machine, char)
        machine.irq.watch(witness.note)
        return witness

    def note(self, line: int, level: bool) -> None:
        self.events.append((self.machine.clock.now, line, level))

    def do(self, step: Step) -> object:
        what, first, second = step
        machine = self.machine
        if what == "in":
            return machine.ports.inb(first)
        if what == "out":
            machine.ports.outb(first, second)
        elif what == "in16":
            return machine.ports.inw(first)
        elif what == "out16":
            machine.ports.outw(first, second)
        elif what == "step":
            machine.step(first)
        elif what == "force":
            machine.irq.force(first, bool(second))
        elif what == "acknowledge":
            return machine.irq.acknowledge()
        elif what == "feed":
            self.char.feed(bytes([second]) * first)
        elif what == "drain":
            self.sent += bytes(self.char.output)
            self.char.output.clear()
            self.char.poll()
        return None

    def restored(self) -> "Witness":
        """Return what goes on in another machine from a snapshot; the host keeps what it has not handed over."""
        snapshot = dumps(saved(self.machine))
        twin = Witness.new()
        twin.char.output[:] = self.char.output
        twin.char._input[:] = self.char._input
        twin.machine.load(loads(snapshot), strict=True)
        twin.sent, twin.events = self.sent, []
        twin.machine.step(0)  # a UART that holds unsent bytes offers them again as soon as the machine runs
        return twin

    def timers(self) -> list[int | None]:
        return [timer.deadline for entry in self.machine.devices for timer in entry.host.timers]

    def all_sent(self) -> bytes:
        return self.sent + bytes(self.char.output)


def compare(original: Witness, twin: Witness, steps: list[Step]) -> None:
    """Go on with both in lock step."""
    original.events.clear()
    for number, step in enumerate(steps):
        assert twin.do(step) == original.do(step), f"step {number}: {step}"
        assert twin.events == original.events, f"step {number}: {step}"
        assert twin.timers() == original.timers(), f"step {number}: {step}"
        assert twin.all_sent() == original.all_sent(), f"step {number}: {step}"
    assert plain_checkpoint(saved(twin.machine)) == plain_checkpoint(saved(original.machine))


def cut_once(seed: int, before: int, after: int) -> None:
    choose = random.Random(seed)
    original = Witness.new()
    for step in conversation(choose, before):
        original.do(step)
    compare(original, original.restored(), conversation(choose, after))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), before=st.integers(0, 400))
def test_a_machine_cut_once_goes_on_as_if_it_never_was(seed: int, before: int) -> None:
    cut_once(seed, before, 200)


@pytest.mark.parametrize("seed", range(10))
def test_a_machine_cut_before_every_step_goes_on_as_if_it_never_was(seed: int) -> None:
    choose = random.Random(seed)
    original, twin = Witness.new(), Witness.new()
    for step in conversation(choose, 400):
        twin = twin.restored()
        compare(original, twin, [step])


@pytest.mark.long
def test_many_machines_cut_once() -> None:
    for seed in range(20_000):
        cut_once(seed, random.Random(seed).randrange(800), 400)


def test_the_conversations_reach_every_port_and_move_every_field() -> None:
    """A comparison proves nothing of what no conversation touches."""
    read: set[int] = set()
    moved: set[str] = set()
    fresh = fields(Witness.new())
    for seed in range(40):
        witness = Witness.new()
        for number, step in enumerate(conversation(random.Random(seed), 3000)):
            witness.do(step)
            if step[0] == "in":
                read.add(step[1])
            if number % 7 == 0:
                now = fields(witness)
                moved |= {path for path, value in fresh.items() if now.get(path, "absent") != value}
    assert read == set(BYTE_PORTS)
    assert set(fresh) - moved == set(UNMOVED)


def fields(witness: Witness) -> dict[str, object]:
    """Return every saved value by its path."""
    flat: dict[str, object] = {}

    def walk(values: dict[str, object], path: str) -> None:
        for tag, value in values.items():
            if isinstance(value, dict):
                walk(value, f"{path}/{tag}")
            else:
                flat[f"{path}{tag}"] = value

    walk(plain_checkpoint(saved(witness.machine))["devices"], "")
    return flat


UNMOVED = {
    "num_devs": "the devices stay",
    "names": "the devices stay",
    "/com1/modem_lines": "no peer moves them",
    "/pit//counters//0/gate": "tied high",
    "/pit//counters//0/held": "only a gate holds a counter",
    "/pit//counters//1/gate": "tied high",
    "/pit//counters//1/held": "only a gate holds a counter",
    "/pit/refresh_start": "moved by a reset only",
    "/ide0//drive0/atapi": "drive 0 is a disk",
    "/ide0//drive1/ata": "drive 1 is a CD-ROM",
    "/ide0//drive0//ata/max_is_extended": "SET MAX ADDRESS EXT is not in the conversations",
    "/ide0//drive1//atapi/ascq": "no error of these packets has one",
    "/ide0//drive1/keep_settings": "a CD-ROM has no such feature",
    **{f"/ide0//drive{unit}//disk/{tag}": "identity" for unit in (0, 1) for tag in ("size", "digest", "block_size")},
    "/ide0//drive1//disk/changed": "a CD-ROM is not written",
    "/ide0//drive1//disk/blocks": "a CD-ROM is not written",
}
"""Why a field has its first value after all conversations; each has tests of its own in `tests/devices/`."""
