"""What the answers of a check-up mean, and when the next one is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.checkup import (
    LONG_DOUBT,
    OF_ALL,
    SECOND_LOOK,
    UNSURE_AGAIN,
    Evidence,
    look_again_at,
    lost,
    next_checkup,
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


def test_a_scope_that_its_site_listed_once_and_lists_no_more_is_gone() -> None:
    assert still_granted(["read", "write", "offline"], ["read", "write"], ["read"]) == ("read", "offline")


def test_a_scope_that_its_site_never_listed_is_none_of_its_business() -> None:
    assert still_granted(["read", "offline"], ["read"], ["read"]) == ("read", "offline")


def test_a_site_that_names_no_scopes_takes_none_away() -> None:
    assert still_granted(["read", "write"], ["read", "write"], []) == ("read", "write")


def test_where_nobody_tells_of_scopes_nothing_is_concluded() -> None:
    assert still_granted(None, ["read"], ["read"]) is None
    assert lost(["read"], None) == []
    assert lost(None, ["read"]) == []


def test_what_is_granted_no_more_is_lost() -> None:
    assert lost(["read", "write"], ["write", "more"]) == ["read"]


SINCE = NOW - timedelta(minutes=2)
EXPLICIT = Evidence(explicit=True, vouched=False, tenants=1)
SILENT = Evidence(explicit=False, vouched=False, tenants=1)


def test_a_doubt_that_just_arose_is_looked_at_again_a_minute_later() -> None:
    assert look_again_at(None, NOW, EXPLICIT) == NOW + SECOND_LOOK


def test_a_second_look_that_comes_early_is_none() -> None:
    since = NOW - timedelta(seconds=20)
    assert look_again_at(since, NOW, EXPLICIT) == since + SECOND_LOOK


def test_what_was_said_twice_is_believed() -> None:
    assert look_again_at(SINCE, NOW, EXPLICIT) is None


def test_what_is_merely_missing_is_believed_after_an_hour_or_when_another_was_found_well() -> None:
    assert look_again_at(SINCE, NOW, SILENT) == NOW + UNSURE_AGAIN
    assert look_again_at(SINCE, NOW, replace(SILENT, vouched=True)) is None
    assert look_again_at(NOW - LONG_DOUBT, NOW, SILENT) is None


@pytest.mark.parametrize("since", [SINCE, NOW - timedelta(days=3)])
def test_what_befalls_several_tenants_at_once_is_the_providers_trouble(since: datetime) -> None:
    many = replace(EXPLICIT, tenants=OF_ALL)
    assert look_again_at(since, NOW, many) == NOW + UNSURE_AGAIN
    assert look_again_at(since, NOW, replace(many, vouched=True)) is None
