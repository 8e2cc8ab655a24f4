"""A refresh that succeeds: intent, call, commit, in that order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import update

from activities.messages import Ending, LifeIds, RefreshOrder
from activities.refresh import refresh
from tests.activities.conftest import Interposed
from vault.direct import Answer
from vault.tables import Event, ProviderConfig

HOUR = timedelta(hours=1)
TOKEN = "/oauth/token"
# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_a_refresh_writes_credential_row_event_and_outbox(stage: Any) -> None:
    life = await stage.connected()
    old, row = await stage.secrets(life), await stage.row(life)
    stage.clock.advance(minutes=50)

    result = await stage.refresh(life)

    new, after, credential = await stage.secrets(life), await stage.row(life), await stage.credential(life)
    assert result.ending is Ending.CREDENTIALED
    assert (new.access, new.refresh) != (old.access, old.refresh)
    assert await stage.valid("access", new.access)
    assert (await stage.known("refresh", new.refresh))["current"]
    assert result.credential.generation == after.generation == credential.generation > row.generation
    assert after.expires_at == credential.expires_at == stage.clock.now + HOUR
    assert stage.clock.now < after.next_due_at < after.expires_at
    assert await stage.events(life) == ["created", "activated", "refreshed"]
    assert await stage.outcomes(life) == ["succeeded"]


async def test_a_refresh_is_one_transaction_after_the_answer(stage: Any) -> None:
    """The second transaction, the commit, is lost as a whole: nothing of it may be seen."""
    life = await stage.connected()
    row, before = await stage.row(life), await stage.secrets(life)
    deps = stage.interposed()

    async def break_the_next() -> None:
        deps.db.script.append(_fail)

    stage.before_sending(TOKEN, break_the_next)
    with pytest.raises(ZeroDivisionError):
        await stage.refresh(life, deps)
    assert (await stage.row(life)).revision == row.revision
    assert await stage.secrets(life) == before
    assert await stage.events(life) == ["created", "activated"]
    assert await stage.outcomes(life) == [None]


async def _fail() -> None:
    raise ZeroDivisionError


async def test_law_03_the_intent_is_committed_before_anything_is_sent(stage: Any) -> None:
    life = await stage.connected()
    seen: list[Any] = []

    async def look() -> None:
        seen.extend(await stage.ledger(life))

    stage.before_sending(TOKEN, look)
    await stage.refresh(life)
    (intent,) = seen
    assert (intent.outcome, intent.started_at) == (None, stage.clock.now)
    assert intent.lease_until == stage.clock.now + stage.deps.limits.lease
    assert intent.generation == (await stage.row(life)).generation
    assert (await stage.secrets(life)).refresh not in repr(intent)


async def test_generations_only_grow_and_none_is_used_twice(stage: Any) -> None:
    life = await stage.connected()
    generations = [(await stage.row(life)).generation]
    for trouble in (None, ("status", {"status": 503}), ("drop_before", {}), None):
        if trouble:
            await stage.fault("token", trouble[0], **trouble[1])
        stage.clock.advance(minutes=1)
        await stage.refresh(life)
        generations.append((await stage.row(life)).generation)
    claimed = [a.generation for a in await stage.ledger(life)] + [
        a.generation for a in await stage.ledger(life, "exchange")
    ]
    assert generations == sorted(generations)
    assert len(set(claimed)) == len(claimed)
    assert max(claimed) == generations[-1]


@ON_ONE
async def test_the_life_of_a_token_counts_from_before_the_request(stage: Any) -> None:
    life = await stage.connected()
    started = stage.clock.now

    async def slow() -> None:
        stage.clock.advance(seconds=9)

    stage.before_sending(TOKEN, slow)
    result = await stage.refresh(life)
    assert result.credential.issued_at == started
    assert result.credential.expires_at == started + HOUR


async def test_a_refresh_token_that_is_not_replaced_is_carried_forward(stage: Any) -> None:
    life = await stage.connected()
    old = await stage.secrets(life)
    await stage.fault("token", "missing_refresh_token")
    await stage.refresh(life)
    new = await stage.secrets(life)
    assert new.refresh == old.refresh
    assert new.access != old.access
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


@ON_ONE
@pytest.mark.parametrize("senseless", [None, -5, 0, "soon", True, [3600]])
async def test_without_a_sensible_lifetime_the_declared_one_counts(stage: Any, senseless: Any) -> None:
    life = await stage.connected()
    body = {"access_token": "a" * 40, "refresh_token": "r" * 40, "token_type": "Bearer", "expires_in": senseless}
    await stage.fault("token", "status", status=200, body=body)
    result = await stage.refresh(life, stage.with_provider(token_lifetime=1800))
    assert result.credential.expires_at == stage.clock.now + timedelta(seconds=1800)


@ON_ONE
async def test_a_missing_lifetime_may_mean_for_ever(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "missing_expires_in")
    result = await stage.refresh(life, stage.with_provider(token_lifetime=None))
    row = await stage.row(life)
    assert (result.credential.expires_at, row.expires_at, row.next_due_at) == (None, None, None)


async def test_a_newer_generation_in_the_row_is_success_without_a_call(stage: Any) -> None:
    life = await stage.connected()
    seen = await stage.row(life)
    await stage.refresh(life)
    asked = await stage.asked()
    again = await _refresh_seen(stage, seen)
    assert again.ending is Ending.CREDENTIALED
    assert again.credential.generation == (await stage.row(life)).generation
    assert await stage.asked() == asked


async def _refresh_seen(stage: Any, seen: Any) -> Any:
    order = RefreshOrder(LifeIds("default", seen.kind, seen.provider_id, seen.id), seen.generation)
    return await refresh(stage.deps, order)


class _Undone:
    """A database whose direct transactions are all taken back: each refresh has to go the long way."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @asynccontextmanager
    async def directly(self) -> AsyncIterator[Any]:
        async with self._inner.directly() as tx:
            yield _Nothing(tx)
            tx.undo()


