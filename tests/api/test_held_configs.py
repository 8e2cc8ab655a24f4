"""A held provider config: what its answer shows, and that its breaker hears of a new client secret at once."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from activities.messages import ConfigIds
from api.deps import ApiDeps
from vault import configs, holds
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import ProviderConfig

NEW = NewConfig("jira", "client", "canary-secret", "https://app.example.com/oauth/callback", "user")
SHOWN = ("hold_kind", "held_reason", "held_until")


@pytest.fixture
async def held(db: Database, sealer: Sealer, now: Any) -> ProviderConfig:
    """A config whose app the provider refused just now."""
    config = await configs.create(db, sealer, "default", NEW, now)
    async with db.transaction() as tx:
        await holds.misconfigured(tx, config, now, "client_refused")
    return config


@pytest.fixture
def tripped(app: FastAPI, deps: ApiDeps) -> list[ConfigIds]:
    """Which breakers were told to look."""
    told: list[ConfigIds] = []

    async def trip(config: ConfigIds) -> None:
        told.append(config)

    app.state.deps = replace(deps, trip=trip)
    return told


async def test_its_answer_says_why_it_is_held_and_when_one_tries_next(
    client: httpx.AsyncClient, held: ProviderConfig
) -> None:
    one = (await client.get(f"/api/provider-configs/{held.id}")).json()
    (found,) = (await client.post("/api/provider-configs/search", json={})).json()["data"]
    for shown in (one, found):
        assert [shown[name] for name in SHOWN] == ["misconfigured", "client_refused", "2026-03-01T12:01:00Z"]


async def test_a_hold_of_a_worker_that_knew_no_kinds_is_shown_as_one_of_a_refused_app(
    client: httpx.AsyncClient, held: ProviderConfig, db: Database
) -> None:
    async with db.transaction() as tx:
        (await tx.get_one(ProviderConfig, held.id)).hold_kind = ""
    assert (await client.get(f"/api/provider-configs/{held.id}")).json()["hold_kind"] == "misconfigured"


async def test_a_new_client_secret_ends_the_hold_and_its_breaker_looks_at_once(
    client: httpx.AsyncClient, held: ProviderConfig, tripped: list[ConfigIds]
) -> None:
    answer = await client.patch(f"/api/provider-configs/{held.id}", json={"client_secret": "canary-other"})
    assert not set(SHOWN) & set(answer.json())
    assert tripped == [ConfigIds("default", "jira", held.id)]


async def test_another_change_leaves_it_held_and_a_secret_of_a_free_config_trips_nothing(
    client: httpx.AsyncClient, held: ProviderConfig, tripped: list[ConfigIds]
) -> None:
    path = f"/api/provider-configs/{held.id}"
    assert (await client.patch(path, json={"display_name": "Acme"})).json()["hold_kind"] == "misconfigured"
    assert tripped == []
    for secret in ("canary-2", "canary-3"):
        await client.patch(path, json={"client_secret": secret})
    assert len(tripped) == 1
