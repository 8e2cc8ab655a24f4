import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from domain.life import AttemptState
from vault import sessions
from vault.database import Database
from vault.tables import AuthSession, Life, Visit

SITES = [{"id": "site", "name": "Site", "url": ""}]


@pytest.fixture
def of(db: Database) -> Any:
    """`await of(session)`: the row as it stands."""

    async def read(session: AuthSession) -> AuthSession:
        async with db.reading() as tx:
            found = await sessions.get_session(tx, session.id)
        assert found is not None
        return found

    return read


@pytest.fixture
def do(db: Database) -> Any:
    """`await do(sessions.verify, …)`: one step in a transaction of its own."""

    async def step(change: Any, *args: Any, **more: Any) -> Any:
        async with db.transaction() as tx:
            return await change(tx, *args, **more)

    return step


@pytest.fixture
async def session(life: Life, new_session: Any) -> AuthSession:
    return await new_session(life)


@pytest.fixture
def visited(session: AuthSession, do: Any, new_visit: Any, clock: Any) -> Any:
    async def visit() -> Visit:
        made = new_visit(session)
        assert await do(sessions.add_visit, made, clock.now)
        return made

    return visit


@pytest.fixture
async def back(session: AuthSession, visited: Any, do: Any, of: Any, clock: Any) -> AuthSession:
    """The session, its browser come back."""
    assert await do(sessions.consume, await visited(), b"sealed code", clock.now)
    return await of(session)


async def visits(db: Database) -> list[Visit]:
    async with db.reading() as tx:
        return list((await tx.exec(select(Visit))).all())


async def test_a_visit_is_found_by_its_state_with_its_session(db: Database, session: AuthSession, visited: Any) -> None:
    first, second = await visited(), await visited()
    async with db.reading() as tx:
        found = await sessions.find_visit(tx, second.state_hash)
        assert await sessions.find_visit(tx, "forged") is None
    assert (found[0].id, found[1].id) == (second.id, session.id)
    assert first.id != second.id


async def test_a_session_is_visited_a_hundred_times_at_most(
    db: Database, session: AuthSession, do: Any, new_visit: Any, clock: Any
) -> None:
    async with db.transaction() as tx:
        (await tx.get(AuthSession, session.id)).visits = sessions.MAX_VISITS - 1
    assert await do(sessions.add_visit, new_visit(session), clock.now)
    assert not await do(sessions.add_visit, new_visit(session), clock.now)
    assert len(await visits(db)) == 1


async def test_an_expired_session_is_neither_visited_nor_consumed(
    session: AuthSession, visited: Any, do: Any, new_visit: Any
) -> None:
    visit = await visited()
    assert not await do(sessions.add_visit, new_visit(session), session.expires_at)
    assert not await do(sessions.consume, visit, b"code", session.expires_at)


async def test_of_callbacks_at_once_one_consumes_the_session(
    session: AuthSession, visited: Any, do: Any, of: Any, clock: Any
) -> None:
    made = [await visited() for _ in range(4)]
    taken = await asyncio.gather(*(do(sessions.consume, visit, visit.id.encode(), clock.now) for visit in made))
    assert sorted(taken) == [False, False, False, True]
    row, winner = await of(session), made[taken.index(True)]
    assert (row.state, row.consumed_visit_id, row.consumed_at) == (AttemptState.EXCHANGING, winner.id, clock.now)
    assert row.sealed_code == winner.id.encode()


async def test_a_denial_ends_the_attempt_and_forgets_its_verifiers(
    db: Database, session: AuthSession, visited: Any, do: Any, of: Any, clock: Any
) -> None:
    visit, other = await visited(), await visited()
    assert await do(sessions.deny, visit, "access_denied", clock.now)
    row = await of(session)
    assert (row.state, row.reason, row.finished_at) == (AttemptState.FAILED, "access_denied", clock.now)
    assert {v.id: v.sealed_verifier for v in await visits(db)} == {visit.id: None, other.id: None}
    assert not await do(sessions.consume, visit, b"code", clock.now)


async def test_a_denial_after_the_callback_changes_nothing(
    db: Database, back: AuthSession, do: Any, of: Any, clock: Any
) -> None:
    (visit,) = await visits(db)
    assert not await do(sessions.deny, visit, "access_denied", clock.now)
    assert await of(back) == back
    assert (await visits(db))[0].sealed_verifier is not None


async def test_the_first_acknowledgement_stays(back: AuthSession, do: Any, of: Any, clock: Any) -> None:
    await do(sessions.acknowledge, back.id, clock.now)
    first = clock.now
    await do(sessions.acknowledge, back.id, clock.advance(minutes=1))
    assert (await of(back)).acknowledged_at == first


