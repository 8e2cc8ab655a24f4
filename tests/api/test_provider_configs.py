from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import col, select

from api.deps import ApiDeps
from domain.life import Kind, Status
from providers.catalog import Catalog
from vault import configs
from vault.database import Database
from vault.tables import ClientSecret, Life

SECRET = "canary-client-secret"
NEW = {
    "provider_id": "jira",
    "client_id": "client",
    "client_secret": SECRET,
    "oauth_redirect_url": "https://app.example.com/oauth/callback",
    "attachment": "user",
    "enabled": True,
}


async def test_a_new_config_answers_without_its_secret(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/provider-configs", json=NEW | {"signing_key": "canary-signing-key"})
    assert answer.status_code == 201
    assert "canary" not in answer.text
    body = answer.json()
    assert body.pop("id").startswith("cfg_")
    assert body == {
        "provider_id": "jira",
        "client_id": "client",
        "oauth_redirect_url": "https://app.example.com/oauth/callback",
        "attachment": "user",
        "enabled": True,
        "verify_user": False,
        "trust_publishable_sessions": False,
        "revision": 1,
        "created_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-01T12:00:00Z",
    }


async def test_a_config_is_found_again_with_all_it_was_given(client: httpx.AsyncClient) -> None:
    extra = {
        "display_name": "Acme Tools",
        "scopes": ["read:jira-work"],
        "bot_scopes": ["write:jira-work"],
        "allowed_redirect_urls": ["http://localhost:3000/done"],
        "verify_user": True,
        "trust_publishable_sessions": True,
    }
    made = (await client.post("/api/provider-configs", json=NEW | extra)).json()
    found = (await client.get(f"/api/provider-configs/{made['id']}")).json()
    assert found == made
    assert {name: found[name] for name in extra} == extra


@pytest.mark.parametrize(
    ("change", "status", "code", "said"),
    [
        ({"provider_id": "nope"}, 404, "provider_unknown", "nope"),
        ({"scopes": ["read:jira-wrk"]}, 422, "invalid_scope", "'read:jira-work'"),
        ({"bot_scopes": ["manage:jira-webhook"]}, 422, "invalid_scope", "nearest"),
        ({"oauth_redirect_url": "http://app.example.com/cb"}, 422, "bad_request", "must begin with https://"),
        ({"oauth_redirect_url": "/oauth/callback"}, 422, "bad_request", "full URL"),
        ({"oauth_redirect_url": "https://a.example/cb#x"}, 422, "bad_request", "fragment"),
        ({"oauth_redirect_url": "https://u:p@a.example/cb"}, 422, "bad_request", "without user"),
        ({"oauth_redirect_url": "https://[::1"}, 422, "bad_request", "oauth_redirect_url"),
        ({"oauth_redirect_url": "https://a.example:99999/"}, 422, "bad_request", "oauth_redirect_url"),
        ({"allowed_redirect_urls": ["javascript:alert(1)"]}, 422, "bad_request", "allowed_redirect_urls"),
        ({"client_secret": "canary\nsecret"}, 422, "bad_request", "printable ASCII"),
        ({"attachment": "team"}, 422, "bad_request", "attachment"),
        ({"unknown": 1}, 422, "bad_request", "unknown"),
    ],
)
async def test_what_no_config_can_have_is_refused(
    client: httpx.AsyncClient, change: dict[str, Any], status: int, code: str, said: str
) -> None:
    answer = await client.post("/api/provider-configs", json=NEW | change)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert said in answer.json()["detail"]
    assert "canary" not in answer.text


@pytest.mark.parametrize("development", [False])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"oauth_redirect_url": "http://localhost:8080/oauth/callback"}, "bad_request"),
        ({"trust_publishable_sessions": True}, "trust_refused"),
    ],
)
async def test_production_refuses_what_only_development_may(
    client: httpx.AsyncClient, change: dict[str, Any], code: str
) -> None:
    answer = await client.post("/api/provider-configs", json=NEW | change)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_only_what_is_sent_changes(client: httpx.AsyncClient, new_config: Any) -> None:
    config = await new_config(scopes=["read:jira-work"], verify_user=True)
    body = {"enabled": False, "client_id": None, "bot_scopes": ["write:jira-work"]}
    changed = (await client.patch(f"/api/provider-configs/{config.id}", json=body)).json()
    assert (
        changed["enabled"],
        changed["client_id"],
        changed["scopes"],
        changed["verify_user"],
        changed["revision"],
    ) == (
        False,
        "client",
        ["read:jira-work"],
        True,
        2,
    )


