"""A reader over HTTP that costs little itself: keep-alive connections that ask again as soon as they are answered."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Answered:
    """How a load went: requests a second, and the seconds that each took."""

    per_second: float
    seconds: Sequence[float] = field(repr=False)

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the requests was answered."""
        return 1000 * sorted(self.seconds)[min(int(len(self.seconds) * share), len(self.seconds) - 1)]


def post(path: str, body: dict[str, Any], **headers: str) -> bytes:
    """A whole request, made once and sent often."""
    content = json.dumps(body).encode()
    told = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(content)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content


class _Reader(asyncio.Protocol):
    """One connection. Any answer but 200 ends the load."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None], took: list[float]) -> None:
        self._requests = requests
        self._done = done
        self._took = took
        self._held = b""
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, rest = self._held.partition(END_OF_HEAD)
        if not end:
            return
        at = head.index(LENGTH) + len(LENGTH)
        if len(rest) < int(head[at:].partition(b"\r")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(AssertionError(f"{head.decode()}\n\n{rest.decode()}"))
            return
        self._took.append(time.perf_counter() - self._began)
        self._held = b""
        self._ask()

    def connection_lost(self, _error: Exception | None) -> None:
        self._end(AssertionError("the server closed a connection"))

    def _ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._end(None)
            return
        assert self._transport is not None
        self._began = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if self._done.done():
            return
        if error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(error)
        assert self._transport is not None
        self._transport.close()


async def load(port: int, requests: Sequence[bytes], concurrency: int) -> Answered:
    """Send all of them over so many connections. Raises AssertionError for an answer other than 200."""
    loop = asyncio.get_running_loop()
    left, took = iter(requests), list[float]()
    began = time.perf_counter()
    ends = [loop.create_future() for _ in range(concurrency)]
    for done in ends:
        await loop.create_connection(partial(_Reader, left, done, took), "127.0.0.1", port)
    await asyncio.gather(*ends)
    return Answered(len(took) / (time.perf_counter() - began), took)
