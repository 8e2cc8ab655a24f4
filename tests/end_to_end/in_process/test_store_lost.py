"""The engine's store is deleted: every connection is back under its own workflow, and refreshed before it expires.

The provider has no replay window: a refresh token that is presented twice kills its grant.
"""

import asyncio
import base64
import hashlib
import html
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import col, select
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from api.lives import STARTS_AT_ONCE, Lives, workflow_of
from domain.credential import CredentialRef
from domain.life import Kind, Status
from domain.schedule import refresh_at
from domain.wakeup import Step
from runtime.pace import STARTS_PER_SECOND, Pace
from runtime.reconcile import PassEnded, reconcile
from runtime.reconcile_daily import NOW_ID
from runtime.running import running_lives
from runtime.sweeper import Sweeper, sweep_for_ever
from runtime.temporal_server import SQLITE_PRAGMAS, find_binary, tuning
from vault import credentials
from vault.crypto import Sealer
from vault.ids import new_id
from vault.key_store import SqlKeyStore
from vault.keys import KeyRing, Keys
from vault.tables import Event, Life

REDIRECT = "http://localhost:8080/oauth/callback"
VERIFIER = "a" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
REQUEST_FIELD = re.compile(r'name="request" value="([^"]+)"')
# Afterwards, so that each is refreshed once.
LONG = 3600
# What was on its way while the engine stood still is written down by it all at once.
MOST_IN_A_SECOND = STARTS_PER_SECOND + STARTS_AT_ONCE


@asynccontextmanager
async def engine_on(file: Path) -> AsyncIterator[Client]:
    """The embedded server as `authpipe dev` starts it."""
    pragmas = (("--sqlite-pragma", f"{name}={value}") for name, value in SQLITE_PRAGMAS.items())
    extra = [*(word for pair in pragmas for word in pair), *tuning()]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(find_binary()),
        dev_server_database_filename=str(file),
        dev_server_extra_args=extra,
    ) as environment:
        yield environment.client


