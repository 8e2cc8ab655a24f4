"""May a refresh token be sent (again)? The rows of the rule, and what holds for every history of sends."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ledger import Rule, Ruling, Send, rule_on

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
WINDOW = timedelta(minutes=10)
NO_WINDOW = timedelta(0)


def sent(seconds_ago: float, lease: timedelta = LEASE) -> Send:
    started = NOW - timedelta(seconds=seconds_ago)
    return Send(started, started + lease)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("sends", "window", "expires_at", "ruling"),
    [
        pytest.param([], WINDOW, at(-1), Ruling(Rule.SEND), id="nothing is in doubt: it is sent"),
        pytest.param([], NO_WINDOW, None, Ruling(Rule.SEND), id="also without window and expiry"),
        pytest.param([sent(29)], WINDOW, at(60), Ruling(Rule.WAIT, at(1)), id="nobody sends under another's lease"),
        pytest.param([sent(29)], WINDOW, at(-60), Ruling(Rule.WAIT, at(1)), id="not even when the token has expired"),
        pytest.param([sent(30)], WINDOW, at(60), Ruling(Rule.REPLAY), id="a lease ends at its end, not after it"),
        pytest.param([sent(569)], WINDOW, at(60), Ruling(Rule.REPLAY), id="just inside the window: sent again"),
        pytest.param([sent(570)], WINDOW, at(60), Ruling(Rule.PROBE, at(60)), id="30 s before the window's end: probe"),
        pytest.param([sent(570)], WINDOW, None, Ruling(Rule.PROBE), id="a token without end is probed for ever"),
        pytest.param([sent(570)], WINDOW, at(0), Ruling(Rule.RESEND), id="expired: only the provider can conclude"),
        pytest.param(
            [sent(31)], NO_WINDOW, at(60), Ruling(Rule.PROBE, at(60)), id="no window: the old token is probed"
        ),
        pytest.param([sent(31)], NO_WINDOW, at(-1), Ruling(Rule.RESEND), id="no window and expired: sent again"),
        pytest.param(
            [sent(580), sent(60)],
            WINDOW,
            at(60),
            Ruling(Rule.PROBE, at(60)),
            id="the window counts from the first send",
        ),
        pytest.param(
            [sent(60), sent(580)], WINDOW, at(60), Ruling(Rule.PROBE, at(60)), id="in whatever order they are told"
        ),
        pytest.param(
            [sent(580), sent(10)], WINDOW, at(60), Ruling(Rule.WAIT, at(20)), id="the last lease is the one to wait for"
        ),
        pytest.param(
            [sent(40, timedelta(seconds=5))], WINDOW, at(60), Ruling(Rule.REPLAY), id="a released lease is over"
        ),
    ],
)
def test_the_rule_of_the_ledger(
    sends: list[Send], window: timedelta, expires_at: datetime | None, ruling: Ruling
) -> None:
    assert rule_on(sends, NOW, window=window, expires_at=expires_at) == ruling


histories = st.lists(
    st.builds(sent, st.floats(0, 10_000), st.timedeltas(timedelta(0), timedelta(minutes=2))), min_size=1, max_size=6
)
windows = st.timedeltas(timedelta(0), timedelta(hours=1))
ends = st.none() | st.timedeltas(timedelta(hours=-1), timedelta(hours=1)).map(lambda d: NOW + d)


@given(histories, windows, ends)
def test_two_are_never_under_way_at_once(sends: list[Send], window: timedelta, ends: datetime | None) -> None:
    ruling = rule_on(sends, NOW, window=window, expires_at=ends)
    leased = any(send.lease_until > NOW for send in sends)
    assert (ruling.rule is Rule.WAIT) == leased
    if leased:
        assert ruling.until == max(send.lease_until for send in sends) > NOW


@given(histories, windows, st.timedeltas(timedelta(microseconds=1), timedelta(hours=1)))
def test_while_the_old_token_lives_nothing_is_sent_again_outside_the_window(
    sends: list[Send], window: timedelta, left: timedelta
) -> None:
    ruling = rule_on(sends, NOW, window=window, expires_at=NOW + left)
    assert ruling.rule is not Rule.RESEND
    if ruling.rule is Rule.REPLAY:
        assert all(send.started_at + window - timedelta(seconds=30) > NOW for send in sends)


@given(histories, windows, ends)
def test_what_is_in_doubt_is_never_sent_as_if_it_were_the_first_time(
    sends: list[Send], window: timedelta, ends: datetime | None
) -> None:
    assert rule_on(sends, NOW, window=window, expires_at=ends).rule is not Rule.SEND


@given(histories, windows, st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_after_the_expiry_it_always_goes_on(sends: list[Send], window: timedelta, ago: timedelta) -> None:
    free = max(send.lease_until for send in sends)
    now = max(NOW, free)
    assert rule_on(sends, now, window=window, expires_at=now - ago).rule in (Rule.RESEND, Rule.REPLAY)
