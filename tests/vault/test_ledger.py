from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from vault import ledger
from vault.database import Database
from vault.lives import allot_generation
from vault.tables import Life, TokenAttempt

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
