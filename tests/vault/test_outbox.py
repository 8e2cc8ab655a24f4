"""What waits to be delivered, in which order it may go, and how an endpoint fares. On both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from domain.delivery import LONGEST_PAUSE, PAUSE_AFTER
from domain.life import Kind
from vault import configs, endpoints, outbox
from vault.configs import NewConfig
from vault.crypto import SealBroken, Sealer
from vault.database import Database
from vault.events import append_config_event, append_event
from vault.outbox import LEASE, Claimed
from vault.tables import Event, Life, Outbox, WebhookEndpoint

URL = "https://builder.example.com/events"
PATIENCE = timedelta(days=5)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def endpoint(db: Database, sealer: Sealer, clock: Any) -> WebhookEndpoint:
    return (await endpoints.set_url(db, sealer, "default", URL, clock()))[0]


async def happen(db: Database, clock: Any, life: Life, *names: str) -> None:
    for name in names:
        async with db.transaction() as tx:
            await append_event(tx, life, name, clock())


async def claim(db: Database, clock: Any, limit: int = 100) -> list[Claimed]:
    async with db.transaction() as tx:
        return await outbox.claim(tx, "default", clock(), limit)


async def deliver(db: Database, clock: Any, *claimed: Claimed) -> None:
    async with db.transaction() as tx:
        for each in claimed:
            await outbox.delivered(tx, each, clock())


async def fail(db: Database, clock: Any, claimed: Claimed, wait: timedelta = SECOND, error: str = "status_500") -> bool:
    async with db.transaction() as tx:
        return await outbox.failed(tx, claimed, clock(), error, wait, PATIENCE)


async def rows(db: Database) -> dict[str, Outbox]:
    """The queue, by the name of each event."""
    query = select(Outbox, Event).join(Event, col(Event.id) == Outbox.event_id).order_by(col(Event.sequence))
    async with db.reading() as tx:
        return {event.type.partition(".")[2]: row for row, event in (await tx.exec(query)).all()}


def names(claimed: list[Claimed]) -> list[str]:
    return [each.event.type.partition(".")[2] for each in claimed]


async def current(db: Database) -> WebhookEndpoint:
    async with db.reading() as tx:
        found = await endpoints.find(tx, "default")
    assert found is not None
    return found


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


# --- when to look -----------------------------------------------------------------------------------------------------


async def test_the_next_one_due_is_the_earliest_head(db: Database, new_life: Any, endpoint: Any, clock: Any) -> None:
    async def next_due() -> Any:
        async with db.reading() as tx:
            return await outbox.next_due(tx, "default")

    assert await next_due() is None
    ann, ben = await new_life(user_id="ann"), await new_life(user_id="ben")
    await happen(db, clock, ann, "created", "activated")
    assert await next_due() == clock()
    await happen(db, clock, ben, "created")
    for claimed, hours in zip(await claim(db, clock), (2, 3), strict=True):
        await fail(db, clock, claimed, timedelta(hours=hours))
    assert await next_due() == clock() + timedelta(hours=2)


async def test_a_sweep_finds_the_workspaces_whose_heads_are_overdue(
    db: Database, new_life: Any, sealer: Sealer, clock: Any
) -> None:
    async def overdue(**more: Any) -> list[str]:
        async with db.reading() as tx:
            return await outbox.overdue_workspaces(tx, clock() - SECOND, clock(), **more)

    for workspace in ("a", "b", "c"):
        await endpoints.set_url(db, sealer, workspace, URL, clock())
        await happen(db, clock, await new_life(workspace_id=workspace), "created", "activated")
    assert await overdue() == []
    clock.advance(seconds=1)
    assert await overdue() == ["a", "b", "c"]
    assert await overdue(limit=2) == ["a", "b"]
    assert await overdue(after="b") == ["c"]
    async with db.transaction() as tx:
        (claimed,) = await outbox.claim(tx, "a", clock(), 1)
        await outbox.failed(tx, claimed, clock(), "status_500", timedelta(hours=1), PATIENCE)
        seen = await endpoints.find(tx, "b")
        assert seen is not None
        await endpoints.gone(tx, seen, "status_410", clock())
        paused = await endpoints.find(tx, "c")
        assert paused is not None
        paused.paused_until = clock() + timedelta(minutes=1)
    assert await overdue() == []


# 20,000 that were delivered, and statistics taken; then 3,000 that wait, two for each of 1,500 subjects.
LITTLE_WAITS = """
INSERT INTO event (id, workspace_id, life_id, provider_config_id, type, created_at)
SELECT 'old_' || n, 'default', 'life_' || n % 500, '', 'connection.old', now() FROM generate_series(1, 20000) AS n;
INSERT INTO outbox (event_id, workspace_id, life_id, created_at, attempts, last_error, delivered_at)
SELECT id, workspace_id, life_id, created_at, 1, '', created_at FROM event;
ANALYZE event, outbox"""
A_BURST = """
INSERT INTO event (id, workspace_id, life_id, provider_config_id, type, created_at)
SELECT 'new_' || n, 'default', 'life_' || n % 1500, '', 'connection.new', '2026-03-01T12:00:00Z'
FROM generate_series(1, 3000) AS n;
INSERT INTO outbox (event_id, workspace_id, life_id, created_at, attempts, last_error)
SELECT id, workspace_id, life_id, created_at, 0, '' FROM event WHERE id LIKE 'new_%'"""


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_burst_is_read_in_time_where_the_planner_believes_that_nothing_waits(
    db: Database, endpoint: Any, clock: Any
) -> None:
    """The statistics are of a queue in which nothing waits, as they are when an outage begins."""
    for statements in (LITTLE_WAITS, A_BURST):
        async with db.transaction() as tx:
            for statement in statements.split(";"):
                await tx.exec(text(statement))  # type: ignore[call-overload]
    async with db.transaction() as tx:
        await tx.exec(text("SET LOCAL statement_timeout = '1s'"))  # type: ignore[call-overload]
        assert await outbox.next_due(tx, "default") == clock()
        assert await outbox.overdue_workspaces(tx, clock(), clock()) == ["default"]
        claimed = await outbox.claim(tx, "default", clock(), 100)
    assert [each.event.id for each in claimed] == [f"new_{n}" for n in range(1, 101)]


# --- the endpoint -----------------------------------------------------------------------------------------------------


async def fail_as_new(db: Database, clock: Any, times: int) -> None:
    """So many different events fail."""
    for _ in range(times):
        async with db.transaction() as tx:
            seen = await endpoints.find(tx, "default")
            assert seen is not None
            await endpoints.failed(tx, seen, 1, "status_500", clock(), 0)


async def get_through(db: Database, clock: Any) -> None:
    """Some other event was taken."""
    seen = await current(db)
    async with db.transaction() as tx:
        await endpoints.got_through(tx, seen, clock())


async def test_an_endpoint_is_left_in_peace_after_five_events_failed(db: Database, endpoint: Any, clock: Any) -> None:
    await fail_as_new(db, clock, PAUSE_AFTER - 1)
    assert (await current(db)).paused_until is None
    await fail_as_new(db, clock, 1)
    assert (await current(db)).paused_until == clock() + timedelta(seconds=5)
    await fail_as_new(db, clock, 1)
    found = await current(db)
    assert (found.paused_until, found.failures) == (clock() + timedelta(seconds=10), PAUSE_AFTER + 1)


async def test_once_it_is_back_nothing_waits_any_longer(db: Database, new_life: Any, endpoint: Any, clock: Any) -> None:
    for user in ("ann", "ben", "cem"):
        await happen(db, clock, await new_life(user_id=user), "created")
    ann, ben, _cem = await claim(db, clock)
    await fail(db, clock, ann, timedelta(hours=10))
    await fail(db, clock, ben, timedelta(hours=10))
    await fail_as_new(db, clock, PAUSE_AFTER)
    async with db.transaction() as tx:
        await endpoints.got_through(tx, await current(db), clock())
    found = await current(db)
    assert (found.failures, found.paused_until, found.last_error) == (0, None, "")
    assert [each.user_id for each in await claim(db, clock)] == ["ann", "ben"], "what is under way is left alone"


async def test_after_fewer_failures_what_failed_for_a_moments_reason_waits_minutes_not_hours(
    db: Database, new_life: Any, endpoint: Any, clock: Any
) -> None:
    errors = ["unreachable", "no_answer_in_time", "status_503", "status_408", "status_429", "status_422", "status_404"]
    for error in errors:
        await happen(db, clock, await new_life(user_id=error), "created", "activated")
    for claimed in await claim(db, clock):
        await fail(db, clock, claimed, timedelta(hours=10), claimed.user_id)
    await fail_as_new(db, clock, PAUSE_AFTER - 1)
    await get_through(db, clock)
    assert await claim(db, clock) == [], "an event that fails each time must not go again after every success"
    clock.advance(seconds=LONGEST_PAUSE.total_seconds())
    assert {each.user_id for each in await claim(db, clock)} == set(errors[:5])
    clock.advance(hours=10)
    assert {each.user_id for each in await claim(db, clock)} == set(errors)


async def test_what_waits_is_hastened_once_for_each_failure_and_only_by_a_success_after_it(
    db: Database, life: Life, endpoint: Any, clock: Any
) -> None:
    async def next_at() -> Any:
        return (await rows(db))["created"].next_attempt_at

    await happen(db, clock, life, "created")
    (head,) = await claim(db, clock)
    await fail(db, clock, head, timedelta(hours=10))
    await get_through(db, clock)
    assert await next_at() == clock() + timedelta(hours=10), "nothing is known of a failure"
    async with db.transaction() as tx:
        await endpoints.failed(tx, await current(db), 7, "status_500", clock(), 0)
    assert (await current(db)).failures == 0
    await get_through(db, clock)
    soon = clock() + LONGEST_PAUSE
    assert (await next_at(), (await current(db)).last_error) == (soon, "")
    clock.advance(minutes=1)
    await get_through(db, clock)
    assert await next_at() == soon, "a receiver that takes all others must not put it off for ever"


async def test_what_is_under_way_or_due_soon_keeps_its_time(
    db: Database, new_life: Any, endpoint: Any, clock: Any
) -> None:
    for user in ("ann", "ben"):
        await happen(db, clock, await new_life(user_id=user), "created")
    ann, _under_way = await claim(db, clock)
    await fail(db, clock, ann, timedelta(minutes=2))
    await fail_as_new(db, clock, 1)
    await get_through(db, clock)
    async with db.reading() as tx:
        assert await outbox.next_due(tx, "default") == clock() + LEASE
    clock.advance(minutes=2)
    assert [each.user_id for each in await claim(db, clock)] == ["ben", "ann"]


async def test_to_see_whether_it_is_back_an_event_may_go_before_its_time(
    db: Database, new_life: Any, endpoint: Any, clock: Any
) -> None:
    async def early(limit: int = 100) -> list[str]:
        async with db.transaction() as tx:
            return [each.user_id for each in await outbox.claim(tx, "default", clock(), limit, early=True)]

    for user in ("ann", "ben", "cem"):
        await happen(db, clock, await new_life(user_id=user), "created")
    ann, ben, _under_way = await claim(db, clock)
    await fail(db, clock, ann, timedelta(hours=10))
    await fail(db, clock, ben, timedelta(hours=5))
    assert await claim(db, clock) == []
    assert await early(1) == ["ben"]
    assert await early() == ["ann"]


async def test_what_the_old_url_did_says_nothing_of_the_new_one(
    db: Database, sealer: Sealer, endpoint: Any, clock: Any
) -> None:
    await endpoints.set_url(db, sealer, "default", "https://new.example.com/", clock())
    async with db.transaction() as tx:
        await endpoints.failed(tx, endpoint, 1, "status_500", clock(), 0)
        await endpoints.gone(tx, endpoint, "status_410", clock())
    found = await current(db)
    assert (found.failures, found.disabled_at, found.last_error) == (0, None, "")


async def test_an_endpoint_that_is_gone_keeps_what_waits_until_a_url_is_set_anew(
    db: Database, life: Life, sealer: Sealer, endpoint: Any, clock: Any
) -> None:
    await happen(db, clock, life, "created")
    (head,) = await claim(db, clock)
    async with db.transaction() as tx:
        await outbox.put_back(tx, head, "status_410")
        await endpoints.gone(tx, endpoint, "status_410", clock())
    assert (await current(db)).disabled_at == clock()
    row = (await rows(db))["created"]
    assert (row.attempts, row.last_error) == (0, "status_410")
    clock.advance(days=30)
    heard: list[str] = []
    db.on_events = heard.append
    await endpoints.set_url(db, sealer, "default", URL, clock())
    assert heard == ["default"]
    (again,) = await claim(db, clock)
    assert again.first_attempt_at == clock(), "a month of silence is no failure of the new URL"
    assert (await current(db)).disabled_at is None


async def test_without_its_endpoint_a_workspaces_queue_is_empty_but_its_events_stay(
    db: Database, life: Life, endpoint: Any, clock: Any
) -> None:
    await happen(db, clock, life, "created", "activated")
    await deliver(db, clock, *await claim(db, clock))
    assert await endpoints.remove(db, "default")
    assert not await endpoints.remove(db, "default")
    assert list(await rows(db)) == ["created"], "what was delivered is still known to be"
    async with db.reading() as tx:
        assert len((await tx.exec(select(Event))).all()) == 2


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_the_secret_is_sealed_and_both_sign_for_a_day(db: Database, sealer: Sealer, clock: Any) -> None:
    _, first = await endpoints.set_url(db, sealer, "default", URL, clock())
    assert first.startswith("whsec_")
    assert len(first) == len("whsec_") + 44
    row = await current(db)
    assert first.encode() not in (row.sealed_secret_1 or b"")
    assert await endpoints.signing_secrets(sealer, row, clock()) == [first]
    second = await endpoints.rotate(db, sealer, "default", clock())
    assert await endpoints.signing_secrets(sealer, await current(db), clock()) == [second, first]
    clock.advance(days=1)
    assert await endpoints.signing_secrets(sealer, await current(db), clock()) == [second]
    async with db.transaction() as tx:
        await endpoints.destroy_retired(tx, clock())
    assert (await current(db)).sealed_secret_2 is None


async def test_a_third_secret_takes_the_place_of_the_first(db: Database, sealer: Sealer, clock: Any) -> None:
    await endpoints.set_url(db, sealer, "default", URL, clock())
    second = await endpoints.rotate(db, sealer, "default", clock())
    _, third = await endpoints.set_url(db, sealer, "default", "https://new.example.com/", clock())
    assert await endpoints.signing_secrets(sealer, await current(db), clock()) == [third, second]


async def test_a_secret_opens_in_its_own_workspace_and_version_alone(
    db: Database, sealer: Sealer, endpoint: WebhookEndpoint, clock: Any
) -> None:
    await endpoints.set_url(db, sealer, "other", URL, clock())
    for moved in ({"workspace_id": "other"}, {"secret_version": 2}):
        row = WebhookEndpoint(**{**endpoint.model_dump(), **moved})
        with pytest.raises(SealBroken):
            await endpoints.signing_secrets(sealer, row, clock())


async def test_two_who_set_it_at_once_both_hold_a_secret_that_signs(db: Database, sealer: Sealer, clock: Any) -> None:
    done = await asyncio.gather(*(endpoints.set_url(db, sealer, "default", URL, clock()) for _ in range(2)))
    secrets = {secret for _, secret in done}
    assert set(await endpoints.signing_secrets(sealer, await current(db), clock())) == secrets


async def test_what_is_not_there_is_not_rotated(db: Database, sealer: Sealer, clock: Any) -> None:
    assert await endpoints.rotate(db, sealer, "default", clock()) is None


async def test_refreshes_are_queued_only_while_they_are_asked_for(
    db: Database, life: Life, sealer: Sealer, clock: Any
) -> None:
    for refreshed, expected in ((None, False), (True, True), (None, True), (False, False)):
        row, _ = await endpoints.set_url(db, sealer, "default", URL, clock(), refreshed=refreshed)
        assert row.refreshed is expected
