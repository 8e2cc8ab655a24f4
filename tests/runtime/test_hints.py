"""Hints to the engine after a commit: at once, then gathered; never a failure for whoever committed."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from runtime.hints import Hints
from runtime.pace import Pace
from runtime.sweeper import Sweeper
from vault import endpoints
from vault.crypto import Sealer
from vault.database import Database
from vault.tables import Event, Outbox


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


class Engine:
    """Stands in for the client: notes what is started with which signal."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.away: Exception | None = None
        self.heard = asyncio.Event()

    async def start_workflow(self, _run: Any, order: Any, *, id: str, start_signal: str, **_: Any) -> None:  # noqa: A002
        self.told.append((id, start_signal))
        self.heard.set()
        if self.away:
            raise self.away


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def hints(engine: Engine) -> AsyncIterator[Hints]:
    client: Any = engine
    hints = Hints(client, timedelta(milliseconds=20))
    yield hints
    await hints.close()


async def quiet(hints: Hints) -> None:
    async with asyncio.timeout(5):
        while hints._telling:  # noqa: ASYNC110 (it sets no event of ours)
            await asyncio.sleep(0.005)


async def test_however_many_events_a_moment_brings_a_workspace_is_told_at_once_and_once_more(
    hints: Hints, engine: Engine
) -> None:
    hints("default")
    await asyncio.wait_for(engine.heard.wait(), 5)
    for _ in range(100):
        hints("default")
    hints("other")
    await quiet(hints)
    assert sorted(engine.told) == [("default/events", "queued")] * 2 + [("other/events", "queued")]


@pytest.mark.parametrize("error", [RuntimeError("away"), RPCError("away", RPCStatusCode.UNAVAILABLE, b"")])
async def test_an_engine_that_is_away_harms_nobody(hints: Hints, engine: Engine, error: Exception) -> None:
    engine.away = error
    hints("default")
    await quiet(hints)
    engine.away = None
    hints("default")
    await quiet(hints)
    assert len(engine.told) == 2


async def test_a_sweep_hints_at_what_is_overdue_and_destroys_secrets_whose_day_is_over(
    db: Database, sealer: Sealer, clock: Any
) -> None:
    class Nobody:
        async def wake(self, _life: Any) -> None:
            pass

        returned = delete = wake

        async def unless_failing(self, _life: Any, tell: Any) -> bool:
            await tell()
            return True

        async def ping(self) -> bool:
            return True

    heard: list[str] = []
    await endpoints.set_url(db, sealer, "default", "https://builder.example.com/", clock())
    await endpoints.rotate(db, sealer, "default", clock())
    async with db.transaction() as tx:
        tx.add(Event(id="evt_1", workspace_id="default", life_id="conn_1", type="connection.x", created_at=clock()))
        tx.add(Outbox(event_id="evt_1", workspace_id="default", life_id="conn_1", created_at=clock()))
    lives: Any = Nobody()
    sweeper = Sweeper(db, lives, clock, Pace(10_000))
    db.on_events = heard.append
    await sweeper.sweep()
    assert heard == []
    clock.advance(seconds=10)
    await sweeper.sweep()
    assert heard == ["default"]
    clock.advance(days=1)
    await sweeper.sweep()
    async with db.reading() as tx:
        found = await endpoints.find(tx, "default")
    assert found is not None
    assert found.sealed_secret_2 is None
