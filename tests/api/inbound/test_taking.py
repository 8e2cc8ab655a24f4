"""A provider's webhook is a hint: taken once, of now alone, and worth one check-up."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from domain.life import Kind, Status
from providers.catalog import Catalog
from tests.api.inbound.messages import SECRET, probe_at, refused, remembered, signed
from vault import inbound
from vault.database import Database
from vault.tables import Life, ProviderConfig

OTHERS = "whsec_" + base64.b64encode(b"canary-signing-key-0002").decode()
Send = Callable[..., Awaitable[httpx.Response]]
both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


# --- what is good -----------------------------------------------------------------------------------------------------


@both
async def test_a_revocation_has_the_life_looked_at_at_once(
    send: Send, life: Life, lives: Any, db: Database, now: Any
) -> None:
    answer = await send()
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert await probe_at(db, life) == now
    assert lives.told == [("wake", life.id)]


@both
async def test_only_lives_of_that_account_at_that_app_are_looked_at(
    send: Send, config: ProviderConfig, life: Life, new_config: Any, new_life: Any, lives: Any
) -> None:
    other_app = await new_config(provider_id="plain", signing_key=OTHERS)
    common = {"provider_id": "plain", "account_id": "account-1"}
    sibling = await new_life(Kind.INSTALLATION, config_id=config.id, **common)
    await new_life(config_id=other_app.id, **common)
    await new_life(config_id=config.id, provider_id="plain", account_id="account-2")
    await new_life(config_id=config.id, provider_id="plain", account_id="")
    await new_life(config_id=config.id, **common, status=Status.NEEDS_REAUTH)
    await new_life(config_id=config.id, **common, deleted_at=life.created_at)
    assert (await send()).status_code == 200
    assert {life_id for _, life_id in lives.told} == {life.id, sibling.id}


async def test_several_configs_of_one_app_are_all_told(
    send: Send, life: Life, new_config: Any, new_life: Any, lives: Any, db: Database
) -> None:
    second = await new_config("another", provider_id="plain", signing_key=SECRET)
    theirs = await new_life(
        config_id=second.id, workspace_id="another", provider_id="plain", account_id="account-1", tenant_id="t"
    )
    assert (await send()).status_code == 200
    assert {life_id for _, life_id in lives.told} == {life.id, theirs.id}
    assert await remembered(db) == 2


async def test_a_site_names_lives_too(
    app: FastAPI, deps: Any, clock: Any, config: ProviderConfig, new_life: Any, lives: Any, client_with: Any
) -> None:
    plain = deps.catalog["plain"]
    webhook = replace(plain.webhook, account_id="", site_id="/data/site")
    catalog = Catalog({"plain": replace(plain, webhook=webhook)})
    there = await new_life(config_id=config.id, provider_id="plain", site_id="site-1")
    await new_life(config_id=config.id, provider_id="plain", site_id="site-2")
    body = json.dumps({"type": "grant.revoked", "data": {"site": "site-1"}}).encode()
    app = create_app(replace(deps, catalog=catalog))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        headers = signed(SECRET, "m", int(clock().timestamp()), body)
        assert (await http.post("/webhooks/plain", content=body, headers=headers)).status_code == 200
    assert lives.told == [("wake", there.id)]


@both
@pytest.mark.parametrize(
    "body",
    [
        {"type": "grant.created", "data": {"sub": "account-1"}},
        {"data": {"sub": "account-1"}},
        {"type": "grant.revoked"},
        {"type": "grant.revoked", "data": {"sub": "account-9"}},
        {"type": "grant.revoked", "data": {"sub": "account-1\0"}},
        {"type": "grant.revoked", "data": {"sub": ""}},
        {"type": "grant.revoked", "data": {"sub": ["account-1"]}},
        {"type": "grant.revoked", "data": {"sub": "' OR 1=1 --"}},
        {"type": "grant.revoked", "data": {"sub": "%"}},
        [],
        "grant.revoked",
    ],
)
async def test_what_says_nothing_of_a_life_is_received_and_changes_nothing(
    send: Send, life: Life, lives: Any, db: Database, body: Any
) -> None:
    answer = await send(body)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert lives.told == []
    assert await probe_at(db, life) is None


# --- of now, and once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-301, 301, -1e9, 1e12])
async def test_a_message_of_another_time_is_refused(send: Send, life: Life, lives: Any, seconds: float) -> None:
    refused(await send(at=seconds), "message_not_of_now")
    assert lives.told == []


@both
async def test_a_message_that_is_repeated_does_nothing_again(
    send: Send, life: Life, lives: Any, db: Database, clock: Any
) -> None:
    await send()
    await checked_up(db, life, clock())
    for _ in range(3):
        answer = await send()
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert lives.told == [("wake", life.id)]
    assert await probe_at(db, life) > clock()


async def checked_up(db: Database, life: Life, at: Any) -> None:
    async with db.transaction() as tx:
        row = await tx.get_one(Life, life.id)
        row.probed_at, row.probe_at = at, at + timedelta(hours=6)


@both
async def test_of_the_same_message_at_the_same_time_one_is_taken(
    send: Send, life: Life, lives: Any, db: Database
) -> None:
    answers = await asyncio.gather(*(send() for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert lives.told == [("wake", life.id)]
    assert await remembered(db) == 1


@both
async def test_a_flood_of_good_messages_costs_one_check_up(
    send: Send, life: Life, lives: Any, db: Database, clock: Any
) -> None:
    await asyncio.gather(*(send(id_=f"msg_{n}") for n in range(50)))
    assert lives.told == [("wake", life.id)]
    await checked_up(db, life, clock())
    await asyncio.gather(*(send(id_=f"late_{n}") for n in range(50)))
    assert lives.told == [("wake", life.id)] * 2
    assert await probe_at(db, life) == clock() + inbound.JUST_NOW


@both
async def test_a_message_that_meets_a_check_up_under_way_is_not_forgotten_by_it(
    send: Send, life: Life, lives: Any, db: Database, clock: Any
) -> None:
    began = clock()
    async with db.transaction() as tx:
        (await tx.get_one(Life, life.id)).probe_at = began
    clock.advance(seconds=1)
    await send()
    moved = await probe_at(db, life)
    assert began < moved < clock()  # so that the check-up sees that somebody asked anew, and the sweep is not put off
    assert lives.told == []


@both
async def test_what_was_taken_is_remembered_until_it_is_too_old_anyway(
    send: Send, life: Life, db: Database, clock: Any
) -> None:
    await send()
    for later, kept in ((inbound.REMEMBERED, 1), (timedelta(seconds=1), 0)):
        clock.advance(seconds=later.total_seconds())
        async with db.transaction() as tx:
            await inbound.forget(tx, clock())
        assert await remembered(db) == kept
