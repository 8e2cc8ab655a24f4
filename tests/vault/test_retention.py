"""What is over is destroyed when its time is over, and nothing else."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from domain.life import AttemptState, Kind, Status
from vault import endpoints, ledger, outbox, retention
from vault.crypto import Sealer
from vault.database import Database
from vault.deletions import entomb
from vault.events import append_event
from vault.lives import allot_generation
from vault.retention import Keep, forget
from vault.session_tokens import Mandate, mint, use
from vault.tables import AuthSession, Event, Life, Outbox, SessionToken, TokenAttempt, Tombstone, Visit

KEEP = Keep()
JUST_UNDER = timedelta(seconds=-1)
JUST_OVER = timedelta(seconds=1)
LEASE = timedelta(seconds=30)

Forget = Callable[..., Awaitable[dict[str, int]]]


@pytest.fixture(autouse=True)
def _some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(retention, "REST_SECONDS", 0)


@pytest.fixture
async def life(db: Database, new_life: Any) -> Life:
    """One that was active."""
    made = await new_life()
    async with db.transaction() as tx:
        row = await tx.get_one(Life, made.id)
        row.status = Status.ACTIVE
        return row


@pytest.fixture
def forgotten(db: Database, clock: Any) -> Forget:
    """`await forgotten(after)`: what goes so long from now, without what there is none of."""

    async def run(after: timedelta) -> dict[str, int]:
        return {name: count for name, count in (await forget(db, KEEP, clock.now + after)).items() if count}

    return run


@pytest.fixture
async def listening(db: Database, sealer: Sealer, now: datetime) -> None:
    """The workspace's events go somewhere, so each is queued."""
    await endpoints.set_url(db, sealer, "default", "https://builder.example.com/events", now)


async def ids(db: Database, column: Any) -> list[Any]:
    async with db.reading() as tx:
        return list((await tx.exec(select(column).order_by(column))).all())


async def attempt(db: Database, life: Life, now: datetime, outcome: str | None, fingerprint: str = "one") -> str:
    async with db.transaction() as tx:
        made = await ledger.open_attempt(
            tx, life.id, kind=ledger.REFRESH, generation=await allot_generation(tx, life), fingerprint=fingerprint,
            now=now, lease=LEASE,
        )  # fmt: skip
        if outcome:
            await ledger.resolve(tx, made, outcome, now)
    return made.id


async def event(db: Database, life: Life, now: datetime, name: str = "needs_reauth") -> str:
    async with db.transaction() as tx:
        await append_event(tx, life, name, now)
    async with db.reading() as tx:
        return (await tx.exec(select(Event.id).order_by(col(Event.sequence).desc()).limit(1))).one()


async def buried(db: Database, life: Life, now: datetime, *, finished: bool = True) -> None:
    await entomb(db, life.id, now)
    async with db.transaction() as tx:
        for stone in (await tx.exec(select(Tombstone))).all():
            stone.finished_at = now if finished else None
            tx.add(stone)


async def test_an_ended_session_goes_with_its_visits_and_an_open_one_stays(
    db: Database, life: Life, new_session: Any, new_visit: Any, forgotten: Forget, now: datetime
) -> None:
    ended = [await new_session(life, state=state, finished_at=now) for state in (AttemptState.FAILED, "completed")]
    opened = await new_session(life, state=AttemptState.PENDING_VERIFICATION)
    async with db.transaction() as tx:
        tx.add_all([new_visit(session) for session in (*ended, opened)])
    assert await forgotten(KEEP.sessions + JUST_UNDER) == {}
    assert await forgotten(KEEP.sessions + JUST_OVER) == {"sessions": 2}
    assert await ids(db, AuthSession.id) == await ids(db, Visit.session_id) == [opened.id]


