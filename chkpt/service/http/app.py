"""The machine's service as a web application: routes, bodies, errors. `chkpt.service.control` does the work.

The routes are those of `chkpt.service.api.operations`. Their description is served at `/openapi.json`.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from starlette.applications import Starlette  # noqa: TID253  only `chkpt run` imports this module
from starlette.exceptions import HTTPException  # noqa: TID253  the same
from starlette.requests import ClientDisconnect, Request  # noqa: TID253  the same
from starlette.responses import Response  # noqa: TID253  the same
from starlette.routing import Route  # noqa: TID253  the same

from chkpt.errors import ChkptError, NoMachineError, NotFoundError, UsageError
from chkpt.service.api import openapi, operations
from chkpt.service.api.messages import StopReply, error_reply
from chkpt.service.api.operations import Operation
from chkpt.service.api.requests import MAX_BODY, EmptyRequest, read_request
from chkpt.service.control import RunningMachine

log = logging.getLogger("chkpt.service")

R = TypeVar("R")

Handler: TypeAlias = Callable[[Any], Awaitable[object]]
"""Carries out an operation: takes its request, of the class that it declares, and returns its answer."""


class TooLongError(Exception):
    """The body is longer than `MAX_BODY`."""


def application(machine: RunningMachine, stop: Callable[[], None]) -> Starlette:
    """Return the application that serves `machine`. `stop` ends the service once the answer to its request is sent."""

    async def end(_: EmptyRequest) -> object:
        log.info("machine %s was asked to stop", machine.name)
        stop()
        return StopReply()

    handlers: Mapping[Operation, Handler] = {
        operations.MACHINE: lambda _: asyncio.wrap_future(machine.info()),
        operations.DEVICES: lambda _: asyncio.wrap_future(machine.devices()),
        operations.MEDIA: lambda _: asyncio.wrap_future(machine.media()),
        operations.CHANGE_MEDIUM: lambda request: asyncio.to_thread(machine.change_medium, request),
        operations.SAVE: lambda request: asyncio.to_thread(machine.save, request),
        operations.LOAD: lambda request: asyncio.to_thread(machine.load, request),
        operations.PAUSE: lambda _: asyncio.wrap_future(machine.pause()),
        operations.RESUME: lambda _: asyncio.wrap_future(machine.resume()),
        operations.STEP: lambda request: asyncio.wrap_future(machine.step(request)),
        operations.RESET: lambda _: asyncio.wrap_future(machine.reset()),
        operations.STOP: end,
    }
    routes = [_make_route(operation, handlers[operation]) for operation in operations.OPERATIONS]
    return Starlette(
        routes=[*routes, Route(openapi.PATH, _describe, methods=["GET"])],
        exception_handlers={HTTPException: _refuse_route},
    )


def _make_route(operation: Operation, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            body: object = None if operation.request is None else await _read_body(request, operation.request)
            return _answer(await handler(body), 200)
        except ChkptError as exc:
            return _answer_error(exc)
        except TooLongError:
            return _answer_error(UsageError(f"the body is longer than {MAX_BODY} bytes"), 413)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone and reads no answer
        except asyncio.CancelledError:  # the service has waited, and cancels the request
            return _answer_error(NoMachineError("the machine is ending"))
        except Exception as exc:
            log.exception("%s %s failed", operation.method, operation.path)
            return _answer_error(ChkptError(f"the machine's service failed ({exc!r}); its log says more"))

    return Route(operation.path, endpoint, methods=[operation.method])


async def _describe(_: Request) -> Response:
    """Answer with the description of the API."""
    return Response(openapi.text(), media_type="application/json")


async def _read_body(request: Request, kind: type[R]) -> R:
    """Read and check the body. Raise UsageError, TooLongError."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise TooLongError
    return read_request(bytes(body), kind)


async def _refuse_route(request: Request, exc: Exception) -> Response:
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        return _answer_error(UsageError(f"{request.url.path} does not take {request.method}"), 405, exc.headers)
    return _answer_error(NotFoundError(f"there is nothing at {request.url.path}"))


def _answer_error(exc: ChkptError, status: int | None = None, headers: Mapping[str, str] | None = None) -> Response:
    reply, usual = error_reply(exc)
    return _answer(reply, usual if status is None else status, headers)


def _answer(value: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    # Plain ASCII: a path on this host may have bytes that are not UTF-8, and the client must get them, too.
    return Response(json.dumps(value), status, headers, media_type="application/json")
