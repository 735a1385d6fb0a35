"""The kept snapshots of format 2, signed and encrypted, are read as they were written, by every later version."""

import shutil
from pathlib import Path

from chkpt.seal import Verdict, open_snapshot, signers, trusted_keys
from chkpt.snapshot import Reader, open_reader
from tests.snapshots.make_format_1 import PATH as FORMAT_1
from tests.snapshots.make_format_1 import checkpoint
from tests.snapshots.make_format_2 import ENCRYPTED, IDENTITY, KEYS, SIGNED
from tests.support.checkpoints import plain

KEY_IDS = ["8e11c436ecad3d886b979c239ac8853e", "a6b3cf5ba36dd15de868fb93455ee216"]


def test_the_kept_file_is_the_same_snapshot_as_that_of_format_1() -> None:
    with open_reader(SIGNED) as reader, open_reader(FORMAT_1) as first:
        reader.verify()
        assert (reader.format, first.format) == (2, 1)
        assert reader.header == first.header == {"chkpt": 1, **checkpoint().header}
        assert plain(reader.checkpoint().contexts) == plain(checkpoint().contexts)
        assert reader.root_digest.hex() == "5a345d1e781b75ac792d0ce9eff0a452604fb4048fad55f92fc3efbfcc768fae"


def test_the_kept_signatures_are_valid() -> None:
    keys = trusted_keys([KEYS])
    with open_snapshot(SIGNED, trusted=keys) as reader:
        found = signers(reader, keys)
    assert [each.verdict for each in found] == [Verdict.VALID] * 2
    assert sorted(each.key.id for each in found) == KEY_IDS


def test_the_kept_encrypted_file_is_opened(tmp_path: Path) -> None:
    identity = tmp_path / "identity"  # of which git does not keep that only its owner reads it
    shutil.copy(IDENTITY, identity)
    identity.chmod(0o600)
    with open_snapshot(ENCRYPTED, identity=identity, trusted=trusted_keys([KEYS])) as reader, Reader.open(SIGNED) as it:
        reader.verify()
        assert (reader.root_digest, reader.signatures) == (it.root_digest, it.signatures)
