"""What waits to be delivered, in which order it may go, and who may take it. On both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from domain.life import Kind
from tests.vault.queue.steps import claim, deliver, fail, happen, names, rows
from vault import configs, endpoints, outbox
from vault.configs import NewConfig
from vault.crypto import Sealer
from vault.database import Database
from vault.events import append_config_event
from vault.outbox import LEASE
from vault.tables import Event, Life

URL = "https://builder.example.com/events"


# --- order ------------------------------------------------------------------------------------------------------------


async def test_only_the_oldest_waiting_event_of_a_life_may_go(
    db: Database, life: Life, endpoint: Any, clock: Any
) -> None:
    await happen(db, clock, life, "created", "activated", "degraded")
    for expected in ("created", "activated", "degraded"):
        (head,) = await claim(db, clock)
        assert names([head]) == [expected]
        assert await claim(db, clock) == []
        await deliver(db, clock, head)
    assert await claim(db, clock) == []


async def test_lives_do_not_wait_for_each_other(db: Database, new_life: Any, endpoint: Any, clock: Any) -> None:
    for user in ("ann", "ben"):
        await happen(db, clock, await new_life(user_id=user), "created", "activated")
    first, _ = await claim(db, clock)
    assert first.user_id == "ann"
    await fail(db, clock, first, timedelta(hours=1))
    clock.advance(minutes=1)
    (second,) = await claim(db, clock)
    assert second.user_id == "ben"


async def test_what_fails_holds_up_what_comes_after_it_and_is_tried_when_its_wait_is_over(
    db: Database, life: Life, endpoint: Any, clock: Any
) -> None:
    await happen(db, clock, life, "created", "activated")
    (head,) = await claim(db, clock)
    assert await fail(db, clock, head, timedelta(minutes=5))
    clock.advance(minutes=4, seconds=59)
    assert await claim(db, clock) == []
    clock.advance(seconds=1)
    (again,) = await claim(db, clock)
    assert (again.event.id, again.attempts, again.first_attempt_at) == (head.event.id, 2, head.first_attempt_at)


async def test_what_is_due_longest_goes_first(db: Database, new_life: Any, endpoint: Any, clock: Any) -> None:
    """A head that failed comes behind those that were not tried, so it cannot be the only one tried after a pause."""
    for user in ("ann", "ben"):
        await happen(db, clock, await new_life(user_id=user), "created")
        clock.advance(seconds=1)
    (ann,) = await claim(db, clock, 1)
    await fail(db, clock, ann)
    clock.advance(minutes=1)
    assert [each.user_id for each in await claim(db, clock)] == ["ben", "ann"]


async def test_events_of_a_provider_config_have_their_own_order(
    db: Database, sealer: Sealer, endpoint: Any, clock: Any
) -> None:
    new = NewConfig("jira", "app", "", "https://example.com/oauth/callback", "user")
    config = await configs.create(db, sealer, "default", new, clock())
    for name in ("misconfigured", "recovered"):
        async with db.transaction() as tx:
            await append_config_event(tx, config, name, clock())
    (head,) = await claim(db, clock)
    assert (names([head]), head.provider_id, head.tenant_id) == (["misconfigured"], "jira", "")


async def test_a_claimed_event_says_whose_it_is(db: Database, new_life: Any, endpoint: Any, clock: Any) -> None:
    await happen(db, clock, await new_life(Kind.CONNECTION, user_id="ann"), "created")
    (claimed,) = await claim(db, clock)
    assert (claimed.provider_id, claimed.tenant_id, claimed.user_id, claimed.attempts) == ("jira", "acme", "ann", 1)


async def test_another_workspaces_events_are_none_of_ours(
    db: Database, new_life: Any, sealer: Sealer, clock: Any
) -> None:
    await endpoints.set_url(db, sealer, "other", URL, clock())
    await happen(db, clock, await new_life(workspace_id="other"), "created")
    assert await claim(db, clock) == []


# --- claims -----------------------------------------------------------------------------------------------------------


async def test_an_event_is_claimed_once_however_many_ask(
    db: Database, new_life: Any, endpoint: Any, clock: Any
) -> None:
    for n in range(5):
        await happen(db, clock, await new_life(user_id=f"user-{n}"), "created")
    taken = await asyncio.gather(*(claim(db, clock) for _ in range(4)))
    ids = [each.event.id for some in taken for each in some]
    assert len(ids) == len(set(ids)) == 5


async def test_a_claim_that_nobody_followed_up_is_free_again_after_its_lease(
    db: Database, life: Life, endpoint: Any, clock: Any
) -> None:
    await happen(db, clock, life, "created")
    (lost,) = await claim(db, clock)
    clock.advance(seconds=LEASE.total_seconds())
    (again,) = await claim(db, clock)
    assert (again.attempts, again.first_attempt_at) == (2, lost.first_attempt_at)
    assert not await fail(db, clock, lost), "a late failure must not put off the one that is under way"
    await deliver(db, clock, lost)
    assert (await rows(db))["created"].delivered_at == clock(), "a late success is a success"


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_an_event_that_failed_for_days_is_dead_and_lets_the_next_one_through(
    db: Database, life: Life, endpoint: Any, clock: Any
) -> None:
    await happen(db, clock, life, "created", "activated")
    (first,) = await claim(db, clock)
    await fail(db, clock, first)
    clock.advance(days=5)
    (last,) = await claim(db, clock)
    await fail(db, clock, last, error="no_answer_in_time")
    row = (await rows(db))["created"]
    assert (row.dead_at, row.attempts, row.last_error) == (clock(), 2, "no_answer_in_time")
    assert names(await claim(db, clock)) == ["activated"]


@pytest.mark.parametrize("ended", ["dead", "delivered"])
async def test_what_has_ended_can_be_sent_again(
    db: Database, life: Life, endpoint: Any, clock: Any, ended: str
) -> None:
    await happen(db, clock, life, "created")
    (head,) = await claim(db, clock)
    clock.advance(days=6)
    await (fail if ended == "dead" else deliver)(db, clock, head)
    assert await claim(db, clock) == []
    async with db.transaction() as tx:
        await outbox.replay(tx, head.event)
    (again,) = await claim(db, clock)
    assert (again.event.id, again.attempts, again.first_attempt_at) == (head.event.id, 1, clock())


async def test_an_event_from_before_the_endpoint_can_be_sent_too(
    db: Database, life: Life, sealer: Sealer, clock: Any
) -> None:
    await happen(db, clock, life, "created")
    await endpoints.set_url(db, sealer, "default", URL, clock())
    assert await claim(db, clock) == []
    async with db.transaction() as tx:
        await outbox.replay(tx, (await tx.exec(select(Event))).one())
    assert names(await claim(db, clock)) == ["created"]
