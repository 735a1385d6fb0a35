"""Where `chkpt save` and `chkpt run --save` put a snapshot, who signs it, who can read it, and what they say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chkpt.cli.options import is_path, make_store, new_path
from chkpt.errors import UsageError

if TYPE_CHECKING:
    from chkpt.service.messages import SaveReply


@dataclass(frozen=True, slots=True)
class Target:
    """The file, the secret key that signs it, and who alone can read it; the paths are absolute."""

    path: Path
    sign: Path | None
    recipients: tuple[str, ...]
    named: bool  # in a store

    def make_place(self) -> None:
        """Make the store, where it is in one that is not there yet. Raise StorageError."""
        if self.named:
            make_store(self.path.parent)


def target(snapshot: str, store: Path, sign: Path | None, recipients: Sequence[str] | None) -> Target:
    """Return what SNAPSHOT, `--sign` and `--recipient` mean. Files of recipients are read here, where they are meant.

    Raises:
        UsageError: it cannot be a snapshot's name, or not that of an encrypted one.
        NotFoundError, KeyFileError, StorageError: the recipients cannot be used.
    """
    readers: list[str] = []
    if recipients:
        from chkpt.seal.age import read_recipients

        readers = read_recipients(recipients)
    path = new_path(snapshot, store, encrypted=bool(readers))
    if is_path(snapshot) and snapshot.rpartition("/")[2] in {"", ".", ".."}:
        raise UsageError(f"{snapshot} is the path of a directory, not of a snapshot's file")
    return Target(path, None if sign is None else sign.absolute(), tuple(readers), not is_path(snapshot))


def sealed(reply: "SaveReply") -> str:
    """Return what was done to a snapshot on its way into its file, to go behind what else is said of it."""
    return (
        "".join(f", signed with key {key}" for key in reply["signed_by"])
        + (", encrypted" if reply["encrypted"] else "")
        + "".join(f"; {path} is removed, it had signatures of the one replaced" for path in reply["removed"])
    )
