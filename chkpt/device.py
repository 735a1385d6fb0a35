"""The contract a device sees: what it must offer, and what a machine gives it.

A device is a plain class. It takes its `Host` (ports, lines, clock, frontends) and its configuration from outside,
and its state is a separate frozen dataclass with a range on every field, so that it knows nothing of files, encodings
or other devices. The shape follows rust-vmm's vm-superio.

    class Timer8254:
        def __init__(self, host: Host, config: PitConfig) -> None: ...
        def reset(self) -> None: ...
        def save(self) -> PitState: ...           # optional: without it the device is skipped on save
        def load(self, state: PitState) -> None:  # optional: without it the device is skipped on load

    PIT = DeviceType("pit", Timer8254, PitConfig, PitState)   # named in the entry-point group "chkpt.devices"
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntFlag, StrEnum
from typing import Annotated, ClassVar, Final, Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from chkpt.context import Blob as Blob  # noqa: PLC0414  part of the contract
from chkpt.context import SparseBlob as SparseBlob  # noqa: PLC0414  the same
from chkpt.context import Value
from chkpt.grammar import Grammar

# ---------------------------------------------------------------------------------------------------------------------
# States: what their fields may be
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest value of an integer field, both allowed."""

    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class Length:
    """The least and the greatest length of a `bytes`, `str` or tuple field, both allowed."""

    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class MachineTime:
    """Marks an integer field as a time: absolute nanoseconds on the machine's clock.

    A load that leaves the machine's clock alone shifts these fields, and no others, by the difference.
    """


U1: TypeAlias = Annotated[int, Range(0, 1)]
U2: TypeAlias = Annotated[int, Range(0, 3)]
U3: TypeAlias = Annotated[int, Range(0, 7)]
U4: TypeAlias = Annotated[int, Range(0, 0xF)]
U7: TypeAlias = Annotated[int, Range(0, 0x7F)]
U8: TypeAlias = Annotated[int, Range(0, 0xFF)]
U16: TypeAlias = Annotated[int, Range(0, 0xFFFF)]
U32: TypeAlias = Annotated[int, Range(0, 0xFFFF_FFFF)]
U48: TypeAlias = Annotated[int, Range(0, 0xFFFF_FFFF_FFFF)]
U64: TypeAlias = Annotated[int, Range(0, 0xFFFF_FFFF_FFFF_FFFF)]
Time: TypeAlias = Annotated[int, Range(-(1 << 63), (1 << 63) - 1), MachineTime()]
"""Absolute nanoseconds of the machine's clock."""


class OfMachine(Enum):
    """Marks a field of a configuration that the machine fills in where its table leaves it out."""

    RAM_BELOW_4G = "bytes of RAM below 4 GiB"
    RAM_FROM_4G = "bytes of RAM from 4 GiB on"
    DISKS = "sectors of the ATA disks"
    """Four numbers: of the drives 0 and 1 of the channel at port 0x1f0, then of those at 0x170; 0 for none."""


@runtime_checkable
class State(Protocol):
    """A frozen, slotted dataclass with a VERSION; every field annotated with its range.

    Fields may be: an integer with a `Range` (U8, Time, ...), `bool`, `bytes` or `str` with a `Length`, an `Enum` of
    str or int, `Blob`, another such dataclass (it becomes a child context), `X | None` of these, a fixed tuple
    `tuple[A, B]` or a `tuple[A, ...]` with a `Length`.

    `UPGRADES[n]` (optional) turns the plain nested dict of version n into that of version n + 1.

    `FIXED` (optional) names the fields that come from the configuration or the host, and are in the state to be
    compared: a load refuses a value other than that of the device, and a context (`X | None`) on one side only.
    `chkpt compat` reads it; the device's `load` does the comparing.
    """

    VERSION: ClassVar[int]


Plain: TypeAlias = "dict[str, Value | Blob]"
"""A state as nested dicts of values and blobs."""


