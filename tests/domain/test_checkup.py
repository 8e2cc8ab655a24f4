"""What the answers of a check-up mean, and when the next one is."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.checkup import (
    SCOPES_LOST,
    SECOND_LOOK,
    SITE_LOST,
    lost,
    next_checkup,
    second_look_at,
    still_granted,
    unclear,
)
from domain.oauth.failures import Failure, FailureCode, FailureKind

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOURS = timedelta(hours=6)


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_check_ups_spread_by_a_tenth_around_their_interval(jitter: float, share: float) -> None:
    assert next_checkup(NOW, HOURS, jitter) == NOW + HOURS * share


@pytest.mark.parametrize(
    ("status", "about_this_one"), [(403, True), (404, True), (429, False), (500, False), (200, False), (None, False)]
)
def test_only_a_4xx_is_about_this_connection(status: int | None, about_this_one: bool) -> None:
    failure = Failure(FailureKind.MOMENT, FailureCode.API_REFUSED, status=status)
    assert unclear(failure) is about_this_one


def test_silence_is_about_nobody() -> None:
    assert unclear(None) is False


def test_a_scope_is_granted_where_the_token_and_its_site_say_so() -> None:
    assert still_granted(["read", "write", "offline"], ["read"], site_tells=True, unlisted=["offline"]) == (
        "read",
        "offline",
    )


def test_a_site_that_names_no_scopes_takes_none_away() -> None:
    assert still_granted(["read", "write"], [], site_tells=False, unlisted=[]) == ("read", "write")


def test_where_nobody_tells_of_scopes_nothing_is_concluded() -> None:
    assert still_granted(None, ["read"], site_tells=True, unlisted=[]) is None
    assert lost(["read"], None) == []
    assert lost(None, ["read"]) == []


def test_what_is_granted_no_more_is_lost() -> None:
    assert lost(["read", "write"], ["write", "more"]) == ["read"]


def test_a_doubt_is_believed_at_the_second_look_a_minute_later() -> None:
    assert second_look_at("", SITE_LOST, None, NOW) == NOW + SECOND_LOOK
    assert second_look_at(SITE_LOST, SITE_LOST, NOW, NOW + SECOND_LOOK) is None


def test_a_second_look_that_comes_early_is_none() -> None:
    early = NOW + timedelta(seconds=20)
    assert second_look_at(SITE_LOST, SITE_LOST, NOW, early) == NOW + SECOND_LOOK


def test_another_doubt_begins_anew() -> None:
    later = NOW + timedelta(hours=1)
    assert second_look_at(SCOPES_LOST, SITE_LOST, NOW, later) == later + SECOND_LOOK
