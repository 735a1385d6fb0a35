"""A good file made by hand, and others that differ from one in a section, a value or the index."""

from collections.abc import Callable
from dataclasses import replace

from tests.support.handmade import Blob, File, Index, Piece, Section, pack, section

PAGE = bytes(range(250)) * 4

GOOD = File(
    header={"chkpt": 1, "generator": "hand", "created": "2026-11-23T00:00:00Z", "machine": "m"},
    sections=[
        section("clock", type="clock", version=1, values={"now": 5, "list": [None, 1.5, {"k": b"v"}]}),
        section("devices", values={"num_devs": 1}),
        section(
            "devices", "ide0", type="ide", version=2, contexts={"0": {"version": 3, "values": {"x": "y"}}, "1": {}}
        ),
    ],
    blobs=[
        Blob(["clock"], "a", 2500, 1000, [0, 2], [0, 1]),
        Blob(["devices", "ide0", "1"], "b", 1000, 1000, [0], [0]),
    ],
    pieces=[Piece(PAGE), Piece(b"z" * 500)],
)


def in_section(content: bytes) -> Callable[[], bytes]:
    """A file with one section `a` of this content."""
    return File(sections=[Section(["a"], content)]).build


def in_value(value: bytes) -> Callable[[], bytes]:
    """A file with one section `a` and in it one tag `x` whose value has this encoding."""
    return in_section(b"\x82" + pack("path") + pack(["a"]) + pack("values") + b"\x81" + pack("x") + value)


def index(edit: Callable[[Index], object]) -> Callable[[], bytes]:
    """The good file with a change in its index."""
    return replace(GOOD, edit=edit).build
