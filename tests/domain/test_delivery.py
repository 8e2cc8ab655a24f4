from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.addresses import LOOPBACK, is_public, is_within, parse_networks, plain
from domain.delivery import (
    LONGEST_PAUSE,
    PAUSE_AFTER,
    RETRIES,
    Verdict,
    counted,
    is_dead,
    judge,
    pause,
    retry_after,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
JITTER = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (199, Verdict.FAILED),
        (301, Verdict.FAILED),
        (307, Verdict.FAILED),
        (401, Verdict.FAILED),
        (404, Verdict.FAILED),
        (410, Verdict.GONE),
        (429, Verdict.FAILED),
        (500, Verdict.FAILED),
    ],
)
def test_only_a_2xx_is_a_receipt_and_only_410_ends_it_all(status: int, verdict: Verdict) -> None:
    assert judge(status) is verdict


@given(st.integers(1, 1000), JITTER)
def test_a_wait_is_at_most_the_schedules_and_never_less_than_three_quarters_of_it(attempts: int, jitter: float) -> None:
    step = RETRIES[min(attempts, len(RETRIES)) - 1]
    assert step * 0.75 <= retry_after(attempts, jitter) <= step


def test_the_waits_grow_from_seconds_to_a_day_and_stay_there() -> None:
    waits = [retry_after(n, 0) for n in range(1, 13)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (timedelta(seconds=5), timedelta(days=1))


def test_an_event_is_tried_for_the_whole_time_of_patience() -> None:
    """Eight tries fall into the first three days, and one into each day from there."""
    patience, at, tries = timedelta(days=5), START, 1
    while not is_dead(START, at, patience):
        at += retry_after(tries, 0)
        tries += 1
    assert timedelta(days=5) <= at - START < timedelta(days=6)
    assert tries == 12


def test_one_event_that_is_refused_again_and_again_does_not_pause_the_endpoint() -> None:
    failures = 0
    for attempt in range(1, 50):
        failures = counted(failures, attempt)
    assert failures == 1
    assert pause(failures, 0) is None


def test_five_events_that_fail_in_a_row_do_and_each_failure_from_there_makes_it_longer() -> None:
    failures = 0
    for _ in range(PAUSE_AFTER):
        assert pause(failures, 0) is None
        failures = counted(failures, 1)
    pauses = []
    for attempt in range(2, 12):
        pauses.append(pause(failures, 0))
        failures = counted(failures, attempt)
    assert pauses[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert pauses[-1] == LONGEST_PAUSE


@given(st.integers(0, 10**9), JITTER)
def test_a_pause_is_never_longer_than_five_minutes(failures: int, jitter: float) -> None:
    wait = pause(failures, jitter)
    assert wait is None or timedelta(seconds=3) < wait <= LONGEST_PAUSE


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_of_our_own_network_is_not_public(address: str) -> None:
    assert not is_public(plain(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(plain(address))


@given(st.ip_addresses())
def test_every_address_is_decided(address: object) -> None:
    assert is_public(plain(str(address))) in (True, False)


def test_a_network_holds_its_own_version_alone() -> None:
    assert is_within(plain("::ffff:127.0.0.1"), LOOPBACK)
    assert is_within(plain("::1"), LOOPBACK)
    assert not is_within(plain("127.0.0.1"), [ip_network("::/0")])
    assert not is_within(plain("10.0.0.1"), LOOPBACK)


def test_networks_are_read_from_one_line() -> None:
    assert parse_networks(" 10.0.0.0/8 , fd00::/8,") == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert parse_networks("") == ()
    with pytest.raises(ValueError, match="must be networks") as caught:
        parse_networks("10.0.0.1/8")
    assert "10.0.0.1" not in str(caught.value)
