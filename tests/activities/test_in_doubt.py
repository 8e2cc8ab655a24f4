"""A rotated token is never lost (law 3): crashes, lost answers, leases, and who may conclude what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from activities import intent
from activities.messages import Ending
from domain.life import Status
from vault.database import Database

TOKEN = "/oauth/token"
PLAIN_TOKEN = "/plain/token"

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_law_03_the_answer_was_lost_and_the_same_token_is_sent_again_inside_the_window(stage: Any) -> None:
    life = await stage.connected()
    old = await stage.secrets(life)
    await stage.fault("token", "drop_after")
    assert (await stage.refresh(life)).code == "no_answer"
    assert await stage.secrets(life) == old

    stage.clock.advance(minutes=5)
    result = await stage.refresh(life)

    new = await stage.secrets(life)
    assert result.ending is Ending.CREDENTIALED
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1, "replayed": 1}
    assert (await stage.known("refresh", new.refresh))["current"]
    assert await stage.valid("access", new.access)
    assert await stage.outcomes(life) == ["succeeded", "succeeded"]
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_the_connection_was_cut_before_the_provider_read_it(stage: Any) -> None:
    life = await stage.connected()
    old = await stage.secrets(life)
    await stage.fault("token", "drop_before")
    await stage.refresh(life)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1}


@pytest.mark.parametrize("way", ["directly", "transaction"])
async def test_law_03_a_lease_begins_when_its_turn_to_write_has_come(
    stage: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It bounds how long an answer may take; one that was half over before the send would leave it in doubt."""
    life = await stage.connected()
    waited = stage.clock.now + timedelta(seconds=25)
    takes_turn = getattr(Database, way)

    @asynccontextmanager
    async def late(db: Database) -> AsyncIterator[Any]:
        async with takes_turn(db) as tx:
            stage.clock.now = max(stage.clock.now, waited)
            yield tx

    async def hindered(*_: Any) -> None:
        return None

    if way == "transaction":
        monkeypatch.setattr(intent, "_unhindered", hindered)
    monkeypatch.setattr(Database, way, late)
    await stage.refresh(life)
    (attempt,) = await stage.ledger(life)
    assert (attempt.started_at, attempt.lease_until) == (waited, waited + stage.deps.limits.lease)


async def crash_between_intent_and_answer(stage: Any, life: Any, path: str = TOKEN) -> None:
    """The worker is killed with the request on its way."""
    sent = asyncio.Event()

    async def hang() -> None:
        sent.set()
        await asyncio.Event().wait()

    stage.before_sending(path, hang)
    task = asyncio.create_task(stage.refresh(life))
    await asyncio.wait_for(sent.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_crash_leaves_the_attempt_in_doubt_and_a_second_worker_waits_for_its_lease(stage: Any) -> None:
    life = await stage.connected()
    started = stage.clock.now
    await crash_between_intent_and_answer(stage, life)
    assert await stage.outcomes(life) == [None]
    asked = await stage.asked()

    waiting = await stage.refresh(life)
    assert (waiting.ending, waiting.not_before) == (Ending.WAITING, started + stage.deps.limits.lease)
    assert (await stage.asked(), len(await stage.ledger(life))) == (asked, 1)
    assert (await stage.row(life)).health == "ok"

    stage.clock.now = waiting.not_before
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert await stage.outcomes(life) == ["succeeded", "succeeded"]


async def test_of_two_workers_at_once_one_sends(stage: Any, together: Any) -> None:
    life = await stage.connected()
    old = await stage.secrets(life)
    endings = {result.ending for result in await together(*(stage.refresh(life) for _ in range(3)))}
    assert Ending.CREDENTIALED in endings
    assert endings <= {Ending.CREDENTIALED, Ending.WAITING, Ending.RELOAD}
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1}


async def test_the_commit_is_tried_again_while_the_database_is_away(stage: Any) -> None:
    life = await stage.connected()
    old = await stage.secrets(life)
    assert (await stage.refresh(life, stage.interposed(None, "away", "away"))).ending is Ending.CREDENTIALED
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1}
    assert await stage.outcomes(life) == ["succeeded"]