class _Nothing:
    """Answers as if no row fitted."""

    def __init__(self, tx: Any) -> None:
        self.info: dict[str, Any] = tx.info

    async def exec(self, *_: Any, **__: Any) -> Answer:
        return Answer((), 0)

    def undo(self) -> None:
        pass


OWN = {
    "id",
    "life_id",
    "session_id",
    "key_id",
    "sealed_access",
    "sealed_refresh",
    "fingerprint",
    "sequence",
    "tenant_id",
}


async def _left(stage: Any, life: Any) -> list[Any]:
    """All that a refresh leaves, its two events among them, but for what is any life's own."""
    rows = [await stage.row(life), await stage.credential(life), *await stage.ledger(life)]
    events = await stage.all(Event, life_id=life.id)
    return [row.model_dump(exclude=OWN) for row in (*rows, *sorted(events, key=lambda event: event.sequence)[-2:])]


async def test_both_ways_of_a_refresh_leave_the_same(stage: Any) -> None:
    """The short one, past the session, where nothing came in between; and the one that locks and looks at all."""
    left, ways = [], list[list[str]]()
    for tenant, db in (("acme", stage.deps.db), ("globex", _Undone(stage.deps.db))):
        life = await stage.connected(tenant_id=tenant)
        await stage.set_life(life, failures=2, health="degraded", last_error="unreachable")
        watched = Interposed(db)
        result = await stage.refresh(life, replace(stage.deps, db=watched))
        assert result.ending is Ending.CREDENTIALED
        ways.append(watched.begun)
        assert await stage.valid("access", (await stage.secrets(life)).access)
        left.append((result, await _left(stage, life), await stage.events(life)))
    assert ways == [["directly"] * 2, ["directly", "transaction"] * 2]
    assert left[0] == left[1]
    assert left[0][2][-2:] == ["recovered", "refreshed"]


async def test_a_row_that_was_written_meanwhile_is_looked_at_anew(stage: Any) -> None:
    life = await stage.connected()
    stage.before_sending(TOKEN, lambda: stage.set_life(life, site_name="Renamed"))
    before = await stage.row(life)
    result = await stage.refresh(life)
    row = await stage.row(life)
    assert (result.ending, row.site_name, row.generation) == (Ending.CREDENTIALED, "Renamed", before.generation + 1)
    assert await stage.valid("access", (await stage.secrets(life)).access)
    assert (await stage.events(life))[-1] == "refreshed"
    assert await stage.outcomes(life) == ["succeeded"]


async def test_a_success_clears_what_others_stumbled_over_meanwhile(stage: Any) -> None:
    life = await stage.connected()

    async def stumble() -> None:
        async with stage.deps.db.transaction() as tx:
            await tx.exec(update(ProviderConfig).values(stumbled=2))

    stage.before_sending(TOKEN, stumble)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (await stage.config()).stumbled == 0
