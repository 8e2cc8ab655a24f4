"""When to look for what waits, and how long that may take."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.vault.queue.steps import PATIENCE, SECOND, claim, fail, happen
from vault import endpoints, outbox
from vault.crypto import Sealer
from vault.database import Database

URL = "https://builder.example.com/events"


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
