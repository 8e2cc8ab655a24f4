"""What the pages reckon with, refreshes a second and actions a month, follows from the code's own arithmetic."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from domain.credential import CredentialRef
from domain.schedule import refresh_at
from tests.docs.reading import section, text_of
from workflows.life import REFRESHES_PER_RUN

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
MONTH = timedelta(days=30)
CAPACITY = " ".join(section(text_of("docs/operations.md"), "Capacity").split())
CLOUD = " ".join(section(text_of("docs/temporal-cloud.md"), "What Cloud costs").split())
CHECKUPS_IN_A_MONTH = MONTH / timedelta(hours=6)


def between_refreshes(life: timedelta) -> timedelta:
    """On average: jitter is spread evenly, so its mean is what the middle of it gives."""
    due = refresh_at(CredentialRef(1, ISSUED, ISSUED + life, refreshable=True), jitter=0.5)
    assert due is not None
    return due - ISSUED


def actions(refreshes: float) -> float:
    """Timer and activity, and a run for every dozen."""
    return refreshes * (2 + 1 / REFRESHES_PER_RUN)


def told(text: str, pattern: str) -> tuple[float, ...]:
    found = re.search(pattern, text)
    assert found, pattern
    return tuple(float(number.replace(",", "")) for number in found.groups())


def test_the_page_knows_how_often_an_hourly_token_is_refreshed() -> None:
    minutes, seconds = told(CAPACITY, r"refreshed after (\d+) minutes, ([\d,]+) seconds, on average")
    assert timedelta(minutes=minutes) == timedelta(seconds=seconds) == between_refreshes(HOUR)


def test_refreshes_a_second_follow_from_it() -> None:
    each = 1 / between_refreshes(HOUR).total_seconds()
    ten_thousand, hundred_thousand, million = told(
        CAPACITY, r"10,000 connections are ([\d.]+) a second, 100,000 are (\d+), a million are (\d+)\."
    )
    assert ten_thousand == round(10_000 * each, 1)
    assert (hundred_thousand, million) == (round(100_000 * each), round(1_000_000 * each))


@pytest.mark.parametrize(("row", "life"), [("1 hour", HOUR), ("24 hours", DAY)])
def test_cloud_counts_what_follows_from_it(row: str, life: timedelta) -> None:
    refreshes = MONTH / between_refreshes(life)
    said = told(CLOUD, rf"\| {row} \| about ([\d,]+) \| about ([\d,]+) \|")
    assert said == tuple(float(f"{number:.2g}") for number in (refreshes, actions(refreshes)))


def test_what_a_hundred_thousand_cost_on_cloud_follows_from_the_list() -> None:
    each = actions(MONTH / between_refreshes(HOUR)) + 2 * CHECKUPS_IN_A_MONTH
    (millions,) = told(CLOUD, r"some (\d+) million actions a month")
    assert abs(millions - each / 10) < 1
    low, high, least, most = told(CLOUD, r"At \$(\d+) to \$(\d+) a million.*?that is \$([\d,]+) to \$([\d,]+),")
    assert (least, most) == tuple(round(millions * dollars, -2) for dollars in (low, high))
