"""A reader's way to several servers: whoever does not answer is passed over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from runtime.ports import free_port
from tests.chaos.wire import Lines

ASKED = ("POST", "/", {})


class Server:
    """Answers with its own number, and can die in the middle of an answer."""

    def __init__(self, number: int) -> None:
        self.status, self.dies = 200 + number, False
        self.origin = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if self.dies:
                    break
                writer.write(f"HTTP/1.1 {self.status} OK\r\ncontent-length: 0\r\n\r\n".encode())
        except EOFError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(server: Server) -> AsyncIterator[Server]:
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listener:
        server.origin = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield server


@pytest.fixture
async def two() -> AsyncIterator[list[Server]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(listening(Server(number))) for number in range(2)]


@pytest.fixture
async def lines() -> AsyncIterator[Callable[..., Lines]]:
    made: list[Lines] = []

    def make(*origins: str, first: int = 0) -> Lines:
        made.append(Lines(origins, first))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def statuses(lines: Lines, count: int) -> list[int]:
    return [(await lines.ask(*ASKED)).status for _ in range(count)]


async def test_servers_are_asked_in_turn(two: list[Server], lines: Callable[..., Lines]) -> None:
    assert await statuses(lines(*(server.origin for server in two)), 4) == [200, 201, 200, 201]
    assert await statuses(lines(*(server.origin for server in two), first=3), 2) == [201, 200]


async def test_one_that_is_gone_is_passed_over(two: list[Server], lines: Callable[..., Lines]) -> None:
    assert await statuses(lines(f"http://127.0.0.1:{free_port()}", two[1].origin), 4) == [201] * 4


async def test_one_that_dies_before_its_answer_is_passed_over(two: list[Server], lines: Callable[..., Lines]) -> None:
    both = lines(*(server.origin for server in two))
    assert await statuses(both, 2) == [200, 201]
    two[0].dies = True
    assert await statuses(both, 2) == [201, 201]


async def test_where_none_answers_that_is_said(lines: Callable[..., Lines]) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(OSError, match="Connect call failed"):
        await lines(gone, gone).ask(*ASKED)
