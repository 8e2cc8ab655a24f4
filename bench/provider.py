"""`python -m bench.provider PORT SECONDS TIMES SECONDS_AFTER`: a token endpoint that costs next to nothing.

It remembers nothing: a refresh token says itself of how many rotations it is the fruit. The first `TIMES` tokens of a
connection live `SECONDS`, those after them `SECONDS_AFTER`. The simulator checks what it is asked, as a provider does,
and would be measured with us.
"""

import asyncio
import json
import re
import sys
from typing import cast

import uvloop

from bench.seeding import ACCESS_TOKEN, SCOPES

TOKEN = re.compile(rb"rt_(\w+)_(\d+)_")
END_OF_HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
SCOPE = " ".join(SCOPES)


class TokenEndpoint(asyncio.Protocol):
    """One kept connection of a worker."""

    def __init__(self, seconds: int, times: int, seconds_after: int) -> None:
        self._seconds = seconds
        self._times = times
        self._seconds_after = seconds_after
        self._held = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, body = self._held.partition(END_OF_HEAD)
        length = LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._held = b""
        assert self._transport is not None
        self._transport.write(self._answer(body))

    def _answer(self, body: bytes) -> bytes:
        token = TOKEN.search(body)
        if token is None:
            return b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        rotations = int(token[2]) + 1
        content = json.dumps(
            {
                "access_token": f"{ACCESS_TOKEN}{rotations}",
                "refresh_token": f"rt_{token[1].decode()}_{rotations}_",
                "expires_in": self._seconds if rotations <= self._times else self._seconds_after,
                "scope": SCOPE,
                "token_type": "Bearer",
            }
        ).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        return head.encode() + content


async def main(port: int, seconds: int, times: int, seconds_after: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: TokenEndpoint(seconds, times, seconds_after), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*map(int, sys.argv[1:5])))
