"""A store of snapshots as files in one directory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from chkpt.context import Checkpoint
from chkpt.errors import NotFoundError, RefusedError, StorageError
from chkpt.snapshot import Reader, Summary, check_checkpoint, load, write_outline
from chkpt.store.contract import Listing, Write, check_content, check_snapshot_name, is_snapshot_name
from chkpt.store.files import Leavings, clean, make_directory, reporting
from chkpt.store.publish import ENCRYPTED, SUFFIX, publishing, remove_snapshot

__all__ = ["SUFFIX", "LocalStore"]


class LocalStore:
    """The snapshots in one directory: `NAME` is the file `NAME.zst`, with `NAME.zst.sig` beside it. A `Store`.

    `NAME.zst.age`, which `chkpt.seal` writes, takes the name and is listed, too; `create` never replaces it, even with
    `force`. The first `create` makes the directory (mode 0700); no other method does.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.directory)!r})"

    def path(self, name: str) -> Path:
        """Return the path of the snapshot `name`, which need not exist. Raise UsageError if it cannot be a name."""
        check_snapshot_name(name)
        return self.directory / (name + SUFFIX)

    def create(self, name: str, content: Checkpoint | Write, *, force: bool = False) -> Summary:
        """Store a snapshot; see `Store.create`."""
        check_content(content)
        path = self.path(name)
        # What cannot be written is refused here, before there is a directory or a file.
        write = partial(write_outline, check_checkpoint(content)) if isinstance(content, Checkpoint) else content
        make_directory(self.directory)
        with publishing(path, force=force) as file:
            return write(file)

    def open(self, name: str) -> Reader:
        """Open a snapshot; see `Store.open`."""
        path = self.path(name)
        try:
            return Reader.open(path)
        except NotFoundError:
            raise self._missing(name) from None

    def load(self, name: str) -> Checkpoint:
        """Return the checkpoint in a snapshot; see `Store.load`."""
        path = self.path(name)
        try:
            return load(path)
        except NotFoundError:
            raise self._missing(name) from None

    def list(self) -> Sequence[Listing]:
        """Return all snapshots, by name; see `Store.list`."""
        try:
            with os.scandir(self.directory) as entries:
                names = sorted(_find_names(entries))
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise StorageError(str(exc.strerror), where=str(self.directory)) from exc
        listings = []
        for name, encrypted in names:
            with suppress(NotFoundError):  # removed in between
                listings.append(self._list_encrypted(name) if encrypted else self._list_plain(name))
        return listings

    def _list_encrypted(self, name: str) -> Listing:
        path = self.directory / f"{name}{ENCRYPTED}"
        try:
            return Listing(name, path.stat().st_size, encrypted=True)
        except OSError:
            raise NotFoundError("there is no such snapshot", where=str(path)) from None

    def _list_plain(self, name: str) -> Listing:
        try:
            with self.open(name) as reader:
                machine = reader.header.get("machine")
                created = str(reader.header["created"])
                return Listing(
                    name, reader.size, created, machine if isinstance(machine, str) else "", reader.root_digest
                )
        except (RefusedError, StorageError) as exc:
            path = self.path(name)
            try:
                return Listing(name, path.stat().st_size, problem=str(exc))
            except OSError:
                raise NotFoundError("there is no such snapshot", where=str(path)) from exc

    def remove(self, name: str) -> None:
        """Remove a snapshot; see `Store.remove`."""
        path = self.path(name)
        with reporting(path):
            try:
                remove_snapshot(path)
            except (FileNotFoundError, NotADirectoryError):
                raise self._missing(name) from None

    def _missing(self, name: str) -> NotFoundError:
        return NotFoundError(f"there is no snapshot named {name!r}", where=str(self.directory))

    def verify(self, name: str) -> None:
        """Check a snapshot; see `Store.verify`."""
        with self.open(name) as reader:
            reader.verify()

    def repair(self) -> Leavings:
        """Remove the temporary files of killed writers; see `chkpt.store.files.clean`. No snapshot is changed."""
        return clean(self.directory)


def _find_names(entries: Iterator[os.DirEntry[str]]) -> Iterator[tuple[str, bool]]:
    """Yield the names of the snapshots among the entries of a directory, and whether they are encrypted."""
    for entry in entries:
        ending = next((ending for ending in (ENCRYPTED, SUFFIX) if entry.name.endswith(ending)), "")
        name = entry.name.removesuffix(ending)
        if ending and is_snapshot_name(name) and Path(entry).is_file():
            yield name, ending == ENCRYPTED
