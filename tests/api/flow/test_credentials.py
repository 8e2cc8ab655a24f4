"""`POST /api/credentials`: a valid credential at once; only who needs more life than is left waits (law 5)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from domain.holds import HoldKind
from domain.life import Kind
from vault import configs
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import Life, ProviderConfig
from workflows.messages import Freshness

Ask = Callable[..., Awaitable[httpx.Response]]
APP = NewConfig("jira", "client", "secret", "https://app.example.com/oauth/callback", "user")


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    async def post(**changes: Any) -> httpx.Response:
        body = {"provider": "jira", "tenant_id": "acme", "user_id": "user-1"} | changes
        return await client.post("/api/credentials", json={k: v for k, v in body.items() if v is not None})

    return post


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()["code"]


# --- law 5 -------------------------------------------------------------------------------------------------------


async def test_a_valid_credential_is_served_in_full_and_not_kept_by_caches(ask: Ask, new_credential: Any) -> None:
    life = await new_credential(
        access="secret-1",
        installation_id="inst_1",
        site_id="s1",
        site_name="Acme",
        site_url="https://acme.example",
        requested_scopes=["read:jira-work", "write:jira-work"],
    )
    answer = await ask()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "credential": "secret-1",
        "credential_type": "oauth_token",
        "source": "connection",
        "refreshed": False,
        "needs_reauth": False,
        "expires_at": "2026-03-01T13:00:00Z",
        "scopes": ["read:jira-work"],
        "missing_scopes": ["write:jira-work"],
        "warnings": [],
        "connection_id": life.id,
        "site": {"id": "s1", "name": "Acme", "url": "https://acme.example"},
        "generation": 1,
    }


@pytest.mark.parametrize("age", [timedelta(0), timedelta(minutes=59, seconds=30)])
async def test_law_05_a_credential_that_still_lives_is_served_without_a_word_to_the_engine(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, age: timedelta
) -> None:
    await new_credential(access="secret-1")
    engine.away = True
    clock.now += age
    answer = await ask()
    assert (answer.status_code, answer.json()["credential"], answer.json()["warnings"]) == (200, "secret-1", [])
    assert engine.calls == []


async def test_law_05_it_is_served_while_refreshing_fails(ask: Ask, new_credential: Any, engine: Any) -> None:
    await new_credential(health="degraded", failures=7, last_error="server_error")
    answer = await ask()
    assert (answer.status_code, answer.json()["warnings"]) == (200, ["refresh_failing"])
    assert engine.calls == []


async def test_the_hot_path_is_one_select(ask: Ask, new_credential: Any, db: Any) -> None:
    await new_credential()
    assert (await ask()).status_code == 200  # the key and the tenant's data key are remembered from here on
    said: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(db._engine.sync_engine, "before_cursor_execute", note)
    try:
        assert (await ask()).status_code == 200
    finally:
        event.remove(db._engine.sync_engine, "before_cursor_execute", note)
    assert len(said) == 1
    assert said[0].lstrip().upper().startswith("SELECT")


# --- waiting for a refresh ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "wish", "asks"),
    [
        ({"seconds": 3571}, {}, True),
        ({"seconds": 3570}, {}, False),
        ({"minutes": 30}, {"min_ttl": 1800}, False),
        ({"minutes": 30}, {"min_ttl": 1801}, True),
        ({"minutes": 61}, {"min_ttl": 0}, True),
        ({"seconds": 29}, {"force_refresh": True}, False),
        ({"seconds": 30}, {"force_refresh": True}, True),
        ({"seconds": 29}, {"min_ttl": 7200}, False),
        ({"seconds": 30}, {"min_ttl": 7200}, True),
    ],
)
async def test_the_engine_is_asked_only_where_a_refresh_is_needed_and_can_help(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, age: dict[str, float], wish: dict[str, Any], asks: bool
) -> None:
    await new_credential()
    clock.advance(**age)
    await ask(**wish)
    assert engine.heard("ensure_fresh") == asks


async def test_the_floor_of_a_short_token_is_a_tenth_of_its_life(
    ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential(lifetime=timedelta(seconds=10))
    clock.advance(seconds=0.9)
    await ask(force_refresh=True)
    assert engine.heard("ensure_fresh") == 0
    clock.advance(seconds=0.2)
    await ask(force_refresh=True)
    assert engine.heard("ensure_fresh") == 1


async def test_who_needs_more_life_gets_the_next_generation(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, renew: Any
) -> None:
    await new_credential()
    engine.refreshing = renew
    clock.advance(minutes=59, seconds=45)
    answer = (await ask()).json()
    assert (answer["credential"], answer["refreshed"], answer["generation"]) == ("access-2", True, 2)
    assert answer["warnings"] == []


async def test_more_life_than_a_fresh_token_has_is_answered_with_a_warning(ask: Ask, new_credential: Any) -> None:
    await new_credential()
    answer = await ask(min_ttl=7200)
    assert (answer.status_code, answer.json()["warnings"]) == (200, ["min_ttl_not_met"])


async def test_at_the_deadline_an_unexpired_credential_comes_with_a_warning(
    ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential(access="old")
    engine.away = True
    clock.advance(minutes=59, seconds=45)
    answer = await ask()
    assert (answer.status_code, answer.json()["credential"], answer.json()["refreshed"]) == (200, "old", False)
    assert answer.json()["warnings"] == ["min_ttl_not_met"]


async def test_at_the_deadline_an_expired_credential_is_pending(
    ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential(access="old-secret", last_error="server_error")
    engine.away = True
    clock.advance(hours=1)
    answer = await ask()
    assert refused(answer) == (503, "refresh_pending")
    assert answer.headers["retry-after"] == "2"
    assert "server_error" in answer.json()["detail"]
    assert "old-secret" not in answer.text


@pytest.mark.parametrize("kind", [HoldKind.MISCONFIGURED, HoldKind.OUTAGE])
async def test_while_the_config_is_held_an_expired_credential_is_pending_at_once_and_nobody_is_asked(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, db: Database, sealer: Sealer, kind: HoldKind
) -> None:
    config = await configs.create(db, sealer, "default", APP, clock())
    await new_credential(provider_config_id=config.id)

    async def set_hold(kind: HoldKind) -> None:
        async with db.transaction() as tx:
            row = await tx.get_one(ProviderConfig, config.id)
            row.hold_kind = kind.value

    clock.advance(hours=1)
    await set_hold(kind)
    for changes in ({}, {"force_refresh": True}):
        assert refused(await ask(**changes)) == (503, "refresh_pending")
    assert engine.calls == []
    await set_hold(HoldKind.NONE)
    await ask()
    assert engine.heard("ensure_fresh") == 1


async def test_an_expired_credential_without_a_refresh_token_asks_nobody(
    ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential(refresh=None)
    assert (await ask(force_refresh=True)).status_code == 200
    clock.advance(hours=2)
    assert refused(await ask()) == (503, "refresh_pending")
    assert engine.calls == []


async def test_a_credential_that_never_expires_is_served_for_ever(
    ask: Ask, new_credential: Any, clock: Any, engine: Any
) -> None:
    await new_credential(lifetime=None)
    clock.advance(days=4000)
    answer = await ask(min_ttl=365 * 86_400)
    assert answer.status_code == 200
    assert "expires_at" not in answer.json()
    assert engine.calls == []


async def test_a_refused_credential_is_not_served_though_unexpired(
    ask: Ask, new_credential: Any, engine: Any, now: Any
) -> None:
    await new_credential(refused_at=now)
    assert refused(await ask()) == (503, "refresh_pending")
    assert engine.heard("ensure_fresh") == 1


async def test_twenty_readers_at_once_are_one_flight(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, renew: Any
) -> None:
    await new_credential()
    clock.advance(hours=1)
    started, landed = asyncio.Event(), asyncio.Event()

    async def slow(life: Life, seen: int) -> Freshness:
        started.set()
        await landed.wait()
        return await renew(life, seen)  # type: ignore[no-any-return]

    engine.refreshing = slow
    readers = [asyncio.create_task(ask()) for _ in range(20)]
    async with asyncio.timeout(20):
        await started.wait()
    readers[0].cancel()
    landed.set()
    answers = await asyncio.gather(*readers[1:])
    assert {a.json()["credential"] for a in answers} == {"access-2"}
    assert engine.heard("ensure_fresh") == 1


async def test_a_flight_of_one_connection_does_not_stand_for_another(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, renew: Any
) -> None:
    await new_credential(access="a")
    await new_credential(access="b", user_id="user-2")
    clock.advance(hours=1)
    engine.refreshing = renew
    one, two = await asyncio.gather(ask(), ask(user_id="user-2"))
    assert one.json()["connection_id"] != two.json()["connection_id"]
    assert engine.heard("ensure_fresh") == 2


async def test_a_deletion_during_the_wait_is_seen(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, change: Any
) -> None:
    life = await new_credential()
    clock.advance(hours=1)

    async def deleted(_life: Life, seen: int) -> Freshness:
        await change(Life, life.id, deleted_at=clock())
        return Freshness(seen, pending=True)

    engine.refreshing = deleted
    assert refused(await ask()) == (404, "not_connected")


async def test_a_death_during_the_wait_is_told(
    ask: Ask, new_credential: Any, engine: Any, clock: Any, change: Any
) -> None:
    life = await new_credential()
    clock.advance(hours=1)

    async def died(_life: Life, seen: int) -> Freshness:
        await change(Life, life.id, status="needs_reauth", reason="grant_revoked")
        return Freshness(seen)

    engine.refreshing = died
    answer = await ask()
    assert refused(answer) == (409, "needs_reauth")
    assert "grant_revoked" in answer.json()["detail"]


# --- needs_reauth, deleted, unknown ------------------------------------------------------------------------------


async def test_needs_reauth_with_a_token_nobody_refused_is_served_and_said(
    ask: Ask, new_credential: Any, engine: Any
) -> None:
    await new_credential(status="needs_reauth", reason="grant_revoked")
    answer = await ask(force_refresh=True, min_ttl=7200)
    assert (answer.status_code, answer.json()["needs_reauth"]) == (200, True)
    assert answer.json()["warnings"] == ["needs_reauth"]
    assert engine.calls == []


async def test_needs_reauth_otherwise_says_why_and_what_to_do(
    ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential(status="needs_reauth", reason="grant_revoked", refused_at=clock())
    answer = await ask()
    assert refused(answer) == (409, "needs_reauth")
    assert "grant_revoked" in answer.json()["detail"]
    assert answer.json()["remedy"]
    assert engine.calls == []


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"status": "pending", "connected_at": None}, "never active"),
        ({"status": "revoked"}, "revoked"),
        ({"tenant_id": "globex"}, "another tenant's"),
        ({"workspace_id": "another"}, "another workspace's"),
        ({"user_id": "user-2"}, "another user's"),
        ({"user_id": ""}, "the tenant's, and a user is never answered with that"),
        ({"provider_id": "plain"}, "another provider's"),
    ],
)
async def test_what_is_not_the_callers_is_not_connected(
    ask: Ask, new_credential: Any, columns: dict[str, Any], why: str
) -> None:
    await new_credential(**columns)
    assert refused(await ask()) == (404, "not_connected"), why


async def test_law_10_a_tombstone_stops_serving_at_once_with_the_engine_away(
    ask: Ask, client: httpx.AsyncClient, new_credential: Any, engine: Any
) -> None:
    life = await new_credential()
    engine.away = True
    answer = await client.delete(f"/api/connections/{life.id}")
    assert (answer.status_code, answer.headers["authpipe-upstream"]) == (204, "pending")
    assert refused(await ask()) == (404, "not_connected")


async def test_deleting_an_installation_stops_its_users_too(
    client: httpx.AsyncClient, installation: str, opened: Any, browser: Any, ask: Ask
) -> None:
    link = (await opened("sessions", user_id="ann"))["authorization_url"]
    assert (await browser.walk(link, person="member"))["status"] == "completed"
    assert (await ask(user_id="ann")).status_code == 200
    assert (await client.delete(f"/api/installations/{installation}")).status_code == 204
    for wish in ({"user_id": "ann"}, {"user_id": None}):
        assert refused(await ask(**wish)) == (404, "not_connected")


async def test_an_unknown_provider_is_said_to_be_one(ask: Ask) -> None:
    assert refused(await ask(provider="nowhere")) == (404, "provider_unknown")


# --- whose credential --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "credential"),
    [
        ({"user_id": None}, "inst"),
        ({"user_id": None, "credential_for": "installation"}, "inst"),
        ({"credential_for": "installation"}, "inst"),
        ({}, "user"),
        ({"credential_for": "user"}, "user"),
        ({"installation_id": "inst_1"}, "user"),
        ({"user_id": None, "credential_for": "user"}, "tenant"),
        ({"user_id": None, "installation_id": "inst_1"}, "inst"),
        ({"user_id": None, "installation_id": "inst_1", "credential_for": "installation"}, "inst"),
    ],
)
async def test_whose_credential_it_is(ask: Ask, new_credential: Any, wish: dict[str, Any], credential: str) -> None:
    await new_credential(Kind.INSTALLATION, access="inst", id="inst_1")
    await new_credential(access="user", installation_id="inst_1")
    await new_credential(access="tenant", user_id="", installation_id="inst_1")
    answer = (await ask(**wish)).json()
    assert answer["credential"] == credential
    assert answer["source"] == ("installation" if credential == "inst" else "connection")
    assert ("installation_id" in answer) == (credential == "inst")


async def test_without_an_installation_the_tenants_connection_is_meant(ask: Ask, new_credential: Any) -> None:
    await new_credential(access="tenant", user_id="")
    assert (await ask(user_id=None)).json()["credential"] == "tenant"


async def test_a_users_credential_without_a_user_is_refused(ask: Ask, new_credential: Any) -> None:
    await new_credential()
    assert refused(await ask(user_id=None, credential_for="user")) == (422, "user_required")


async def test_several_installations_are_a_choice_for_the_caller(ask: Ask, new_credential: Any) -> None:
    for name in ("a", "b"):
        await new_credential(
            Kind.INSTALLATION, access=name, id=f"inst_{name}", label=name, site_id=name, site_name=name
        )
    answer = await ask(user_id=None)
    assert refused(answer) == (409, "ambiguous")
    candidates = sorted(answer.json()["candidates"], key=lambda c: str(c["label"]))
    assert candidates == [{"installation_id": f"inst_{n}", "label": n, "site": n} for n in ("a", "b")]
    for name in ("a", "b"):
        assert (await ask(user_id=None, installation_id=f"inst_{name}")).json()["credential"] == name


async def test_several_configs_are_a_choice_for_the_caller(ask: Ask, new_credential: Any) -> None:
    await new_credential(access="one", provider_config_id="cfg_1")
    await new_credential(access="two", provider_config_id="cfg_2")
    assert refused(await ask()) == (409, "ambiguous")
    assert (await ask(provider_config_id="cfg_2")).json()["credential"] == "two"


async def test_the_one_active_among_many_dead_ones_is_found(ask: Ask, new_credential: Any) -> None:
    for number in range(8):
        dead = {"status": "needs_reauth", "label": f"l{number}", "id": f"inst_{number}"}
        await new_credential(Kind.INSTALLATION, access=f"dead-{number}", **dead)
    await new_credential(Kind.INSTALLATION, access="alive", id="inst_alive", label="alive")
    assert (await ask(user_id=None)).json()["credential"] == "alive"


async def test_another_tenants_installation_is_not_there(ask: Ask, new_credential: Any) -> None:
    await new_credential(Kind.INSTALLATION, access="theirs", id="inst_theirs", tenant_id="globex")
    assert refused(await ask(user_id=None, installation_id="inst_theirs")) == (404, "not_connected")


@pytest.mark.parametrize(
    "wish",
    [
        {"credential_for": "nobody"},
        {"min_ttl": -1},
        {"min_ttl": 1e300},
        {"min_ttl": 10**12},
        {"min_ttl": "soon"},
        {"min_ttl": 1.5},
        {"force_refresh": "perhaps"},
        {"tenant_id": "a\x00"},
        {"user_id": ""},
        {"unknown": 1},
    ],
)
async def test_a_bad_wish_names_the_field(ask: Ask, wish: dict[str, Any]) -> None:
    answer = await ask(**wish)
    assert refused(answer) == (422, "bad_request")
    assert answer.json()["errors"][0]["location"] == f"body.{next(iter(wish))}"


async def test_a_ciphertext_that_was_moved_does_not_open(ask: Ask, new_credential: Any, change: Any, rows: Any) -> None:
    """Law 8, seen from outside: another life's secret under this row is an error, never a credential."""
    from vault.tables import Credential

    mine = await new_credential(access="mine")
    theirs = await new_credential(access="theirs", user_id="user-2")
    by_life = {row.life_id: row for row in await rows(Credential)}
    await change(Credential, by_life[mine.id].id, sealed_access=by_life[theirs.id].sealed_access)
    answer = await ask()
    assert refused(answer) == (500, "seal_broken")
    assert "theirs" not in answer.text


