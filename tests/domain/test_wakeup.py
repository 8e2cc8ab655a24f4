"""What a life does next, and when: the one decision of the workflow's loop, as a table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.credential import CredentialRef
from domain.life import Attempt, AttemptState, LifeState, Status
from domain.wakeup import Step, Wakeup, is_open, next_wakeup

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def attempt(session_id: str = "ses_1", state: AttemptState = AttemptState.PENDING, ends: float = 900) -> Attempt:
    return Attempt(session_id, state, at(ends))


KEY = CredentialRef(1, at(-600), at(3000), refreshable=True)
BARE = LifeState(reload=False)
ACTIVE = replace(BARE, status=Status.ACTIVE, credential=KEY, refresh_at=at(2400))
DEAD = replace(ACTIVE, status=Status.NEEDS_REAUTH, refresh_at=None)
ENDLESS = replace(ACTIVE, credential=replace(KEY, expires_at=None), refresh_at=None)
ONE_USE = replace(ACTIVE, credential=replace(KEY, refreshable=False), refresh_at=at(3000))


@pytest.mark.parametrize(
    ("state", "next_"),
    [
        pytest.param(LifeState(), Wakeup(Step.LOAD, NOW), id="a new run reads its row"),
        pytest.param(replace(ACTIVE, reload=True, deleting=True), Wakeup(Step.LOAD, NOW), id="reading comes first"),
        pytest.param(BARE, Wakeup(Step.END, NOW), id="never active and nobody under way: it ends"),
        pytest.param(replace(BARE, status=Status.REVOKED), Wakeup(Step.END, NOW), id="revoked: it ends"),
        pytest.param(ACTIVE, Wakeup(Step.REFRESH, at(2400)), id="active: the refresh"),
        pytest.param(DEAD, Wakeup(Step.WAIT, None), id="dead: only a message can help"),
        pytest.param(replace(DEAD, refresh_wanted=True), Wakeup(Step.WAIT, None), id="asking does not raise the dead"),
        pytest.param(ENDLESS, Wakeup(Step.WAIT, None), id="what never ends waits for messages"),
        pytest.param(replace(ENDLESS, refresh_wanted=True), Wakeup(Step.REFRESH, NOW), id="and is refreshed if asked"),
        pytest.param(replace(ACTIVE, refresh_wanted=True), Wakeup(Step.REFRESH, NOW), id="asked for: now"),
        pytest.param(replace(ONE_USE, refresh_wanted=True), Wakeup(Step.REFRESH, at(3000)), id="unless it cannot be"),
        pytest.param(replace(ACTIVE, refresh_at=at(-60)), Wakeup(Step.REFRESH, at(-60)), id="overdue stays due"),
        pytest.param(
            replace(ACTIVE, retry_at=at(2500)), Wakeup(Step.REFRESH, at(2500)), id="not before the pause ends"
        ),
        pytest.param(
            replace(ACTIVE, retry_at=at(5)), Wakeup(Step.REFRESH, at(5)), id="what was begun is finished soon"
        ),
        pytest.param(replace(ENDLESS, retry_at=at(5)), Wakeup(Step.REFRESH, at(5)), id="also where none would be due"),
        pytest.param(replace(ONE_USE, retry_at=at(5)), Wakeup(Step.REFRESH, at(3000)), id="only what can be refreshed"),
        pytest.param(replace(ONE_USE, retry_at=at(3001)), Wakeup(Step.REFRESH, at(3001)), id="after its end, a pause"),
        pytest.param(
            replace(ACTIVE, refresh_wanted=True, retry_at=at(5), held_until=at(60)),
            Wakeup(Step.REFRESH, at(60)),
            id="not while held, not even when asked",
        ),
        pytest.param(replace(BARE, status=Status.ACTIVE), Wakeup(Step.WAIT, None), id="active without a credential"),
        pytest.param(
            replace(BARE, attempts=[attempt()]), Wakeup(Step.CLOSE_ATTEMPT, at(900), "ses_1"), id="an attempt's end"
        ),
        pytest.param(
            replace(BARE, attempts=[replace(attempt(ends=-1), retry_at=at(1))]),
            Wakeup(Step.CLOSE_ATTEMPT, at(1), "ses_1"),
            id="its end, after the pause",
        ),
        pytest.param(
            replace(ACTIVE, attempts=[attempt()], returned=["ses_1"]),
            Wakeup(Step.ATTEMPT, NOW, "ses_1"),
            id="a callback is worked on now",
        ),
        pytest.param(
            replace(BARE, returned=["ses_9"]), Wakeup(Step.ATTEMPT, NOW, "ses_9"), id="also one nobody knew of"
        ),
        pytest.param(
            replace(ACTIVE, attempts=[replace(attempt(), retry_at=at(8))], returned=["ses_1"]),
            Wakeup(Step.ATTEMPT, at(8), "ses_1"),
            id="after its own pause",
        ),
        pytest.param(
            replace(ACTIVE, attempts=[attempt(ends=-9)], returned=["ses_1"]),
            Wakeup(Step.ATTEMPT, NOW, "ses_1"),
            id="a callback is not closed as expired",
        ),
        pytest.param(
            replace(ACTIVE, attempts=[attempt("ses_2", ends=3000), attempt(ends=900)]),
            Wakeup(Step.CLOSE_ATTEMPT, at(900), "ses_1"),
            id="the earliest of several",
        ),
        pytest.param(
            replace(DEAD, attempts=[attempt()], returned=["ses_1"]),
            Wakeup(Step.ATTEMPT, NOW, "ses_1"),
            id="a repair of the dead",
        ),
        pytest.param(replace(ACTIVE, deleting=True), Wakeup(Step.REVOKE, NOW), id="deleting: now"),
        pytest.param(
            replace(ACTIVE, deleting=True, revoke_at=at(8), refresh_wanted=True, returned=["ses_1"]),
            Wakeup(Step.REVOKE, at(8)),
            id="deleting: before everything else",
        ),
        pytest.param(
            replace(ACTIVE, status=Status.REVOKED, deleting=True), Wakeup(Step.END, NOW), id="once revoked it ends"
        ),
    ],
)
def test_what_comes_next(state: LifeState, next_: Wakeup) -> None:
    assert next_wakeup(state, NOW) == next_


@pytest.mark.parametrize(
    ("state", "open_"),
    [
        (replace(BARE, attempts=[attempt()]), True),
        (replace(BARE, attempts=[attempt(state=AttemptState.EXCHANGING)]), True),
        (replace(BARE, attempts=[attempt(state=AttemptState.AWAITING_SELECTION)]), False),
        (replace(BARE, attempts=[attempt(state=AttemptState.PENDING_VERIFICATION)]), False),
        (replace(BARE, attempts=[attempt(state=AttemptState.AWAITING_SELECTION)], returned=["ses_1"]), True),
        (replace(BARE, returned=["ses_1"]), True),
        (replace(BARE, attempts=[attempt("ses_2")]), False),
        (LifeState(), True),
    ],
)
def test_an_attempt_has_come_to_rest_when_it_ended_or_waits_for_a_person(state: LifeState, open_: bool) -> None:
    assert is_open(state, "ses_1") is open_
