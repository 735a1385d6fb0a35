"""Who is told of something in a machine, such as a line's new level."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

W = TypeVar("W", bound=Callable[..., Any])


class Watchers(Generic[W]):
    """The watchers of one thing. One may come or go while all are told: those there at the beginning are told."""

    __slots__ = ("_watchers",)

    def __init__(self) -> None:
        self._watchers: tuple[W, ...] = ()  # replaced, never changed

    def add(self, watcher: W) -> Callable[[], None]:
        """Add one, which may be there already; return how to undo it."""
        self._watchers = (*self._watchers, watcher)

        def remove() -> None:
            watchers = list(self._watchers)
            watchers.remove(watcher)
            self._watchers = tuple(watchers)

        return remove

    def __iter__(self) -> Iterator[W]:
        return iter(self._watchers)
