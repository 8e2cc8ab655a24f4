"""Only who needs more life than is left waits for a refresh, and never past the deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.holds import HoldKind
from tests.api.flow.credentials.asking import refused
from vault import configs
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import Life, ProviderConfig
from workflows.messages import Freshness

Ask = Callable[..., Awaitable[httpx.Response]]
APP = NewConfig("jira", "client", "secret", "https://app.example.com/oauth/callback", "user")


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
