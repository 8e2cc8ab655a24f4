"""One log line per request: method, path, status, time. Never a query string: it may carry a code or a state."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = structlog.get_logger("access")


class AccessLog:
    """ASGI middleware; plain, since one that buffers bodies would cost the read path more than the read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            milliseconds = round((time.perf_counter() - began) * 1000, 1)
            line = f"{scope['method']} {scope['path']}"
            log.info(line, status=status, ms=milliseconds)
