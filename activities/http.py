"""The one driver of provider conversations: it sends what a flow yields, bounded in time and size."""

import asyncio
import zlib
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # the stubs lack it

import httpx
from opentelemetry.trace import SpanKind, Tracer

from activities.causes import UNTRACED, span
from domain.http import Flow, HttpRequest, HttpResponse
from domain.oauth.failures import Failure, FailureCode, FailureKind

T = TypeVar("T")

MAX_BODY = 1024 * 1024
"""Bytes of a body, before and after decoding."""
CONNECT_SECONDS = 5
# Shorter than servers keep an idle connection: one that is closed as we send would leave the attempt in doubt.
IDLE_SECONDS = 1
PORTS = {"http": 80, "https": 443}
# A server that compressed unasked is met in `_inflated`, where it is counted.
HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "authpipe"}
# Errors that come before the first byte leaves: the provider cannot have acted on the request.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol, httpx.ProxyError)


class _TooLarge(Exception):
    pass


class WayOut(httpx.AsyncBaseTransport):
    """Pooled connections of one process: straight to the provider, or by a proxy.

    `proxies` are those for `https`, `http` and `all`, and the hosts for which there is `no`, as the environment names
    them for other programs (`urllib.request.getproxies_environment`). Raises `ValueError` if one cannot be used.
    """

    def __init__(self, proxies: Mapping[str, str]) -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=IDLE_SECONDS)
        self._straight = httpx.AsyncHTTPTransport(limits=limits)
        self._named = dict(proxies)
        by_scheme = {scheme: proxies.get(scheme) or proxies.get("all") for scheme in PORTS}
        self._by_proxy = {scheme: _by_way_of(url, limits) for scheme, url in by_scheme.items() if url}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        by_proxy = self._by_proxy.get(url.scheme)
        if by_proxy is None or proxy_bypass_environment(f"{url.host}:{url.port or PORTS[url.scheme]}", self._named):
            return await self._straight.handle_async_request(request)
        return await by_proxy.handle_async_request(request)

    async def aclose(self) -> None:
        for transport in (self._straight, *self._by_proxy.values()):
            await transport.aclose()


def _by_way_of(url: str, limits: httpx.Limits) -> httpx.AsyncHTTPTransport:
    """Raises `ValueError`, which quotes nothing of the URL: it may hold a password."""
    try:
        return httpx.AsyncHTTPTransport(proxy=url if "://" in url else f"http://{url}", limits=limits)
    except (httpx.InvalidURL, ValueError, ImportError):
        raise ValueError("no proxy that can be used") from None


class ProviderHttp:
    """Sends requests as they are, past httpx's client: no redirects, no retries, and no cookies, which would travel
    from one tenant's call to the next. What that client does beside takes half as long again as a call.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, tracer: Tracer = UNTRACED) -> None:
        self._transport = transport
        self._tracer = tracer

    @classmethod
    def open(cls, tracer: Tracer = UNTRACED, *, proxies: Mapping[str, str] | None = None) -> "ProviderHttp":
        """For one worker process. Raises `ValueError` if a proxy cannot be used."""
        return cls(WayOut(proxies or {}), tracer)

    async def close(self) -> None:
        await self._transport.aclose()

    async def drive(self, flow: Flow[T], within: timedelta) -> T | Failure:
        """Run a flow to its end. A call that yields no answer in time is the moment's failure, told apart by whether
        the provider may have acted on it.
        """
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self._converse(flow)
        except NEVER_SENT:
            return Failure(FailureKind.MOMENT, FailureCode.UNREACHABLE)
        except _TooLarge:
            return Failure(FailureKind.MOMENT, FailureCode.ANSWER_TOO_LARGE, in_doubt=True)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
            return Failure(FailureKind.MOMENT, FailureCode.NO_ANSWER, in_doubt=True)
        finally:
            flow.close()

    async def _converse(self, flow: Flow[T]) -> T:
        try:
            request = next(flow)
            while True:
                request = flow.send(await self._send(request))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _send(self, request: HttpRequest) -> HttpResponse:
        # The whole conversation is bounded in `drive`; connecting is bounded apart, for then nothing was sent.
        bounds = {"timeout": {"connect": CONNECT_SECONDS, "pool": CONNECT_SECONDS}}
        headers = {**HEADERS, **request.headers}
        built = httpx.Request(request.method, request.url, headers=headers, content=request.body, extensions=bounds)
        # Of the address the host alone: a path may name an account, a query a code.
        whom = {"http.request.method": built.method, "server.address": built.url.host}
        with span(self._tracer, f"{built.method} {built.url.host}", SpanKind.CLIENT, whom) as told:
            response = await self._transport.handle_async_request(built)
            told.set_attribute("http.response.status_code", response.status_code)
            try:
                return HttpResponse(response.status_code, dict(response.headers), await _bounded(response))
            finally:
                await response.aclose()


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            raise _TooLarge
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return _inflated(bytes(body)) if encoding in ("gzip", "x-gzip", "deflate") else bytes(body)


def _inflated(body: bytes) -> bytes:
    """What a server compressed unasked, since a rotated token may be in it; what is not compressed stays as it is."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out by itself whether it is gzip or zlib
    try:
        inflated = decoder.decompress(body, MAX_BODY + 1)
    except zlib.error:
        return body
    if len(inflated) > MAX_BODY:
        raise _TooLarge
    return inflated if decoder.eof else body
