"""When a refresh is due, and how long a failure pauses: properties from five seconds to one year."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credential import CredentialRef
from domain.schedule import FIRST_BACKOFF, MAX_BACKOFF, MAX_LEAD, backoff, refresh_at

ISSUED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
lives = st.timedeltas(min_value=timedelta(seconds=5), max_value=timedelta(days=365))
# Drawn from [0, 1); 1 itself is tried too, since it must do no harm.
jitters = st.floats(min_value=0, max_value=1)


def credential(life: timedelta | None, *, refreshable: bool = True) -> CredentialRef:
    return CredentialRef(1, ISSUED, ISSUED + life if life is not None else None, refreshable)


def due(life: timedelta, jitter: float) -> datetime:
    at = refresh_at(credential(life), jitter)
    assert at is not None
    return at


@given(lives, jitters)
def test_no_wake_comes_before_half_the_life(life: timedelta, jitter: float) -> None:
    assert due(life, jitter) >= ISSUED + life / 2


@given(lives, jitters)
def test_no_wake_comes_at_the_expiry_or_after_it(life: timedelta, jitter: float) -> None:
    assert due(life, jitter) < ISSUED + life


@given(lives, jitters)
def test_the_lead_is_a_fifth_of_the_life_and_at_most_ten_minutes_before_jitter(life: timedelta, jitter: float) -> None:
    lead = min(timedelta(minutes=10), life * 0.2)
    assert ISSUED + life - due(life, 0.0) == lead
    assert timedelta(0) <= due(life, 0.0) - due(life, jitter) <= life * 0.1 + timedelta(microseconds=1)


@given(lives, jitters, jitters)
def test_more_jitter_never_comes_later(life: timedelta, one: float, other: float) -> None:
    assert due(life, max(one, other)) <= due(life, min(one, other))


def test_an_hour_is_refreshed_ten_minutes_before_its_end() -> None:
    assert due(timedelta(hours=1), 0.0) == ISSUED + timedelta(minutes=50)
    assert timedelta(minutes=10) == MAX_LEAD


def test_three_refreshes_of_a_ten_second_token_fit_half_a_minute() -> None:
    assert 3 * (due(timedelta(seconds=10), 0.0) - ISSUED) <= timedelta(seconds=30)


def test_what_never_ends_is_never_due() -> None:
    assert refresh_at(credential(None), 0.5) is None
    assert refresh_at(credential(None, refreshable=False), 0.5) is None


def test_what_cannot_be_refreshed_is_due_at_its_end_whatever_the_jitter() -> None:
    once = credential(timedelta(hours=1), refreshable=False)
    assert refresh_at(once, 0.0) == refresh_at(once, 0.99) == once.expires_at


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (11, 300), (10_000, 300)]
)
def test_the_pause_doubles_from_a_second_to_five_minutes(failures: int, seconds: int) -> None:
    assert backoff(failures, 0.0) == timedelta(seconds=seconds)


@given(st.integers(min_value=1, max_value=10**9), jitters)
def test_jitter_takes_at_most_a_quarter_off_the_pause(failures: int, jitter: float) -> None:
    assert backoff(failures, 0.0) * 0.75 <= backoff(failures, jitter) <= backoff(failures, 0.0)
    assert FIRST_BACKOFF * 0.75 <= backoff(failures, jitter) <= MAX_BACKOFF
