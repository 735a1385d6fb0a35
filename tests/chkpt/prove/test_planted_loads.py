"""Holes that only some loads show: a time that a partial load does not shift, and what a used machine keeps."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from time import process_time
from typing import Any, ClassVar, Final
from unittest import mock

import pytest

from chkpt.context import Blob, Checkpoint, blob_bytes
from chkpt.device import U16, DeviceType, Host, Port
from chkpt.prove import Finding, Setup, prove, setups_of
from chkpt.prove.lockstep import Way
from chkpt.snapshot import Reader, dumps
from chkpt.state import shift_times
from chkpt.state.layout import layout_of
from chkpt_devices.backends.block import CowDisk
from chkpt_devices.cmos import CMOS
from chkpt_devices.debugcon import DEBUGCON
from chkpt_devices.dma_page import DMA_PAGE
from chkpt_devices.i8042 import KEYBOARD_CONTROLLER
from chkpt_devices.ide import IDE
from chkpt_devices.ide.state import TransferKind
from chkpt_devices.pic import PIC
from chkpt_devices.pit import PIT
from chkpt_devices.port92 import PORT92
from chkpt_devices.reset_control import RESET_CONTROL
from chkpt_devices.serial import SERIAL
from examples.scratchpad import SCRATCHPAD

SECONDS: Final = 60
"""Of the processor, so that it does not count what else runs on the machine."""

DEVICES: Final = (
    *(PIT, PIC, SERIAL, IDE, CMOS, KEYBOARD_CONTROLLER, PORT92, RESET_CONTROL, DMA_PAGE, DEBUGCON),
    SCRATCHPAD,
)


def times(cls: type, path: str = "") -> Iterator[str]:
    """Yield the fields of a state that are times, by their paths."""
    layout = layout_of(cls)
    yield from (f"{path}{name}" for name, _ in layout.times)
    for name, kind in layout.kinds.items():
        if kind.nested is not None:
            yield from times(kind.nested, f"{path}{name}.")


EVERY: Final = [(each, field) for each in DEVICES if each.state is not None for field in times(each.state)]


def found(setups: list[Setup]) -> Finding:
    with mock.patch("chkpt.prove.prover.monotonic", process_time):
        proof = prove(setups, runs=1_000_000, seconds=SECONDS, seed=1)
    assert proof.finding is not None, f"not caught in {proof.runs} runs"
    return proof.finding


# -- partial loads ----------------------------------------------------------------------------------------------------


def test_the_times_of_the_devices_are_these() -> None:
    assert {(each.name, field) for each, field in EVERY} == {
        ("pit", "edge_deadline"),
        ("pit", "refresh_start"),
        ("pit", "counters.start"),
        ("serial", "timeout_deadline"),
        ("cmos", "chain_start"),
        ("cmos", "periodic_deadline"),
        ("scratchpad", "deadline"),
    }


@pytest.mark.parametrize(
    ("device_type", "field"),
    [pytest.param(*each, marks=[pytest.mark.long] * (each == (PIT, "edge_deadline"))) for each in EVERY],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_time_that_is_not_shifted_is_caught_by_a_partial_load(device_type: DeviceType[Any, Any], field: str) -> None:
    def forget(state: Any, delta: int) -> Any:
        shifted = shift_times(state, delta)
        return _with(shifted, state, field.split(".")) if isinstance(state, device_type.state or ()) else shifted

    with mock.patch("chkpt.manager.load.shift_times", forget):
        finding = found(setups_of(device_type))
    assert finding.experiment.way is Way.PARTIAL
    assert f"# cut, and a partial load at another time: ns ahead: {finding.experiment.ahead}\n" in finding.transcript


def _with(shifted: Any, state: Any, path: list[str]) -> Any:
    """Return a state with one field as it was before the shift."""
    if isinstance(state, tuple):
        return tuple(_with(new, old, path) for new, old in zip(shifted, state, strict=True))
    name, *rest = path
    old = getattr(state, name)
    return dataclasses.replace(shifted, **{name: _with(getattr(shifted, name), old, rest) if rest else old})


# -- loads into a machine that was in use -----------------------------------------------------------------------------


def test_bookkeeping_of_a_disk_that_outlives_a_load_is_caught() -> None:
    load = CowDisk.load

    def forget(disk: CowDisk, state: Any) -> None:
        pieces = dict(disk._pieces)
        load(disk, state)
        disk._pieces = pieces
        disk._stale -= pieces.keys()

    with mock.patch.object(CowDisk, "load", forget):
        finding = found(setups_of(IDE))
    assert finding.experiment.used or finding.experiment.way is Way.UNDONE


# -- a reply of odd length --------------------------------------------------------------------------------------------


def test_the_last_byte_of_an_odd_rest_of_a_packet_reply_that_is_lost_is_caught() -> None:
    def cut(drive: Any) -> Any:
        transfer = drive.transfer if drive is not None else None
        if transfer is None or transfer.kind is not TransferKind.REPLY:
            return drive
        rest = len(transfer.buffer) - transfer.length
        if rest % 2 == 0:
            return drive
        return dataclasses.replace(drive, transfer=dataclasses.replace(transfer, buffer=transfer.buffer[:-1]))

    def create(host: Host, config: Any) -> Any:
        device: Any = IDE.create(host, config)
        save = device.save

        def saved() -> Any:
            state = save()
            return dataclasses.replace(state, drive0=cut(state.drive0), drive1=cut(state.drive1))

        device.save = saved
        return device

    found(setups_of(dataclasses.replace(IDE, create=create)))


# -- an undo state that is a view -------------------------------------------------------------------------------------


class LiveView:
    """A blob that is a view of live memory, as `Blob` allows."""

    def __init__(self, memory: bytearray) -> None:
        self._memory = memory
        self.size = len(memory)
        self.piece_size = len(memory)

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the one piece."""
        if any(self._memory):
            yield 0, memoryview(self._memory)


