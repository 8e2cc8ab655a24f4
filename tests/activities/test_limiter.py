"""The share of a provider's rate that check-ups take."""

from datetime import UTC, datetime, timedelta

from activities.limiter import Limiter

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_turns_are_given_one_after_the_other_evenly() -> None:
    limiter = Limiter(4)
    assert [(limiter.turn(NOW) - NOW).total_seconds() for _ in range(4)] == [0, 0.25, 0.5, 0.75]


def test_who_comes_after_a_pause_goes_at_once_and_the_pause_is_not_caught_up() -> None:
    limiter = Limiter(1)
    limiter.turn(NOW)
    later = NOW + timedelta(minutes=1)
    assert [limiter.turn(later) for _ in range(2)] == [later, later + timedelta(seconds=1)]
