"""The driver tells apart whether a provider can have acted on a request."""

import asyncio
import gzip
import traceback
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.request import getproxies

import pytest

from activities import http
from activities.http import MAX_BODY, ProviderHttp
from domain.http import Flow, HttpRequest, HttpResponse
from domain.oauth.failures import Failure, FailureCode, FailureKind
from runtime.ports import free_ports

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


async def said(provider: ProviderHttp, body: bytes, encoding: str) -> tuple[HttpResponse | Failure, bytes]:
    """What the driver makes of one answer, and the head of the request it sent."""
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Encoding: {encoding}\r\n\r\n"
        writer.write(head.encode() + body)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        found = await provider.drive(get(f"http://127.0.0.1:{port}/"), SOON * 20)
    return found, heads[0]


async def test_no_compression_is_asked_for(provider: ProviderHttp) -> None:
    _, head = await said(provider, b"", "identity")
    assert b"accept-encoding: identity\r\n" in head.lower()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_what_is_compressed_all_the_same_is_read(provider: ProviderHttp, encoding: str) -> None:
    answer, _ = await said(provider, gzip.compress(b"words" * 100, mtime=0), encoding)
    assert isinstance(answer, HttpResponse)
    assert answer.body == b"words" * 100


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"plain", "gzip"),
        (gzip.compress(b"words" * 100, mtime=0)[:-1], "gzip"),
        (gzip.compress(b"words", mtime=0), "br"),
        (gzip.compress(gzip.compress(b"words", mtime=0), mtime=0), "gzip, gzip"),
        (b"", "gzip"),
    ],
)
async def test_what_cannot_be_inflated_is_handed_on_as_it_came(
    provider: ProviderHttp, body: bytes, encoding: str
) -> None:
    answer, _ = await said(provider, body, encoding)
    assert isinstance(answer, HttpResponse)
    assert answer.body == body


@pytest.mark.parametrize(("times", "encoding"), [(1, "gzip"), (2, "gzip"), (2, "gzip, gzip")])
async def test_a_compressed_bomb_takes_no_more_memory_than_a_plain_answer(
    provider: ProviderHttp, times: int, encoding: str
) -> None:
    bomb = b" " * 64 * MAX_BODY
    for _ in range(times):
        bomb = gzip.compress(bomb, mtime=0)
    tracemalloc.start()
    try:
        await said(provider, bomb, encoding)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MAX_BODY


async def test_a_body_of_the_full_measure_is_read_whole(provider: ProviderHttp) -> None:
    whole = b"x" * MAX_BODY
    for body, encoding in ((whole, "identity"), (gzip.compress(whole, mtime=0), "gzip")):
        answer, _ = await said(provider, body, encoding)
        assert isinstance(answer, HttpResponse)
        assert answer.body == whole
    for body, encoding in ((whole + b"x", "identity"), (gzip.compress(whole + b"x", mtime=0), "gzip")):
        answer, _ = await said(provider, body, encoding)
        assert answer == Failure(FailureKind.MOMENT, FailureCode.ANSWER_TOO_LARGE, in_doubt=True)


async def asked_for(at_port: int, url: str) -> bytes:
    """The first line of what a server on that port is asked when `url` is called."""
    lines = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    provider = ProviderHttp.open(proxies=getproxies())
    async with await asyncio.start_server(answer, "127.0.0.1", at_port):
        await provider.drive(get(url), SOON * 20)
    await provider.close()
    return lines[0]


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_the_proxy_that_the_environment_names_is_asked(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    (port,) = free_ports(1)
    monkeypatch.setenv(name, f"{scheme}127.0.0.1:{port}")
    line = await asked_for(port, "http://provider.invalid/token?x=1")
    assert line == b"GET http://provider.invalid/token?x=1 HTTP/1.1\r\n"


@pytest.mark.parametrize("left_out", ["127.0.0.1", "127.0.0.1:{port}", "*"])
async def test_a_host_that_the_environment_leaves_out_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    proxy, port = free_ports(2)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
    monkeypatch.setenv("no_proxy", left_out.format(port=port))
    assert await asked_for(port, f"http://127.0.0.1:{port}/token") == b"GET /token HTTP/1.1\r\n"


@pytest.mark.parametrize("url", ["http://user:s3cret/x@proxy:3128", "socks5://s3cret:1", "s3cret://proxy:3128"])
def test_a_proxy_that_cannot_be_used_is_refused_without_a_word_of_its_url(url: str) -> None:
    with pytest.raises(ValueError, match="no proxy") as refused:
        ProviderHttp.open(proxies={"https": url})
    assert "s3cret" not in "".join(traceback.format_exception(refused.value))


async def test_no_cookie_goes_from_one_call_to_the_next_and_no_redirect_is_followed(provider: ProviderHttp) -> None:
    heads = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /else\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        answers = [await provider.drive(get(f"http://127.0.0.1:{port}/first"), SOON * 20) for _ in range(2)]
    assert [answer.status for answer in answers if isinstance(answer, HttpResponse)] == [302, 302]
    assert [head.startswith(b"GET /first ") and b"cookie" not in head.lower() for head in heads] == [True, True]
