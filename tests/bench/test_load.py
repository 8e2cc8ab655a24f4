"""The reader that the bench reads with counts what was answered, and takes nothing but 200 for an answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.load import load, post

REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}"
IN_TWO = (b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 4\r\n\r\nab", b"cd")


class Server:
    """Reads requests whole, and answers each with the same pieces."""

    def __init__(self) -> None:
        self.pieces: tuple[bytes, ...] = IN_TWO
        self.bodies: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            self.bodies.append(await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0])))
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    served = Server()
    listening = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield served


async def test_every_request_is_sent_once_and_every_answer_counted(server: Server) -> None:
    answered = await load(server.port, [post("/", {"id": number}) for number in range(10)], 3)
    assert len(answered.seconds) == 10
    assert answered.per_second > 0
    assert sorted(server.bodies) == sorted(b'{"id": %d}' % number for number in range(10))


async def test_an_answer_other_than_200_ends_the_load(server: Server) -> None:
    server.pieces = (REFUSED,)
    with pytest.raises(AssertionError, match="401"):
        await load(server.port, [post("/", {})], 1)
