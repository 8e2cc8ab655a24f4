"""What a reader gets, row by row, and what holds for every reading."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credential import default_min_ttl, is_fresh
from domain.life import Status
from domain.serving import Reading, Served, Verdict, after_waiting, serve

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def reading(
    age: float = 600,
    left: float | None = 3000,
    *,
    status: Status = Status.ACTIVE,
    refreshable: bool = True,
    refused: bool = False,
    failing: str = "",
) -> Reading:
    """A credential issued `age` seconds ago that lives for `left` more; None: for ever."""
    return Reading(
        status,
        NOW - timedelta(seconds=age),
        None if left is None else NOW + timedelta(seconds=left),
        refreshable,
        NOW if refused else None,
        failing,
    )


SERVED = Served(Verdict.SERVE)
TOO_SHORT = Served(Verdict.SERVE, warnings=("min_ttl_not_met",))
REFRESH = Served(Verdict.REFRESH_FIRST)
PENDING = Served(Verdict.PENDING)
NONE = Served(Verdict.NOT_CONNECTED)
REAUTH = Served(Verdict.NEEDS_REAUTH)
STILL = Served(Verdict.SERVE, needs_reauth=True, warnings=("needs_reauth",))


@pytest.mark.parametrize(
    ("given", "min_ttl", "force", "now_", "waited"),
    [
        pytest.param(reading(), None, False, SERVED, SERVED, id="it lives: served at once"),
        pytest.param(reading(left=30), None, False, SERVED, SERVED, id="thirty seconds are enough"),
        pytest.param(reading(left=29), None, False, REFRESH, TOO_SHORT, id="less is refreshed first"),
        pytest.param(reading(age=9, left=1), None, False, SERVED, SERVED, id="a tenth of a short life is enough"),
        pytest.param(reading(age=9.4, left=0.6), None, False, REFRESH, TOO_SHORT, id="less than that is not"),
        pytest.param(reading(age=9.5, left=0.5), None, False, REFRESH, PENDING, id="it would expire on its way"),
        pytest.param(reading(left=2), None, False, REFRESH, PENDING, id="two seconds of a long life are no use"),
        pytest.param(reading(left=0), None, False, REFRESH, PENDING, id="expired: never handed out"),
        pytest.param(reading(left=-1), 0, False, REFRESH, PENDING, id="not even to who asks for no life at all"),
        pytest.param(reading(left=2.1), 0, False, SERVED, SERVED, id="who asks for no life gets the last seconds"),
        pytest.param(reading(), 3000, False, SERVED, SERVED, id="exactly as much as was asked for"),
        pytest.param(reading(), 3001, False, REFRESH, TOO_SHORT, id="more than is left: refreshed first"),
        pytest.param(reading(29, 3571), 7200, False, TOO_SHORT, TOO_SHORT, id="more than a fresh one has: warned"),
        pytest.param(reading(30, 3570), 7200, False, REFRESH, TOO_SHORT, id="after thirty seconds a refresh may help"),
        pytest.param(reading(), None, True, REFRESH, SERVED, id="forced"),
        pytest.param(reading(29, 3571), None, True, SERVED, SERVED, id="forced, but brand new"),
        pytest.param(reading(0.9, 9.1), None, True, SERVED, SERVED, id="brand new is less for a short life"),
        pytest.param(reading(1, 9), None, True, REFRESH, SERVED, id="and over after a tenth of it"),
        pytest.param(reading(refused=True), None, False, REFRESH, PENDING, id="refused by the provider: not served"),
        pytest.param(reading(1, 3599, refused=True), None, False, REFRESH, PENDING, id="refused however young"),
        pytest.param(reading(left=None), None, False, SERVED, SERVED, id="without end"),
        pytest.param(reading(left=None), 31_536_000, False, SERVED, SERVED, id="without end lives for any min_ttl"),
        pytest.param(reading(refreshable=False), None, True, SERVED, SERVED, id="what cannot be refreshed is served"),
        pytest.param(reading(left=5, refreshable=False), None, False, TOO_SHORT, TOO_SHORT, id="to its last second"),
        pytest.param(reading(left=0, refreshable=False), None, False, PENDING, PENDING, id="and not after it"),
        pytest.param(reading(status=Status.NEEDS_REAUTH), None, True, STILL, STILL, id="needs_reauth, unexpired"),
        pytest.param(reading(left=0, status=Status.NEEDS_REAUTH), None, False, REAUTH, REAUTH, id="and expired"),
        pytest.param(reading(refused=True, status=Status.NEEDS_REAUTH), None, False, REAUTH, REAUTH, id="and refused"),
        pytest.param(reading(status=Status.PENDING), None, False, NONE, NONE, id="never active"),
        pytest.param(reading(status=Status.REVOKED), None, True, NONE, NONE, id="deleted"),
    ],
)
def test_the_rule_of_reading(given: Reading, min_ttl: float | None, force: bool, now_: Served, waited: Served) -> None:
    wanted = None if min_ttl is None else timedelta(seconds=min_ttl)
    assert serve(given, NOW, min_ttl=wanted, force=force) == now_
    assert after_waiting(given, NOW, min_ttl=wanted) == waited


def test_a_failing_refresh_is_told_with_the_credential_it_did_not_spoil() -> None:
    assert serve(reading(failing="unavailable"), NOW).warnings == ("refresh_failing",)
    assert after_waiting(reading(left=5, failing="x"), NOW).warnings == ("min_ttl_not_met", "refresh_failing")


seconds = st.floats(0, 10_000)
readings = st.builds(
    reading,
    age=seconds,
    left=st.none() | st.floats(-10_000, 10_000),
    status=st.sampled_from(Status),
    refreshable=st.booleans(),
    refused=st.booleans(),
    failing=st.sampled_from(["", "unavailable"]),
)
ttls = st.none() | seconds.map(lambda s: timedelta(seconds=s))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        pytest.param(reading(left=12), 5, id="half of what is left, so that as much is left after it"),
        pytest.param(reading(left=60), 8, id="never longer than anybody waits"),
        pytest.param(reading(left=2), 8, id="nothing is lost by waiting for one that is over"),
        pytest.param(reading(refused=True), 8, id="nor for one that was refused"),
        pytest.param(reading(left=None), 8, id="nor for one without end"),
    ],
)
def test_a_good_credential_is_not_waited_to_death(given: Reading, seconds: float) -> None:
    assert given.patience(NOW, timedelta(seconds=8)) == timedelta(seconds=seconds)


@given(readings, ttls, st.booleans())
def test_nothing_expired_or_refused_is_ever_handed_out(given: Reading, min_ttl: timedelta | None, force: bool) -> None:
    for served in (serve(given, NOW, min_ttl=min_ttl, force=force), after_waiting(given, NOW, min_ttl=min_ttl)):
        if served.verdict is Verdict.SERVE:
            assert given.usable(NOW)


@given(readings, ttls, st.booleans())
def test_a_refresh_is_asked_for_only_where_it_can_help(given: Reading, min_ttl: timedelta | None, force: bool) -> None:
    if serve(given, NOW, min_ttl=min_ttl, force=force).verdict is Verdict.REFRESH_FIRST:
        assert given.status is Status.ACTIVE
        assert given.refreshable
        assert not given.usable(NOW) or not is_fresh(given.issued_at, given.expires_at, NOW)


@given(readings, ttls)
def test_who_gets_a_refresh_first_either_forced_it_or_lacked_life(given: Reading, min_ttl: timedelta | None) -> None:
    if serve(given, NOW, min_ttl=min_ttl).verdict is Verdict.REFRESH_FIRST and given.usable(NOW):
        wanted = default_min_ttl(given.issued_at, given.expires_at) if min_ttl is None else min_ttl
        assert given.expires_at is not None
        assert given.expires_at - NOW < wanted


@given(readings, ttls)
def test_waiting_ends_with_an_answer(given: Reading, min_ttl: timedelta | None) -> None:
    assert after_waiting(given, NOW, min_ttl=min_ttl).verdict is not Verdict.REFRESH_FIRST


@given(readings)
def test_a_failing_refresh_changes_no_verdict(given: Reading) -> None:
    assert serve(given, NOW).verdict is serve(replace(given, failing=""), NOW).verdict
