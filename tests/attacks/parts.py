"""What attacks are made of: a good snapshot of a small machine, and the ways to put something bad into one part of it.

Nothing here uses chkpt's writer, which refuses most of this: the bytes come from tests/support/handmade.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, cast

from chkpt.errors import CorruptError, RefusedError
from tests.support.handmade import Blob, File, Index, Piece, Section, frame, pack, section

Make = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Attack:
    """A file that breaks one rule of docs/FORMAT.md, and how it is refused."""

    rule: int
    name: str
    make: Make
    message: str
    error: type[RefusedError] = CorruptError

    def __str__(self) -> str:
        return f"R{self.rule} {self.name}"


MACHINE: Final = {"name": "attacked", "memory": 4096, "device": [{"type": "dma_page"}]}
"""The machine that the good file is of."""

NAMES: Final = b"dma_page".ljust(32, b"\0")
PAGE: Final = bytes(range(1, 251)) * 4
REST: Final = b"z" * 96
DMA_PAGE: Final = section("devices", "dma_page", type="dma_page", version=1, values={"pages": bytes(16)})

GOOD: Final = File(
    header={
        "chkpt": 1,
        "generator": "hand",
        "created": "2026-11-23T00:00:00Z",
        "machine": "attacked",
        "config": MACHINE,
    },
    sections=[
        section("clock", type="clock", version=1, values={"now": 5}),
        section("devices", values={"num_devs": 1, "names": NAMES}),
        DMA_PAGE,
        section("lines", type="lines", version=1, values={"outside": 0}),
        section("memory", type="memory", version=1, values={"size": 4096}),
    ],
    blobs=[Blob(["memory"], "ram", 4096, 1000, [0, 2, 4], [0, 0, 1])],
    pieces=[Piece(PAGE), Piece(REST)],
)
"""A snapshot of that machine, as docs/FORMAT.md describes one."""

CLOCK: Final = GOOD.sections[0].content


def good(**changes: object) -> Make:
    """Return the good file with some of its parts replaced."""
    return replace(GOOD, **changes).build  # type: ignore[arg-type]  # the fields of File


def later(make: Callable[[], Make]) -> Make:
    """Return the same file, whose long parts are not made before it is."""
    return lambda: bytes(make()())


def header(**changes: object) -> Make:
    """Return the good file with other values in its header."""
    return good(header={**cast("dict[str, object]", GOOD.header), **changes})


def in_header(name: bytes, value: bytes) -> Make:
    """Return the good file whose header has one more key; both are encoded already."""
    content = pack(GOOD.header)
    return good(header_content=bytes([content[0] + 1]) + content[1:] + name + value)


def clock(content: bytes, stored: bytes | None = None, size: int | None = None, **changes: object) -> Make:
    """Return the good file with another section `clock`: this content, stored in this frame."""
    made = Section(["clock"], content, "clock", 1, stored, size)
    return good(sections=[replace(made, **changes), *GOOD.sections[1:]])  # type: ignore[arg-type]  # of Section


def clock_map(**value: object) -> Make:
    """Return the good file whose section `clock` is the map of `path` and these."""
    return clock(pack({"path": ["clock"], **value}))


def in_value(value: bytes, key: bytes = b"\xa1x") -> Make:
    """Return the good file with one more tag in `clock`, whose value has this encoding."""
    return clock(CLOCK.replace(b"\x81\xa3now", b"\x82\xa3now") + key + value)


def stored(data: bytes, size: int = len(CLOCK)) -> Make:
    """Return the good file whose section `clock` is stored as these bytes."""
    return clock(CLOCK, data, size)


def index(edit: Callable[[Index], object]) -> Make:
    """Return the good file with a change in its index."""
    return good(edit=edit)


def entry(key: str, row: int, column: int, value: object) -> Make:
    """Return the good file with one field in its index replaced."""

    def edit(index: Index) -> Index:
        cast("list[object]", index[key][row])[column] = value
        return index

    return index(edit)


def sections(*paths: list[object]) -> Make:
    """Return a file of empty sections with these paths."""
    return File(sections=[Section(path, pack({"path": path})) for path in paths]).build


def child(name: object, value: object = None) -> Make:
    """Return the good file whose section `clock` has a context in it."""
    inner = pack(name) + pack({} if value is None else value)
    return clock(bytes([CLOCK[0] + 1]) + CLOCK[1:] + pack("contexts") + b"\x81" + inner)


def blobs(*entries: Blob, pieces: tuple[Piece, ...] = tuple(GOOD.pieces)) -> Make:
    """Return the good file with these blobs and pieces."""
    return good(blobs=[*entries], pieces=[*pieces])


def ram(size: int, piece_size: int, indexes: list[int], numbers: list[int], count: int = 2) -> Make:
    """Return the good file with another blob `memory.ram`, of pieces that are all of 10 bytes."""
    pieces = tuple(Piece(bytes([number + 1]) * 10) for number in range(count))
    return blobs(Blob(["memory"], "ram", size, piece_size, indexes, numbers), pieces=pieces)


def columns(indexes: bytes, numbers: bytes) -> Make:
    """Return the good file with other columns of its blob."""
    return index(lambda index: {**index, "blobs": [[["memory"], "ram", 4096, 1000, indexes, numbers]]})


def piece(frame: bytes, digest: bytes | None = None) -> Make:
    """Return the good file whose first piece, 1000 bytes, is stored as this frame."""
    return good(pieces=[Piece(PAGE, frame, digest), Piece(REST)])


def long_piece(content: bytes) -> bytes:
    """Return the frame of a piece's content, its head included."""
    return frame(b"\xc5" + len(content).to_bytes(2, "big") + content)