class Upgrade(Protocol):
    """A pure function from the plain nested dict of one version of a state to that of the next.

    A nested dict that it passes on keeps the version it was saved with, and is upgraded by its own dataclass; one that
    it makes anew is as its dataclass has it now.
    """

    def __call__(self, plain: Plain, /) -> Plain:
        """Return the state as the next version has it."""


# ---------------------------------------------------------------------------------------------------------------------
# What a machine gives a device
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """What answers at one I/O port. A half that is absent floats: reads give all ones, writes are dropped.

    A 16-bit access goes to `read_word`/`write_word` if there is one, else it is two byte accesses, at this port and
    the next. A 32-bit access is two word accesses at this port if there is a word half (the ATA data register), else
    four byte accesses at four ports. Values written are already cut to their width.

    With `byte_only` no access but one of a byte at this very port gets here. The part of a wider one that would is
    dropped, or reads all ones: a register within a chip set may lie under a wider one of another chip, and the bus does
    not split an access to that (PIIX3, 290550: the reset control register at 0xcf9, under the dword at 0xcf8).

    `read_block(count, width)` does at once what up to `count` accesses of `width` bytes (2 or 4) would do one after the
    other: as many as only give data that waits, move no line, arm no timer, and ask nothing of a backend; it may give
    less, or nothing. `write_block(data, width)` does the same with writes and returns how many accesses it has taken.
    Their caller gets what the accesses would have given, sooner.
    """

    read: Callable[[], int] | None = None
    write: Callable[[int], None] | None = None
    read_word: Callable[[], int] | None = None
    write_word: Callable[[int], None] | None = None
    read_block: Callable[[int, int], bytes] | None = None
    write_block: Callable[[bytes, int], int] | None = None
    byte_only: bool = False


class IrqLine(Protocol):
    """A line this device drives. Several devices may share one: it is high while any of them drives it high."""

    def set(self, level: bool, /) -> None:
        """Drive the line high or low. To repeat a level changes nothing."""


class Clock(Protocol):
    """The machine's virtual clock."""

    @property
    def now(self) -> int:
        """Nanoseconds since the machine's start. Within a timer's callback: exactly its deadline."""


class Timer(Protocol):
    """A one-shot timer on the machine's clock. Equal deadlines fire in the order in which the timers were made."""

    @property
    def deadline(self) -> int | None:
        """When it will fire, or None when it is not armed."""

    def arm(self, deadline: int, /) -> None:
        """Fire once at `deadline` (absolute ns), in place of any earlier one; a past one fires at the next step."""

    def cancel(self) -> None:
        """Do not fire. Nothing happens when it is not armed."""


class FrontendKind(StrEnum):
    """The four kinds of frontend, as in Palacios."""

    BLOCK = "block"
    NET = "net"
    CHAR = "char"
    CONSOLE = "console"


