"""Serving over HTTP: connections that can be cut, and an access log without query strings."""

import logging
import sys
import time

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simulator.faults import DROP

log = logging.getLogger("simulator")


class CuttableProtocol(HttpToolsProtocol):
    """Gives the application a way to close the connection without a response: an ASGI extension."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {DROP: {"close": self.transport.close}}


class AccessLog:
    """One line per request. The query is left out: it may hold codes and states."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer, started = "no answer", time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal answer
            if message["type"] == "http.response.start":
                answer = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            took = (time.perf_counter() - started) * 1000
            log.info("%s %s %s %.0f ms", scope["method"], scope["path"], answer, took)


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve until interrupted or terminated."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    log.info("provider simulator: http://%s:%d", host, port)
    uvicorn.run(
        AccessLog(app),
        host=host,
        port=port,
        http=CuttableProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,  # a delay asked for as a fault does not hold up the end
    )
