"""The code of a consent is sent once, whatever befalls the worker (semantics.md, "The refresh ledger")."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx
import pytest

from activities.messages import Ending
from domain.life import AttemptState, Status
from tests.activities.attempts import failed
from vault.tables import Visit

ENGINEERING, SUPPORT = "Acme Engineering", "Acme Support"
TOKEN, SITES = "/oauth/token", "/oauth/token/accessible-resources"

# What a provider's answer means does not depend on the database.
ON_ONE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ON_ONE
@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "truncated"])
async def test_after_a_lost_answer_the_code_is_not_sent_again(stage: Any, fault: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("token", fault)

    result = await stage.advance(life, session)
    again = await stage.advance(life, session)

    assert (result.state, result.code) == (AttemptState.FAILED, "exchange_unknown")
    assert again.state is AttemptState.FAILED
    assert await stage.asked() == 1
    assert await failed(stage, session) == ("exchange_unknown", "")
    assert await stage.outcomes(life, "exchange") == ["unknown"]
    assert (await stage.row(life)).status == Status.PENDING


async def test_a_worker_killed_in_the_exchange_ends_the_attempt_when_its_lease_is_over(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    sent = asyncio.Event()

    async def hang() -> None:
        sent.set()
        await asyncio.Event().wait()

    stage.before_sending(TOKEN, hang)
    task = asyncio.create_task(stage.advance(life, session))
    await asyncio.wait_for(sent.wait(), 10)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    waiting = await stage.advance(life, session)
    assert (waiting.ending, waiting.code) == (Ending.STUMBLED, "exchange_running")
    stage.clock.advance(seconds=30)
    assert (await stage.advance(life, session)).code == "exchange_unknown"
    assert await stage.asked() == 0
    assert await failed(stage, session) == ("exchange_unknown", "")


async def test_of_two_workers_at_once_one_sends_the_code(stage: Any, together: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await together(stage.advance(life, session), stage.advance(life, session))
    assert await stage.asked() == 1
    assert (await stage.session(session.id)).state == AttemptState.COMPLETED
    assert await stage.valid("refresh", (await stage.secrets(life)).refresh)
    assert await stage.events(life) == ["created", "activated"]


@ON_ONE
@pytest.mark.parametrize("untouched", ["unreachable", "rate_limited"])
async def test_a_code_that_was_certainly_not_looked_at_may_be_sent_later(stage: Any, untouched: str) -> None:
    life = await stage.life()
    session = await stage.come_back(life)

    async def refuse() -> None:
        raise httpx.ConnectError("refused")

    if untouched == "unreachable":
        stage.before_sending(TOKEN, refuse)
    else:
        await stage.fault("token", "status", status=429)
    result = await stage.advance(life, session)
    assert (result.ending, result.state, result.code) == (Ending.STUMBLED, AttemptState.EXCHANGING, untouched)
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED


async def test_a_refused_code_is_the_attempts_failure_alone(stage: Any) -> None:
    life = await stage.connected()
    before = await stage.row(life)
    session = await stage.come_back(life)
    stage.clock.advance(minutes=11)  # the provider's codes live for ten
    assert (await stage.advance(life, session)).code == "code_refused"
    assert await failed(stage, session) == ("code_refused", "")
    assert (await stage.row(life)).revision == before.revision
    assert (await stage.config()).held_until is None


@ON_ONE
async def test_a_wrong_client_secret_fails_the_attempt_and_holds_the_config(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.ask("POST", "apps/authpipe-dev/rotate-secret", client_secret="another")
    assert (await stage.advance(life, session)).code == "client_refused"
    assert await failed(stage, session) == ("client_refused", "")
    assert (await stage.config()).held_reason == "client_refused"


async def test_the_candidate_survives_a_crash_and_the_code_is_not_sent_again(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)

    async def die() -> None:
        raise ZeroDivisionError

    stage.before_sending(SITES, die)
    with pytest.raises(ZeroDivisionError):
        await stage.advance(life, session)
    assert len(await stage.candidates(session)) == 1
    assert (await stage.row(life)).status == Status.PENDING

    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED
    assert await stage.asked() == 1


async def test_code_and_verifier_are_forgotten_once_the_code_was_exchanged(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life, sites=(ENGINEERING, SUPPORT))
    assert (await stage.advance(life, session)).state is AttemptState.AWAITING_SELECTION
    assert (await stage.session(session.id)).sealed_code is None
    assert [visit.sealed_verifier for visit in await stage.all(Visit, session_id=session.id)] == [None]


async def test_the_candidate_is_kept_although_the_database_was_away(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    # acknowledge, intend, keep (away twice, then its answer lost), allot, swap
    deps = stage.interposed(None, None, "away", "away", "answer_lost")
    assert (await stage.advance(life, session, deps)).ending is Ending.CREDENTIALED
    assert await stage.asked() == 1


async def test_a_swap_whose_answer_was_lost_is_a_success(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    deps = stage.interposed(None, None, None, None, "answer_lost")
    result = await stage.advance(life, session, deps)
    assert (result.ending, result.state) == (Ending.CREDENTIALED, AttemptState.COMPLETED)
    assert result.credential.generation == (await stage.row(life)).generation
    assert (await stage.session(session.id)).state == AttemptState.COMPLETED
    assert await stage.events(life) == ["created", "activated"]


@pytest.mark.parametrize("step", ["advance", "close"])
async def test_a_worker_that_died_after_the_swap_leaves_a_success_to_be_found(stage: Any, step: str) -> None:
    """The workflow has not heard of the credential: it has to read the row, not to take the attempt for closed."""
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.advance(life, session)
    result = await getattr(stage, step)(life, session)
    assert (result.ending, result.state) == (Ending.RELOAD, AttemptState.COMPLETED)


@ON_ONE
async def test_what_cannot_be_checked_is_tried_again(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("accessible-resources", "status", status=503)
    await stage.fault("myself", "html")
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    assert (await stage.advance(life, session)).ending is Ending.CREDENTIALED


async def test_what_cannot_be_checked_is_not_tried_for_ever(stage: Any) -> None:
    life = await stage.life()
    session = await stage.come_back(life)
    await stage.fault("accessible-resources", "status", status=503, times=None)
    assert (await stage.advance(life, session)).ending is Ending.STUMBLED
    stage.clock.advance(minutes=16)
    result = await stage.advance(life, session)
    assert (result.state, result.code) == (AttemptState.FAILED, "server_error")
    assert await failed(stage, session) == ("server_error", "")