@dataclass
class KeysAway:
    """The vault's keys cannot be read for the next calls."""

    inner: Any
    times: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def seal_together(self, *about: Any) -> dict[str, bytes]:
        if self.times:
            self.times -= 1
            raise OperationalError("SELECT", {}, ConnectionError())
        return dict(await self.inner.seal_together(*about))


async def test_an_answer_is_kept_although_the_keys_cannot_be_read_just_then(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    old = await stage.secrets(life)
    deps = replace(stage.deps, sealer=KeysAway(stage.deps.sealer, times=2))
    assert (await stage.refresh(life, deps)).ending is Ending.CREDENTIALED
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1}


async def test_what_a_code_brought_is_kept_although_the_keys_cannot_be_read_just_then(stage: Any) -> None:
    life = await stage.life(provider="plain")
    session = await stage.come_back(life)
    deps = replace(stage.deps, sealer=KeysAway(stage.deps.sealer, times=2))
    assert (await stage.advance(life, session, deps)).ending is Ending.CREDENTIALED


async def test_a_commit_whose_answer_was_lost_is_not_made_twice(stage: Any) -> None:
    life = await stage.connected()
    assert (await stage.refresh(life, stage.interposed(None, "answer_lost"))).ending in (
        Ending.CREDENTIALED,
        Ending.RELOAD,
    )
    assert (await stage.known("refresh", (await stage.secrets(life)).refresh))["current"]
    assert await stage.events(life) == ["created", "activated", "refreshed"]
    assert await stage.outcomes(life) == ["succeeded"]


async def test_the_commit_gives_up_with_the_lease_and_the_attempt_stays_in_doubt(stage: Any) -> None:
    life = await stage.connected()
    deps = replace(stage.interposed(None, *["away"] * 99), limits=replace(stage.deps.limits, lease=timedelta()))
    with pytest.raises(OperationalError):
        await stage.refresh(life, deps)
    assert await stage.outcomes(life) == [None]
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_after_the_window_the_old_token_is_probed_and_served_while_it_works(stage: Any) -> None:
    life = await stage.connected()
    expires_at = (await stage.row(life)).expires_at
    await stage.fault("token", "drop_after")
    await stage.refresh(life)
    stage.clock.advance(seconds=570)  # the window less its margin

    asked, probed = await stage.asked(), await stage.asked("myself")
    waiting = await stage.refresh(life)
    assert (waiting.ending, waiting.code) == (Ending.WAITING, "in_doubt")
    assert stage.clock.now < waiting.not_before <= expires_at
    assert (await stage.asked(), await stage.asked("myself")) == (asked, probed + 1)
    row = await stage.row(life)
    assert (row.status, (await stage.credential(life)).refused_at) == (Status.ACTIVE, None)


@ON_ONE
async def test_the_window_counts_from_the_first_send(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "drop_after", times=2)
    await stage.refresh(life)
    stage.clock.advance(seconds=300)
    await stage.refresh(life)
    stage.clock.advance(seconds=300)
    assert (await stage.refresh(life)).ending is Ending.WAITING


async def test_a_token_that_came_through_after_all_ends_the_doubt(stage: Any) -> None:
    """Never handled, no window: it is sent once more when the old access token has ended, and the grant lives."""
    life = await stage.connected(provider="plain")
    old = await stage.secrets(life)
    await stage.fault("plain.token", "drop_before")
    await stage.refresh(life)

    waiting = await stage.refresh(life)
    assert waiting.ending is Ending.WAITING
    stage.clock.now = (await stage.row(life)).expires_at
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (await stage.known("refresh", old.refresh))["outcomes"] == {"rotated": 1}
    assert await stage.outcomes(life) == ["succeeded", "succeeded"]


