"""A disk on which nothing lasts until it is synced: what a cut of the power may leave of a run of file operations.

It is the weakest disk that POSIX allows, with two exceptions (`docs/RELIABILITY.md` says why): a rename is done or not
done, and what a call has synced stays.

* A file's bytes last once fsync of the file has returned. Until then any of them may be there or not: the tree may hold
  the file empty, cut short, with zeros in place of a lost write, or whole.
* A name (made, linked, renamed, removed) lasts once fsync of its directory has returned. Until then each change may be
  there or not, whatever became of the earlier ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import PurePosixPath
from typing import TypeAlias

Image: TypeAlias = Mapping[str, bytes | None]
"""The files below the root by their paths, and the directories, which have no content."""

MAX_PENDING = 10
"""Changes to one directory of which every subset is tried."""


@dataclass(slots=True, eq=False)
class File:
    """A file: what lasts of it, and the appended pieces that may be lost."""

    synced: bytes = b""
    pending: list[bytes] = field(default_factory=list)

    def variants(self) -> list[bytes]:
        """Return what may be left of it."""
        pieces = self.pending
        found = [self.synced + b"".join(pieces[:count]) for count in range(len(pieces) + 1)]
        for lost in range(len(pieces)):
            found.append(
                self.synced + b"".join(_zeros(piece) if at == lost else piece for at, piece in enumerate(pieces))
            )
            torn = pieces[lost][: len(pieces[lost]) // 2]
            found.append(self.synced + b"".join(pieces[:lost]) + torn)
        found.append(self.synced + b"".join(map(_zeros, pieces)))
        return list(dict.fromkeys(found))


@dataclass(slots=True, eq=False)
class Directory:
    """A directory: the names that last, the changes that may be lost, and the names as a process sees them."""

    synced: "dict[str, Node]" = field(default_factory=dict)
    pending: "list[dict[str, Node | None]]" = field(default_factory=list)
    seen: "dict[str, Node]" = field(default_factory=dict)

    def change(self, change: "dict[str, Node | None]") -> None:
        """Give names to nodes, or take them away, in one step."""
        self.pending.append(change)
        _apply(self.seen, change)

    def variants(self) -> "list[dict[str, Node]]":
        """Return the tables of names that may be left."""
        if len(self.pending) > MAX_PENDING:
            raise ValueError(f"{len(self.pending)} changes to one directory that are not synced")
        found: list[dict[str, Node]] = []
        for count in range(len(self.pending) + 1):
            for kept in combinations(self.pending, count):
                names = dict(self.synced)
                for change in kept:
                    _apply(names, change)
                if names not in found:
                    found.append(names)
        return found


Node: TypeAlias = File | Directory


class Disk:
    """Files and directories below one root, by paths relative to it. Raise KeyError for what is not there."""

    def __init__(self, image: Image) -> None:
        """Begin with a tree of which everything lasts."""
        self.root = Directory()
        for path in sorted(image):
            content = image[path]
            directory, name = self._parent(path)
            directory.change({name: Directory() if content is None else File(content)})
            directory.pending.clear()
            directory.synced = dict(directory.seen)

    def make(self, path: str) -> None:
        """Make an empty file; one that is there is emptied."""
        directory, name = self._parent(path)
        directory.change({name: File()})

    def make_directory(self, path: str) -> None:
        """Make a directory."""
        directory, name = self._parent(path)
        directory.change({name: Directory()})

    def write(self, path: str, data: bytes) -> None:
        """Append to a file."""
        node = self._node(path)
        assert isinstance(node, File)
        node.pending.append(data)

    def sync(self, path: str) -> None:
        """Make a file's content last, or a directory's names."""
        node = self._node(path)
        if isinstance(node, File):
            node.synced += b"".join(node.pending)
            node.pending.clear()
        else:
            node.synced = dict(node.seen)
            node.pending.clear()

    def link(self, old: str, new: str) -> None:
        """Give a node a second name."""
        directory, name = self._parent(new)
        directory.change({name: self._node(old)})

    def rename(self, old: str, new: str) -> None:
        """Give a node another name in its directory."""
        directory, name = self._parent(old)
        other, renamed = self._parent(new)
        if directory is not other:
            raise ValueError(f"{old} is renamed to {new}, in another directory")
        directory.change({name: None, renamed: directory.seen[name]})

    def unlink(self, path: str) -> None:
        """Take a name away."""
        directory, name = self._parent(path)
        directory.change({name: None})

    def images(self) -> Iterator[Image]:
        """Yield what a cut of the power may leave, each at least once."""
        for found in _trees(self.root, ""):
            yield dict(found)

    def _node(self, path: str) -> Node:
        node: Node = self.root
        for name in PurePosixPath(path).parts:
            assert isinstance(node, Directory)
            node = node.seen[name]
        return node

    def _parent(self, path: str) -> tuple[Directory, str]:
        above, _, name = path.rpartition("/")
        node = self._node(above)
        assert isinstance(node, Directory)
        return node, name


def _trees(directory: Directory, path: str) -> Iterator[list[tuple[str, bytes | None]]]:
    for names in directory.variants():
        parts: list[list[list[tuple[str, bytes | None]]]] = []
        files: dict[File, list[str]] = {}
        for name, node in names.items():
            where = f"{path}/{name}".lstrip("/")
            if isinstance(node, Directory):
                parts.append([[(where, None), *below] for below in _trees(node, where)])
            else:
                files.setdefault(node, []).append(where)
        for file, paths in files.items():  # two names of one file have one content
            parts.append([[(where, content) for where in paths] for content in file.variants()])
        for chosen in product(*parts):
            yield [entry for part in chosen for entry in part]


def _apply(names: dict[str, Node], change: Mapping[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _zeros(piece: bytes) -> bytes:
    return bytes(len(piece))


def distinct(images: Iterable[Image]) -> list[Image]:
    """Return the images without those that come twice."""
    return list({tuple(sorted(image.items(), key=lambda entry: entry[0])): image for image in images}.values())
