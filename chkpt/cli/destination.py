"""Where `chkpt save` and `chkpt run --save` put a snapshot, who signs it, who can read it, and what they say of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chkpt.cli.options import is_path, make_store, new_path
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.api.messages import SaveReply
    from chkpt.service.api.requests import SaveRequest


def save_request(
    snapshot: str, store: Path, *, force: bool, sign: Path | None, recipients: Sequence[str] | None
) -> "SaveRequest":
    """Return what SNAPSHOT, `--force`, `--sign` and `--recipient` ask for. Files of recipients are read here.

    Raises:
        UsageError: it cannot be a snapshot's name, or not that of an encrypted one.
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
    """Make the store, if SNAPSHOT is a name in one that is not there yet. Raise StorageError."""
    if not is_path(snapshot):
        make_store(store.absolute())


def sealed(reply: "SaveReply") -> str:
    """Return what was done to a snapshot on its way into its file, to go behind what else is said of it."""
    return (
        "".join(f", signed with key {key}" for key in reply["signed_by"])
        + (", encrypted" if reply["encrypted"] else "")
        + "".join(f"; {path} is removed, it had signatures of the one replaced" for path in reply["removed"])
    )
