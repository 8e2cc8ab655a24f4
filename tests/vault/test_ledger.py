import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from domain.life import Status
from vault import ledger
from vault.database import Database
from vault.lives import allot_generation, claim_generation, compare_and_set
from vault.tables import Life, ProviderConfig, TokenAttempt

LEASE = timedelta(seconds=30)


@pytest.fixture
def send(db: Database, life: Life, clock: Any) -> Any:
    async def send(fingerprint: str = "one", **more: Any) -> TokenAttempt:
        async with db.transaction() as tx:
            kind = more.pop("kind", ledger.REFRESH)
            return await ledger.open_attempt(
                tx, life.id, kind=kind, generation=await allot_generation(tx, life), fingerprint=fingerprint,
                now=clock.now, lease=LEASE, **more,
            )  # fmt: skip

    return send


async def rows(db: Database) -> list[TokenAttempt]:
    async with db.reading() as tx:
        return list((await tx.exec(select(TokenAttempt).order_by(col(TokenAttempt.generation)))).all())


async def open_sends(db: Database, life: Life, fingerprint: str = "one") -> list[str]:
    async with db.reading() as tx:
        return [attempt.id for attempt in await ledger.unresolved(tx, life.id, fingerprint)]


async def test_an_intent_takes_a_generation_and_a_lease(db: Database, send: Any, clock: Any) -> None:
    await send()
    await send()
    first, second = await rows(db)
    assert (first.generation, second.generation) == (1, 2)
    assert (first.started_at, first.lease_until, first.outcome) == (clock.now, clock.now + LEASE, None)


async def test_an_intent_that_is_rolled_back_leaves_nothing(db: Database, life: Life, now: Any) -> None:
    async def fail() -> None:
        async with db.transaction() as tx:
            await ledger.open_attempt(
                tx, life.id, kind=ledger.REFRESH, generation=1, fingerprint="one", now=now, lease=LEASE
            )
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await rows(db) == []


async def test_unresolved_are_the_sends_of_one_token_oldest_first(
    db: Database, life: Life, send: Any, new_life: Any, clock: Any
) -> None:
    first = await send()
    clock.advance(seconds=1)
    second = await send()
    other = await send("two")
    settled = await send()
    async with db.transaction() as tx:
        await ledger.resolve(tx, settled, ledger.NOT_SENT, clock.now)
    assert await open_sends(db, life) == [first.id, second.id]
    assert await open_sends(db, life, "two") == [other.id]
    assert await open_sends(db, await new_life(user_id="another")) == []


async def test_an_answer_is_written_with_time_and_code(db: Database, send: Any, clock: Any) -> None:
    attempt = await send()
    async with db.transaction() as tx:
        await ledger.resolve(tx, attempt, ledger.REFUSED, clock.advance(seconds=3), "grant_revoked")
    (row,) = await rows(db)
    assert (row.outcome, row.answered_at, row.error_code) == ("refused", clock.now, "grant_revoked")


async def test_a_released_attempt_stays_in_doubt_without_its_lease(
    db: Database, life: Life, send: Any, clock: Any
) -> None:
    attempt = await send()
    async with db.transaction() as tx:
        await ledger.release(tx, attempt, clock.advance(seconds=3), "no_answer")
    (row,) = await rows(db)
    assert (row.outcome, row.lease_until, row.error_code) == (None, clock.now, "no_answer")
    assert await open_sends(db, life) == [attempt.id]


async def test_an_answer_settles_every_open_send_of_its_token_and_no_other(
    db: Database, life: Life, send: Any, clock: Any
) -> None:
    settled = await send()
    async with db.transaction() as tx:
        await ledger.resolve(tx, settled, ledger.NOT_HANDLED, clock.now)
    await send()
    await send()
    other = await send("two")
    async with db.transaction() as tx:
        await ledger.resolve_all(tx, life.id, "one", ledger.SUCCEEDED, clock.now)
    assert [row.outcome for row in await rows(db)] == ["not_handled", "succeeded", "succeeded", None]
    assert await open_sends(db, life, "two") == [other.id]


async def test_a_session_has_one_exchange(send: Any) -> None:
    await send(kind=ledger.EXCHANGE, session_id="sess_1")
    await send(kind=ledger.EXCHANGE, session_id="sess_2")
    with pytest.raises(IntegrityError):
        await send(kind=ledger.EXCHANGE, session_id="sess_1")


@pytest.fixture
def open_unhindered(db: Database, clock: Any) -> Any:
    """`await open_unhindered(life)`: as a refresh does it, on the row as it is."""

    async def begin(life: Life, seen: int = 0) -> TokenAttempt | None:
        async with db.directly() as tx:
            generation = await claim_generation(tx, life.id, seen)
            if generation is not None:
                return await ledger.open_unhindered(
                    tx, life, generation=generation, fingerprint="one", now=clock.now, lease=LEASE
                )
        return None

    return begin


@pytest.fixture
async def active(life: Life, db: Database, clock: Any) -> Life:
    async with db.transaction() as tx:
        await compare_and_set(tx, life, clock.now, status=Status.ACTIVE)
    return life


async def test_a_refresh_that_nothing_hinders_begins_as_any_other(
    db: Database, active: Life, clock: Any, open_unhindered: Any
) -> None:
    opened = await open_unhindered(active)
    (row,) = await rows(db)
    assert opened.model_dump() == row.model_dump()
    assert (row.kind, row.generation, row.session_id) == (ledger.REFRESH, 1, "")
    assert (row.started_at, row.lease_until, row.outcome) == (clock.now, clock.now + LEASE, None)


async def test_what_is_unresolved_hinders_and_what_is_resolved_does_not(
    db: Database, active: Life, send: Any, clock: Any, open_unhindered: Any
) -> None:
    sent = await send()
    assert await open_unhindered(active) is None
    async with db.transaction() as tx:
        await ledger.resolve(tx, sent, ledger.NOT_SENT, clock.now)
    await send("another token")
    assert await open_unhindered(active) is not None


async def test_a_held_config_hinders(db: Database, active: Life, now: Any, open_unhindered: Any) -> None:
    config = ProviderConfig(
        id=active.provider_config_id, workspace_id="default", provider_id="jira", client_id="app", secret_version=1,
        enabled=True, trust_publishable_sessions=False, verify_user=False,
        attachment="user", oauth_redirect_url="http://localhost/", held_until=now, created_at=now, updated_at=now,
    )  # fmt: skip
    async with db.transaction() as tx:
        tx.add(config)
    assert await open_unhindered(active) is None


async def test_law_03_of_those_who_begin_at_once_one_is_not_hindered(
    db: Database, active: Life, open_unhindered: Any
) -> None:
    """The second one waits for the row, and then sees what the first one committed."""
    begun = await asyncio.gather(*(open_unhindered(active) for _ in range(5)))
    assert len([attempt for attempt in begun if attempt is not None]) == 1
    assert len(await rows(db)) == 1
