"""What the writer makes of each kept snapshot does not change: same order, same contents, same pieces.

The digests are of contents, not of compressed bytes, so that they hold with every version of zstd.
"""

import json
from pathlib import Path

import pytest
from blake3 import blake3

from chkpt.snapshot import Reader, dumps
from chkpt.snapshot.codec import frame_content

KEPT = Path(__file__).parents[2] / "snapshots"
DIGESTS: dict[str, str] = json.loads((KEPT / "digests.json").read_text())


def digest(path: Path) -> str:
    """Return the digest of all that the file holds that is made of the snapshot at `path`."""
    with Reader.open(path) as reader:
        checkpoint = reader.checkpoint()
        checkpoint.header |= {"generator": "kept", "created": "2026-11-23T00:00:00Z"}
        data = dumps(checkpoint)
    found = blake3()
    written = Reader(data)
    stored_size = written.sections[0].offset if written.sections else None
    found.update(frame_content(data[:stored_size]))
    for entry in written.sections:
        found.update(repr((entry.path, entry.type, entry.version)).encode())
        found.update(frame_content(data[entry.offset : entry.offset + entry.stored_size], entry.content_size))
    for blob in written.blobs:
        found.update(repr((blob.path, blob.tag, blob.size, blob.piece_size, [*blob.digests()])).encode())
    return found.hexdigest()


def test_each_kept_snapshot_has_a_digest() -> None:
    assert {path.name for path in KEPT.glob("*.zst")} == {*DIGESTS}


@pytest.mark.parametrize("name", DIGESTS)
def test_a_kept_snapshot_is_written_as_ever(name: str) -> None:
    assert digest(KEPT / name) == DIGESTS[name]
