"""Whose message it is: one that no key signed is refused, whatever it looks like."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api.inbound.messages import SECRET, probe_at, refused, remembered
from vault import configs, inbound
from vault.database import Database
from vault.tables import Life, ProviderConfig

OTHERS = "whsec_" + base64.b64encode(b"canary-signing-key-0002").decode()
REVOKED = {"type": "grant.revoked", "data": {"sub": "account-1"}}
Send = Callable[..., Awaitable[httpx.Response]]
both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


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