class Host(Protocol):
    """What a machine gives one device. Everything claimed here is undone when the device is removed."""

    @property
    def name(self) -> str:
        """The device's name in this machine."""

    @property
    def clock(self) -> Clock:
        """The machine's clock."""

    def timer(self, fire: Callable[[], None], /) -> Timer:
        """Make a timer that calls `fire`."""

    def claim_ports(self, first: int, ports: Sequence[Port], /) -> None:
        """Answer at the I/O ports `first`, `first + 1`, ...

        Raises:
            ConflictError: one of them has an owner; the message names both.
        """

    def claim_msrs(
        self, first: int, count: int, read: Callable[[int], int], write: Callable[[int, int], None], /
    ) -> None:
        """Answer at `count` model-specific registers: `read(msr)`, `write(msr, value)`.

        `Machine.msrs` reaches them: for a processor of the embedder's own. The processor of `[cpu]` does not, as its
        engine keeps RDMSR and WRMSR to itself: a machine that has one refuses such a device.

        Raises:
            ConflictError: one of them has an owner.
            ConfigError: the machine has a processor of ours.
        """

    def claim_memory(
        self, first: int, size: int, read: Callable[[int, int], int], write: Callable[[int, int, int], None], /
    ) -> None:
        """Answer at `size` bytes of physical memory: `read(offset, width)`, `write(offset, width, value)`.

        Offsets count from `first`, widths are 1, 2, 4 or 8 bytes. Raises ConflictError.
        """

    def irq_line(self, number: int, /) -> IrqLine:
        """Drive the machine's interrupt line `number` (0 to 15). It is low until set."""

    def cpu_interrupt_line(self) -> IrqLine:
        """Drive the processor's INTR pin."""

    def a20_line(self) -> IrqLine:
        """Drive the gate of address line 20, which is enabled while any device drives it high. It is low until set."""

    def request_reset(self) -> None:
        """Reset the machine, this device too, as soon as the present access is over.

        To be called from within a write to the device or the callback of one of its timers.
        """

    def request_exit(self, status: int, /) -> None:
        """Notify the machine's owner that the guest wants the machine to end with `status`."""

    def receive_irqs(self, set_level: Callable[[int, bool], None], acknowledge: Callable[[], int], /) -> None:
        """Be the interrupt controller: `set_level(number, level)` at every change of a line, and for each after a load.

        The controller must keep the level of each line in its state and see an edge only where a level differs from it.
        `acknowledge()` is a processor's interrupt-acknowledge cycle and returns the vector.

        Raises:
            ConflictError: the machine has a controller already.
        """

    def add_block_frontend(self, frontend: "BlockFrontend", unit: int | None = None, /) -> None:
        """Let a block backend be connected, under the device's name or `NAME.UNIT`. Raises ConflictError."""

    def add_net_frontend(self, frontend: "NetFrontend", unit: int | None = None, /) -> None:
        """Let a network backend be connected. Raises ConflictError."""

    def add_char_frontend(self, frontend: "CharFrontend", unit: int | None = None, /) -> None:
        """Let a character backend be connected. Raises ConflictError."""

    def add_console_frontend(self, frontend: "ConsoleFrontend", unit: int | None = None, /) -> None:
        """Let a console backend be connected. Raises ConflictError."""


# ---------------------------------------------------------------------------------------------------------------------
# Frontends (a device's side) and backends (the host's side)
# ---------------------------------------------------------------------------------------------------------------------

SECTOR_SIZE: Final = 512
"""Bytes in a sector of a block backend."""