async def test_two_connections_of_one_user_are_told_apart_by_label_or_id(ask: Ask, new_credential: Any) -> None:
    await new_credential(access="of-work")
    home = await new_credential(access="of-home", label="home")
    answer = await ask()
    assert refused(answer) == (409, "ambiguous")
    for named in ("installation_id", "connection_id", "label", "provider_config_id"):
        assert named in answer.json()["detail"]
    assert (await ask(label="home")).json()["credential"] == "of-home"
    assert (await ask(label="default")).json()["credential"] == "of-work"
    assert (await ask(connection_id=home.id)).json()["credential"] == "of-home"
    assert (await ask(connection_id=home.id, user_id=None)).json()["credential"] == "of-home"


@pytest.mark.parametrize(
    "wish",
    [
        {"label": "other"},
        {"connection_id": "conn_other"},
        {"user_id": "user-2"},
        {"tenant_id": "globex"},
        {"credential_for": "installation", "user_id": None},
        {"connection_id": "conn_other", "credential_for": "user", "user_id": None},
    ],
)
async def test_a_named_connection_must_fit_all_else_that_is_said(
    ask: Ask, new_credential: Any, wish: dict[str, Any]
) -> None:
    life = await new_credential()
    await new_credential(Kind.INSTALLATION, access="of-the-team")
    assert refused(await ask(**{"connection_id": life.id} | wish)) == (404, "not_connected")
