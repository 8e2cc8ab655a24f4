"""A reader."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    async def post(**changes: Any) -> httpx.Response:
        body = {"provider": "jira", "tenant_id": "acme", "user_id": "user-1"} | changes
        return await client.post("/api/credentials", json={k: v for k, v in body.items() if v is not None})

    return post
