"""HTTP/1.1 as far as a reader needs it: a full client costs more than the answers that it is to count."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
MOST_HEAD = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class Line:
    """One connection, kept open between requests, opened anew when the server ended it. For one task at a time."""

    def __init__(self, origin: str) -> None:
        parts = urlsplit(origin)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", within: float = 30
    ) -> Answer:
        """Raises `OSError` or `TimeoutError`. What an idle connection swallowed is asked once more on a new one."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
        async with asyncio.timeout(within):
            if self._open is not None:
                with contextlib.suppress(OSError):
                    return await self._asked(request)
            return await self._asked(request)

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def _asked(self, request: bytes) -> Answer:
        try:
            if self._open is None:
                self._open = await asyncio.open_connection(self._host, self._port, limit=MOST_HEAD)
            reader, writer = self._open
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            answer = Answer(int(head[9:12]), await reader.readexactly(int(length[1]) if length else 0))
        except EOFError:
            self.close()
            raise ConnectionResetError("the server closed the connection") from None
        except BaseException:
            self.close()  # an answer that nobody waits for must not be read as the next one
            raise
        if CLOSES.search(head):
            self.close()
        return answer


class Lines:
    """Servers that do the same, asked in turn; one that does not answer is passed over. For one task at a time."""

    def __init__(self, origins: Sequence[str], first: int = 0) -> None:
        self._lines = [Line(origin) for origin in origins]
        self._turn = first

    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", within: float = 30
    ) -> Answer:
        """For what may be asked twice. Raises `TimeoutError`, or what the last one raised when none answers."""
        turn, self._turn = self._turn, self._turn + 1
        for tries in range(len(self._lines)):
            line = self._lines[(turn + tries) % len(self._lines)]
            try:
                return await line.ask(method, path, headers, body, within)
            except TimeoutError:
                raise
            except OSError:
                if tries + 1 == len(self._lines):
                    raise
        raise AssertionError("there is no server")

    def close(self) -> None:
        for line in self._lines:
            line.close()
