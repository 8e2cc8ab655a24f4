"""From which pages a browser may ask: CORS for the few paths an element uses, and for no origin but the builder's."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import ColumnElement
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import AnyCaller, Caller
from api.deps import ApiDeps, DepsOf
from api.problems import FORESEEN, respond
from domain.errors import Problem
from domain.redirects import origin_text
from vault.tables import ProviderConfig, SessionToken

OPENING = re.compile(r"/oauth/(installs|sessions)")
FOLLOWING = re.compile(r"/oauth/sessions/([^/]+)")
FILES = re.compile(r"/sdk/.+")
PATHS = {OPENING: "POST", FOLLOWING: "GET", FILES: "GET"}
REMEMBER = timedelta(seconds=5)
REMEMBERED = 1000
PREFLIGHT_SECONDS = "600"


@dataclass(frozen=True, slots=True)
class Naming:
    """Which session tokens allow the origin that they name: a token's power ends with it.

    One that is not used or expired may open a session; one that was used, follow that session; the files are public,
    and a page goes on showing its buttons.
    """

    unused: bool = False
    session_id: str = ""
    ever_used: bool = False

    def holds(self, now: datetime) -> ColumnElement[bool]:
        """The condition on tokens."""
        living = col(SessionToken.expires_at) > now
        if self.unused:
            return living & col(SessionToken.used_at).is_(None)
        if self.session_id:
            return living | (col(SessionToken.session_id) == self.session_id)
        return living | col(SessionToken.used_at).is_not(None) if self.ever_used else living


class KnownOrigins:
    """Origins that were found allowed, for a few seconds: a page that polls asks often. Refusals are looked up anew."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, Naming], datetime] = {}

    async def holds(self, deps: ApiDeps, origin: str, naming: Naming, workspace_id: str = "") -> bool:
        """Whether a workspace (any, if none is named) allows this origin."""
        now, key = deps.clock(), (origin, workspace_id, naming)
        if key in self._known and now - self._known[key] < REMEMBER:
            return True
        async with deps.db.reading() as tx:
            by_token = await _by_token(tx, origin, workspace_id, naming.holds(now))
            allowed = by_token or await _by_config(tx, origin, workspace_id)
        self._known.pop(key, None)
        if allowed:
            if len(self._known) >= REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[key] = now
        return allowed


async def _by_token(tx: AsyncSession, origin: str, workspace_id: str, good: ColumnElement[bool]) -> bool:
    query = select(SessionToken.id).where(
        SessionToken.opener_origin == origin,
        good,
        *([SessionToken.workspace_id == workspace_id] if workspace_id else []),
    )
    return (await tx.exec(query.limit(1))).first() is not None


async def _by_config(tx: AsyncSession, origin: str, workspace_id: str) -> bool:
    query = select(ProviderConfig.oauth_redirect_url, ProviderConfig.allowed_redirect_urls).where(
        col(ProviderConfig.enabled).is_(True),
        col(ProviderConfig.deleted_at).is_(None),
        *([ProviderConfig.workspace_id == workspace_id] if workspace_id else []),
    )
    return any(origin in map(origin_text, [ours, *(listed or ())]) for ours, listed in await tx.exec(query))


async def page_origin(request: Request, caller: AnyCaller, deps: DepsOf) -> str:
    """The origin of the page that asks; empty for a backend. One that the builder did not allow is refused."""
    origin = request.headers.get("origin", "")
    if caller.role == "secret" or not origin:
        return ""
    if not await _may_ask(request, caller, deps, origin):
        raise Problem("origin_not_allowed", "This key may not be used from a page of that origin.")
    return origin


PageOrigin = Annotated[str, Depends(page_origin)]


async def _may_ask(request: Request, caller: Caller, deps: ApiDeps, origin: str) -> bool:
    if caller.token and caller.token.opener_origin:
        return origin == caller.token.opener_origin
    known: KnownOrigins = request.app.state.origins
    return await known.holds(deps, origin, Naming(unused=True), caller.workspace_id)


class Cors:
    """Lets pages of allowed origins read the answers (Fetch standard, CORS protocol); no cookies, no other paths."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = _method_of(scope["path"]) if scope["type"] == "http" else None
        if method is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        allowed = await self._allowed(request)

        async def marking(message: Message) -> None:
            if message["type"] == "http.response.start":
                _mark(MutableHeaders(scope=message), allowed)
            await send(message)

        asked = request.headers.get("access-control-request-method")
        if request.method == "OPTIONS" and asked is not None:
            await _preflight(request, allowed, method)(scope, receive, marking)
        else:
            await self._app(scope, receive, marking)

    async def _allowed(self, request: Request) -> str:
        """The origin that asks, if it may; else nothing."""
        origin = request.headers.get("origin", "")
        if not origin or origin_text(origin) != origin:
            return ""
        known: KnownOrigins = request.app.state.origins
        try:
            return origin if await known.holds(request.app.state.deps, origin, _naming(request)) else ""
        except FORESEEN:
            return ""  # the vault is away; what was asked for says so itself


def _naming(request: Request) -> Naming:
    """A preflight carries no token; the session's id stands in the path."""
    followed = FOLLOWING.fullmatch(request.url.path)
    if followed:
        return Naming(session_id=followed[1])
    return Naming(ever_used=FILES.fullmatch(request.url.path) is not None)


def _method_of(path: str) -> str | None:
    return next((method for pattern, method in PATHS.items() if pattern.fullmatch(path)), None)


def _mark(headers: MutableHeaders, allowed: str) -> None:
    headers.add_vary_header("Origin")
    if allowed:
        headers["access-control-allow-origin"] = allowed


def _preflight(request: Request, allowed: str, method: str) -> Response:
    if not allowed:
        return respond(request, Problem("origin_not_allowed", "No page of that origin may ask here."))
    headers = {
        "access-control-allow-methods": method,
        "access-control-allow-headers": "authorization, content-type",
        "access-control-max-age": PREFLIGHT_SECONDS,
    }
    return Response(status_code=204, headers=headers)