async def test_null_takes_a_list_back_to_its_default(client: httpx.AsyncClient, new_config: Any) -> None:
    config = await new_config(scopes=["read:jira-work"], bot_scopes=["write:jira-work"])
    changed = (await client.patch(f"/api/provider-configs/{config.id}", json={"scopes": None})).json()
    assert "scopes" not in changed
    assert changed["bot_scopes"] == ["write:jira-work"]


async def test_a_config_can_be_disabled_after_its_provider_left_the_catalog(
    client: httpx.AsyncClient, new_config: Any
) -> None:
    path = f"/api/provider-configs/{(await new_config(provider_id='gone')).id}"
    assert (await client.patch(path, json={"enabled": False})).json()["enabled"] is False
    assert (await client.patch(path, json={"scopes": ["read:any"]})).json()["code"] == "provider_unknown"


async def test_a_new_client_secret_is_stored_and_never_shown(
    client: httpx.AsyncClient, new_config: Any, db: Any, sealer: Any, clock: Any
) -> None:
    config = await new_config()
    answer = await client.patch(f"/api/provider-configs/{config.id}", json={"client_secret": "canary-next"})
    assert (answer.status_code, "canary" in answer.text) == (200, False)
    assert await configs.client_secrets(db, sealer, config.id, clock()) == ["canary-next", SECRET]


async def test_a_change_of_an_older_revision_is_refused(client: httpx.AsyncClient, new_config: Any) -> None:
    config = await new_config()
    path = f"/api/provider-configs/{config.id}"
    assert (await client.patch(path, json={"enabled": False, "revision": 1})).status_code == 200
    late = await client.patch(path, json={"enabled": True, "revision": 1})
    assert (late.status_code, late.json()["code"]) == (409, "config_changed")
    assert (await client.get(path)).json()["enabled"] is False


async def test_the_client_id_stays_while_living_rows_use_it(
    client: httpx.AsyncClient, new_config: Any, new_life: Any
) -> None:
    config = await new_config()
    await new_life(config_id=config.id)
    answer = await client.patch(f"/api/provider-configs/{config.id}", json={"client_id": "other"})
    assert (answer.status_code, answer.json()["code"]) == (409, "config_in_use")


async def test_a_config_in_use_is_not_deleted(client: httpx.AsyncClient, new_config: Any, new_life: Any) -> None:
    config = await new_config()
    await new_life(config_id=config.id)
    answer = await client.delete(f"/api/provider-configs/{config.id}")
    assert (answer.status_code, answer.json()["code"]) == (409, "config_in_use")
    assert (await client.get(f"/api/provider-configs/{config.id}")).status_code == 200


async def test_cascade_deletes_every_life_of_a_config_first(
    client: httpx.AsyncClient, new_config: Any, new_life: Any, lives: Any, db: Any
) -> None:
    config, other = await new_config(), await new_config(client_id="other")
    home = await new_life(Kind.INSTALLATION, config.id, site_id="site-1")
    inside = await new_life(config_id=config.id, installation_id=home.id)
    pending = await new_life(config_id=config.id, status=Status.PENDING, connected_at=None, generation=0)
    untouched = await new_life(config_id=other.id)
    assert (await client.delete(f"/api/provider-configs/{config.id}?cascade=true")).status_code == 204
    assert sorted(lives.told) == sorted(("delete", life.id) for life in (home, inside, pending))
    async with db.reading() as tx:
        assert [life.id for life in await tx.exec(select(Life).where(Life.deleted_at == None))] == [untouched.id]  # noqa: E711
    assert (await client.get(f"/api/provider-configs/{config.id}")).status_code == 404


async def test_cascade_needs_no_temporal(client: httpx.AsyncClient, new_config: Any, new_life: Any, lives: Any) -> None:
    config = await new_config()
    life = await new_life(config_id=config.id)
    lives.away = True
    assert (await client.delete(f"/api/provider-configs/{config.id}?cascade=true")).status_code == 204
    assert (await client.get(f"/api/connections/{life.id}")).json()["status"] == "revoked"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_an_unknown_or_foreign_config_is_not_there(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, method: str
) -> None:
    theirs = (await stranger.post("/api/provider-configs", json=NEW)).json()["id"]
    for config_id in (theirs, "cfg_unknown", "%00", "x" * 200, "é"):
        answer = await client.request(
            method, f"/api/provider-configs/{config_id}", json={} if method == "PATCH" else None
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), config_id
    assert (await stranger.get(f"/api/provider-configs/{theirs}")).json()["revision"] == 1


