"""The way to a builder's own URL, which is not to be trusted: it may name our network, never answer, or never end.

The addresses of the host are looked up and checked anew for every request, and the connection goes to one of those
that were checked, so that a name cannot change its meaning in between. No redirect is followed, no proxy asked, no body
read.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import httpcore
import httpx

from domain.addresses import Address, Network, is_public, is_within, plain

MAX_URL = 2048
WITHIN_SECONDS = 15.0
CONNECT_SECONDS = 5.0
# Names are looked up in threads of our own: a name server that hangs must hold up nobody who calls a provider.
LOOKUPS_AT_ONCE = 4
PORTS = {"https": 443, "http": 80}

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


class UrlRefused(Exception):
    """The URL may not be called; the message continues "The URL" and holds nothing of the URL itself."""


class Unanswered(Exception):
    """No status came; `code` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Outgoing:
    """Posts to URLs of builders. `networks` are private ones that are allowed, with plain http too."""

    def __init__(
        self,
        networks: Sequence[Network] = (),
        lookup: Lookup | None = None,
        trusted: ssl.SSLContext | None = None,
    ) -> None:
        self._networks = tuple(networks)
        self._lookup = lookup or self._resolve
        self._trusted = trusted

    async def check(self, url: str) -> None:
        """Whether this URL may be called, as its name stands now. Raises `UrlRefused`."""
        parsed = parse(url)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._addresses(parsed)
        except (OSError, UnicodeError, TimeoutError):
            raise UrlRefused("names a host that cannot be found") from None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send once; answers the status, and hangs up before the body. Raises `Unanswered`."""
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                return await self._post(parse(url), headers, body)
        except UrlRefused:
            raise Unanswered("address_refused") from None
        except (TimeoutError, httpcore.TimeoutException):
            raise Unanswered("no_answer_in_time") from None
        except (httpcore.NetworkError, OSError, UnicodeError):
            raise Unanswered("unreachable") from None
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol):
            raise Unanswered("answer_unreadable") from None

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> int:
        backend = _Pinned(await self._addresses(url))
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        trusted = self._trusting if url.scheme == "https" else None
        async with (
            httpcore.AsyncConnectionPool(trusted, max_connections=1, network_backend=backend) as connection,
            connection.stream("POST", target, headers=list(headers.items()), content=body) as response,
        ):
            return response.status

    async def _addresses(self, url: httpx.URL) -> list[Address]:
        """Those of the host, all of which must be allowed. Raises `UrlRefused`, or OSError if there are none."""
        host, port = url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
        found = [plain(text) for text in await self._lookup(host, port)]
        if not found:
            raise OSError("a name without addresses")
        elsewhere = [address for address in found if not is_within(address, self._networks)]
        if not all(is_public(address) for address in elsewhere):
            raise UrlRefused("leads to an address that is not public")
        if elsewhere and url.scheme != "https":
            raise UrlRefused("has to begin with https://")
        return found

    async def _resolve(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(answer))

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="webhook-lookup")

    @cached_property
    def _trusting(self) -> ssl.SSLContext:
        return self._trusted or httpx.create_ssl_context(trust_env=False)


def parse(url: str) -> httpx.URL:
    """The URL, by the parser that its request is made with. Raises `UrlRefused` where its form is wrong."""
    if len(url) > MAX_URL:
        raise UrlRefused(f"is longer than {MAX_URL} characters")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError):
        raise UrlRefused("is no URL") from None
    if parsed.scheme not in PORTS or not parsed.raw_host:
        raise UrlRefused("has to begin with https:// and a host")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise UrlRefused("names a port that cannot be")
    if parsed.userinfo:
        raise UrlRefused("must not hold a user or a password")
    if parsed.fragment:
        raise UrlRefused("must not hold a fragment")
    return parsed


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to the given addresses, whatever the host is called; its certificate must still show the name."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = list(addresses)
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(CONNECT_SECONDS):
            for address in self._addresses[:-1]:
                try:
                    return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
                except httpcore.ConnectError:
                    continue
            last = str(self._addresses[-1])
            return await self._inner.connect_tcp(last, port, timeout, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
