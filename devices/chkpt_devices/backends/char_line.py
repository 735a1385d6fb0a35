"""What the character backends share: the frontend that they serve, and one descriptor to wait on."""

import os
import select
from collections.abc import Mapping
from contextlib import suppress

from chkpt.device import CharFrontend


class HostLine:
    """A line without wires for break and modem, which never blocks, delivers nothing and holds nothing."""

    def __init__(self) -> None:
        self._frontend: CharFrontend | None = None
        self._blocked = False  # the last write took too little: the frontend waits for `writable`

    def attach(self, frontend: CharFrontend, /) -> None:
        """Deliver what arrives to `frontend` from now on."""
        self._frontend = frontend

    def set_break(self, level: bool, /) -> None:
        """Do nothing: the host has no break on this line."""

    def set_modem(self, dtr: bool, rts: bool, /) -> None:
        """Do nothing: the host has no modem on this line."""

    def fileno(self) -> int | None:
        """Return None: nothing ever arrives."""
        return None

    def wants_write(self) -> bool:
        """Return False: `fileno` also becomes readable when there is room to write (see `Readiness`)."""
        return False

    def poll(self) -> None:
        """Do nothing: nothing can be moved."""

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def _room(self) -> int:
        """Return how many bytes may be read from the host now."""
        return 0 if self._frontend is None else self._frontend.room()

    def _unblock(self) -> None:
        """Let the frontend try again, if it waits."""
        if self._blocked and self._frontend is not None:
            self._blocked = False
            self._frontend.writable()


class Readiness:
    """One descriptor that is readable while any of several others has a wanted event.

    A backend must not read for a frontend without room, but may wait to write. A run loop that waited for input then
    would spin. So a backend gives the loop an epoll descriptor, which waits for exactly the wanted events. Other
    epolls, polls and selects take it like any other descriptor.
    """

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._always: int | None = None  # an eventfd that is readable
        self._wanted: dict[int, int] = {}
        self._files: set[int] = set()  # those of `_wanted` that are always ready: epoll refuses them

    def want(self, wanted: Mapping[int, int], *, now: bool = False) -> int | None:
        """Wait for these EPOLL events of these descriptors. Return the descriptor to wait on, or None for no events.

        With `now`, or for a regular file, return a descriptor that is readable already.
        """
        if wanted != self._wanted:
            self._register(wanted)
        if now or self._files:
            if self._always is None:
                self._always = os.eventfd(1)
            return self._always
        return self._epoll.fileno() if self._epoll is not None and wanted else None

    def acknowledge(self) -> None:
        """Consume the events of edge-triggered descriptors, which count as ready once."""
        if self._epoll is not None:
            self._epoll.poll(0)

    def forget(self, descriptor: int) -> None:
        """Stop waiting for a descriptor that is about to be closed."""
        self._register({each: events for each, events in self._wanted.items() if each != descriptor})

    def close(self) -> None:
        """Close the descriptors. A second call does nothing."""
        if self._epoll is not None:
            self._epoll.close()
        if self._always is not None:
            os.close(self._always)
        self._epoll = self._always = None
        self._wanted = {}
        self._files.clear()

    def _register(self, wanted: Mapping[int, int]) -> None:
        if self._epoll is None:
            self._epoll = select.epoll()
        for descriptor in self._wanted.keys() - wanted.keys():
            with suppress(OSError):  # a regular file was never registered
                self._epoll.unregister(descriptor)
        self._files.clear()
        for descriptor, events in wanted.items():
            try:
                if descriptor in self._wanted:
                    self._epoll.modify(descriptor, events)
                else:
                    self._epoll.register(descriptor, events)
            except PermissionError:
                self._files.add(descriptor)
        self._wanted = dict(wanted)


def is_ready(descriptor: int, event: int) -> bool:
    """Whether this POLL event, an error or a hang-up is there now, so that a read or write does not wait."""
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(0))
