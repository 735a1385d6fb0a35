"""The bytes that docs/FORMAT.md shows are those of the kept file."""

import re
from pathlib import Path

from chkpt.snapshot import Reader

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "FORMAT.md").read_text()
KEPT = ROOT / "tests" / "snapshots" / "format-1.zst"


def shown() -> list[tuple[int, bytes]]:
    block = PAGE.partition("```hexdump\n")[2].partition("```")[0]
    return [
        (int(offset, 16), bytes.fromhex(row))
        for offset, row in re.findall(r"^([\da-f]{6})  (.+)$", block, re.MULTILINE)
    ]


def test_the_hexdump_is_of_the_kept_file() -> None:
    data = KEPT.read_bytes()
    assert len(shown()) == 15
    assert f"has {len(data)} bytes" in PAGE
    assert [(offset, data[offset : offset + len(row)]) for offset, row in shown()] == shown()


def test_the_hexdump_shows_where_each_frame_begins_and_the_whole_trailer() -> None:
    data = KEPT.read_bytes()
    frames = [match.start() for match in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), data)]
    assert [offset for offset, _ in shown()][: len(frames)] == frames
    assert b"".join(row for _, row in shown()[len(frames) :]) == data[-68:]


def test_the_sections_are_named_in_their_order() -> None:
    with Reader.open(KEPT) as reader:
        paths = ["/".join(section.path) for section in reader.sections]
    assert re.findall(r"^# section `(.+)`$", PAGE, re.MULTILINE) == paths
