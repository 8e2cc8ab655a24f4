"""How young a credential is, and how much life a reader gets at least."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.credential import default_min_ttl, is_fresh

ISSUED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def ends(seconds: float | None) -> datetime | None:
    return None if seconds is None else ISSUED + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("life", "floor"),
    [(3600, 30), (300, 30), (299, 29.9), (10, 1), (5, 0.5), (None, 30), (0, 0)],
)
def test_the_least_life_is_thirty_seconds_or_a_tenth_of_it(life: float | None, floor: float) -> None:
    assert default_min_ttl(ISSUED, ends(life)) == timedelta(seconds=floor)


@pytest.mark.parametrize(
    ("life", "age", "fresh"),
    [
        (3600, 0, True),
        (3600, 29.9, True),
        (3600, 30, False),
        (10, 0.9, True),
        (10, 1, False),
        (None, 29, True),
        (None, 30, False),
    ],
)
def test_a_generation_is_fresh_for_as_long_and_no_longer(life: float | None, age: float, fresh: bool) -> None:
    assert is_fresh(ISSUED, ends(life), ISSUED + timedelta(seconds=age)) is fresh


def test_a_clock_that_lags_behind_sees_a_fresh_generation() -> None:
    assert is_fresh(ISSUED, ends(3600), ISSUED - timedelta(seconds=5))
