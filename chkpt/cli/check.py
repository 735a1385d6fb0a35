"""Check a whole snapshot without loading it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from chkpt.errors import CorruptError

if TYPE_CHECKING:
    from chkpt.snapshot import Reader


def check_snapshot(reader: "Reader", progress: Callable[[int, int], None] | None = None) -> None:
    """Read and check every byte of a snapshot, and the table of its devices' names as a load does.

    No device type needs to be installed. A load also checks each state, and whether the machine fits.
    `progress` is called as `Reader.verify` calls it.

    Raises:
        CorruptError: a part is damaged, or the table of names is not valid; the message names the part.
        LimitError: a part is larger than any that chkpt writes.
        StorageError: the file cannot be read.
    """
    from chkpt.manager import device_names

    reader.verify(progress)
    contexts = reader.checkpoint().contexts
    try:
        device_names(contexts)
    except CorruptError as exc:
        raise CorruptError(f"{reader.name}: {exc}; restore it from a copy") from exc
