"""Every fact against every state it may meet."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credential import CredentialRef
from domain.life import (
    Attempt,
    AttemptMoved,
    AttemptState,
    AttemptStumbled,
    Credentialed,
    Fact,
    Held,
    LifeState,
    Loaded,
    Refused,
    RevocationStumbled,
    Revoked,
    Status,
    Stumbled,
)
from domain.transitions import apply

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seconds(count: float) -> datetime:
    return NOW + timedelta(seconds=count)


def ref(generation: int = 1, *, issued: datetime = NOW, refreshable: bool = True) -> CredentialRef:
    return CredentialRef(generation, issued, issued + HOUR, refreshable)


def attempt(session_id: str = "ses_1", state: AttemptState = AttemptState.PENDING, ends: float = 900) -> Attempt:
    return Attempt(session_id, state, seconds(ends))


NEW = LifeState()
ACTIVE = LifeState(Status.ACTIVE, credential=ref(5), refresh_at=NOW + timedelta(minutes=50), reload=False)
DEGRADED = replace(ACTIVE, failures=3, last_error="unavailable", retry_at=seconds(4))
HELD = replace(ACTIVE, held_until=seconds(60), held_reason="client_refused", last_error="client_refused")
DEAD = replace(ACTIVE, status=Status.NEEDS_REAUTH, reason="grant_revoked", refresh_at=None)
DELETING = replace(ACTIVE, deleting=True)
EVERY = [NEW, ACTIVE, DEGRADED, HELD, DEAD, DELETING]


@pytest.mark.parametrize("state", [NEW, ACTIVE, DEGRADED, HELD, DEAD])
def test_a_newer_credential_heals_whatever_was_wrong(state: LifeState) -> None:
    after = apply(replace(state, refresh_wanted=True), Credentialed(ref(6)), NOW)
    assert (after.status, after.health, after.reason, after.generation) == (Status.ACTIVE, "ok", "", 6)
    assert (after.failures, after.last_error, after.retry_at, after.refresh_wanted) == (0, "", None, False)
    assert (after.held_until, after.held_reason) == (None, "")
    assert after.refresh_at == NOW + timedelta(minutes=50)


def test_an_older_credential_changes_nothing_but_ends_the_asking() -> None:
    assert apply(replace(DEGRADED, refresh_wanted=True), Credentialed(ref(4)), NOW) == DEGRADED
    assert apply(DEAD, Credentialed(ref(4)), NOW) == DEAD


def test_the_drawn_jitter_places_the_next_refresh() -> None:
    after = apply(ACTIVE, Credentialed(ref(6), jitter=0.5), NOW)
    assert after.refresh_at == NOW + timedelta(minutes=47)


@pytest.mark.parametrize("state", [ACTIVE, DEGRADED, HELD])
def test_a_dead_grant_needs_the_user_and_nothing_is_due_until_then(state: LifeState) -> None:
    after = apply(replace(state, refresh_wanted=True), Refused("grant_revoked"), NOW)
    assert (after.status, after.reason, after.health) == (Status.NEEDS_REAUTH, "grant_revoked", "ok")
    assert (after.refresh_at, after.retry_at, after.refresh_wanted, after.failures) == (None, None, False, 0)
    assert after.generation == 5


def test_the_operators_failure_blames_no_connection() -> None:
    after = apply(replace(ACTIVE, refresh_wanted=True), Held(seconds(60), "client_refused"), NOW)
    assert (after.status, after.health, after.failures) == (Status.ACTIVE, "ok", 0)
    assert (after.held_until, after.held_reason, after.refresh_wanted) == (seconds(60), "client_refused", False)


@pytest.mark.parametrize(
    ("failures", "fact", "counted", "retry"),
    [
        pytest.param(0, Stumbled("e"), 1, 1, id="the first pause is a second"),
        pytest.param(3, Stumbled("e"), 4, 8, id="it doubles"),
        pytest.param(50, Stumbled("e"), 51, 300, id="to five minutes"),
        pytest.param(3, Stumbled("e", jitter=1.0), 4, 6, id="less a quarter at most"),
        pytest.param(0, Stumbled("e", seconds(90)), 1, 90, id="Retry-After is honoured"),
        pytest.param(9, Stumbled("e", seconds(90)), 10, 300, id="and never shortens the pause"),
        pytest.param(3, Stumbled("e", seconds(30), counted=False), 3, 30, id="waiting for a lease is no failure"),
        pytest.param(9, Stumbled("e", seconds(30), counted=False), 9, 30, id="and not backed off from"),
        pytest.param(0, Stumbled("e", seconds(-5), counted=False), 0, 1, id="a wait that is over pauses for a second"),
        pytest.param(0, Stumbled("e", counted=False), 0, 300, id="a wait without end is looked at now and then"),
    ],
)
def test_a_moments_failure_backs_off(failures: int, fact: Stumbled, counted: int, retry: float) -> None:
    after = apply(replace(ACTIVE, failures=failures, refresh_wanted=True), fact, NOW)
    assert (after.failures, after.retry_at, after.last_error) == (counted, seconds(retry), "e")
    assert (after.status, after.credential, after.refresh_wanted) == (Status.ACTIVE, ACTIVE.credential, False)


def test_a_life_that_stumbles_is_degraded_and_still_active() -> None:
    after = apply(ACTIVE, Stumbled("unavailable"), NOW)
    assert (after.status, after.health) == (Status.ACTIVE, "degraded")
    assert replace(DEAD, failures=1).health == "ok"


def test_what_was_read_replaces_what_was_known() -> None:
    read = Loaded(
        Status.ACTIVE, "", ref(7), [attempt()], ["ses_1"], held_until=seconds(60), held_reason="client_refused"
    )
    after = apply(DEGRADED, read, NOW)
    assert (after.generation, after.refresh_at) == (7, NOW + timedelta(minutes=50))
    assert (after.failures, after.retry_at, after.last_error) == (0, None, "")
    assert (after.attempts, after.returned) == ([attempt()], ["ses_1"])
    assert (after.held_until, after.held_reason, after.reload) == (seconds(60), "client_refused", False)


def test_the_same_generation_read_again_keeps_the_back_off_and_the_drawn_time() -> None:
    drawn = replace(DEGRADED, refresh_at=seconds(2900))
    after = apply(drawn, Loaded(Status.ACTIVE, credential=ref(5), jitter=0.9), NOW)
    assert (after.failures, after.retry_at, after.refresh_at) == (3, DEGRADED.retry_at, seconds(2900))


def test_a_dead_grant_that_is_read_is_not_due() -> None:
    after = apply(NEW, Loaded(Status.NEEDS_REAUTH, "grant_revoked", ref(5)), NOW)
    assert (after.status, after.reason, after.generation, after.refresh_at) == (
        Status.NEEDS_REAUTH,
        "grant_revoked",
        5,
        None,
    )


def test_a_deletion_signalled_while_the_row_was_read_is_not_forgotten() -> None:
    assert apply(DELETING, Loaded(Status.ACTIVE, credential=ref(5), deleting=False), NOW).deleting
    assert apply(ACTIVE, Loaded(Status.ACTIVE, credential=ref(5), deleting=True), NOW).deleting


def test_attempts_that_were_known_keep_their_back_off_and_ended_ones_go() -> None:
    tried = replace(attempt(), retry_at=seconds(8), failures=4)
    state = replace(NEW, attempts=[tried, attempt("ses_gone")], returned=["ses_1", "ses_gone"])
    moved = attempt(state=AttemptState.EXCHANGING)
    after = apply(state, Loaded(Status.PENDING, attempts=[moved, attempt("ses_2")], returned=["ses_2"]), NOW)
    assert after.attempts == [replace(moved, retry_at=seconds(8), failures=4), attempt("ses_2")]
    assert after.returned == ["ses_1", "ses_2"]


WITH_TWO = replace(ACTIVE, attempts=[attempt(), attempt("ses_2")], returned=["ses_1"])


@pytest.mark.parametrize("ended", [AttemptState.COMPLETED, AttemptState.FAILED])
def test_an_attempt_that_ended_is_forgotten_and_touches_nothing_else(ended: AttemptState) -> None:
    after = apply(WITH_TWO, AttemptMoved("ses_1", ended, NOW), NOW)
    assert after == replace(WITH_TWO, attempts=[attempt("ses_2")], returned=[])


def test_an_attempt_that_waits_for_a_person_has_a_deadline_of_its_own() -> None:
    after = apply(WITH_TWO, AttemptMoved("ses_1", AttemptState.AWAITING_SELECTION, seconds(3600)), NOW)
    assert after.attempts == [attempt("ses_2"), attempt(state=AttemptState.AWAITING_SELECTION, ends=3600)]
    assert after.returned == []


def test_an_attempt_still_open_after_its_end_is_asked_again_after_a_pause() -> None:
    after = apply(WITH_TWO, AttemptMoved("ses_1", AttemptState.PENDING, seconds(-1)), NOW)
    assert after.attempts[-1].retry_at == seconds(1)


def test_an_attempts_failure_backs_off_alone() -> None:
    once = apply(WITH_TWO, AttemptStumbled("ses_1"), NOW)
    twice = apply(once, AttemptStumbled("ses_1", jitter=1.0), NOW)
    assert [(a.session_id, a.failures, a.retry_at) for a in twice.attempts] == [
        ("ses_1", 2, seconds(1.5)),
        ("ses_2", 0, None),
    ]
    assert replace(twice, attempts=WITH_TWO.attempts) == WITH_TWO


def test_the_failure_of_an_attempt_nobody_knows_makes_the_row_be_read() -> None:
    assert apply(ACTIVE, AttemptStumbled("ses_9"), NOW) == replace(ACTIVE, reload=True)


@pytest.mark.parametrize("state", EVERY)
def test_revoked_is_the_end_of_everything(state: LifeState) -> None:
    after = apply(replace(state, attempts=[attempt()], returned=["ses_1"]), Revoked(), NOW)
    assert (after.status, after.deleting, after.attempts, after.returned) == (Status.REVOKED, False, [], [])


def test_a_provider_that_cannot_be_told_is_told_later() -> None:
    once = apply(DELETING, RevocationStumbled(), NOW)
    twice = apply(once, RevocationStumbled(), NOW)
    assert (once.revoke_at, twice.revoke_at, twice.revoke_failures) == (seconds(1), seconds(2), 2)
    assert twice.deleting


def test_a_life_without_a_credential_is_of_generation_zero() -> None:
    assert (NEW.generation, NEW.status, NEW.reload) == (0, Status.PENDING, True)


moments = st.floats(-3600, 3600).map(seconds)
jitters = st.floats(0, 1)
sessions = st.sampled_from(["ses_1", "ses_2", "ses_3"])
refs = st.builds(ref, st.integers(1, 9))
attempts = st.builds(Attempt, sessions, st.sampled_from(AttemptState), moments)
loads = st.builds(
    Loaded,
    st.sampled_from(Status),
    credential=st.none() | refs,
    attempts=st.lists(attempts, max_size=2, unique_by=lambda a: a.session_id),
    returned=st.lists(sessions, max_size=2),
    deleting=st.booleans(),
    jitter=jitters,
)
facts: st.SearchStrategy[Fact] = st.one_of(
    loads,
    st.builds(Credentialed, refs, jitters),
    st.builds(Refused, st.just("grant_revoked")),
    st.builds(Held, moments, st.just("client_refused")),
    st.builds(Stumbled, st.just("e"), st.none() | moments, counted=st.booleans(), jitter=jitters),
    st.builds(AttemptMoved, sessions, st.sampled_from(AttemptState), moments),
    st.builds(AttemptStumbled, sessions, jitters),
    st.builds(RevocationStumbled, jitters),
)


@given(st.lists(facts, max_size=12))
def test_whatever_happens_in_whatever_order_the_state_stays_in_one_piece(history: list[Fact]) -> None:
    state = LifeState()
    for fact in history:
        before, state = state, apply(state, fact, NOW)
        if isinstance(fact, Credentialed):
            assert state.generation >= before.generation
        assert len({a.session_id for a in state.attempts}) == len(state.attempts)
        assert len(set(state.returned)) == len(state.returned)
        assert state.retry_at is None or state.retry_at >= NOW
        assert before.deleting <= state.deleting
