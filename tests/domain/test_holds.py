"""How long a hold lasts, when lives that stumble are an outage, and for what a held life waits."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from domain.holds import (
    AHEAD_OF_TIME,
    AHEAD_SPREAD,
    FALLBACK,
    FALLBACK_SPREAD,
    LONGEST_PAUSE,
    HoldKind,
    is_outage,
    pause,
    wait_of,
)
from domain.oauth.failures import MAX_RETRY_AFTER

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
tries = st.integers(min_value=1, max_value=10_000)
asked = st.none() | st.floats(min_value=0, max_value=MAX_RETRY_AFTER)
spans = st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=2))


def seconds(kind: HoldKind, *counts: int) -> list[float]:
    return [pause(kind, count).total_seconds() for count in counts]


def test_a_wrong_client_secret_is_looked_at_every_minute() -> None:
    assert seconds(HoldKind.MISCONFIGURED, 1, 2, 9) == [60, 60, 60]


def test_an_outage_is_looked_at_after_a_quarter_of_a_minute_doubling_to_five() -> None:
    assert seconds(HoldKind.OUTAGE, 1, 2, 3, 4, 5, 6, 99) == [15, 30, 60, 120, 240, 300, 300]


@given(tries, asked)
def test_a_pause_grows_and_never_for_ever(count: int, retry_after: float | None) -> None:
    this, following = (pause(HoldKind.OUTAGE, n, retry_after) for n in (count, count + 1))
    assert timedelta(0) < this <= following <= max(LONGEST_PAUSE, timedelta(seconds=MAX_RETRY_AFTER))


@given(st.sampled_from([HoldKind.OUTAGE, HoldKind.MISCONFIGURED]), tries, asked)
def test_a_provider_is_not_asked_before_it_wants_to_be(kind: HoldKind, count: int, retry_after: float | None) -> None:
    assert pause(kind, count, retry_after) >= timedelta(seconds=retry_after or 0)


def test_the_fifth_life_that_begins_to_fail_makes_an_outage() -> None:
    assert [count for count in range(8) if is_outage(count)] == [5, 6, 7]


@given(spans, spans | st.none())
def test_a_life_that_is_due_waits_long_for_it_is_woken(held: timedelta, overdue: timedelta | None) -> None:
    due_at = None if overdue is None else NOW - overdue
    until = wait_of("conn_1", NOW + held, NOW, due_at)
    longest = NOW + max(held, FALLBACK)
    assert longest <= until < longest + FALLBACK_SPREAD


@given(spans, spans.filter(bool))
def test_a_life_that_is_not_due_waits_no_longer_than_until_then(held: timedelta, left: timedelta) -> None:
    """The release wakes those that are due alone, and may come any moment."""
    until = wait_of("conn_1", NOW + held, NOW, NOW + left)
    assert NOW < until <= NOW + min(left, AHEAD_OF_TIME + AHEAD_SPREAD)


def test_lives_that_were_held_together_do_not_come_back_together() -> None:
    times = sorted(wait_of(f"conn_{n}", NOW, NOW) for n in range(1000))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) < timedelta(seconds=10)
    assert times[-1] - times[0] > FALLBACK_SPREAD * 0.9
