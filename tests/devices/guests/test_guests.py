"""The guest that comes with chkpt, the ROM that boots it, and its disk."""

import copy
from collections.abc import Mapping
from typing import Any, cast

import pytest

from chkpt.device import SECTOR_SIZE, BlockBackend
from chkpt.errors import ConfigError, NotFoundError
from chkpt.machine import Machine
from chkpt.machine.config import parse, read, with_backends
from chkpt.machine.cpu.execution import Outcome
from chkpt.snapshot import dumps, loads
from chkpt_devices.backends.identity import Kind, identity_of
from chkpt_devices.guests import BOOT, GUEST, HERE, GuestConfig, open_guest
from chkpt_devices.pic import EdgeRequest
from tests.guests import DEMO, asked, begin, demo, differences, everything, execution, key, output
from tests.support.rig import saved

MIB = 1 << 20
BYTES = (HERE / "demo.bin").read_bytes()

# -- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [len(BYTES), MIB, MIB + SECTOR_SIZE, 3 * MIB])
def test_the_disk_is_the_guest_and_zeros_behind_it(size: int) -> None:
    disk = open_guest(GuestConfig(size=size))
    content = BYTES.ljust(size, b"\0")
    assert disk.size == size
    assert disk.read(0, size) == content
    assert disk.read(size - SECTOR_SIZE, SECTOR_SIZE) == content[-SECTOR_SIZE:]
    assert disk.read(len(BYTES) - SECTOR_SIZE, SECTOR_SIZE) == BYTES[-SECTOR_SIZE:]
    assert disk.save().identity == identity_of(Kind.PIECES, size, disk.read, [(0, size)])
    disk.close()


@pytest.mark.parametrize("size", [len(BYTES) - SECTOR_SIZE, MIB + 1])
def test_a_disk_that_the_guest_does_not_fit_on_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=f"guest demo on {size} bytes: not a whole number"):
        GUEST.open(GuestConfig(size=size))


def test_a_guest_that_is_none_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no guest denim; there are: demo"):
        GUEST.open(GuestConfig("denim"))


# -- the ROM ----------------------------------------------------------------------------------------------------------


def booted(*drives: Mapping[str, object]) -> Machine:
    ide = {"type": "ide", "port": 0x1F0, "control": 0x3F6, "irq": 14, "drive": list(drives)}
    com1 = {"type": "serial", "name": "com1", "backend": {"type": "memory"}}
    machine = Machine(parse({"memory": "1M", "cpu": {}, "firmware": {"rom": "boot"}, "device": [ide, com1]}))
    assert machine.run() is Outcome.DEAD
    return machine


def test_the_rom_says_that_there_is_no_disk() -> None:
    assert output(booted()) == b"boot: drive 0 cannot be read\r\n"


def test_the_rom_says_that_there_is_nothing_on_the_disk() -> None:
    machine = booted({"unit": 0, "size": "1M"})
    expected = b"boot: the first sector of drive 0 does not end in 55 AA: there is nothing to boot\r\n"
    assert output(machine) == expected


def test_the_rom_lies_below_1_mib_and_below_4_gib() -> None:
    machine = demo()
    assert machine.memory.read(MIB - len(BOOT.image), len(BOOT.image)) == BOOT.image
    assert machine.memory.read((4 << 30) - len(BOOT.image), len(BOOT.image)) == BOOT.image


def test_a_rom_that_is_none_is_refused() -> None:
    with pytest.raises(NotFoundError, match=r"no ROM boots; did you mean boot\?"):
        demo(firmware={"rom": "boots"})


# -- the guest --------------------------------------------------------------------------------------------------------


def disk_of(machine: Machine) -> BlockBackend:
    return machine.devices.frontends["block"].backends["ide0.0"]


def test_the_guest_goes_its_rounds_and_asks_again() -> None:
    machine = asked()
    assert key(machine, "x") is Outcome.IDLE  # no digit: nothing happens
    assert key(machine, "0") is Outcome.IDLE
    before = output(machine)
    assert key(machine, "2") is Outcome.IDLE
    lines = output(machine)[len(before) :].decode().split("\r\n")
    assert lines[0] == "2"
    assert [line.partition(", sum ")[0] for line in lines[1:3]] == [
        "round 1: 256 sectors written and read back",
        "round 2: 256 sectors written and read back",
    ]
    assert lines[3:] == [
        "total: 512 sectors checked, 0 wrong, 1024 interrupts of the disk",
        "How many rounds, 1 to 9 (q: quit)? ",
    ]
    assert key(machine, "q") is Outcome.DEAD
    assert machine.requests.exit_status == 1  # isa_debug_exit, with 0
    assert output(machine).endswith(b"? q\r\nbye\r\n")
    machine.close()


