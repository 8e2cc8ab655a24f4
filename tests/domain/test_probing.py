"""What a probe may move, and that it waits its turn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.credential import CredentialRef
from domain.life import Credentialed, LifeState, Loaded, NotDeleted, Outdated, Probed, ProbeStumbled, Refused, Status
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
