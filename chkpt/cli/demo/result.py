"""The one snapshot that a demo leaves in the user's store.

Until it is whole it is in the demo's own store, so that two demos at once do not mix their snapshots.
"""

import os
from pathlib import Path

from chkpt.cli.options import make_store
from chkpt.errors import ChkptError, ExistsError, StorageError
from chkpt.snapshot import Reader
from chkpt.store.files import new_file


def is_earlier(path: Path) -> bool:
    """Return whether the snapshot of an earlier demo is at `path`. Raise ExistsError if something else is."""
    if not os.path.lexists(path):
        return False
    try:
        with Reader.open(path) as reader:
            earlier = reader.header.get("machine") == path.stem
    except ChkptError:
        earlier = False
    if not earlier:
        raise ExistsError(f"{path}: this is not the snapshot of an earlier demo; choose another store with --store")
    return True


def leave(snapshot: Path, store: Path) -> Path:
    """Copy a demo's snapshot to the user's store and return its path. It replaces an earlier demo's.

    Raises:
        ExistsError: another file has its name there.
        StorageError: the operating system refused.
    """
    path = store / snapshot.name
    try:
        content = snapshot.read_bytes()
    except OSError as exc:
        raise StorageError(f"{snapshot}: {exc.strerror}") from exc
    make_store(store)
    with new_file(path) as file:
        file.write(content)
        file.sync()
        with file.locking():
            file.give_name(replace=is_earlier(path))
    return path
