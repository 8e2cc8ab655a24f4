"""A read of a credential that is asked as most are goes past the framework's routing and resolving.

They cost more than the read itself. What is not well formed, or written in another way, takes the framework's way to
the same read, and is refused in its words.
"""

from typing import cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import bearer, secret_only
from api.credentials import HEADERS, GetCredentialParams, read_measured, router
from api.deps import ApiDeps

ROUTE = cast("APIRoute", router.routes[0])
JSON = "application/json"


class DirectReads:
    """ASGI middleware, the innermost: those before it bound bodies, name requests and answer errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != ROUTE.path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = ROUTE
        request = Request(scope, receive)
        body = await request.body()
        params = _params(request, body)
        if params is None:
            await self._app(scope, _again(body, receive), send)
            return
        await (await _read(request, params))(scope, receive, send)


def _params(request: Request, body: bytes) -> GetCredentialParams | None:
    """What is asked, or None if that is for the framework to find out."""
    if request.headers.get("content-type") != JSON or request.app.dependency_overrides:
        return None
    try:
        return GetCredentialParams.model_validate_json(body)
    except ValidationError:
        return None


async def _read(request: Request, params: GetCredentialParams) -> Response:
    deps: ApiDeps = request.app.state.deps
    caller = await secret_only(request, deps, await bearer(request))
    result = await read_measured(params, request, caller, deps)
    return Response(result.model_dump_json(exclude_none=True), headers=HEADERS, media_type=JSON)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read already, and then whatever comes."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay
