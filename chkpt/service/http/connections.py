"""How much time and memory a client of the service may take: the limits of one connection, and of all of them.

Every client that can connect may also end the machine. These limits are for a client that is broken, stopped or slow:
without them it would hold a descriptor, memory or the machine's end for ever.
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
"""Connections that are served. As many more are answered with status 503; further ones are closed at once."""

MAX_HEAD: Final = 1 << 14
"""Bytes of a request's line and headers that may wait for the rest of them."""

KEEP_ALIVE_SECONDS: Final = 5
"""How long a connection may stay without another request."""


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "a request's line and headers"
    BODY = "the rest of a request"
    TAKING = "a client that takes its answers"
    NOTHING = "the machine, or nothing"


SECONDS: Final = {Phase.HEAD: 10, Phase.BODY: 30, Phase.TAKING: 30}
"""How long a client may take for each. The machine may take any time."""


class Connection(H11Protocol):
    """One client's connection. A `Listener` has checked which user it is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        """Begin, or turn the client away."""
        self._phase = Phase.NOTHING
        self._timer: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        count = len(self.connections)
        if count > 2 * MAX_CONNECTIONS:
            log.warning("%d clients are connected: one more is turned away", count - 1)
            transport.abort()
            return
        if count > MAX_CONNECTIONS:
            self.app = cast("Callable[..., Awaitable[None]]", _refuse_busy)
        self._update_phase()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._start_phase(Phase.NOTHING)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        super().data_received(data)
        self._update_phase()

    def eof_received(self) -> bool:  # type: ignore[override]  # as in asyncio.Protocol
        """Answer a client that has ended its side, if its request is whole. Return whether the connection stays."""
        if self._phase is not Phase.NOTHING or self.transport.is_closing():
            return False
        self.cycle.keep_alive = False
        return not self.cycle.response_complete

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._update_phase()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        super().pause_writing()
        self._update_phase()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._update_phase()

    def send_400_response(self, _: str) -> None:
        """Answer a head, or a chunk of a body, that is not HTTP. The answer is JSON, as for any error."""
        if self.cycle is not None:  # the request gets this answer and no other
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        exc = UsageError(f"the request is not HTTP/1.1, or its head is longer than {MAX_HEAD} bytes")
        headers, body = _make_answer(exc)
        try:
            for event in (
                h11.Response(status_code=400, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # the answer to an earlier request is not finished
            self.transport.abort()
            return
        self.transport.close()
        self._update_phase()

    def shutdown(self) -> None:
        """End after the answer if the request is whole, else at once."""
        if self._phase is Phase.NOTHING:
            super().shutdown()
        else:
            self.transport.abort()

    # -- time ---------------------------------------------------------------------------------------------------------

    def _update_phase(self) -> None:
        """Start the timer anew if the connection waits for something else now."""
        phase = self._find_phase()
        if phase is not self._phase:
            self._start_phase(phase)

    def _find_phase(self) -> Phase:
        if self.transport.get_write_buffer_size():
            return Phase.TAKING
        if self.transport.is_closing():
            return Phase.NOTHING
        return {h11.IDLE: Phase.HEAD, h11.SEND_BODY: Phase.BODY}.get(self.conn.their_state, Phase.NOTHING)

    def _start_phase(self, phase: Phase) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._phase = phase
        seconds = SECONDS.get(phase)
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._time_out, phase)

    def _time_out(self, phase: Phase) -> None:
        self._timer = None
        if self._find_phase() is not phase:  # the transport does not report when the last byte is taken
            self._update_phase()
            return
        log.info("a connection waited %s s for %s: closed", SECONDS[phase], phase.value)
        self.transport.abort()


async def _refuse_busy(_: Scope, __: Receive, send: Send) -> None:
    exc = ChkptError(f"{MAX_CONNECTIONS} clients are connected already; try again later")
    headers, body = _make_answer(exc)
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _make_answer(exc: ChkptError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return headers and body of the answer that reports an error and ends the connection."""
    body = json.dumps(error_reply(exc)[0]).encode()
    length = str(len(body)).encode()
    return [
        (b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close"),
    ], body  # fmt: skip


def log_failure(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log in one line what the event loop could not do for a client. An exception handler of asyncio."""
    log.warning("%s: %s", context.get("message"), context.get("exception"))
