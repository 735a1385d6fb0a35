"""How long and how much a client of the service may take: the limits of one connection, and of all of them.

Whoever may connect at all may also end the machine; what these limits keep out is a client that is broken, stopped or
slow, and would otherwise hold a descriptor, memory or the machine's end for ever.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, cast

import h11
from starlette.types import Receive, Scope, Send  # noqa: TID253  the same
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: TID253  the same

from chkpt.errors import ChkptError, UsageError
from chkpt.service.api.messages import error_reply

log = logging.getLogger("chkpt.service")

MAX_CONNECTIONS: Final = 128
"""Connections whose requests are done; a further one is told to come again, and twice as many are not even told."""

MAX_HEAD: Final = 1 << 14
"""Bytes of a request's line and headers that may wait for the rest of them."""

KEEP_ALIVE_SECONDS: Final = 5
"""How long a connection may stay without another request."""


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "a request's line and headers"
    BODY = "the rest of a request"
    TAKING = "a client that takes its answers"
    NOTHING = "the machine, or nobody"


SECONDS: Final = {Phase.HEAD: 10, Phase.BODY: 30, Phase.TAKING: 30}
"""How long a client may take for each. The machine may take any time."""


class Connection(H11Protocol):
    """One client's connection. A `Listener` has looked at who it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        """Begin, or refuse to."""
        self._phase = Phase.NOTHING
        self._timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        count = len(self.connections)
        if count > 2 * MAX_CONNECTIONS:
            log.warning("%d clients are connected: one more is turned away", count - 1)
            transport.abort()
            return
        if count > MAX_CONNECTIONS:
            self.app = cast("Callable[..., Awaitable[None]]", _busy)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._wait(Phase.NOTHING)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and look what the client owes now."""
        super().data_received(data)
        self._look()

    def eof_received(self) -> bool:  # type: ignore[override]  # as in asyncio.Protocol
        """Answer a client that has ended its side, if its request is whole. Return whether to keep the connection."""
        if self._phase is not Phase.NOTHING or self.transport.is_closing():
            return False
        self.cycle.keep_alive = False
        return not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._look()

    def send_400_response(self, _: str) -> None:
        """Answer what is no HTTP, in JSON like anything else: a head, or a chunk of a body whose head was good."""
        if self.cycle is not None:  # there is no answer to that request but this one
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        exc = UsageError(f"the request is not HTTP/1.1, or its head is longer than {MAX_HEAD} bytes")
        headers, body = _told(exc)
        try:
            for event in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer to what came before it is on its way
            self.transport.abort()
            return
        self.transport.close()
        self._look()

    def shutdown(self) -> None:
        """End soon: after the answer to a request that is whole, at once where it is not."""
        if self._phase is Phase.NOTHING:
            super().shutdown()
        else:
            self.transport.abort()

    # -- time ---------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Give the client its time for what it owes now."""
        phase = self._owes()
        if phase is not self._phase:
            self._wait(phase)

    def _owes(self) -> Phase:
        if self.transport.get_write_buffer_size():
            return Phase.TAKING
        if self.transport.is_closing():
            return Phase.NOTHING
        return {h11.IDLE: Phase.HEAD, h11.SEND_BODY: Phase.BODY}.get(self.conn.their_state, Phase.NOTHING)

    def _wait(self, phase: Phase) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._phase = phase
        seconds = SECONDS.get(phase)
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._over, phase)

    def _over(self, phase: Phase) -> None:
        self._timer = None
        if self._owes() is not phase:  # nobody tells when the last byte is taken
            self._look()
            return
        log.info("a connection waited %s s for %s: closed", SECONDS[phase], phase.value)
        self.transport.abort()


async def _busy(_: Scope, __: Receive, send: Send) -> None:
    exc = ChkptError(f"{MAX_CONNECTIONS} clients are connected already; try again later")
    headers, body = _told(exc)
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _told(exc: ChkptError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of the answer that tells of an error and ends the connection."""
    body = json.dumps(error_reply(exc)[0]).encode()
    length = str(len(body)).encode()
    return [
        (b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close"),
    ], body  # fmt: skip


def quiet(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log in one line what the event loop could not do for a client. An exception handler of asyncio."""
    log.warning("%s: %s", context.get("message"), context.get("exception"))
