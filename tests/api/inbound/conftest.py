"""A provider that sends webhooks, and a life that they may be about."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api.inbound.messages import SECRET, signed
from vault.tables import Life, ProviderConfig

REVOKED = {"type": "grant.revoked", "data": {"sub": "account-1"}}
Send = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    name = "postgres_url" if getattr(request, "param", "") == "postgresql" else "sqlite_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def config(new_config: Any) -> ProviderConfig:
    made: ProviderConfig = await new_config(provider_id="plain", signing_key=SECRET)
    return made


@pytest.fixture
async def life(config: ProviderConfig, new_life: Any) -> Life:
    made: Life = await new_life(config_id=config.id, provider_id="plain", account_id="account-1")
    return made


@pytest.fixture
async def provider(client_with: Any) -> httpx.AsyncClient:
    """Whoever sends webhooks has no key of ours."""
    opened: httpx.AsyncClient = client_with("")
    return opened


@pytest.fixture
def send(provider: httpx.AsyncClient, clock: Any) -> Send:
    """`await send(body, key=…, at=…, id=…)`: a signed message; `headers` and `content` are changed after signing."""

    async def sending(
        body: Any = REVOKED,
        *,
        to: str = "/webhooks/plain",
        key: str = SECRET,
        at: float = 0,
        id_: str = "msg_1",
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = signed(key, id_, int(clock().timestamp() + at), text) | (headers or {})
        return await provider.post(to, content=text if content is None else content, headers=given)

    return sending
