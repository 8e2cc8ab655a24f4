"""What a pass promises: its pace, and what becomes of it when the engine or the vault goes away."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest
from temporalio.client import Client

from api.lives import Lives
from runtime import reconcile as passes
from runtime.pace import Pace
from runtime.ports import free_port
from runtime.reconcile import PassEnded, reconcile
from runtime.reconcile_report import ADVICE, TITLES, Case
from tests.runtime.reconciling.place import FAST, Place, told, wall_clock
from vault.database import Database


async def test_no_more_turns_are_given_than_the_pace_allows_also_after_a_lag() -> None:
    pace, loop = Pace(100), asyncio.get_running_loop()
    given: list[float] = []

    async def take() -> None:
        await pace.turn()
        given.append(loop.time())
        if len(given) == 5:
            time.sleep(0.1)  # noqa: ASYNC251 (the loop itself lags)

    await asyncio.gather(*(take() for _ in range(15)))
    assert min(after - before for before, after in pairwise(given)) >= 0.009


async def test_one_life_that_the_engine_refuses_keeps_no_other_from_being_started(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "BETWEEN_TRIES_SECONDS", 0)
    refused = await place.row("refused", id="conn_" + "x" * 1100, next_due_at=wall_clock())
    life = await place.row("taken")
    report = await place.run()
    assert told(report) == {Case.NOT_RUNNING: (1, 1, 0), Case.REFUSED: (1, 0, 1)}
    assert report.findings[Case.REFUSED].examples == [refused.id]
    assert await place.heard(life) == ["wake"]


async def test_an_engine_that_goes_away_in_the_middle_ends_the_pass(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "BETWEEN_TRIES_SECONDS", 0)
    nowhere = Lives(await Client.connect(f"127.0.0.1:{free_port()}", lazy=True))
    rows = [await place.row(f"user-{n}") for n in range(3)]
    with pytest.raises(PassEnded, match="Temporal did not answer"):
        await reconcile(place.db, nowhere, place.client, wall_clock, Pace(FAST))
    assert told(await place.run()) == {Case.NOT_RUNNING: (len(rows), len(rows), 0)}


async def test_a_vault_that_goes_away_ends_the_pass(place: Place, tmp_path: Any) -> None:
    empty = Database.open(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
    with pytest.raises(PassEnded, match="the vault did not answer"):
        await reconcile(empty, place.lives, place.client, wall_clock, Pace(FAST))
    await empty.close()


def test_each_case_has_words() -> None:
    assert set(TITLES) == set(Case)
    assert set(ADVICE) < set(Case)
