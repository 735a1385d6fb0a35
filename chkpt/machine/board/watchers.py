"""The functions that are called when something changes in a machine, such as a line's level."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

W = TypeVar("W", bound=Callable[..., Any])


class Watchers(Generic[W]):
    """The watchers of one thing. An iteration calls those of its beginning, whatever comes or goes meanwhile."""

    __slots__ = ("_watchers",)

    def __init__(self) -> None:
        self._watchers: tuple[W, ...] = ()  # replaced, never changed

    def add(self, watcher: W) -> Callable[[], None]:
        """Add one, which may be there already; return a function that removes it."""
        self._watchers = (*self._watchers, watcher)

        def remove() -> None:
            watchers = list(self._watchers)
            watchers.remove(watcher)
            self._watchers = tuple(watchers)

        return remove

    def __iter__(self) -> Iterator[W]:
        return iter(self._watchers)