async def test_a_lost_rotation_is_concluded_by_the_providers_answer_alone(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    await stage.fault("plain.token", "drop_after")
    await stage.refresh(life)
    stage.clock.now = (await stage.row(life)).expires_at

    for trouble in ({"status": 503}, {"status": 429}):
        await stage.fault("plain.token", "status", **trouble)
        assert (await stage.refresh(life)).ending is Ending.STUMBLED
        row = await stage.row(life)
        assert (row.status, row.health) == (Status.ACTIVE, "degraded")

    result = await stage.refresh(life)
    row = await stage.row(life)
    assert (result.ending, result.code) == (Ending.REFUSED, "rotation_lost")
    assert (row.status, row.reason, row.revoked_at) == (Status.NEEDS_REAUTH, "rotation_lost", None)
    assert set(await stage.outcomes(life)) == {"refused", "not_handled"}


async def test_a_refused_probe_allows_to_send_again_before_the_expiry(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    await stage.fault("plain.token", "drop_before")
    await stage.refresh(life)
    await stage.fault("plain.whoami", "status", status=401)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED
    assert (await stage.credential(life)).refused_at is None


@ON_ONE
@pytest.mark.parametrize("unclear", [{"kind": "status", "status": 403}, {"kind": "html"}, {"kind": "drop_before"}])
async def test_an_unclear_probe_does_not_allow_it(stage: Any, unclear: dict[str, Any]) -> None:
    life = await stage.connected(provider="plain")
    await stage.fault("plain.token", "drop_before")
    await stage.refresh(life)
    await stage.fault("plain.whoami", **unclear)
    asked = await stage.asked("plain.token")
    assert (await stage.refresh(life)).ending is Ending.WAITING
    assert await stage.asked("plain.token") == asked


@ON_ONE
async def test_without_a_probe_the_old_token_is_served_to_its_end(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    deps = stage.with_provider("plain", identity=None)
    await stage.fault("plain.token", "drop_before")
    await stage.refresh(life, deps)
    expires_at = (await stage.row(life)).expires_at
    waiting = await stage.refresh(life, deps)
    assert (waiting.ending, waiting.not_before) == (Ending.WAITING, expires_at)
    stage.clock.now = expires_at
    assert (await stage.refresh(life, deps)).ending is Ending.CREDENTIALED


async def test_while_a_probe_runs_somebody_else_may_have_refreshed(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "drop_after")
    await stage.refresh(life)
    window_over = stage.with_provider(replay_window=0)
    stage.before_sending(f"/ex/jira/{life.site_id}/rest/api/3/myself", lambda: stage.refresh(life))
    await stage.fault("myself", "status", status=401)
    asked = await stage.asked()
    assert (await stage.refresh(life, window_over)).ending is Ending.RELOAD
    assert await stage.asked() == asked + 1
    assert (await stage.credential(life)).refused_at is None


@ON_ONE
async def test_a_definite_refusal_of_a_first_send_is_no_lost_rotation(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    await stage.fault("plain.token", "status", status=429)
    await stage.refresh(life)
    await stage.ask("POST", f"grants/{(await stage.grant())['id']}/revoke")
    assert (await stage.refresh(life)).code == "grant_revoked"


async def test_an_operators_failure_leaves_earlier_sends_in_doubt(stage: Any) -> None:
    life = await stage.connected()
    await stage.fault("token", "drop_after")
    await stage.refresh(life)
    await stage.fault("token", "status", status=401, body={"error": "access_denied"})
    assert (await stage.refresh(life)).ending is Ending.HELD
    assert await stage.outcomes(life) == [None, "operator"]
    stage.clock.advance(minutes=2)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_a_new_consent_ends_every_doubt(stage: Any) -> None:
    life = await stage.connected(provider="plain")
    await crash_between_intent_and_answer(stage, life, PLAIN_TOKEN)
    await stage.connect(life)
    assert (await stage.refresh(life)).ending is Ending.CREDENTIALED


async def test_a_refresh_token_that_is_never_replaced_is_sent_again_at_once(stage: Any) -> None:
    """`rotation = false`: an answer that was lost cost nothing, so nothing is withheld."""
    life = await stage.connected(provider="plain")
    deps = stage.with_provider("plain", rotation=False)
    await stage.fault("plain.token", "status", status=503, body={})
    assert (await stage.refresh(life, deps)).ending is Ending.STUMBLED
    assert (await stage.refresh(life, deps)).ending is Ending.CREDENTIALED
