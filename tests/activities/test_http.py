"""The driver tells apart whether a provider can have acted on a request."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from activities import http
from activities.http import ProviderHttp
from domain.http import Flow, HttpRequest, HttpResponse
from domain.oauth.failures import Failure, FailureCode, FailureKind

SOON = timedelta(seconds=1)


@pytest.fixture
async def provider() -> AsyncIterator[ProviderHttp]:
    opened = ProviderHttp.open()
    yield opened
    await opened.close()


def get(url: str) -> Flow[HttpResponse]:
    return (yield HttpRequest("GET", url, {}))


async def silent_server() -> tuple[asyncio.Server, int]:
    """Accepts connections, listens to the end, and never says a word."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_a_handshake_that_never_ends_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.2)
    impatient = ProviderHttp.open()
    server, port = await silent_server()
    async with server:
        answer = await impatient.drive(get(f"https://127.0.0.1:{port}/"), timedelta(seconds=20))
    await impatient.close()
    assert answer == Failure(FailureKind.MOMENT, FailureCode.UNREACHABLE)


async def test_a_request_without_an_answer_is_in_doubt(provider: ProviderHttp) -> None:
    server, port = await silent_server()
    async with server:
        answer = await provider.drive(get(f"http://127.0.0.1:{port}/"), SOON / 4)
    assert answer == Failure(FailureKind.MOMENT, FailureCode.NO_ANSWER, in_doubt=True)


async def test_a_port_nobody_listens_on_was_never_sent(provider: ProviderHttp) -> None:
    server, port = await silent_server()
    server.close()
    await server.wait_closed()
    answer = await provider.drive(get(f"http://127.0.0.1:{port}/"), SOON)
    assert answer == Failure(FailureKind.MOMENT, FailureCode.UNREACHABLE)


async def test_an_endless_answer_is_cut(provider: ProviderHttp) -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        answer = await provider.drive(get(f"http://127.0.0.1:{port}/"), SOON * 20)
    assert answer == Failure(FailureKind.MOMENT, FailureCode.ANSWER_TOO_LARGE, in_doubt=True)