async def test_a_choice_is_made_once_and_in_time(back: AuthSession, do: Any, of: Any, clock: Any) -> None:
    assert not await do(sessions.choose, back.id, "site", clock.now)
    deadline = clock.now + timedelta(hours=1)
    assert await do(sessions.await_selection, back, SITES, deadline)
    assert not await do(sessions.choose, back.id, "site", deadline)
    assert await do(sessions.choose, back.id, "site", clock.now)
    assert not await do(sessions.choose, back.id, "other", clock.now)
    row = await of(back)
    assert (row.chosen_site_id, row.sites) == ("site", SITES)


async def test_a_verification_comes_in_time_or_not_at_all(back: AuthSession, do: Any, of: Any, clock: Any) -> None:
    assert not await do(sessions.verify, back.id, clock.now)
    deadline = clock.now + timedelta(minutes=30)
    assert await do(sessions.await_verification, back, deadline, "account-1")
    assert not await do(sessions.verify, back.id, deadline)
    assert await do(sessions.verify, back.id, clock.now)
    assert (await of(back)).verified_at == clock.now


async def test_the_end_takes_code_and_verifiers_with_it(
    db: Database, session: AuthSession, visited: Any, do: Any, of: Any, clock: Any
) -> None:
    other, consumed = await visited(), await visited()
    await do(sessions.consume, consumed, b"sealed code", clock.now)
    assert await do(sessions.finish, await of(session), clock.now)
    row = await of(session)
    assert (row.state, row.sealed_code, row.finished_at) == (AttemptState.COMPLETED, None, clock.now)
    assert {v.id: v.sealed_verifier for v in await visits(db)} == {consumed.id: None, other.id: None}


async def test_a_failure_says_why(back: AuthSession, do: Any, of: Any, clock: Any) -> None:
    await do(sessions.finish, back, clock.now, reason="site_mismatch", expected="Acme")
    row = await of(back)
    assert (row.state, row.reason, row.expected) == (AttemptState.FAILED, "site_mismatch", "Acme")


async def test_an_attempt_that_moved_on_is_not_ended_from_an_older_reading(
    db: Database, session: AuthSession, back: AuthSession, do: Any, of: Any, clock: Any
) -> None:
    """`session` was read before the callback: its code and verifier are still needed."""
    assert not await do(sessions.finish, session, clock.now, reason="expired")
    assert await of(back) == back
    assert [visit.sealed_verifier for visit in await visits(db)] == [b"sealed"]


async def test_an_ended_attempt_stays_as_it_ended(back: AuthSession, do: Any, of: Any, clock: Any) -> None:
    await do(sessions.finish, back, clock.now, reason="no_site")
    ended = await of(back)
    assert not await do(sessions.finish, back, clock.advance(minutes=1))
    assert not await do(sessions.await_selection, back, SITES, clock.now)
    assert await of(back) == ended


@pytest.mark.parametrize(
    ("state", "facts", "returned"),
    [
        (AttemptState.PENDING, {}, False),
        (AttemptState.EXCHANGING, {}, True),
        (AttemptState.AWAITING_SELECTION, {}, False),
        (AttemptState.AWAITING_SELECTION, {"chosen_site_id": "site"}, True),
        (AttemptState.PENDING_VERIFICATION, {}, False),
        (AttemptState.PENDING_VERIFICATION, {"verified_at": 0}, True),
        (AttemptState.COMPLETED, {"chosen_site_id": "site"}, False),
        (AttemptState.FAILED, {}, False),
    ],
)
async def test_the_workflow_is_wanted_only_where_no_person_is(
    life: Life, new_session: Any, now: Any, state: AttemptState, facts: dict[str, Any], returned: bool
) -> None:
    facts = {name: value or now for name, value in facts.items()}
    assert sessions.is_returned(await new_session(life, state=state, **facts)) is returned


async def test_open_sessions_are_those_that_have_not_ended(
    db: Database, life: Life, new_life: Any, new_session: Any
) -> None:
    made = {state: await new_session(life, state=state) for state in AttemptState}
    await new_session(await new_life(user_id="another"))
    async with db.reading() as tx:
        found = {session.id for session in await sessions.open_sessions(tx, life.id)}
    assert found == {s.id for state, s in made.items() if state not in (AttemptState.COMPLETED, AttemptState.FAILED)}


async def test_the_deadline_is_that_of_the_state(back: AuthSession, do: Any, of: Any, clock: Any) -> None:
    assert sessions.deadline_of(back) == back.expires_at
    deadline = clock.now + timedelta(hours=1)
    await do(sessions.await_selection, back, SITES, deadline)
    attempt = sessions.as_attempt(await of(back))
    assert (attempt.state, attempt.deadline) == (AttemptState.AWAITING_SELECTION, deadline)