async def test_a_session_token_goes_when_it_has_ended_but_for_the_last_that_let_a_page_in(
    db: Database, forgotten: Forget, clock: Any
) -> None:
    pages = [
        Mandate("default", "connection", "jira", "acme", "ann", opener_origin=f"https://{n}.example") for n in "ab"
    ]
    first, other, _unused = [await mint(db, mandate, clock.now) for mandate in (*pages, pages[0])]
    backend, second = (
        await mint(db, Mandate(*("x",) * 4), clock.now),
        await mint(db, pages[0], clock.advance(minutes=1)),
    )
    async with db.transaction() as tx:
        for number, token in enumerate((first, other, backend, second)):
            assert await use(tx, token.id, f"sess_{number}", clock.now)
    assert await forgotten(KEEP.sessions + JUST_UNDER) == {}
    assert await forgotten(KEEP.sessions + timedelta(days=1)) == {"session_tokens": 3}
    assert await ids(db, SessionToken.id) == sorted([other.id, second.id])


async def test_a_row_that_nobody_ever_connected_goes_unless_somebody_may_still_come_back_to_it(
    db: Database, new_life: Any, new_session: Any, new_candidate: Any, forgotten: Forget
) -> None:
    never, opened, sealed = [await new_life(user_id=user) for user in ("ann", "bob", "cid")]
    await new_session(opened)
    await new_candidate(sealed)
    assert await forgotten(KEEP.sessions + JUST_UNDER) == {}
    assert await forgotten(KEEP.sessions + JUST_OVER) == {"never_active": 1}
    assert never.id not in await ids(db, Life.id)
    assert await ids(db, Life.id) == sorted([opened.id, sealed.id])


async def test_an_attempt_goes_once_it_is_answered_and_one_in_doubt_stays(
    db: Database, life: Life, forgotten: Forget, now: datetime
) -> None:
    for outcome in (ledger.SUCCEEDED, ledger.REFUSED, ledger.SUPERSEDED):
        await attempt(db, life, now, outcome)
    in_doubt = await attempt(db, life, now, None, "two")
    assert await forgotten(KEEP.ledger + JUST_UNDER) == {}
    assert await forgotten(KEEP.ledger + JUST_OVER) == {"ledger": 3}
    assert await ids(db, TokenAttempt.id) == [in_doubt]


async def test_an_event_goes_with_what_became_of_its_delivery_and_one_that_waits_for_it_stays(
    db: Database, life: Life, listening: None, forgotten: Forget, clock: Any
) -> None:
    delivered, dead, waiting, *_others, newest = [await event(db, life, clock.now) for _ in range(6)]
    async with db.transaction() as tx:
        for row in (await tx.exec(select(Outbox))).all():
            row.delivered_at = None if row.event_id in (dead, waiting) else clock.now
            row.dead_at = clock.now if row.event_id == dead else None
            tx.add(row)
    assert await forgotten(KEEP.events + JUST_UNDER) == {}
    assert await forgotten(KEEP.events + JUST_OVER) == {"events": 4}
    assert set(await ids(db, Event.id)) == set(await ids(db, Outbox.event_id)) == {waiting, newest}
    assert delivered not in await ids(db, Event.id)


async def test_an_event_that_is_queued_anew_is_not_taken_from_under_the_delivery(
    db: Database, life: Life, listening: None, forgotten: Forget, now: datetime
) -> None:
    again, _ = [await event(db, life, now) for _ in range(2)]
    async with db.transaction() as tx:
        for row in (await tx.exec(select(Outbox))).all():
            row.delivered_at = now
            tx.add(row)
        await outbox.replay(tx, (await tx.exec(select(Event).where(Event.id == again))).one())
    assert await forgotten(KEEP.events + JUST_OVER) == {}


async def test_a_young_event_stays_behind_any_number_of_old_ones(
    db: Database, life: Life, forgotten: Forget, clock: Any
) -> None:
    old = [await event(db, life, clock.now) for _ in range(5)]
    clock.advance(days=1)
    young = [await event(db, life, clock.now) for _ in range(3)]
    assert await forgotten(KEEP.events - timedelta(hours=1)) == {"events": len(old)}
    left = await ids(db, Event.id)
    assert sorted(young) == left


async def test_numbers_of_events_go_on_rising_where_all_were_forgotten_but_the_newest(
    db: Database, life: Life, forgotten: Forget, clock: Any
) -> None:
    for _ in range(3):
        await event(db, life, clock.now)
    last = max(await ids(db, Event.sequence))
    assert await forgotten(KEEP.events + timedelta(days=900)) == {"events": 2}
    await event(db, life, clock.now)
    assert await ids(db, Event.sequence) == [last, last + 1]


