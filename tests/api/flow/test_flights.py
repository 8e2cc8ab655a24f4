"""How many refresh flights ask the engine at once, whatever number of readers waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.flights import AT_ONCE, AT_ONE_PROVIDER, Flights
from vault.tables import Life
from workflows.messages import Freshness

Ask = Callable[[str], Awaitable[httpx.Response]]


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Ask:
    async def post(user: str) -> httpx.Response:
        return await client.post("/api/credentials", json={"provider": "jira", "tenant_id": "acme", "user_id": user})

    return post


def waits(app: FastAPI, **time: float) -> None:
    app.state.deps = replace(app.state.deps, wait=timedelta(**time))


@pytest.mark.parametrize(("at_provider", "bound"), [(AT_ONE_PROVIDER, AT_ONE_PROVIDER), (99, AT_ONCE)])
async def test_the_engine_is_asked_for_a_bounded_number_of_lives_at_once(
    app: FastAPI, ask: Ask, new_credential: Any, engine: Any, clock: Any, renew: Any, at_provider: int, bound: int
) -> None:
    app.state.flights.at_provider = {"jira": asyncio.Semaphore(at_provider)}
    users = [f"user-{number}" for number in range(AT_ONCE + 4)]
    for user in users:
        await new_credential(access=f"of {user}", user_id=user)
    clock.advance(hours=1)
    waits(app, seconds=30)
    asked, most, landed = 0, 0, asyncio.Event()

    async def slow(life: Life, seen: int) -> Freshness:
        nonlocal asked, most
        asked, most = asked + 1, max(most, asked + 1)
        await landed.wait()
        asked -= 1
        return await renew(life, seen)  # type: ignore[no-any-return]

    engine.refreshing = slow
    readers = [asyncio.create_task(ask(user)) for user in users]
    flights: Flights = app.state.flights
    async with asyncio.timeout(20):
        while len(flights._flying) < len(users) or asked < bound:  # noqa: ASYNC110 (flights set no event of ours)
            await asyncio.sleep(0.01)
    landed.set()
    answers = await asyncio.gather(*readers)
    assert {answer.status_code for answer in answers} == {200}
    assert most == bound


async def test_a_reader_that_gets_no_turn_in_time_is_told_to_come_again(
    app: FastAPI, ask: Ask, new_credential: Any, engine: Any, clock: Any
) -> None:
    await new_credential()
    clock.advance(hours=1)
    waits(app, milliseconds=50)
    app.state.flights.turns = asyncio.Semaphore(0)
    answer = await ask("user-1")
    assert (answer.status_code, answer.json()["code"]) == (503, "refresh_pending")
    assert engine.heard("ensure_fresh") == 0
