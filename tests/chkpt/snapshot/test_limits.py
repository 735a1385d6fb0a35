"""What a reader refuses because it is too much, and what the worst that it accepts costs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chkpt.errors import ChkptError, LimitError
from chkpt.snapshot import Reader
from tests.chkpt.snapshot import handmade
from tests.chkpt.snapshot.handmade import Blob, File, Piece, frame, pack, section
from tests.chkpt.snapshot.test_hostile import entry, in_section, in_value, index, stored, with_window

MIB = 1 << 20
DEEP = b"\x91" * 70 + b"\x01"

LIMITS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a window of 32 MiB": (stored(with_window(25)), "asks for a window of 33554432 bytes; the limit is 16777216"),
    "17 MiB of content in a section": (
        in_section(b"\x01" * (17 * MIB)),
        "17825792 bytes of content in one frame; the limit is 16777216",
    ),
    "content stated": (entry("sections", 0, 4, 1 << 62), "4611686018427387904 bytes of content in one frame"),
    "17 MiB of content in the index": (
        File(index_content=b"\x01" * (17 * MIB)).build,
        "17825792 bytes of content in one frame; the limit is 16777216",
    ),
    "an index of 17 MiB": (
        lambda: bytes(17 * MIB) + handmade.trailer(0, bytes(17 * MIB)),
        "an index of 17825792 bytes; the limit is 16842816",
    ),
    "80 MiB in all sections": (
        File(sections=[section(f"a{n}", values={"x": bytes(16 * MIB - 50)}) for n in range(5)]).build,
        "bytes of content in all sections; the limit is 67108864",
    ),
    "70 arrays in one another": (in_value(DEEP), "values nest deeper than 64 maps and arrays"),
    "600 arrays in one another": (in_value(b"\x91" * 600 + b"\x01"), "values nest deeper than 64 maps and arrays"),
    "2000 arrays in one another": (in_value(b"\x91" * 2000 + b"\x01"), "values nest deeper than 64 maps and arrays"),
    "70 arrays in a long content": (in_value(b"\x92" + DEEP + pack(bytes(9000))), "values nest deeper than 64 maps"),
    "70 maps": (in_value(b"\x81\xa1k" * 70 + b"\x01"), "values nest deeper than 64 maps and arrays"),
    "131072 values": (in_value(pack([[]] * 131070)), "more than 131072 values or 1048576 bytes of text in one frame"),
    "131072 keys": (
        in_value(pack({str(n): 1 for n in range(65536)})),
        "more than 131072 values or 1048576 bytes of text in one frame",
    ),
    "claims": (
        in_value(b"\xdd\x00\xff\xff\xff" * 60 + bytes(9000)),
        "more than 131072 values or 1048576 bytes of text",
    ),
    "text": (in_value(pack("x" * ((1 << 20) + 1))), "more than 131072 values or 1048576 bytes of text in one frame"),
    "keys": (
        in_value(pack({"x" * ((1 << 20) + 1): 1})),
        "more than 131072 values or 1048576 bytes of text in one frame",
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_an_exceeded_limit_is_refused(name: str) -> None:
    make, message = LIMITS[name]
    with pytest.raises(ChkptError) as caught:
        Reader(make()).verify()
    assert message in str(caught.value)
    assert type(caught.value) is LimitError
    assert str(caught.value).endswith("; chkpt writes no such file, so do not trust it")


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
    "a bomb": stored(frame(bytes(256 * MIB)), 16),
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
