"""Faults on request, and the routes that obey them.

A fault names an endpoint and a kind, and holds for the next `times` calls (null: until cleared). The
first that matches a call takes it. Kinds:

* `status`: answer `status` (default 503) with `body` (an object becomes JSON) and `headers`;
* `html`: an HTML page instead of JSON, with `status` (200 unless given);
* `delay`: handle the call after `seconds`;
* `drop_before`: cut the connection, the call unhandled;
* `drop_after`: handle the call (a refresh token is rotated), then cut the connection without an answer;
* `missing_expires_in`, `missing_refresh_token`: handled, the field taken out of the answer;
* `truncated`: handled, the second half of the body cut off.

`after: true` on `status`, `html` and `delay` handles the call first, so that only its answer is spoilt or
late. `grant_type` restricts a fault at a token endpoint to that grant type, `client_id` to that app.

Under the server of `simulator.serving` a cut connection is really cut: the client sees it close with no
byte of response. In process, through httpx.ASGITransport, there is no connection to cut, so
DroppedConnectionError is raised out of the client's call instead.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, Literal, get_args

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from simulator.errors import RefusalError
from simulator.model import Fault
from simulator.wire import FORM, JSON, client_credentials, token_params
from simulator.world import World, world_of

Kind = Literal[
    "status",
    "html",
    "delay",
    "drop_before",
    "drop_after",
    "missing_expires_in",
    "missing_refresh_token",
    "truncated",
]
Endpoint = Literal[
    "authorize",
    "consent",
    "token",
    "accessible-resources",
    "me",
    "myself",
    "search",
    "plain.authorize",
    "plain.consent",
    "plain.token",
    "plain.revoke",
    "plain.introspect",
    "plain.whoami",
    "plain.metadata",
]
ENDPOINTS: tuple[str, ...] = get_args(Endpoint)
DROP = "simulator.drop"  # ASGI extension: {"close": a callable that closes the client's connection}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class DroppedConnectionError(ConnectionError):
    """In process, in place of a cut connection: the call got no answer."""


class _Dropped(Response):
    """No response at all: the connection is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        drop = scope.get("extensions", {}).get(DROP)
        if drop is None:
            raise DroppedConnectionError("The simulator cut the connection, as a fault asked for.")
        drop["close"]()
        while (await receive())["type"] != "http.disconnect":
            pass


class SavingRoute(APIRoute):
    """A route that turns refusals into responses and saves what a call changed before answering it."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response = await handler(request)
            except RefusalError as refusal:
                response = refusal.response
            if request.method != "GET":
                world_of(request).save()
            return response

        return handle


class FaultyRoute(SavingRoute):
    """A route of a provider: counted under its name, and spoilt where a fault asks for it."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            world = world_of(request)
            world.state.asked[self.name] = world.state.asked.get(self.name, 0) + 1
            fault = await _next_fault(world, self.name, request)
            return await (_spoilt(fault, handler, request) if fault else handler(request))

        return handle


async def _next_fault(world: World, endpoint: str, request: Request) -> Fault | None:
    candidates = [fault for fault in world.state.faults if fault.endpoint == endpoint]
    chosen = any(fault.grant_type or fault.client_id for fault in candidates)
    grant_type, client_id = await _who_asks(request) if chosen else (None, None)
    for fault in candidates:
        if fault.grant_type in {None, grant_type} and fault.client_id in {None, client_id}:
            _take(world, fault)
            return fault
    return None


async def _who_asks(request: Request) -> tuple[str | None, str | None]:
    """Grant type and client id of a token request."""
    try:
        params = await token_params(request, FORM, JSON)
        return params.get("grant_type"), client_credentials(request, params)[0]
    except RefusalError:
        return None, None


def _take(world: World, fault: Fault) -> None:
    if fault.times is not None:
        fault.times -= 1
        if fault.times <= 0:
            world.state.faults.remove(fault)


async def _spoilt(fault: Fault, handler: Handler, request: Request) -> Response:
    if fault.kind == "drop_before":
        await request.body()  # closing with input unread would reset the connection instead
        return _Dropped()
    if fault.kind == "delay" and not fault.after:
        await asyncio.sleep(fault.seconds)
        return await handler(request)
    if fault.kind in {"status", "html"} and not fault.after:
        return _replacement(fault)
    response = await handler(request)
    if fault.kind == "delay":
        await asyncio.sleep(fault.seconds)
        return response
    return _changed(fault, response)


def _changed(fault: Fault, response: Response) -> Response:
    """What goes out in place of the answer of a call that was handled."""
    if fault.kind == "drop_after":
        return _Dropped()
    if fault.kind == "truncated":
        half = bytes(response.body)[: len(response.body) // 2]
        return Response(half, response.status_code, media_type=JSON)
    if fault.kind.startswith("missing_"):
        return _without(fault.kind.removeprefix("missing_"), response)
    return _replacement(fault)


def _without(name: str, response: Response) -> Response:
    try:
        content = json.loads(bytes(response.body))
    except ValueError:
        return response
    if isinstance(content, dict):
        content.pop(name, None)
    return JSONResponse(content, response.status_code)


def _replacement(fault: Fault) -> Response:
    if fault.kind == "html":
        page = "<!doctype html><title>Sorry</title><p>Something went wrong."
        return HTMLResponse(page, fault.status or 200, fault.headers)
    status = fault.status or 503
    if isinstance(fault.body, str) or fault.body is None:
        return Response(fault.body, status, fault.headers)
    return JSONResponse(fault.body, status, fault.headers)
