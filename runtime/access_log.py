"""Of each request one log line and one measurement: method, route, status, time.

Never a query string: it may carry a code or a state. Nor the path itself, where a route is known: it may be a link that
was meant for one person.
"""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activities.measures import Measures

NO_ROUTE = "none"
LONGEST_PATH = 100
log = structlog.get_logger("access")


def route_of(scope: Scope) -> str | None:
    """The template of the route that was taken, as `/oauth/visit/{session_id}`."""
    template: str | None = getattr(scope.get("route"), "path", None)
    return template


class AccessLog:
    """ASGI middleware; plain, since one that buffers bodies would cost the read path more than the read."""

    def __init__(self, app: ASGIApp, measures: Measures | None = None) -> None:
        self._app = app
        self._measures = measures or Measures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, remember)
        finally:
            seconds, route, method = time.perf_counter() - began, route_of(scope), scope["method"]
            self._measures.answered(method, route or NO_ROUTE, status, seconds)
            line = f"{method} {route or scope['path'][:LONGEST_PATH]}"
            log.info(line, status=status, ms=round(seconds * 1000, 1))
