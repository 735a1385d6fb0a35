"""The machine's service as a web application: routes, bodies, errors. `chkpt.service.running` does the work."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from starlette.applications import Starlette  # noqa: TID253  only `chkpt run` imports this module
from starlette.exceptions import HTTPException  # noqa: TID253  the same
from starlette.requests import ClientDisconnect, Request  # noqa: TID253  the same
from starlette.responses import Response  # noqa: TID253  the same
from starlette.routing import Route  # noqa: TID253  the same

from chkpt.errors import ChkptError, NoMachineError, NotFoundError, UsageError
from chkpt.service.messages import StopReply, error_reply
from chkpt.service.requests import MAX_BODY, EmptyRequest, LoadRequest, MediaRequest, SaveRequest, StepRequest, parse
from chkpt.service.running import RunningMachine

log = logging.getLogger("chkpt.service")

R = TypeVar("R")

Answer = Callable[[Request], Awaitable[object]]


class TooLongError(Exception):
    """The body is longer than `MAX_BODY`."""


def application(machine: RunningMachine, stop: Callable[[], None]) -> Starlette:
    """Return the application that serves `machine`; `stop` ends the service soon, once this answer has been sent."""

    async def info(_: Request) -> object:
        return await asyncio.wrap_future(machine.info())

    async def devices(_: Request) -> object:
        return await asyncio.wrap_future(machine.devices())

    async def media(_: Request) -> object:
        return await asyncio.wrap_future(machine.media())

    async def change_medium(request: Request) -> object:
        return await asyncio.to_thread(machine.change_medium, await _body(request, MediaRequest))

    async def save(request: Request) -> object:
        return await asyncio.to_thread(machine.save, await _body(request, SaveRequest))

    async def load(request: Request) -> object:
        return await asyncio.to_thread(machine.load, await _body(request, LoadRequest))

    async def pause(request: Request) -> object:
        await _body(request, EmptyRequest)
        return await asyncio.wrap_future(machine.pause())

    async def resume(request: Request) -> object:
        await _body(request, EmptyRequest)
        return await asyncio.wrap_future(machine.resume())

    async def step(request: Request) -> object:
        return await asyncio.wrap_future(machine.step(await _body(request, StepRequest)))

    async def reset(request: Request) -> object:
        await _body(request, EmptyRequest)
        return await asyncio.wrap_future(machine.reset())

    async def end(request: Request) -> object:
        await _body(request, EmptyRequest)
        log.info("machine %s: told to stop", machine.name)
        stop()
        return StopReply()

    return Starlette(
        routes=[
            _route("GET", "/v1/machine", info),
            _route("GET", "/v1/devices", devices),
            _route("GET", "/v1/media", media),
            _route("POST", "/v1/media", change_medium),
            _route("POST", "/v1/save", save),
            _route("POST", "/v1/load", load),
            _route("POST", "/v1/pause", pause),
            _route("POST", "/v1/resume", resume),
            _route("POST", "/v1/step", step),
            _route("POST", "/v1/reset", reset),
            _route("POST", "/v1/stop", end),
        ],
        exception_handlers={HTTPException: _no_route},
    )


def _route(method: str, path: str, answer: Answer) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            return _json(await answer(request), 200)
        except ChkptError as exc:
            return _error(exc)
        except TooLongError:
            return _error(UsageError(f"the body is longer than {MAX_BODY} bytes"), 413)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        except asyncio.CancelledError:  # by the service, which has waited for it
            return _error(NoMachineError("the machine is ending"))
        except Exception as exc:
            log.exception("%s %s failed", method, path)
            return _error(ChkptError(f"the machine's service failed ({exc!r}); its log says more"))

    return Route(path, endpoint, methods=[method])


async def _body(request: Request, kind: type[R]) -> R:
    """Read and check the body. Raise UsageError, TooLongError."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise TooLongError
    return parse(bytes(body), kind)


async def _no_route(request: Request, exc: Exception) -> Response:
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        return _error(UsageError(f"{request.url.path} does not know {request.method}"), 405, exc.headers)
    return _error(NotFoundError(f"there is nothing at {request.url.path}"))


def _error(exc: ChkptError, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    reply, usual = error_reply(exc)
    return _json(reply, usual if status is None else status, headers)


def _json(value: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    # Plain ASCII: a path on this host may have bytes that are no UTF-8, and must still come through.
    return Response(json.dumps(value), status, headers, media_type="application/json")