async def test_a_search_shows_the_workspaces_own_configs(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, clock: Any
) -> None:
    for name in ("first", "second"):
        await client.post("/api/provider-configs", json=NEW | {"client_id": name})
        clock.advance(seconds=1)
    await stranger.post("/api/provider-configs", json=NEW)
    found = (await client.post("/api/provider-configs/search", json={})).json()
    assert [c["client_id"] for c in found["data"]] == ["second", "first"]
    assert (found["has_more"], found["limit"], "canary" in str(found)) == (False, 50, False)
    enabled = {"filter": {"enabled": {"eq": False}}}
    assert (await client.post("/api/provider-configs/search", json=enabled)).json()["data"] == []


async def test_a_public_client_has_an_empty_secret(
    client: httpx.AsyncClient, new_config: Any, db: Any, sealer: Any, clock: Any
) -> None:
    body = {
        "provider_id": "jira",
        "client_id": "public",
        "client_secret": "",
        "oauth_redirect_url": "http://localhost:8080/oauth/callback",
        "attachment": "user",
        "enabled": True,
    }
    made = await client.post("/api/provider-configs", json=body)
    assert made.status_code == 201, made.text
    config = await new_config()
    changed = await client.patch(f"/api/provider-configs/{config.id}", json={"client_secret": ""})
    assert changed.status_code == 200, changed.text
    assert await configs.client_secrets(db, sealer, made.json()["id"], clock()) == [""]
    assert (await configs.client_secrets(db, sealer, config.id, clock()))[0] == ""


async def test_the_builders_name_can_be_changed_taken_back_and_holds_no_tricks(client: httpx.AsyncClient) -> None:
    made = (await client.post("/api/provider-configs", json=NEW | {"display_name": "Acme Tools"})).json()
    path = f"/api/provider-configs/{made['id']}"
    assert (await client.patch(path, json={"display_name": "Acme"})).json()["display_name"] == "Acme"
    assert (await client.patch(path, json={"enabled": True})).json()["display_name"] == "Acme"
    assert "display_name" not in (await client.patch(path, json={"display_name": None})).json()
    for trick in ("", "a\nb", "gpj\u202e.exe", "x" * 81, "a\0b"):
        assert (await client.patch(path, json={"display_name": trick})).status_code == 422


@pytest.mark.parametrize("key", ["canary-not-base64!", "whsec_canary", "whsec_"])
async def test_a_signing_key_that_no_message_could_be_signed_by_is_refused(client: httpx.AsyncClient, key: str) -> None:
    plain = NEW | {"provider_id": "plain"}
    made = (await client.post("/api/provider-configs", json=plain)).json()
    created = await client.post("/api/provider-configs", json=plain | {"signing_key": key})
    updated = await client.patch(f"/api/provider-configs/{made['id']}", json={"signing_key": key})
    for answer in (created, updated):
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_request")
        assert "signing_key must be base64" in answer.text
        assert "canary" not in answer.text


@pytest.mark.parametrize("key", ["whsec_a2V5LW9mLW91cnM=", "a2V5LW9mLW91cnM="])
async def test_a_signing_key_is_taken_with_or_without_its_prefix(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/api/provider-configs", json=NEW | {"provider_id": "plain", "signing_key": key})
    assert answer.status_code == 201


async def secret_ends(db: Database) -> list[datetime | None]:
    async with db.reading() as tx:
        return list((await tx.exec(select(ClientSecret.expires_at).order_by(col(ClientSecret.version)))).all())


async def test_the_end_of_a_client_secret_is_the_builders_word_or_the_providers_rule(
    app: FastAPI, deps: ApiDeps, client: httpx.AsyncClient, db: Database, now: datetime
) -> None:
    jira = deps.catalog["jira"]
    by_rule = replace(jira, lifespan=replace(jira.lifespan, client_secret_days=90))
    app.state.deps = replace(deps, catalog=Catalog({"jira": by_rule}))
    at = f"/api/provider-configs/{(await client.post('/api/provider-configs', json=NEW)).json()['id']}"
    assert await secret_ends(db) == [now + timedelta(days=90)]
    said = "2027-01-01T00:00:00+00:00"
    await client.patch(at, json={"client_secret": "canary-2", "client_secret_expires_at": said})
    await client.patch(at, json={"display_name": "Acme"})
    assert (await secret_ends(db))[1:] == [datetime.fromisoformat(said)]
    await client.patch(at, json={"client_secret_expires_at": "2027-02-01T00:00:00+00:00"})
    assert (await secret_ends(db))[1:] == [datetime(2027, 2, 1, tzinfo=UTC)], "of the one that is there"


@pytest.mark.parametrize("senseless", ["2027-01-01T00:00:00", "soon", [], {}])
async def test_an_end_that_is_no_moment_is_refused(client: httpx.AsyncClient, senseless: Any) -> None:
    answer = await client.post("/api/provider-configs", json=NEW | {"client_secret_expires_at": senseless})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_request")