@dataclass(frozen=True, slots=True)
class SlateState:
    VERSION: ClassVar[int] = 1

    content: Blob
    at: U16


@dataclass(frozen=True, slots=True)
class SlateConfig:
    port: U16 = 0x2E0


class Slate:
    """Memory behind two ports: the address of a byte, and the byte. It saves a view of the memory itself."""

    def __init__(self, host: Host, config: SlateConfig) -> None:
        self._content = bytearray(64)
        self._at = 0
        host.claim_ports(
            config.port, [Port(read=lambda: self._at, write=self._point), Port(read=self._read, write=self._write)]
        )

    def reset(self) -> None:
        self._at = 0

    def save(self) -> SlateState:
        return SlateState(LiveView(self._content), self._at)

    def load(self, state: SlateState) -> None:
        self._content[:] = blob_bytes(state.content)
        self._at = state.at

    def _point(self, value: int) -> None:
        self._at = value % 64

    def _read(self) -> int:
        return self._content[self._at]

    def _write(self, value: int) -> None:
        self._content[self._at] = value


SLATE: Final = DeviceType("slate", Slate, SlateConfig, SlateState)


def test_a_load_of_a_device_that_saves_views_of_its_memory_is_taken_back() -> None:
    assert prove(setups_of(SLATE), runs=20, seed=1).finding is None


def test_an_undo_state_that_is_a_view_of_live_memory_is_caught() -> None:
    with mock.patch("chkpt.manager.load.owned", lambda state: state):
        assert found(setups_of(SLATE)).experiment.way is Way.UNDONE


def test_a_view_that_a_machine_saves_is_copied_when_it_runs_on() -> None:
    (setup,) = setups_of(SLATE)
    machine = setup.machine()
    checkpoint = Checkpoint()
    machine.save(checkpoint, copy=True)
    before = dumps(checkpoint)
    machine.ports.outb(0x2E1, 0x5A)
    checkpoint.header["created"] = Reader(before).header["created"]
    assert dumps(checkpoint) == before
