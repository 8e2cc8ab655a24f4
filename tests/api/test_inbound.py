"""A provider's webhook is a hint: checked, taken once, and worth one check-up, whoever sends however many."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import select

from api import inbound as route
from api.app import create_app, openapi_document
from domain.life import Kind, Status
from providers.catalog import Catalog
from vault import configs, inbound
from vault.database import Database
from vault.tables import InboundMessage, Life, ProviderConfig

SECRET = "whsec_" + base64.b64encode(b"canary-signing-key-0001").decode()
OTHERS = "whsec_" + base64.b64encode(b"canary-signing-key-0002").decode()
REVOKED = {"type": "grant.revoked", "data": {"sub": "account-1"}}

Send = Callable[..., Awaitable[httpx.Response]]


both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


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


def signed(key: str, id_: str, at: int, body: bytes) -> dict[str, str]:
    secret = base64.b64decode(key.removeprefix("whsec_"))
    digest = hmac.new(secret, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": str(at), "webhook-signature": signature}


async def probe_at(db: Database, life: Life) -> Any:
    async with db.reading() as tx:
        row = await tx.get(Life, life.id)
    assert row is not None
    return row.probe_at


async def remembered(db: Database) -> int:
    async with db.reading() as tx:
        return len((await tx.exec(select(InboundMessage))).all())


def refused(answer: httpx.Response, code: str) -> None:
    assert (answer.status_code >= 400, answer.json()["code"]) == (True, code), answer.text
    assert "canary" not in answer.text


# --- what is good ---------------------------------------------------------------------------------------------------


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


# --- whose it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forged",
    [
        {"key": OTHERS},
        {"headers": {"webhook-signature": ""}},
        {"headers": {"webhook-signature": "v1,"}},
        {"headers": {"webhook-signature": "v1," + "A" * 43 + "="}},
        {"headers": {"webhook-signature": "v2,AAAA"}},
        {"headers": {"webhook-id": "msg_2"}},
        {"headers": {"webhook-timestamp": "1772366401"}},
        {"headers": {"webhook-signature": "v1," + "x" * 30_000}},
        {"content": b'{"type": "grant.revoked", "data": {"sub": "account-1"} }'},
        {"content": b""},
    ],
)
async def test_a_message_that_its_key_did_not_sign_is_refused(
    send: Send, life: Life, lives: Any, db: Database, forged: dict[str, Any]
) -> None:
    refused(await send(**forged), "signature_refused")
    assert lives.told == []
    assert (await probe_at(db, life), await remembered(db)) == (None, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1," + "x" * 30_000},
        {"webhook-signature": "v2," + "A" * 43 + "="},
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
    ],
)
async def test_for_what_has_not_the_form_of_a_signed_message_no_key_is_opened(
    send: Send, config: ProviderConfig, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    opened: list[str] = []

    async def spy(_sealer: Any, config: ProviderConfig) -> str:
        opened.append(config.id)
        return SECRET

    monkeypatch.setattr(configs, "signing_key", spy)
    refused(await send(headers=headers), "signature_refused")
    assert opened == []
    assert (await send()).status_code == 200
    assert opened == [config.id]


async def test_without_any_header_it_is_refused(provider: httpx.AsyncClient, life: Life) -> None:
    refused(await provider.post("/webhooks/plain", json=REVOKED), "signature_refused")


async def test_the_key_of_another_config_signs_nothing_for_this_one(
    send: Send, life: Life, new_config: Any, lives: Any
) -> None:
    other = await new_config(provider_id="plain", signing_key=OTHERS)
    refused(await send(to=f"/webhooks/plain?provider_config_id={other.id}"), "signature_refused")
    refused(
        await send(key=OTHERS, to=f"/webhooks/plain?provider_config_id={life.provider_config_id}"), "signature_refused"
    )
    assert (await send(key=OTHERS)).status_code == 200
    assert lives.told == []


@both
async def test_a_config_of_another_provider_or_of_nobody_is_none_to_sign_for(
    send: Send, life: Life, new_config: Any
) -> None:
    jira = await new_config(provider_id="jira", signing_key=SECRET)
    for config_id in (jira.id, "cfg_unknown", "%00", "a%2Fb", "x" * 300, "", "' OR 1=1"):
        refused(await send(to=f"/webhooks/plain?provider_config_id={config_id}"), "signature_refused")
    assert (await send(to=f"/webhooks/plain?provider_config_id={life.provider_config_id}")).status_code == 200


async def test_a_config_without_a_key_or_deleted_takes_none(
    send: Send, new_config: Any, client: httpx.AsyncClient, db: Database
) -> None:
    await new_config(provider_id="plain")
    refused(await send(), "signature_refused")
    gone = await new_config(provider_id="plain", signing_key=SECRET)
    assert (await client.delete(f"/api/provider-configs/{gone.id}")).status_code == 204
    refused(await send(), "signature_refused")
    left = await new_config(provider_id="plain", signing_key=SECRET)
    async with db.transaction() as tx:
        (await tx.get_one(ProviderConfig, left.id)).deleted_at = left.created_at
    refused(await send(), "signature_refused")


async def test_many_configs_displace_none_that_was_there_and_the_new_ones_name_themselves(
    send: Send, life: Life, new_config: Any, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    monkeypatch.setattr(inbound, "MOST_CANDIDATES", 2)
    clock.advance(seconds=1)
    await new_config(provider_id="plain", signing_key=SECRET)
    clock.advance(seconds=1)
    late = await new_config(provider_id="plain", signing_key=OTHERS)
    assert (await send()).status_code == 200
    refused(await send(key=OTHERS), "signature_refused")
    assert (await send(key=OTHERS, to=f"/webhooks/plain?provider_config_id={late.id}")).status_code == 200


async def test_a_key_that_does_not_open_closes_the_way_for_no_other(
    send: Send, life: Life, new_config: Any, db: Database, lives: Any
) -> None:
    broken = await new_config(provider_id="plain", signing_key=OTHERS)
    async with db.transaction() as tx:
        row = await tx.get_one(ProviderConfig, broken.id)
        row.sealed_signing_key = (row.sealed_signing_key or b"")[:-1] + b"\0"
    assert (await send()).status_code == 200
    assert lives.told == [("wake", life.id)]


@pytest.mark.parametrize(("provider_id", "code"), [("nobody", "provider_unknown"), ("jira", "webhook_not_offered")])
async def test_a_provider_that_sends_none_is_told_so(send: Send, provider_id: str, code: str) -> None:
    answer = await send(to=f"/webhooks/{provider_id}")
    refused(answer, code)
    assert answer.status_code == 404


# --- of now, and once -----------------------------------------------------------------------------------------------


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


# --- what cannot be read --------------------------------------------------------------------------------------------


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


# --- the engine is away ---------------------------------------------------------------------------------------------


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
    page = (Path(__file__).parents[2] / "docs" / "webhooks-inbound.md").read_text(encoding="utf-8")
    answers = openapi_document()["paths"]["/webhooks/{provider}"]["post"]["responses"]
    codes = {code for answer in answers.values() for code in re.findall(r"`(\w+)`", answer["description"])}
    assert [code for code in codes if f"`{code}`" not in page] == []
    assert len(codes) == 7
