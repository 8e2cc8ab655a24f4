"""Traces, sent over OTLP where OpenTelemetry's own variables say so, as they do for every other program."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode, Tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from activities.causes import REQUEST_ID, TRACE, UNTRACED, Cause, moment, span
from runtime.access_log import NO_ROUTE, route_of
from runtime.errors import SettingsError
from workflows.causes import Mark

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
# A collector that is away must not hold up the end of a process.
FLUSH_SECONDS = 3
FAILED = 500


@asynccontextmanager
async def open_tracing(process: str) -> AsyncIterator[Tracer]:
    """The tracer of this process; what it has not sent at the end is sent then, for a few seconds at most."""
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "") == "true":
        yield UNTRACED
        return
    _check_protocol()
    provider = _provider(process)
    try:
        yield provider.get_tracer("authpipe", metadata.version("authpipe-server"))
    finally:
        # A thread of its own, which nobody waits for: the loop would, for its own threads, however long it takes.
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, FLUSH_SECONDS)


def _check_protocol() -> None:
    for name in PROTOCOLS:
        if os.environ.get(name, PROTOCOL) != PROTOCOL:
            raise SettingsError(f"{name}: traces are sent by {PROTOCOL} alone; set that, or leave it out")


def _provider(process: str) -> Any:
    # Imported here: nobody who sends no traces pays for it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: f"authpipe-{process}"}
    # At the end we flush by ourselves; its own hook would wait without a bound.
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def mark_with(tracer: Tracer) -> Mark:
    """Puts down what workflows hear."""

    def mark(name: str, cause: Cause, at: int, workflow_id: str) -> Cause:
        return moment(tracer, name, cause, at, {"workflow_id": workflow_id})

    return mark


class TracedRequests:
    """ASGI middleware: a span around each request, in the trace of who asks. No path, query or header is in it."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        cause = {TRACE: Headers(scope=scope).get(TRACE, "")}
        with span(self._tracer, method, SpanKind.SERVER, {"http.request.method": method}, cause) as told:

            async def noting(message: Message) -> None:
                if message["type"] == "http.response.start":
                    told.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= FAILED:
                        told.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, noting)
            route = route_of(scope) or NO_ROUTE
            told.set_attributes({"http.route": route, REQUEST_ID: scope.get(REQUEST_ID, "")})
            told.update_name(f"{method} {route}")