def test_what_the_guest_says_of_itself_is_so() -> None:
    machine = asked()
    key(machine, "1")
    ticks, disks, sent, checked, wrong, total = (machine.memory.load(0x500 + 4 * each, 4) for each in range(6))
    said = output(machine).decode()
    assert f"sum {total:08X}, tick " in said
    assert int(said.partition(", tick ")[2].partition("\r")[0]) <= ticks
    assert (disks, sent, checked, wrong) == (512, len(said), 256, 0)
    disk = disk_of(machine)
    for lba in range(64, 64 + 256):  # each sector ends with the sum of its other dwords, and the sums make the total
        sector, value = disk.read(lba * SECTOR_SIZE, SECTOR_SIZE), 0
        for at in range(0, SECTOR_SIZE - 4, 4):
            value = rotated(value + int.from_bytes(sector[at : at + 4], "little"), 5)
        assert value == int.from_bytes(sector[-4:], "little")
    machine.close()


def rotated(value: int, by: int) -> int:
    value &= 0xFFFF_FFFF
    return (value << by | value >> 32 - by) & 0xFFFF_FFFF


def test_the_guest_finds_what_is_wrong_on_the_disk() -> None:
    machine = asked()
    backend = machine.devices.frontends["char"].backends["com1"]
    backend.feed(b"1")  # type: ignore[attr-defined]
    disk = disk_of(machine)
    first = 64 * SECTOR_SIZE
    last = (64 + 255) * SECTOR_SIZE
    machine.run(enough=lambda: disk.read(last, SECTOR_SIZE) != bytes(SECTOR_SIZE))  # the last sector is written
    for at in (first, last):
        sector = disk.read(at, SECTOR_SIZE)
        disk.write(at, bytes([sector[0] ^ 1]) + sector[1:])
    machine.run()
    assert b"total: 256 sectors checked, 2 wrong, " in output(machine)
    machine.close()


def test_a_key_stops_the_guest_after_its_round() -> None:
    machine = asked()
    backend = machine.devices.frontends["char"].backends["com1"]
    backend.feed(b"9")  # type: ignore[attr-defined]
    machine.run(ticks=execution(machine).cpu.ticks + 1_000_000)
    assert key(machine, " ") is Outcome.IDLE
    assert b"total: 256 sectors checked, 0 wrong, " in output(machine)
    assert output(machine).endswith(b"(q: quit)? ")
    machine.close()


def test_a_reset_boots_the_guest_again() -> None:
    machine = asked()
    key(machine, "1")
    before = len(output(machine))
    machine.reset()
    assert machine.run() is Outcome.IDLE
    assert output(machine)[before:] == output(machine)[: len(output(machine)) - before]
    assert output(machine)[before:].startswith(b"\r\nThe guest that comes with chkpt")
    machine.close()


# -- guests that go wrong in its place --------------------------------------------------------------------------------

NO_IDT = "0f011e0006"  # lidt [600h]: limit 0, so whatever happens next is a triple fault


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        (NO_IDT + "cc", Outcome.SHUTDOWN, "triple fault (vector 3), at 0000:"),
        (NO_IDT + "0f01c1", Outcome.SHUTDOWN, "triple fault (vector 6), at 0000:8005"),  # vmcall
        ("faf4", Outcome.DEAD, "halted with interrupts off"),
        (
            NO_IDT + "ea1000ffff",
            Outcome.SHUTDOWN,
            "no memory to run code from, at ffff:10",
        ),  # jmp ffff:10h, behind the RAM
    ],
    ids=["triple fault", "unsupported instruction", "halt", "hole"],
)
def test_a_guest_that_goes_wrong_can_be_saved_loaded_and_reset(code: str, outcome: Outcome, reason: str) -> None:
    machine = asked()
    machine.memory.write(0x600, bytes(6))
    begin(machine, bytes.fromhex(code))
    assert machine.run(ticks=execution(machine).cpu.ticks + 1_000_000) is outcome
    assert execution(machine).stands_still.startswith(reason)
    other = demo()
    other.load(loads(dumps(saved(machine))))
    assert other.run() is outcome
    assert execution(other).stands_still == execution(machine).stands_still
    assert not list(differences(everything(other), everything(machine)))
    other.reset()
    assert other.run() is Outcome.IDLE
    assert key(other, "q") is Outcome.DEAD
    for each in (machine, other):
        each.close()


def test_the_disk_of_a_guest_is_identified_once_however_often_it_is_saved_and_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Kind] = []

    def counted(kind: Kind, *rest: Any) -> bytes:
        asked.append(kind)
        return identity_of(kind, *rest)

    monkeypatch.setattr("chkpt_devices.guests.identity_of", counted)
    machine = demo()
    checkpoint = saved(machine)
    for _ in range(2):
        machine.load(checkpoint)
    machine.close()
    assert asked == [Kind.PIECES]


@pytest.mark.parametrize("edges", EdgeRequest)
def test_the_guest_sees_every_interrupt_of_the_disk_whatever_becomes_of_an_edge(edges: EdgeRequest) -> None:
    table = with_backends(read(DEMO), {"com1": {"type": "memory"}}).table
    devices = copy.deepcopy(cast("list[dict[str, object]]", table["device"]))
    next(device for device in devices if device["type"] == "pic")["edge_request"] = edges
    machine = asked(device=devices)
    key(machine, "1")
    assert b"total: 256 sectors checked, 0 wrong, 512 interrupts of the disk" in output(machine)
    machine.close()
