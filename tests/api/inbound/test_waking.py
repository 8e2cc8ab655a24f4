"""What was marked is woken after the answer, and by the sweep where the engine is away."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api import inbound as route
from api.app import openapi_document
from tests.api.inbound.messages import SECRET, probe_at, signed
from vault import inbound
from vault.database import Database
from vault.tables import Life, ProviderConfig

REVOKED = {"type": "grant.revoked", "data": {"sub": "account-1"}}
Send = Callable[..., Awaitable[httpx.Response]]
both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


async def test_the_answer_does_not_wait_for_the_engine(
    app: FastAPI, life: Life, lives: Any, db: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, waking = asyncio.Event(), asyncio.Event()

    async def never(_life: Life) -> None:
        waking.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(lives, "wake", never)
    body = json.dumps(REVOKED).encode()
    headers = signed(SECRET, "msg_1", int(clock().timestamp()), body)
    request = {
        "type": "http", "method": "POST", "path": "/webhooks/plain", "raw_path": b"/webhooks/plain",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "http_version": "1.1",
        "scheme": "http", "server": ("api", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    call = asyncio.create_task(app(request, receive, sent))
    await asyncio.wait_for(waking.wait(), 10)
    assert answered.is_set()
    assert await probe_at(db, life) == clock()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_with_the_engine_away_the_sweep_finds_what_was_marked(
    send: Send, life: Life, lives: Any, db: Database, now: Any
) -> None:
    lives.away = True
    assert (await send()).status_code == 200
    assert await probe_at(db, life) == now


@both
async def test_of_many_lives_all_are_marked_page_by_page(
    send: Send,
    config: ProviderConfig,
    new_life: Any,
    lives: Any,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    now: Any,
) -> None:
    monkeypatch.setattr(inbound, "AT_ONCE", 3)
    made = [await new_life(config_id=config.id, provider_id="plain", account_id="account-1") for _ in range(7)]
    assert (await send()).status_code == 200
    assert {life_id for _, life_id in lives.told} == {life.id for life in made}
    assert {await probe_at(db, life) for life in made} == {now}


async def test_where_the_engine_does_not_answer_the_first_nobody_else_is_tried(
    send: Send,
    config: ProviderConfig,
    new_life: Any,
    lives: Any,
    db: Database,
    monkeypatch: pytest.MonkeyPatch,
    now: Any,
) -> None:
    monkeypatch.setattr(inbound, "AT_ONCE", 3)
    monkeypatch.setattr(route, "WAKE_AT_ONCE", 1)
    lives.away, tried = True, []

    async def failing(life: Life) -> None:
        tried.append(life.id)
        lives._tell("wake", life)

    monkeypatch.setattr(lives, "wake", failing)
    made = [await new_life(config_id=config.id, provider_id="plain", account_id="account-1") for _ in range(7)]
    assert (await send()).status_code == 200
    assert len(tried) == 1
    assert {await probe_at(db, life) for life in made} == {now}


def test_the_page_for_operators_names_every_answer() -> None:
    page = (Path(__file__).parents[3] / "docs" / "webhooks-inbound.md").read_text(encoding="utf-8")
    answers = openapi_document()["paths"]["/webhooks/{provider}"]["post"]["responses"]
    codes = {code for answer in answers.values() for code in re.findall(r"`(\w+)`", answer["description"])}
    assert [code for code in codes if f"`{code}`" not in page] == []
    assert len(codes) == 7
