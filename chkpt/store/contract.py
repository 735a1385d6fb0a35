"""The contract of a store: named snapshots, each whole, none ever changed.

The shape is restic's backend interface: few operations, each with its promise spelled out, and one suite of tests that
every store inherits (`chkpt.testing.StoreContract`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from chkpt.context import Checkpoint
from chkpt.errors import UsageError
from chkpt.snapshot import Reader, Summary, Writable

MAX_NAME_SIZE = 200
"""Bytes of UTF-8 in the longest name. With `.zst` and room to spare it fits the 255 of every file system."""

Write: TypeAlias = Callable[[Writable], Summary]
"""Writes one snapshot to a file, as `lambda file: dump(checkpoint, file)` does."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a store says of one snapshot without reading more of it than its header.

    `created` is RFC 3339 UTC, `machine` the machine's name; both are as the file says, and empty where it says
    nothing. `problem` is empty, or why the file cannot be read; then `root_digest` is empty too. Of an encrypted one
    nothing is known but its size, and that is no problem.
    """

    name: str
    size: int
    created: str = ""
    machine: str = ""
    root_digest: bytes = b""
    problem: str = ""
    encrypted: bool = False


class Store(Protocol):
    """Named snapshots, each of which never changes once it is there.

    A name is 1 to 200 bytes of UTF-8 without `/` and control characters, and does not begin with a dot; anything else
    raises UsageError. Every method may raise StorageError, whose message names the place and fits on one line. Any
    number of processes and threads may use one store.
    """

    def create(self, name: str, content: Checkpoint | Write, *, force: bool = False) -> Summary:
        """Store a snapshot under `name`: it is there whole and lasts when this returns, and is not there before.

        `content` is a checkpoint, or a function that is called once with a file and writes one snapshot to it. It has
        done with the machine when it returns: what takes long (making the bytes last) comes after it, so a caller may
        release the machine at the end of its function.

        With `force` a snapshot of that name is replaced: a reader sees the old one or the new one, whole. If anything
        fails, what was there before is still there, and nothing else. One failure comes after that: the new snapshot is
        there, but its name could not be made to last; the StorageError says so.

        Signatures that the store keeps apart from the snapshot, of one that had the name, do not outlive it: with
        `force` they go after it has been replaced.

        Raises:
            ExistsError: the name is taken, also by another writer at the same time: exactly one of them succeeds. Or
                by an encrypted snapshot: that is not replaced by a plain one, also with `force`.
            ChkptError: whatever `content` raises.
            TypeError: `content` is neither.
        """

    def open(self, name: str) -> Reader:
        """Open the snapshot `name`. It can be read to its end even when it is removed or replaced meanwhile.

        Raises:
            NotFoundError: there is none of that name. Nothing is created.
            RefusedError: it is there, but cannot be taken; see `Reader`.
        """

    def load(self, name: str) -> Checkpoint:
        """Return the checkpoint in the snapshot `name`. Its sections are decoded when they are looked up.

        Raises as `open` does.
        """

    def list(self) -> Sequence[Listing]:
        """Return all snapshots, by name. A damaged one is listed with its problem. No store yet is an empty one."""

    def remove(self, name: str) -> None:
        """Remove the snapshot `name` and its signatures, for good when this returns.

        Raises:
            NotFoundError: there is none of that name.
        """

    def verify(self, name: str) -> None:
        """Read and check every byte of the snapshot `name`.

        Raises:
            NotFoundError: there is none of that name.
            RefusedError: it is not what was written; the message says where.
        """


def check_content(content: object) -> None:
    """Raise TypeError if `content` is neither a checkpoint nor a function that writes one."""
    if not isinstance(content, Checkpoint) and not callable(content):
        raise TypeError(
            f"a store takes a Checkpoint, not {type(content).__name__}: "
            "checkpoint = Checkpoint(); machine.save(checkpoint); store.create(name, checkpoint)"
        )


def check_name(name: str) -> None:
    """Raise UsageError where `name` cannot be a snapshot's."""
    if fault := _name_fault(name):
        raise UsageError(f"a snapshot cannot be named {name!r}: {fault}")


def is_name(name: str) -> bool:
    """Return whether `name` can be a snapshot's."""
    return not _name_fault(name)


def _name_fault(name: str) -> str:
    if name.isascii() and name.isprintable() and 0 < len(name) <= MAX_NAME_SIZE and "/" not in name and name[0] != ".":
        return ""  # as most names are
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
