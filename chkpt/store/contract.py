"""The contract of a store: named snapshots that are whole and never change.

It has the shape of restic's backend interface: few operations, each with an exact promise, and one suite of tests that
every store inherits (`chkpt.testing.StoreContract`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from chkpt.context import Checkpoint
from chkpt.errors import UsageError
from chkpt.snapshot import Reader, Summary, Writable

MAX_NAME_SIZE = 200
"""Bytes of UTF-8 in the longest name. With `.zst` and other endings it fits into 255 bytes, a file system's limit."""

Write: TypeAlias = Callable[[Writable], Summary]
"""Writes one snapshot to a file, as `lambda file: dump(checkpoint, file)` does."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a store reports of one snapshot without reading more of it than its header.

    `created` is RFC 3339 UTC, `machine` the machine's name; both are from the file, and empty if they are not in it.
    `problem` says why the file cannot be read, and `root_digest` is empty then; else `problem` is empty. Of an
    encrypted snapshot only the size is known, and that is not a problem.
    """

    name: str
    size: int
    created: str = ""
    machine: str = ""
    root_digest: bytes = b""
    problem: str = ""
    encrypted: bool = False


class Store(Protocol):
    """Named snapshots. A snapshot never changes once it is there.

    A name is 1 to 200 bytes of UTF-8 without `/` and control characters, and does not begin with a dot; any other name
    raises UsageError. Every method may raise StorageError; its message names the path and fits on one line. Any number
    of processes and threads may use one store.
    """

    def create(self, name: str, content: Checkpoint | Write, *, force: bool = False) -> Summary:
        """Store a snapshot under `name`. When this returns the snapshot is whole and lasts; before, the name has none.

        `content` is a checkpoint, or a function that the store calls once, with a file; it writes one snapshot to that
        file. The slow part (to make the bytes last) comes after the function, so the function may release the machine
        at its end.

        With `force` a snapshot of that name is replaced: a reader sees the old one or the new one, whole. If the call
        fails, the old snapshot is still there, and nothing else. There is one exception: the new snapshot is there, but
        its name could not be made to last; the StorageError says so.

        If the store keeps signatures apart from the snapshot, those of a replaced snapshot are removed, once the new
        snapshot is there.

        Raises:
            ExistsError: the name is taken. If several writers want it at the same time, exactly one succeeds. An
                encrypted snapshot takes the name, too: a plain one does not replace it, even with `force`.
            ChkptError: `content` raised it.
            TypeError: `content` is neither.
        """

    def open(self, name: str) -> Reader:
        """Open the snapshot `name`. It can be read to its end even if it is removed or replaced meanwhile.

        Raises:
            NotFoundError: there is no such snapshot. Nothing is created.
            RefusedError: it is not a snapshot that chkpt can read; see `Reader`.
        """

    def load(self, name: str) -> Checkpoint:
        """Return the checkpoint in the snapshot `name`. Its sections are decoded when they are looked up.

        Raises as `open` does.
        """

    def list(self) -> Sequence[Listing]:
        """Return all snapshots, by name. A damaged one is listed with its problem. A missing store counts as empty."""

    def remove(self, name: str) -> None:
        """Remove the snapshot `name` and its signatures. When this returns they are gone for good.

        Raises:
            NotFoundError: there is no such snapshot.
        """

    def verify(self, name: str) -> None:
        """Read and check every byte of the snapshot `name`.

        Raises:
            NotFoundError: there is no such snapshot.
            RefusedError: it is damaged; the message says where.
        """


def check_content(content: object) -> None:
    """Raise TypeError if `content` is neither a checkpoint nor a function that writes one."""
    if not isinstance(content, Checkpoint) and not callable(content):
        raise TypeError(
            f"a store takes a Checkpoint, not {type(content).__name__}: "
            "checkpoint = Checkpoint(); machine.save(checkpoint); store.create(name, checkpoint)"
        )


def check_snapshot_name(name: str) -> None:
    """Raise UsageError if `name` cannot be a snapshot's."""
    if fault := _find_fault(name):
        raise UsageError(f"a snapshot cannot be named {name!r}: {fault}")


def is_snapshot_name(name: str) -> bool:
    """Return whether `name` can be a snapshot's."""
    return not _find_fault(name)


def _find_fault(name: str) -> str:
    if name.isascii() and name.isprintable() and 0 < len(name) <= MAX_NAME_SIZE and "/" not in name and name[0] != ".":
        return ""  # most names
    size = len(name.encode(errors="replace"))
    faults = {
        "it is empty": not name,
        f"it has {size} bytes, and the limit is {MAX_NAME_SIZE}": size > MAX_NAME_SIZE,
        "it begins with a dot": name.startswith("."),
        "it contains a '/'": "/" in name,
        "it contains a control character": any(char < " " or "\x7f" <= char < "\xa0" for char in name),
        "it contains half a surrogate pair": any("\ud800" <= char < "\ue000" for char in name),
    }
    return next((fault for fault, found in faults.items() if found), "")
