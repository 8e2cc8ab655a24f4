"""A builder reports a refusal: the provider is asked at once, and a flood of reports costs one question."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from domain.life import Kind, Status
from vault.database import Database
from vault.tables import Life

HOURS = timedelta(hours=6)


async def row(db: Database, life: Life) -> Life:
    async with db.reading() as tx:
        return await tx.get_one(Life, life.id, populate_existing=True)


async def report(client: httpx.AsyncClient, life: Life, **body: Any) -> httpx.Response:
    return await client.post(f"/api/{life.kind}s/{life.id}/report", json=body)


@pytest.mark.parametrize("kind", list(Kind))
async def test_a_report_brings_the_check_up_forward_and_wakes_the_workflow(
    client: httpx.AsyncClient, new_life: Any, db: Database, lives: Any, now: Any, kind: Kind
) -> None:
    life = await new_life(kind, probe_at=now + HOURS)
    answer = await report(client, life, status=401)
    assert answer.status_code == 202
    assert answer.json() == {"checking": True, "checkup_at": "2026-03-01T12:00:00Z"}
    assert (await row(db, life)).probe_at == now
    assert lives.told == [("wake", life.id)]


async def test_a_life_of_an_earlier_version_without_a_plan_is_checked_too(
    client: httpx.AsyncClient, new_life: Any, db: Database, now: Any
) -> None:
    life = await new_life()
    assert (await report(client, life)).json()["checking"] is True
    assert (await row(db, life)).probe_at == now


async def test_a_flood_of_reports_wakes_it_once(client: httpx.AsyncClient, new_life: Any, lives: Any, now: Any) -> None:
    life = await new_life(probe_at=now + HOURS)
    answers = await asyncio.gather(*(report(client, life) for _ in range(30)))
    assert {answer.status_code for answer in answers} == {202}
    assert [answer.json()["checking"] for answer in answers].count(True) == 1
    assert lives.told == [("wake", life.id)]


async def test_who_was_checked_just_now_is_checked_again_once_half_a_minute_is_over(
    client: httpx.AsyncClient, new_life: Any, db: Database, lives: Any, now: Any
) -> None:
    life = await new_life(probe_at=now + HOURS, probed_at=now - timedelta(seconds=29))
    just_now = {"checking": False, "reason": "checked_just_now", "checkup_at": "2026-03-01T12:00:01Z"}
    for _ in range(5):
        assert (await report(client, life)).json() == just_now
    assert (await row(db, life)).probe_at == now + timedelta(seconds=1)
    assert lives.told == [("wake", life.id)]  # the first moved what the others found planned
    older = await new_life(user_id="bob", probe_at=now + HOURS, probed_at=now - timedelta(seconds=30))
    assert (await report(client, older)).json()["checking"] is True


@pytest.mark.parametrize("seconds", [-20, 0, 1])
async def test_a_check_up_that_is_due_is_waited_for_and_one_under_way_is_followed_by_another(
    client: httpx.AsyncClient, new_life: Any, db: Database, lives: Any, now: Any, seconds: int
) -> None:
    """Its workflow looks again, at the end of a check-up, if somebody gave the row another time meanwhile."""
    planned = now + timedelta(seconds=seconds)
    life = await new_life(probe_at=planned)
    answer = (await report(client, life)).json()
    assert (answer["checking"], answer["reason"]) == (False, "check_is_due")
    assert planned < (await row(db, life)).probe_at < planned + timedelta(seconds=1)
    assert lives.told == []


async def test_a_report_of_an_older_credential_asks_for_nothing_but_to_fetch_again(
    client: httpx.AsyncClient, new_life: Any, lives: Any
) -> None:
    life = await new_life(generation=3)
    assert (await report(client, life, generation=2)).json() == {"checking": False, "reason": "newer_credential"}
    assert lives.told == []
    assert (await report(client, life, generation=3)).json()["checking"] is True


async def test_without_the_engine_the_mark_stands_for_the_sweep(
    client: httpx.AsyncClient, new_life: Any, db: Database, lives: Any, now: Any
) -> None:
    lives.away = True
    life = await new_life(probe_at=now + HOURS)
    assert (await report(client, life)).status_code == 202
    assert (await row(db, life)).probe_at == now


@pytest.mark.parametrize(
    "body", [{"status": 200}, {"status": "x"}, {"generation": 0}, {"generation": 2**40}, {"other": 1}, []]
)
async def test_a_report_that_makes_no_sense_is_refused(client: httpx.AsyncClient, new_life: Any, body: Any) -> None:
    life = await new_life()
    answer = await client.post(f"/api/connections/{life.id}/report", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad_request"


async def test_one_that_has_to_be_connected_again_says_so(client: httpx.AsyncClient, new_life: Any) -> None:
    life = await new_life(status=Status.NEEDS_REAUTH, reason="grant_revoked")
    answer = await report(client, life)
    assert (answer.status_code, answer.json()["code"]) == (409, "needs_reauth")


async def test_a_strangers_connection_and_one_of_the_other_kind_are_not_there(
    stranger: httpx.AsyncClient, client: httpx.AsyncClient, new_life: Any
) -> None:
    life = await new_life(Kind.CONNECTION)
    assert (await report(stranger, life)).status_code == 404
    assert (await client.post(f"/api/installations/{life.id}/report", json={})).status_code == 404


async def test_a_publishable_key_may_not_report(client_with: Any, new_key: Any, new_life: Any) -> None:
    life = await new_life()
    answer = await report(client_with(await new_key("default", "publishable")), life)
    assert answer.status_code == 403
