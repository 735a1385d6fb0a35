"""The kept snapshot of format 1 is read as it was written, now and by every later version."""

from pathlib import Path

import zstandard
from blake3 import blake3

from chkpt.snapshot import Reader, dumps, open_reader
from tests.snapshots.make_format_1 import PATH, checkpoint
from tests.support.checkpoints import plain, plain_value


def test_the_kept_file_is_whole() -> None:
    with open_reader(PATH) as reader:
        reader.verify()
        assert reader.root_digest.hex() == "5a345d1e781b75ac792d0ce9eff0a452604fb4048fad55f92fc3efbfcc768fae"
        assert [("/".join(entry.path), entry.type, entry.version) for entry in reader.sections] == [
            ("clock", "clock", 1),
            ("devices", "", 0),
            ("devices/ide0", "ide", 3),
            ("devices/pit", "pit", 1),
            ("memory", "memory", 1),
            ("values", "", 0),
        ]


def test_the_kept_file_holds_what_was_written() -> None:
    with open_reader(PATH) as reader:
        loaded = reader.checkpoint()
        assert plain(loaded.contexts) == plain(checkpoint().contexts)
        assert loaded.header == {"chkpt": 1, **checkpoint().header}


def test_the_kept_file_is_what_is_written_today_but_for_the_compression() -> None:
    with open_reader(PATH) as kept:
        today = Reader(dumps(kept.checkpoint()))
        assert contents(kept, PATH.read_bytes()) == contents(today, dumps(checkpoint()))
        assert [list(blob.digests()) for blob in kept.blobs] == [list(blob.digests()) for blob in today.blobs]
        assert plain_value(dict(kept.header)) == plain_value(dict(today.header))


def contents(reader: Reader, data: bytes) -> list[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    return [decompressor.decompress(data[entry.offset :][: entry.stored_size]) for entry in reader.sections]


def test_the_root_digest_is_that_of_the_stored_index() -> None:
    data = Path(PATH).read_bytes()
    offset = int.from_bytes(data[-44:-36], "little")
    with open_reader(PATH) as reader:
        assert blake3(data[offset:-68]).digest() == reader.root_digest == data[-36:-4]