def _without_long_values(plain: Plain, /) -> Plain:
    """Return the state of a disk as version 2 has it: its bits in a blob, and its digest by the name of identity."""
    state = {**plain, "identity": plain["digest"]}
    del state["digest"]
    changed = plain["changed"]
    if not isinstance(changed, bytes):
        raise TypeError("changed is not bytes")
    pieces = {at // 0x10000: changed[at : at + 0x10000] for at in range(0, len(changed), 0x10000)}
    held = {number: piece for number, piece in pieces.items() if any(piece)}
    state["changed"] = SparseBlob(len(changed), 0x10000, held)
    return state


@dataclass(frozen=True, slots=True)
class DiskState:
    """The part of a disk that is state: which disk it is, and what has changed on it since the base image.

    `changed` has one bit per block, bit i of byte j for block 8 * j + i; `blocks` is as long as the disk and holds the
    changed blocks at their own places. `identity` is what the base image is known by: empty for a scratch disk, whose
    base is zeros, else of a kind that its backend recognises by the bytes.

    In version 1 `changed` was a value, too long for one on a disk of more than 512 GiB, and `identity` was called
    `digest`: the BLAKE3-256 of the image.
    """

    VERSION: ClassVar[int] = 2
    FIXED: ClassVar[tuple[str, ...]] = ("size", "identity")
    UPGRADES: ClassVar[dict[int, Upgrade]] = {1: _without_long_values}

    size: U64
    identity: Annotated[bytes, Length(0, 64)]
    block_size: U32
    changed: Blob
    blocks: Blob


class BlockBackend(Protocol):
    """What is behind a drive. Offsets and lengths are in bytes, and multiples of `SECTOR_SIZE`."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def read_only(self) -> bool:
        """Whether every write fails."""

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes. Raise OSError if the medium fails."""

    def write(self, offset: int, data: bytes, /) -> None:
        """Replace the bytes at `offset`. Raise OSError if the medium fails; nothing is written then."""

    def flush(self) -> None:
        """Make earlier writes last. Raise OSError if the medium fails."""

    def save(self) -> DiskState:
        """Return the disk's identity and its changes; later writes do not alter what was returned."""

    def check(self, state: DiskState, /) -> None:
        """Raise StateError if `state` is of another disk. Change nothing."""

    def load(self, state: DiskState, /) -> None:
        """Check `state`, then take its changes in place of the present ones."""

    def close(self) -> None:
        """Give back the host's resources."""


@runtime_checkable
class Identifies(Protocol):
    """A block backend whose base takes long to identify, which is done beside the machine.

    `like` is the identity in a state that is to be loaded; empty if the disk is to be saved.
    """

    def is_identified(self, like: bytes, /) -> bool:
        """Return whether `save`, and `check` of a state with the identity `like`, need not wait for an identity."""

    def identify(self, like: bytes, /) -> None:
        """Wait until that is so. Any thread may call this. Raise StorageError if it cannot be."""

    def end_identifying(self) -> None:
        """Let all that waits for an identity fail, now and later: the machine ends. Any thread may call this."""


class BlockFrontend(Protocol):
    """A drive that takes a disk."""

    def connect(self, backend: BlockBackend, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend; the drive is empty, or absent."""

    def retry(self) -> None:
        """Try once more what waits for a failed backend. Called when the machine is resumed."""


@runtime_checkable
class RemovableFrontend(BlockFrontend, Protocol):
    """A drive whose medium can be changed while the machine runs: it has a tray, which its guest may lock."""

    leaves_out: bool
    """Whether a state with a medium may be loaded while the drive has none: the guest then finds it taken out."""

    @property
    def tray_open(self) -> bool:
        """Whether the tray is open."""

    @property
    def locked(self) -> bool:
        """Whether the guest has locked the closed tray."""

    def eject(self) -> None:
        """Open the tray, locked or not."""

    def request_eject(self) -> None:
        """Let the guest know that its user wants to open the tray, which it has locked."""


class LineError(IntFlag):
    """What was wrong with a received character, in the bits of the 16550's LSR (NS16550D, table II)."""

    NONE = 0
    PARITY = 0x04
    FRAMING = 0x08
    BREAK = 0x10


class ModemLine(IntFlag):
    """The modem's lines as the terminal sees them, in the bits of the 16550's MSR."""

    CTS = 0x10
    DSR = 0x20
    RI = 0x40
    DCD = 0x80


class CharBackend(Protocol):
    """What is behind a serial port."""

    def attach(self, frontend: "CharFrontend", /) -> None:
        """Deliver what arrives to `frontend` from now on."""

    def write(self, data: bytes, /) -> int:
        """Take as much of `data` as fits and return how many bytes; 0 when blocked.

        After a short write the backend calls the frontend's `writable` once there is room.
        """

    def set_break(self, level: bool, /) -> None:
        """Begin or end a break condition on the outgoing line."""

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        """Show the state of the terminal's two modem outputs."""

    def fileno(self) -> int | None:
        """Return the descriptor whose readiness matters to `poll`, or None when there is none now."""

    def wants_write(self) -> bool:
        """Whether `poll` should also be called when the descriptor becomes writable."""

    def poll(self) -> None:
        """Move what can be moved without waiting: read from the host, call `receive` or `writable` on the frontend."""

    def close(self) -> None:
        """Give back the host's resources."""


class CharFrontend(Protocol):
    """A serial port that takes a line."""

    def connect(self, backend: CharBackend, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend; what is sent goes nowhere."""

    def room(self) -> int:
        """How many bytes `receive` would take now without losing any."""

    def receive(self, data: bytes, errors: LineError = LineError.NONE, /) -> None:
        """Take characters from the line, each with the errors given. What does not fit overruns."""

    def set_modem(self, lines: ModemLine, /) -> None:
        """Take the levels of the four modem inputs."""

    def writable(self) -> None:
        """The backend has room again: send what waits."""


class NetBackend(Protocol):
    """What is behind a network card."""

    def send(self, frame: bytes, /) -> None:
        """Send one Ethernet frame, without its check sequence."""

    def close(self) -> None:
        """Give back the host's resources."""


class NetFrontend(Protocol):
    """A network card that takes a cable."""

    def connect(self, backend: NetBackend, /) -> None:
        """Use `backend` from now on."""

    def disconnect(self) -> None:
        """Forget the backend; the link is down."""

    def receive(self, frame: bytes, /) -> bool:
        """Take one Ethernet frame; False when it had to be dropped."""


class ConsoleBackend(Protocol):
    """What shows a text screen."""

    def draw(self, row: int, column: int, cells: bytes, /) -> None:
        """Show character and attribute pairs from this place on, two bytes a cell."""

    def move_cursor(self, row: int, column: int, /) -> None:
        """Show the cursor here."""

    def resize(self, rows: int, columns: int, /) -> None:
        """Change the size of the screen, in cells."""

    def close(self) -> None:
        """Give back the host's resources."""


class ConsoleFrontend(Protocol):
    """A display adapter that takes a screen."""

    def connect(self, backend: ConsoleBackend, /) -> None:
        """Use `backend` from now on, and draw the whole screen on it."""

    def disconnect(self) -> None:
        """Forget the backend."""


# ---------------------------------------------------------------------------------------------------------------------
# What a device offers
# ---------------------------------------------------------------------------------------------------------------------

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
S_contra = TypeVar("S_contra", contravariant=True)
C = TypeVar("C")


class Device(Protocol):
    """An emulated device. `save` and `load` are optional, see `Saves` and `Loads`."""

    def reset(self) -> None:
        """Go to the state after power-on, as the machine's reset line would do it; backends stay connected."""


@runtime_checkable
class Saves(Protocol[S_co]):
    """A device that can be saved."""

    def save(self) -> S_co:
        """Return everything a guest could ever notice. A pure read: the running device does not change."""


@runtime_checkable
class Loads(Protocol[S_contra]):
    """A device that can be loaded."""

    def load(self, state: S_contra, /) -> None:
        """Become the saved device: validate first, then assign, re-arm timers, drive the lines to their levels.

        The ranges of the fields have been checked already. No edge may be invented: a line is only ever set to the
        level it had when it was saved.

        Raises:
            StateError: fields that cannot go together. Nothing has changed then.
        """


@runtime_checkable
class KeepsDate(Protocol):
    """A device whose date goes on while the machine is off, as from a battery."""

    def advance_date(self, seconds: int, /) -> bool:
        """Show the date of so many seconds later, and return whether it does. Called after a `load`, if the user asks.

        Nothing else happens: no interrupt, no alarm, no tick of the machine's clock; the machine was off. Where the
        device does not count now, as it has been stopped, its date stays, and False is returned.
        """


@dataclass(frozen=True, slots=True)
class DeviceType(Generic[C, S]):
    """A kind of device: its name, how one is made, and the dataclasses of its configuration and its state.

    `config` is a frozen dataclass whose fields follow the rules of a state's; `state` is None for a device that
    cannot be saved. `grammar` shows `chkpt prove` how a driver talks to the device; without it the prover makes noise.
    """

    name: str
    create: Callable[[Host, C], Device]
    config: type[C]
    state: type[S] | None
    grammar: Grammar[C] | None = None


@dataclass(frozen=True, slots=True)
class BackendType(Generic[C]):
    """A kind of backend: its kind, its name in a configuration, and how one is opened.

    Named in the entry-point group "chkpt.backends".

    `open` raises StorageError or ConfigError if the host refuses.
    """

    kind: FrontendKind
    name: str
    open: Callable[[C], BlockBackend | CharBackend | NetBackend | ConsoleBackend]
    config: type[C]


@dataclass(frozen=True, slots=True)
class Rom:
    """A ROM that comes with a package, for the `rom` of a machine's `[firmware]`: its name and its bytes.

    It is seen by the processor as a BIOS is. Named in the entry-point group "chkpt.roms".
    """

    name: str
    image: bytes = field(repr=False)
