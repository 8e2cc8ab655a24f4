"""A builder's server on loopback that behaves as receivers do, and the workspace whose events go there."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from activities.deliver import deliver
from activities.deps import Deps
from activities.messages import DeliveryOrder, DeliveryReport
from domain.life import Kind
from vault import endpoints
from vault.events import append_event
from vault.lives import LifeKey, find_or_create
from vault.tables import Event, Life, Outbox, WebhookEndpoint

ORDER = DeliveryOrder("default")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Call:
    """A request that arrived whole."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return json.loads(self.body)

    @property
    def name(self) -> str:
        return str(self.told["type"])


@dataclass
class Receiver:
    """A builder's server. `answer` decides what a request gets: bytes, or a function that writes as it likes."""

    answer: Callable[[Call], bytes | Answer] = lambda _: OK
    calls: list[Call] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    sent: int = 0
    server: asyncio.Server | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events?key=of-the-builder"

    async def up(self, trusted: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=trusted)
        self.port = self.server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            call = await _read(reader)
            self.calls.append(call)
            answer = self.answer(call)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.at_once -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Call(head[0].split()[1], headers, body)


def status(code: int, **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {code} X\r\n{lines}content-length: 0\r\n\r\n".encode()


@dataclass
class Builder:
    """A workspace whose events go to the receiver."""

    deps: Deps
    clock: Any
    receiver: Receiver
    secret: str = ""

    async def listen(self, url: str = "", **more: Any) -> None:
        made = await endpoints.set_url(
            self.deps.db, self.deps.sealer, "default", url or self.receiver.url, self.clock(), **more
        )
        self.secret = made[1]

    async def life(self, user: str = "ann", kind: Kind = Kind.CONNECTION) -> Life:
        key = LifeKey("default", kind, "cfg_1", "acme", user_id="" if kind is Kind.INSTALLATION else user)
        return await find_or_create(self.deps.db, key, "jira", "user", [], self.clock())

    async def happen(self, life: Life, *names: str, **data: Any) -> None:
        for name in names:
            async with self.deps.db.transaction() as tx:
                await append_event(tx, life, name, self.clock(), **data)

    async def deliver(self, deps: Deps | None = None) -> DeliveryReport:
        async with asyncio.timeout(30):
            return await deliver(deps or self.deps, ORDER)

    async def go_on(self, until: datetime) -> int:
        """What the workflow does until then: a round, a wait; answers how many rounds."""
        rounds = 0
        while True:
            report = await self.deliver()
            rounds += 1
            if report.next_at is None or report.next_at > until:
                self.clock.now = until
                return rounds
            self.clock.now = max(self.clock.now, report.next_at)

    async def queue(self) -> list[Outbox]:
        query = select(Outbox).join(Event, col(Event.id) == Outbox.event_id).order_by(col(Event.sequence))
        async with self.deps.db.reading() as tx:
            return list((await tx.exec(query)).all())

    async def endpoint(self) -> WebhookEndpoint:
        async with self.deps.db.reading() as tx:
            found = await endpoints.find(tx, "default")
        assert found is not None
        return found
