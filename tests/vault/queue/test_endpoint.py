"""How an endpoint fares: failures, pauses, another URL, and the secrets that sign."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from domain.delivery import LONGEST_PAUSE, PAUSE_AFTER
from tests.vault.queue.steps import claim, deliver, fail, happen, rows
from vault import endpoints, outbox
from vault.crypto import SealBroken, Sealer
from vault.database import Database
from vault.outbox import LEASE
from vault.tables import Event, Life, WebhookEndpoint

URL = "https://builder.example.com/events"


async def current(db: Database) -> WebhookEndpoint:
    async with db.reading() as tx:
        found = await endpoints.find(tx, "default")
    assert found is not None
    return found


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


# --- the endpoint -----------------------------------------------------------------------------------------------------


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