async def test_of_a_deleted_life_nothing_is_left_but_its_events(
    db: Database, life: Life, new_session: Any, forgotten: Forget, now: datetime
) -> None:
    happened = await event(db, life, now)
    await attempt(db, life, now, None)
    await new_session(life, state=AttemptState.FAILED, finished_at=now + KEEP.tombstones)
    await buried(db, life, now)
    assert "tombstones" not in await forgotten(KEEP.tombstones + JUST_UNDER)
    assert await forgotten(KEEP.tombstones + JUST_OVER) == {"ledger": 1, "sessions": 1, "tombstones": 1}
    for column in (Life.id, Tombstone.life_id, TokenAttempt.id, AuthSession.id):
        assert await ids(db, column) == []
    assert await ids(db, Event.id) == [happened]


async def test_a_life_whose_deletion_has_not_ended_stays_however_long_it_takes(
    db: Database, life: Life, forgotten: Forget, now: datetime
) -> None:
    await buried(db, life, now, finished=False)
    assert await forgotten(timedelta(days=900)) == {}
    assert await ids(db, Life.id) == await ids(db, Tombstone.life_id) == [life.id]


async def test_a_deleted_life_stays_while_one_of_its_events_waits_to_be_delivered(
    db: Database, life: Life, listening: None, forgotten: Forget, now: datetime
) -> None:
    """Its row says whose it was."""
    await event(db, life, now, "deleted")
    await buried(db, life, now)
    assert await forgotten(KEEP.tombstones + JUST_OVER) == {}
    async with db.transaction() as tx:
        (await tx.exec(select(Outbox))).one().delivered_at = now
    assert await forgotten(KEEP.tombstones + JUST_OVER) == {"tombstones": 1}


async def test_an_event_dated_ahead_by_a_wrong_clock_hides_none_behind_it(
    db: Database, life: Life, forgotten: Forget, now: datetime
) -> None:
    for at in (now, now + timedelta(days=900), *[now] * 4):
        await event(db, life, at)
    assert await forgotten(KEEP.events + JUST_OVER) == {"events": 4}


async def test_an_event_that_was_forgotten_just_now_is_not_queued_anew(
    db: Database, life: Life, listening: None, forgotten: Forget, now: datetime
) -> None:
    seen, _ = [await event(db, life, now) for _ in range(2)]
    async with db.reading() as tx:
        read = (await tx.exec(select(Event).where(Event.id == seen))).one()
    async with db.transaction() as tx:
        for row in (await tx.exec(select(Outbox))).all():
            row.delivered_at = now
    assert await forgotten(KEEP.events + JUST_OVER) == {"events": 1}
    async with db.transaction() as tx:
        assert await outbox.replay(tx, read) is None


async def test_an_installation_stays_as_long_as_one_of_its_connections(
    db: Database, new_life: Any, forgotten: Forget, now: datetime
) -> None:
    installation = await new_life(Kind.INSTALLATION)
    connection = await new_life(user_id="ann", installation_id=installation.id)
    await buried(db, installation, now)
    async with db.transaction() as tx:
        stone = await tx.get_one(Tombstone, connection.id)
        stone.finished_at = now + timedelta(days=1)
    assert await forgotten(KEEP.tombstones + JUST_OVER) == {}
    await forgotten(KEEP.tombstones + timedelta(days=1) + JUST_OVER)
    await forgotten(KEEP.tombstones + timedelta(days=1) + JUST_OVER)
    assert await ids(db, Life.id) == []


async def test_what_lives_is_never_forgotten(
    db: Database, life: Life, new_current: Any, forgotten: Forget, row_of: Any
) -> None:
    credential, before = await new_current(life), await row_of(life)
    assert await forgotten(timedelta(days=10_000)) == {}
    assert await row_of(life) == before
    async with db.reading() as tx:
        assert await tx.get(type(credential), credential.id) is not None
