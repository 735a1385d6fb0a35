"""What the worst costs that a reader accepts, or nearly. What it refuses as too much is in tests/attacks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.context import Checkpoint, Context
from chkpt.errors import LimitError
from chkpt.snapshot import Reader, dumps
from tests.chkpt.snapshot.good_file import in_section, in_value, index
from tests.support.handmade import Blob, File, Piece, Section, frame, pack, section

MIB = 1 << 20


def nested(depth: int) -> dict[str, object]:
    """Return the contexts `b` in `b` in `b`."""
    value: dict[str, object] = {}
    for _ in range(depth):
        value = {"contexts": {"b": value}}
    return value


def test_contexts_nest_as_deep_as_the_limit_and_no_deeper() -> None:
    Reader(in_section(pack({"path": ["a"]} | nested(31)))()).verify()
    with pytest.raises(LimitError, match=r"contexts nest deeper than 64 maps"):
        Reader(in_section(pack({"path": ["a"]} | nested(32)))()).verify()


def filled(sections: int, values: int) -> Checkpoint:
    return Checkpoint({}, {f"s{number:03}": Context("", 0, {"x": [[]] * values}) for number in range(sections)})


def test_the_values_of_all_sections_together_are_limited_for_reader_and_writer() -> None:
    """Each of them is short enough not to be looked at for itself; a section that is read again is counted once."""
    data = dumps(
        filled(128, 2040)
    )  # and eight around them in each: two keys and the tag, the name, two maps, two arrays
    reader = Reader(data)
    reader.verify()
    reader.verify()
    with pytest.raises(LimitError, match=r"more than 262144 values .* blob"):
        dumps(filled(128, 2041))
    parts = [section(f"s{number:03}", values={"x": [[]] * 2041}) for number in range(128)]
    with pytest.raises(LimitError, match=r"section s127 at offset .*: more than 262144 values"):
        Reader(File(sections=parts).build()).verify()


# -- what a hostile file costs ----------------------------------------------------------------------------------------

COST = """
import sys
from chkpt.errors import ChkptError
from chkpt.snapshot import Reader

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = peak()
try:
    with Reader.open(sys.argv[1]) as reader:
        reader.verify()
except ChkptError:
    pass
print(peak() - before)
"""

COSTLY: dict[str, Callable[[], bytes]] = {
    "16 MiB of bytes": in_value(pack(bytes(16 * MIB - 40))),
    "empty maps": in_value(pack([{}] * 131000)),
    "arrays of wide integers": in_value(pack([[1 << 60]] * 65000)),
    "wide text": in_value(pack("\U0001f600" + "a" * (MIB - 99))),
    "claims in a short content": in_value(b"\xdc\x0f\x00" * 1000 + bytes(1000)),
    "claims in a long content": in_value(b"\xdd\x00\xff\xff\xff" * 64 + bytes(15 * MIB)),
    "a bomb": File(sections=[Section(["a"], b"", stored=frame(bytes(256 * MIB)), content_size=16)]).build,
    "four long sections": File(sections=[section(f"a{n}", values={"x": bytes(16 * MIB - 50)}) for n in range(4)]).build,
    "a million pieces": lambda: File(
        sections=[section("a")],
        blobs=[Blob(["a"], "b", 1_300_000, 1, list(range(1_300_000)), [0] * 1_300_000)],
        pieces=[Piece(b"p")],
    ).build(),
    "pieces of nobody": index(
        lambda i: {**i, "pieces": [b"\x01\0\0\0" * 390000, bytes(4 * 390000), bytes(32 * 390000)]}
    ),
    "fourteen thousand sections": File(sections=[section(f"s{n:05}") for n in range(14000)]).build,
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_hostile_file_costs_little_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.zst"
    path.write_bytes(COSTLY[name]())
    run = subprocess.run([sys.executable, "-c", COST, path], check=True, capture_output=True, text=True, timeout=20)
    assert int(run.stdout) < 72 << 10  # KiB: 64 MiB, and 8 for the interpreter's own
