"""When a consent will end by itself, and that each notice of it goes out once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.forecast import (
    ABSOLUTE_LIFETIME,
    INACTIVITY,
    NO_REFRESH_TOKEN,
    NOTICE_DAYS,
    End,
    Lifespan,
    end_of,
    forgotten,
    next_notice_at,
    notice_due,
)

CONSENT = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = Lifespan(inactivity_days=90, absolute_days=365, absolute_doubt="hearsay")
END = End(CONSENT + timedelta(days=365), CONSENT, ABSOLUTE_LIFETIME)


def ends(
    lifespan: Lifespan = YEAR, *, issued_days: int = 0, refreshable: bool = True, life_days: int = 1
) -> End | None:
    issued = CONSENT + timedelta(days=issued_days)
    return end_of(
        lifespan,
        consented_at=CONSENT,
        issued_at=issued,
        expires_at=issued + timedelta(days=life_days),
        refreshable=refreshable,
    )


def test_without_a_limit_there_is_no_end() -> None:
    assert ends(Lifespan()) is None


def test_the_earliest_end_counts() -> None:
    assert ends() == End(CONSENT + timedelta(days=90), CONSENT, INACTIVITY)


def test_a_refresh_moves_the_end_of_inactivity_but_not_the_absolute_one() -> None:
    assert ends(issued_days=300) == End(CONSENT + timedelta(days=365), CONSENT, ABSOLUTE_LIFETIME, "hearsay")


def test_what_cannot_be_refreshed_ends_with_its_token() -> None:
    assert ends(refreshable=False, life_days=60) == End(CONSENT + timedelta(days=60), CONSENT, NO_REFRESH_TOKEN)


def test_a_token_that_never_expires_and_is_never_refreshed_has_no_end_of_its_own() -> None:
    end = end_of(Lifespan(90), consented_at=CONSENT, issued_at=CONSENT, expires_at=None, refreshable=False)
    assert end is None


@pytest.mark.parametrize("days", NOTICE_DAYS)
def test_a_notice_is_due_so_many_days_ahead(days: int) -> None:
    at, before = END.at - timedelta(days=days), {14: 0, 3: 14, 1: 3}[days]
    assert notice_due(END, before, at - timedelta(seconds=1)) is None
    due = notice_due(END, before, at)
    assert due is not None
    assert due.days == days
    assert notice_due(END, days, at) is None


def test_of_late_notices_the_last_alone_is_given() -> None:
    due = notice_due(END, 0, END.at - timedelta(hours=5))
    assert due is not None
    assert due.days == 1
    assert next_notice_at(END, 1, END.at - timedelta(hours=5)) is None


def test_after_the_end_nothing_is_announced() -> None:
    assert notice_due(END, 0, END.at) is None


def test_a_token_of_an_hour_is_not_announced_a_fortnight_ahead() -> None:
    short = End(CONSENT + timedelta(hours=1), CONSENT, NO_REFRESH_TOKEN)
    assert notice_due(short, 0, CONSENT) is None
    assert next_notice_at(short, 0, CONSENT) is None


def test_an_end_that_moved_out_of_sight_is_announced_anew() -> None:
    assert forgotten(END, 3, END.at - timedelta(days=2)) == 3
    assert forgotten(END, 3, END.at - timedelta(days=4)) == 0
    assert forgotten(None, 3, END.at) == 0


@given(
    checkups=st.lists(st.floats(min_value=0, max_value=30), min_size=1, max_size=60),
    whole=st.integers(min_value=1, max_value=400),
)
def test_whenever_one_looks_each_notice_is_given_once_and_in_order(checkups: list[float], whole: int) -> None:
    end = End(CONSENT + timedelta(days=whole), CONSENT, ABSOLUTE_LIFETIME)
    now, noticed, given_days = CONSENT, 0, []
    for step in checkups:
        at = now + timedelta(days=step)
        now = min(at, next_notice_at(end, noticed, now) or at)
        noticed = forgotten(end, noticed, now)
        notice = notice_due(end, noticed, now)
        if notice is not None:
            noticed = notice.days
            given_days.append(notice.days)
    assert given_days == sorted(set(given_days), reverse=True)
    assert now <= end.at - timedelta(days=1) or whole <= 1 or 1 in given_days or now >= end.at
