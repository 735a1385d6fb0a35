"""Where `chkpt save` and `chkpt run --save` put a snapshot, and how they sign and encrypt it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chkpt.cli.options import is_path, make_store, new_path
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import SaveReply
    from chkpt.service.api.requests import SaveRequest


def make_save_request(
    snapshot: str, store: Path, *, force: bool, sign: Path | None, recipients: Sequence[str] | None
) -> "SaveRequest":
    """Return the request that SNAPSHOT, `--force`, `--sign` and `--recipient` make. Read the files of recipients.

    Raises:
        UsageError: SNAPSHOT cannot be the name of a snapshot, or not of an encrypted one.
        NotFoundError, KeyFileError, StorageError: the recipients cannot be used.
    """
    from chkpt.service.api.requests import SaveRequest

    readers: list[str] = []
    if recipients:
        from chkpt.seal.age import read_recipients

        readers = read_recipients(recipients)
    path = new_path(snapshot, store, encrypted=bool(readers))
    if is_path(snapshot) and snapshot.rpartition("/")[2] in {"", ".", ".."}:
        raise UsageError(f"{snapshot} is the path of a directory, not of a snapshot's file")
    return SaveRequest(str(path), force, None if sign is None else str(sign.absolute()), tuple(readers))


def make_place(snapshot: str, store: Path) -> None:
    """Make the store if SNAPSHOT is a name and the store does not exist. Raise StorageError."""
    if not is_path(snapshot):
        make_store(store.absolute())


def describe_sealing(reply: "SaveReply") -> str:
    """Return how a snapshot was signed and encrypted, as the end of a message."""
    return (
        "".join(f", signed with key {key}" for key in reply["signed_by"])
        + (", encrypted" if reply["encrypted"] else "")
        + "".join(f"; {path} is removed: its signatures were for the replaced snapshot" for path in reply["removed"])
    )
