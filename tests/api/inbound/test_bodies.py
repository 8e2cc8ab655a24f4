"""What cannot be read, or never ends: each a clear refusal and a bounded cost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from api import inbound as route
from tests.api.inbound.messages import refused
from vault.tables import Life

Send = Callable[..., Awaitable[httpx.Response]]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 50_000, b'{"type": 1, "type": 2}', b"NULL\0"])
async def test_what_is_signed_but_no_json_is_refused(send: Send, life: Life, body: bytes) -> None:
    refused(await send(body), "malformed_json")


@pytest.mark.parametrize(("size", "code"), [(256 * 1024 - 20, 200), (256 * 1024 + 1, 413), (1024 * 1024, 413)])
async def test_a_body_is_bounded(send: Send, life: Life, size: int, code: int) -> None:
    assert (await send(b'{"type": "' + b"x" * size + b'"}')).status_code == code


async def test_an_endless_body_ends_at_the_bound(provider: httpx.AsyncClient, life: Life) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 4096

    refused(await provider.post("/webhooks/plain", content=endless()), "body_too_large")
    assert sent <= 256 // 4 + 1


async def test_a_body_that_never_comes_is_not_waited_for(
    provider: httpx.AsyncClient, life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "READ_WITHIN_SECONDS", 0.01)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    refused(await provider.post("/webhooks/plain", content=stalled()), "body_too_slow")
