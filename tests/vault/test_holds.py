"""The hold of a config in the vault: when it begins, lasts and ends, what is told, and in which order lives go on."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlmodel import col, select, update

from domain.holds import FIRST_PAUSE, MISCONFIGURED_PAUSE, HoldKind
from domain.life import Status
from vault import configs, holds
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.holds import Leave
from vault.tables import Event, Life, ProviderConfig

NEW = NewConfig("jira", "client-1", "secret", "https://auth.example/oauth/callback", "user")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ONE_REASON = ("server_error", None)


@pytest.fixture
async def config(db: Database, sealer: Sealer, now: Any) -> ProviderConfig:
    return await configs.create(db, sealer, "default", NEW, now)


@pytest.fixture
def stored(db: Database, config: ProviderConfig) -> Any:
    """`await stored()`: the config as it stands."""

    async def read() -> ProviderConfig:
        found = await holds.state_of(db, config.id)
        assert found is not None
        return found

    return read


@pytest.fixture
def told(db: Database) -> Any:
    """`await told()`: the events of configs, with what they say."""

    async def read() -> list[tuple[str, str, str, str]]:
        async with db.reading() as tx:
            events = (await tx.exec(select(Event).order_by(col(Event.sequence)))).all()
        return [(e.type.partition(".")[2], e.data["old"], e.data["new"], e.data["reason"]) for e in events]

    return read


@pytest.fixture
def within(db: Database) -> Any:
    """`await within(holds.clear, config_id, now)`: in a transaction of its own."""

    async def run(step: Any, *args: Any) -> Any:
        async with db.transaction() as tx:
            return await step(tx, *args)

    return run


@pytest.fixture
def row(db: Database, config: ProviderConfig, new_life: Any, now: Any) -> Any:
    """`await row("acme", "ann", due=-1, ends=5)`: an active life; minutes from now."""

    async def make(tenant: str, user: str, due: float | None = -1, ends: float | None = 5, **columns: Any) -> str:
        life = await new_life(tenant_id=tenant, user_id=user, provider_config_id=config.id)
        at = {
            "next_due_at": None if due is None else now + due * MINUTE,
            "expires_at": None if ends is None else now + ends * MINUTE,
        }
        async with db.transaction() as tx:
            values = {"status": Status.ACTIVE, **at, **columns}
            await tx.exec(update(Life).where(col(Life.id) == life.id).values(values))
        return str(life.id)

    return make


# --- an operator's failure ------------------------------------------------------------------------------------------


async def test_a_refused_app_is_held_and_told_once_however_often_it_is_refused(
    config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    until = [await within(holds.misconfigured, config, now + n * SECOND, "client_refused") for n in range(3)]
    assert until == [now + n * SECOND + MISCONFIGURED_PAUSE for n in range(3)]
    held = await stored()
    assert (held.hold_kind, held.held_reason, held.held_until) == ("misconfigured", "client_refused", until[-1])
    assert await told() == [("misconfigured", "ok", "misconfigured", "client_refused")]


async def test_of_twenty_refused_at_once_one_is_told(
    db: Database, config: ProviderConfig, told: Any, within: Any, now: Any
) -> None:
    refused = [within(holds.misconfigured, config, now, "client_refused") for _ in range(20)]
    assert await asyncio.gather(*refused) == [now + MISCONFIGURED_PAUSE] * 20
    assert len(await told()) == 1


async def test_of_twenty_that_succeed_at_once_after_it_one_tells_of_the_recovery(
    config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    await within(holds.misconfigured, config, now, "client_refused")
    ended = await asyncio.gather(*(within(holds.clear, config.id, now, now + SECOND) for _ in range(20)))
    assert Counter(ended) == {True: 1, False: 19}
    freed = await stored()
    assert (freed.hold_kind, freed.held_until, freed.held_reason, freed.hold_tries) == ("", None, "", 0)
    assert (await told())[1:] == [("recovered", "misconfigured", "ok", "client_refused")]


async def test_what_was_sent_before_the_refusal_does_not_end_its_hold(
    config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    """A slow answer to the secret of before; a recovery that is told for it would be taken back a moment later."""
    await within(holds.misconfigured, config, now, "client_refused")
    assert not await within(holds.clear, config.id, now + SECOND, now - SECOND)
    assert ((await stored()).hold_kind, len(await told())) == ("misconfigured", 1)
    assert await within(holds.clear, config.id, now + MINUTE, now + SECOND)


async def test_a_scout_that_learns_nothing_of_a_refused_app_is_followed_soon(
    config: ProviderConfig, stored: Any, within: Any, now: Any
) -> None:
    await within(holds.misconfigured, config, now, "client_refused")
    pauses = [await within(holds.scout_failed, config.id, now, *ONE_REASON) - now for _ in range(3)]
    assert pauses == [FIRST_PAUSE] * 3
    assert await within(holds.scout_failed, config.id, now, "rate_limited", 90.0) == now + 90 * SECOND
    assert ((await stored()).hold_kind, (await stored()).held_reason) == ("misconfigured", "client_refused")


async def test_the_refusal_of_a_secret_that_was_replaced_meanwhile_holds_nobody(
    db: Database, sealer: Sealer, config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    await configs.change(db, sealer, "default", config.id, now, client_secret="another")
    assert await within(holds.misconfigured, config, now, "client_refused") is None
    assert ((await stored()).hold_kind, await told()) == ("", [])


async def test_a_new_client_secret_ends_the_hold_and_tells_of_it(
    db: Database, sealer: Sealer, config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    await within(holds.misconfigured, config, now, "client_refused")
    await configs.change(db, sealer, "default", config.id, now, client_secret="another")
    assert (await stored()).hold_kind == ""
    assert (await told())[1:] == [("recovered", "misconfigured", "ok", "client_secret_replaced")]


# --- a worker that knew no kinds --------------------------------------------------------------------------------------


@pytest.fixture
async def kindless(db: Database, config: ProviderConfig, now: Any) -> ProviderConfig:
    """As a worker of the version before writes it, while it still runs after the migration."""
    async with db.transaction() as tx:
        await tx.exec(update(ProviderConfig).values(held_until=now + MINUTE, held_reason="client_refused"))
    return config


async def test_a_hold_without_a_kind_is_one_of_a_refused_app(
    db: Database, kindless: ProviderConfig, told: Any, within: Any, now: Any
) -> None:
    assert [found.id for found in await holds.held(db)] == [kindless.id]
    assert await holds.holds_still(db, kindless.id)
    assert await stumble(within, kindless, now, 6) == [None] * 6, "and no outage begins in it"
    assert await within(holds.clear, kindless.id, now, now)
    assert not await holds.holds_still(db, kindless.id)
    assert await told() == [], "whoever held it told nobody, so there is nothing to take back"


async def test_a_scout_that_fails_in_a_hold_without_a_kind_makes_it_last(
    kindless: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    assert await within(holds.scout_failed, kindless.id, now, *ONE_REASON) == now + FIRST_PAUSE
    held = await stored()
    assert (held.hold_kind, held.held_reason) == ("", "client_refused")
    await within(holds.misconfigured, kindless, now, "client_refused")
    await within(holds.clear, kindless.id, now + MINUTE, now + SECOND)
    assert [name for name, *_ in await told()] == ["misconfigured", "recovered"]


async def test_the_next_refusal_in_a_hold_without_a_kind_is_told(
    kindless: ProviderConfig, told: Any, within: Any, now: Any
) -> None:
    for _ in range(2):
        await within(holds.misconfigured, kindless, now, "client_refused")
    assert [name for name, *_ in await told()] == ["misconfigured"]


# --- an outage ------------------------------------------------------------------------------------------------------


async def stumble(within: Any, config: ProviderConfig, now: Any, times: int, *reason: Any) -> list[Any]:
    return [await within(holds.began_to_fail, config.id, now, *(reason or ONE_REASON)) for _ in range(times)]


async def test_the_fifth_life_that_begins_to_fail_holds_the_config_without_an_event(
    config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    assert await stumble(within, config, now, 5) == [None, None, None, None, now + FIRST_PAUSE]
    held = await stored()
    assert (held.hold_kind, held.held_reason, held.held_until) == ("outage", "server_error", now + FIRST_PAUSE)
    assert await told() == []


async def test_a_success_between_lets_the_count_begin_anew(
    config: ProviderConfig, stored: Any, within: Any, now: Any
) -> None:
    await stumble(within, config, now, 4)
    assert not await within(holds.clear, config.id, now, now)
    assert await stumble(within, config, now, 4) == [None] * 4
    assert (await stored()).hold_kind == ""


async def test_of_many_that_begin_to_fail_at_once_one_begins_the_outage(
    config: ProviderConfig, stored: Any, within: Any, now: Any
) -> None:
    """Those that were under way neither lengthen it nor begin another one."""
    failed = (within(holds.began_to_fail, config.id, now, *ONE_REASON) for _ in range(20))
    assert Counter(await asyncio.gather(*failed)) == {None: 19, now + FIRST_PAUSE: 1}
    held = await stored()
    assert (held.hold_tries, held.held_until, held.stumbled) == (1, now + FIRST_PAUSE, 20)


async def test_each_scout_that_fails_doubles_the_pause_and_is_told_by_nothing(
    config: ProviderConfig, told: Any, within: Any, now: Any
) -> None:
    await stumble(within, config, now, 5)
    pauses = [await within(holds.scout_failed, config.id, now, *ONE_REASON) - now for _ in range(6)]
    assert [pause.total_seconds() for pause in pauses] == [30, 60, 120, 240, 300, 300]
    assert await told() == []


async def test_the_providers_own_wish_is_honoured(config: ProviderConfig, within: Any, now: Any) -> None:
    *_, until = await stumble(within, config, now, 5, "rate_limited", 90.0)
    assert until == now + 90 * SECOND
    assert await within(holds.scout_failed, config.id, now, "rate_limited", 900.0) == now + 900 * SECOND


async def test_an_outage_that_turns_out_to_be_a_refusal_of_the_app_is_told(
    config: ProviderConfig, stored: Any, told: Any, within: Any, now: Any
) -> None:
    await stumble(within, config, now, 5)
    await within(holds.misconfigured, config, now, "client_refused")
    assert ((await stored()).hold_kind, len(await told())) == ("misconfigured", 1)
    await within(holds.scout_failed, config.id, now, *ONE_REASON)
    held = await stored()
    assert (held.hold_kind, held.held_reason) == ("misconfigured", "client_refused"), "a moment's failure cures nothing"


async def test_a_scout_that_fails_after_the_hold_ended_brings_it_not_back(
    config: ProviderConfig, stored: Any, within: Any, now: Any
) -> None:
    await stumble(within, config, now, 5)
    assert await within(holds.clear, config.id, now, now)
    assert await within(holds.scout_failed, config.id, now, *ONE_REASON) is None
    assert (await stored()).held_until is None


# --- who may try ----------------------------------------------------------------------------------------------------


async def test_anybody_may_try_where_nothing_is_held_and_nobody_before_the_pause_is_over(
    config: ProviderConfig, within: Any, now: Any
) -> None:
    assert await within(holds.may_try, config.id, now, now + MINUTE) is Leave.FREE
    await stumble(within, config, now, 5)
    assert await within(holds.may_try, config.id, now, now + MINUTE) is None


async def test_of_twenty_who_come_when_the_pause_is_over_one_is_the_scout(
    config: ProviderConfig, within: Any, now: Any
) -> None:
    await stumble(within, config, now, 5)
    over = now + FIRST_PAUSE
    came = await asyncio.gather(*(within(holds.may_try, config.id, over, over + MINUTE) for _ in range(20)))
    assert Counter(came) == {Leave.SCOUT: 1, None: 19}


async def test_a_held_life_waits_and_one_that_comes_when_the_pause_is_over_does_not(
    config: ProviderConfig, stored: Any, within: Any, now: Any
) -> None:
    assert holds.waits_until(await stored(), "conn_1", now) is None
    await stumble(within, config, now, 5)
    held = await stored()
    assert holds.waits_until(held, "conn_1", now) >= now + 30 * MINUTE
    assert holds.waits_until(held, "conn_1", now, now + 2 * MINUTE) == now + 2 * MINUTE
    assert holds.waits_until(held, "conn_1", now + FIRST_PAUSE) is None


# --- the release ----------------------------------------------------------------------------------------------------


async def test_tenants_take_turns_and_of_each_the_token_that_ends_first_comes_first(
    db: Database, config: ProviderConfig, row: Any, now: Any
) -> None:
    big = [await row("big", f"user-{n}", ends=n) for n in (3, 1, 2)]
    small = await row("small", "ann", ends=9)
    other = await row("other", "ben", ends=None, due=-1)
    third, first, second = big
    assert await holds.in_order_of_release(db, config.id, now) == [other, first, small, second, third]


async def test_no_order_of_release_starves_a_tenant(db: Database, config: ProviderConfig, row: Any, now: Any) -> None:
    """Before a tenant's n-th life no other tenant's n+1-th goes, whoever has more and whoever ends earlier."""
    sizes = {"a": 1, "b": 9, "c": 4, "d": 2}
    tenant_of = {await row(tenant, f"u{n}", ends=-n): tenant for tenant, size in sizes.items() for n in range(size)}
    order = [tenant_of[life_id] for life_id in await holds.in_order_of_release(db, config.id, now)]
    assert Counter(order) == sizes
    turns = [Counter(order[: at + 1])[tenant] for at, tenant in enumerate(order)]
    assert all(earlier <= later for earlier, later in pairwise(turns))


async def test_only_lives_that_are_due_are_released(
    db: Database, config: ProviderConfig, row: Any, new_life: Any, now: Any
) -> None:
    due = await row("acme", "due")
    later = await row("acme", "later", due=5)
    await row("acme", "never", due=None)
    await row("acme", "dead", status=Status.NEEDS_REAUTH)
    await row("acme", "deleted", deleted_at=now)
    await new_life(user_id="elsewhere")
    assert await holds.in_order_of_release(db, config.id, now) == [due]
    assert await holds.count_due(db, config.id, now) == 1
    assert await holds.next_due_at(db, config.id) == now - MINUTE
    assert [life.id for life in await holds.still_due(db, [later, due], now)] == [due]


async def test_the_rows_of_a_page_come_in_its_order(db: Database, row: Any, now: Any) -> None:
    ids = [await row("acme", f"user-{n}") for n in range(5)]
    assert [life.id for life in await holds.still_due(db, ids[::-1], now)] == ids[::-1]


async def test_another_scout_goes_each_turn_the_token_that_ends_first_before_the_others(
    db: Database, config: ProviderConfig, row: Any, now: Any
) -> None:
    assert await holds.scout(db, config.id, now, 0) is None
    second, first = await row("acme", "ann", ends=2), await row("beta", "ben", ends=1)
    sent = [(await holds.scout(db, config.id, now, turn)).id for turn in range(4)]
    assert sent == [first, second, first, second]


async def test_a_life_that_failed_is_no_scout_before_those_that_did_not(
    db: Database, config: ProviderConfig, row: Any, now: Any
) -> None:
    failed, fresh = await row("acme", "ann", ends=1, failures=1), await row("acme", "ben", ends=9)
    assert [(await holds.scout(db, config.id, now, turn)).id for turn in range(2)] == [fresh, failed]


async def test_held_configs_are_found_until_they_are_freed_or_deleted(
    db: Database, config: ProviderConfig, within: Any, now: Any
) -> None:
    assert (await holds.held(db), await holds.holds_still(db, config.id)) == ([], False)
    await within(holds.misconfigured, config, now, "client_refused")
    assert [found.id for found in await holds.held(db)] == [config.id]
    assert await holds.holds_still(db, config.id)
    await configs.delete(db, "default", config.id, now)
    assert (await holds.held(db), await holds.state_of(db, config.id)) == ([], None)


def test_a_kind_reads_as_it_is_stored() -> None:
    assert [str(kind) for kind in HoldKind] == ["", "misconfigured", "outage"]
