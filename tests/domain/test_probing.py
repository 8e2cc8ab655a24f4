"""What a probe may move, and that it waits its turn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.credential import CredentialRef
from domain.life import (
    Credentialed,
    Held,
    LifeState,
    Loaded,
    NotDeleted,
    Outdated,
    Probed,
    ProbeStumbled,
    Refused,
    Status,
)
from domain.transitions import apply
from domain.wakeup import Step, next_wakeup

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REF = CredentialRef(3, NOW, NOW + timedelta(hours=1), refreshable=True)
ASKED = LifeState(
    Status.ACTIVE, credential=REF, refresh_at=NOW + timedelta(minutes=50), reload=False, probe_at=NOW, probe_failures=2
)


def test_a_probe_that_was_asked_for_is_due() -> None:
    assert next_wakeup(ASKED, NOW).step is Step.PROBE


def test_a_refresh_that_is_due_comes_before_the_probe() -> None:
    assert next_wakeup(replace(ASKED, refresh_at=NOW), NOW).step is Step.REFRESH
    assert next_wakeup(replace(ASKED, refresh_wanted=True), NOW).step is Step.REFRESH


@pytest.mark.parametrize("status", [Status.NEEDS_REAUTH, Status.PENDING])
def test_what_is_not_active_is_not_probed(status: Status) -> None:
    assert next_wakeup(replace(ASKED, status=status), NOW).step is not Step.PROBE


def test_a_healthy_token_ends_the_question_and_moves_nothing_else() -> None:
    assert apply(ASKED, Probed(3), NOW) == replace(ASKED, probe_at=None, probe_failures=0)


def test_a_refused_token_is_refreshed_and_its_life_stays_active() -> None:
    after = apply(ASKED, Probed(3, refused=True), NOW)
    assert (after.status, after.refresh_wanted, after.probe_at) == (Status.ACTIVE, True, None)
    assert next_wakeup(after, NOW).step is Step.REFRESH


def test_a_token_that_the_api_refused_is_withheld_until_it_is_accepted_or_replaced() -> None:
    withheld = apply(ASKED, Probed(3, refused=True, withheld=True), NOW)
    assert withheld.withheld
    assert not apply(withheld, Probed(3), NOW).withheld
    assert not apply(withheld, Credentialed(replace(REF, generation=4)), NOW).withheld
    assert apply(withheld, ProbeStumbled(NOW), NOW).withheld
    assert not apply(ASKED, Probed(2, refused=True, withheld=True), NOW).withheld, "that was another one"
    assert apply(ASKED, Loaded(Status.ACTIVE, credential=REF, withheld=True), NOW).withheld


def test_a_refusal_of_an_older_token_says_nothing_of_the_newer_one() -> None:
    assert not apply(ASKED, Probed(2, refused=True), NOW).refresh_wanted


def test_a_stumble_is_counted_and_waited_for() -> None:
    later = NOW + timedelta(minutes=2)
    after = apply(ASKED, ProbeStumbled(later), NOW)
    assert (after.probe_failures, next_wakeup(after, NOW).at) == (3, later)


def test_a_dead_grant_needs_no_probe() -> None:
    after = apply(ASKED, Refused("grant_revoked"), NOW)
    assert (after.probe_at, after.probe_failures, next_wakeup(after, NOW).step) == (None, 0, Step.WAIT)


def test_the_row_says_when_to_probe() -> None:
    asked = apply(replace(ASKED, probe_at=None), Loaded(Status.ACTIVE, credential=REF, probe_at=NOW), NOW)
    assert asked.probe_at == NOW
    assert apply(ASKED, Loaded(Status.ACTIVE, credential=REF), NOW).probe_at is None


def test_a_refresh_does_not_answer_the_probe() -> None:
    newer = replace(REF, generation=4)
    assert apply(ASKED, Credentialed(newer), NOW).probe_at == NOW


def test_rows_at_odds_are_read_again_after_a_pause() -> None:
    pause = NOW + timedelta(seconds=1)
    after = apply(replace(ASKED, refresh_wanted=True), Outdated(pause), NOW)
    assert (after.reload, after.refresh_wanted, after.retry_at) == (True, False, pause)
    assert apply(replace(ASKED, refresh_wanted=True), Outdated(), NOW).refresh_wanted


def test_a_deletion_nobody_committed_is_forgotten() -> None:
    after = apply(replace(ASKED, deleting=True), NotDeleted(), NOW)
    assert (after.deleting, after.reload) == (False, True)


def test_a_check_up_plans_the_next_one() -> None:
    later = NOW + timedelta(hours=6)
    after = apply(ASKED, Probed(3, next_at=later), NOW)
    assert (after.probe_at, after.health) == (later, "ok")


def test_a_doubt_degrades_until_a_check_up_takes_it_back() -> None:
    doubted = apply(ASKED, Probed(3, next_at=NOW, doubt="site_lost"), NOW)
    assert doubted.health == "degraded"
    assert apply(doubted, Credentialed(replace(REF, generation=4)), NOW).health == "degraded"
    assert apply(doubted, Probed(3, next_at=NOW), NOW).health == "ok"


def test_a_consent_takes_a_doubt_back_and_brings_its_check_up() -> None:
    later = NOW + timedelta(hours=6)
    doubted = replace(ASKED, doubt="site_lost")
    after = apply(doubted, Credentialed(replace(REF, generation=4), probe_at=later, consented=True), NOW)
    assert (after.health, after.probe_at) == ("ok", later)


def test_who_waited_for_its_turn_is_not_counted_as_failing() -> None:
    later = NOW + timedelta(seconds=30)
    after = apply(ASKED, ProbeStumbled(later, counted=False, waited=True), NOW)
    assert (after.probe_failures, after.probe_waited, after.probe_at) == (2, True, later)
    assert not apply(after, Probed(3), NOW).probe_waited


def test_a_held_life_is_not_checked_up_before_the_hold_ends() -> None:
    until = NOW + timedelta(minutes=30)
    held = replace(ASKED, refresh_at=NOW + timedelta(days=1), held_until=until, knows_holds=True)
    assert next_wakeup(held, NOW).at == until


def test_the_end_of_a_hold_that_the_row_tells_ends_the_wait_for_it() -> None:
    held = apply(ASKED, Held(NOW + timedelta(minutes=30), "client_refused"), NOW)
    assert next_wakeup(replace(held, probe_at=None), NOW).at == NOW + timedelta(minutes=30)
    released = apply(held, Loaded(Status.ACTIVE, credential=REF, knows_holds=True), NOW)
    assert (next_wakeup(released, NOW).step, next_wakeup(released, NOW).at) == (Step.REFRESH, NOW)


def test_a_life_that_was_read_again_during_its_hold_is_released_with_the_others() -> None:
    held = apply(ASKED, Held(NOW + timedelta(minutes=30), "client_refused"), NOW)
    longer = NOW + timedelta(minutes=35)
    row = Loaded(Status.ACTIVE, credential=REF, knows_holds=True, moves_waiting=True)
    still = apply(held, replace(row, held_until=longer), NOW + timedelta(minutes=5))
    assert next_wakeup(replace(still, probe_at=None), NOW).at == longer
    now = NOW + timedelta(minutes=6)
    released = apply(still, row, now)
    assert (next_wakeup(released, now).step, next_wakeup(released, now).at) == (Step.REFRESH, now)


def test_a_hold_that_was_read_by_a_worker_of_before_keeps_the_course_that_was_recorded() -> None:
    held = apply(ASKED, Held(NOW + timedelta(minutes=30), "client_refused"), NOW)
    row = Loaded(Status.ACTIVE, credential=REF, knows_holds=True)
    still = apply(held, replace(row, held_until=NOW + timedelta(minutes=35)), NOW)
    assert still.retry_at == held.retry_at
    assert apply(still, row, NOW).retry_at == held.retry_at