async def consent(world: Any, seconds: int) -> dict[str, Any]:
    """A grant of the provider's and its first tokens, without us."""
    await world.admin("PATCH", "settings", token_lifetime=seconds)
    asked = {
        "response_type": "code",
        "client_id": "authpipe-dev",
        "redirect_uri": REDIRECT,
        "scope": "read offline_access",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    page = await world.simulator.get("/plain/authorize", params=asked)
    form = {"request": html.unescape(REQUEST_FIELD.search(page.text)[1]), "person": "member", "decision": "allow"}
    back = await world.simulator.post("/plain/authorize", data=form)
    answer = await world.simulator.post(
        "/plain/token",
        data={
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(back.headers["location"]).query)["code"][0],
            "redirect_uri": REDIRECT,
            "client_id": "authpipe-dev",
            "client_secret": "authpipe-dev-secret",
            "code_verifier": VERIFIER,
        },
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def connect(world: Any, sealer: Sealer, config_id: str, number: int, seconds: int) -> Life:
    """A connection as it stands in the vault after its consent."""
    now = datetime.now(UTC)
    tokens = await consent(world, seconds)
    ref = CredentialRef(1, now, now + timedelta(seconds=tokens["expires_in"]), True, ["read"])
    life = Life(
        id=new_id("conn"),
        workspace_id="default",
        kind=Kind.CONNECTION,
        provider_id="plain",
        provider_config_id=config_id,
        tenant_id=f"tenant-{number % 7}",
        user_id=f"user-{number}",
        attachment="user",
        status=Status.ACTIVE,
        generation=1,
        next_generation=2,
        issued_at=now,
        expires_at=ref.expires_at,
        connected_at=now,
        created_at=now,
        updated_at=now,
        next_due_at=refresh_at(ref, 0.5),
    )
    secrets = credentials.Secrets(tokens["access_token"], tokens["refresh_token"])
    row = credentials.new_candidate(life, "", ref, await credentials.seal(sealer, life, 1, secrets))
    row.role = credentials.CURRENT
    async with world.db.transaction() as tx:
        tx.add(life)
        tx.add(row)
    return life


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [
        pytest.param(60, 34, 46, marks=pytest.mark.slow),
        pytest.param(1000, 240, 400, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
    ids=["sixty", "a_thousand"],
)
async def test_with_the_engines_store_deleted_every_connection_is_back_and_refreshed_in_time(
    count: int,
    first: int,
    last: int,
    world_on: Callable[..., Any],
    engine_clock: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their tokens live between `first` and `last` seconds from their consent on."""
    began = time.monotonic()
    file, clock, provider = tmp_path / "engine.db", engine_clock(datetime.now(UTC), real=True), []

    def same(app: Any) -> Any:
        """The provider outlives our engine."""
        provider.append(app)
        return provider[0]

    async with engine_on(file) as client, world_on(client, clock, same) as world:
        config_id = await world.configure("plain", "user")
        keys = Keys(SqlKeyStore(world.db), KeyRing({"test": bytes(range(32))}, active="test"), clock)
        sealer = Sealer(keys)
        spread = (last - first) / count
        before = [await connect(world, sealer, config_id, n, round(first + n * spread)) for n in range(count)]
        await world.admin("PATCH", "settings", token_lifetime=LONG)
        await _start_all(world, client)
        await _all_wait_for_their_refresh(Lives(client), before)

    for left in file.parent.glob("engine.db*"):
        left.unlink()

    async with engine_on(file) as client, world_on(client, clock, same) as world:
        assert await running_lives(client) == set()
        sweeping = asyncio.create_task(
            sweep_for_ever(Sweeper(world.db, Lives(client), clock, Pace(STARTS_PER_SECOND)), client)
        )
        outcome = await _passed(client)
        assert (outcome["living"], outcome["left"]) == (count, {})
        begun = await _starts(client, before)
        _first_the_first_due(before, begun)
        busiest = _most_in_a_second(list(begun.values()))
        assert busiest <= MOST_IN_A_SECOND
        spare = await _refreshed_in_time(world, before)
        await _nothing_was_sent_twice(world, count)
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
    with capsys.disabled():
        print(
            f"\n{count} connections back after the store was lost: at most {busiest} starts in a second, "
            f"refreshed at least {spare:.0f} s before expiry, in {time.monotonic() - began:.0f} s"
        )


async def _start_all(world: Any, client: Client) -> None:
    """Faster than the default; where that is more than the engine takes just now, the next pass does the rest."""
    async with asyncio.timeout(240):
        while True:
            with suppress(PassEnded):
                await reconcile(world.db, Lives(client), client, world.clock, Pace(3 * STARTS_PER_SECOND))
                return


async def _all_wait_for_their_refresh(lives: Lives, rows: list[Life]) -> None:
    async def waits(life: Life) -> None:
        while (view := await lives.view(life)) is None or view.next_step != Step.REFRESH:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async with asyncio.timeout(120):
        for start in range(0, len(rows), 20):
            await asyncio.gather(*map(waits, rows[start : start + 20]))


async def _passed(client: Client) -> dict[str, Any]:
    """The pass that the sweep asked for, since it found no schedule."""
    async with asyncio.timeout(120):
        while not [f async for f in client.list_workflows(f'WorkflowId = "{NOW_ID}"')]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return dict(await client.get_workflow_handle(NOW_ID).result())


async def _starts(client: Client, rows: list[Life]) -> dict[str, datetime]:
    """When each workflow of a row was started; none is missing, and there are no others."""
    wanted = set(map(workflow_of, rows))
    async with asyncio.timeout(60):
        while await running_lives(client) != wanted:  # noqa: ASYNC110 (listing lags)
            await asyncio.sleep(0.1)
    found = [f async for f in client.list_workflows('WorkflowType = "ConnectionLife"')]
    assert len(found) == len(rows), "each was started once"
    return {f.id: f.start_time for f in found}


def _first_the_first_due(rows: list[Life], begun: dict[str, datetime]) -> None:
    """Several are on their way at once, so neighbours may overtake each other, but not by much."""
    due = [workflow_of(life) for life in sorted(rows, key=lambda life: (life.next_due_at, life.id))]
    in_order = sorted(due, key=lambda id_: begun[id_])
    assert all(abs(place - due.index(id_)) <= STARTS_PER_SECOND for place, id_ in enumerate(in_order))


def _most_in_a_second(starts: list[datetime]) -> int:
    starts = sorted(starts)
    return max(sum(at <= other < at + timedelta(seconds=1) for other in starts) for at in starts)


async def _refreshed_in_time(world: Any, before: list[Life]) -> float:
    """Every one has another generation, committed before the token it replaced expired; the least that was spare."""
    expiry = {life.id: life.expires_at for life in before}
    last = max(at for at in expiry.values() if at)

    async def fresh() -> int:
        return sum(life.generation > 1 for life in (await world.lives()).values())

    async with asyncio.timeout((last - datetime.now(UTC)).total_seconds()):
        while await fresh() < len(before):  # noqa: ASYNC110 (another task sets no event of ours)
            await asyncio.sleep(0.5)
    async with world.db.reading() as tx:
        events = (await tx.exec(select(Event).where(col(Event.type) == "connection.refreshed"))).all()
    spare = {event.life_id: (expiry[event.life_id] - event.created_at).total_seconds() for event in events}
    assert set(spare) == set(expiry)
    assert min(spare.values()) > 0
    assert {life.status for life in (await world.lives()).values()} == {Status.ACTIVE}
    return min(spare.values())


async def _nothing_was_sent_twice(world: Any, count: int) -> None:
    grants = await world.admin("GET", "grants")
    counted = [grant["counters"] for grant in grants]
    assert [grant["alive"] for grant in grants] == [True] * count
    assert [counters["refreshes"] for counters in counted] == [1] * count
    assert not any(counters["reuses_outside"] or counters["refused"] for counters in counted)
