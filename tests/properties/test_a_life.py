"""No order of facts loses a grant that lives, withholds what works or leaves a life without a next step: pure parts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from domain.ledger import WINDOW_MARGIN
from domain.life import Credentialed, LifeState, Probed, Revoked, Status
from domain.schedule import MAX_BACKOFF
from domain.serving import LAST_MOMENT, Verdict, after_waiting, serve
from domain.transitions import apply
from domain.wakeup import Step, Wakeup, next_wakeup
from tests.properties.tiny_provider import HOLD, LIFETIME, Mood, Provider, Vault

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
moods = st.sampled_from(Mood)
jitters = st.floats(0, 1, exclude_max=True)


class ALife(RuleBasedStateMachine):
    """A workflow's state beside the vault's rows; it acts when, and only when, it says that something is due."""

    window = timedelta(0)

    def __init__(self) -> None:
        super().__init__()
        self.vault = Vault(Provider(self.window), START)
        self.state = LifeState()
        self.seen = 0

    @initialize(jitter=jitters)
    def connected(self, jitter: float) -> None:
        self.vault.consent()
        self._do(Wakeup(Step.LOAD, START), Mood.ANSWERS, jitter)

    def teardown(self) -> None:
        self.comes_to_rest()

    def _next(self) -> Wakeup:
        return next_wakeup(self.state, self.vault.now)

    def _do(self, wakeup: Wakeup, mood: Mood, jitter: float) -> None:
        match wakeup.step:
            case Step.LOAD:
                self.state = apply(self.state, self.vault.load(jitter), self.vault.now)
            case Step.REFRESH:
                self._refresh(mood, jitter)
            case Step.PROBE:
                asked = Probed(self.state.generation, refused=not self.vault.accepted())
                self.state = apply(self.state, asked, self.vault.now)
            case Step.REVOKE:
                assert self.vault.deleted
                self.vault.status = Status.REVOKED
                self.state = apply(self.state, Revoked(), self.vault.now)
            case _:
                pass

    def _refresh(self, mood: Mood, jitter: float) -> None:
        fact = self.vault.refresh(self.state.generation, mood, jitter)
        self.state = apply(self.state, fact, self.vault.now) if fact else replace(self.state, reload=True)

    # --- the worker -------------------------------------------------------------------------------------------------

    @rule(mood=moods, jitter=jitters)
    def what_is_due_is_done(self, mood: Mood, jitter: float) -> None:
        wakeup = self._next()
        if wakeup.at is not None:
            self._waits_sensibly(wakeup)
            self.vault.now = max(self.vault.now, wakeup.at)
            self._do(wakeup, mood, jitter)

    def _waits_sensibly(self, wakeup: Wakeup) -> None:
        """The first try of a generation lies in the second half of its life, before its end."""
        ref, state = self.state.credential, self.state
        first = ref is not None and not state.failures and not state.retry_at and not state.held_until
        if wakeup.step is Step.REFRESH and first and not state.refresh_wanted and wakeup.at and ref and ref.expires_at:
            assert ref.issued_at + LIFETIME / 2 <= wakeup.at < ref.expires_at

    @rule(seconds=st.integers(1, 7200))
    def no_worker_is_there(self, seconds: int) -> None:
        self.vault.now += timedelta(seconds=seconds)

    @rule()
    def the_engine_forgets_and_the_life_is_started_anew(self) -> None:
        if self.state.status is not Status.REVOKED:
            self.state = LifeState()

    @rule()
    def the_row_is_to_be_read_again(self) -> None:
        self.state = replace(self.state, reload=True)

    @precondition(lambda self: self.state.status is Status.ACTIVE and not self.vault.deleted)
    @rule(mood=moods, second=moods, jitter=jitters)
    def an_activity_is_tried_again_while_its_first_run_goes_on(self, mood: Mood, second: Mood, jitter: float) -> None:
        """Only the later one is heard."""
        self.vault.refresh(self.state.generation, mood, jitter)
        self._refresh(second, jitter)

    # --- people -----------------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.vault.deleted)
    @rule(jitter=jitters, heard=st.booleans())
    def consent(self, jitter: float, heard: bool) -> None:
        ref = self.vault.consent()
        fact = Credentialed(ref, jitter)
        self.state = apply(self.state, fact, self.vault.now) if heard else replace(self.state, reload=True)

    @rule()
    def the_user_withdraws(self) -> None:
        self.vault.provider.ended = self.vault.provider.ended or "withdrawn"

    @rule()
    def a_sibling_changed(self) -> None:
        self.state = replace(self.state, probe_at=self.vault.now)

    @rule()
    def delete(self) -> None:
        self.vault.deleted = True
        if self.state.status is not Status.REVOKED:
            self.state = replace(self.state, deleting=True)

    @precondition(lambda self: not self.vault.deleted)
    @rule(min_ttl=st.none() | st.integers(0, 7200).map(lambda s: timedelta(seconds=s)), force=st.booleans())
    def somebody_reads(self, min_ttl: timedelta | None, force: bool) -> None:
        reading, now = self.vault.reading(), self.vault.now
        served = serve(reading, now, min_ttl=min_ttl, force=force)
        if served.verdict is Verdict.REFRESH_FIRST:
            self.state = replace(self.state, refresh_wanted=True)
            served = after_waiting(reading, now, min_ttl=min_ttl)
        assert (served.verdict is Verdict.SERVE) == reading.usable(now)
        assert served.needs_reauth == (reading.status is Status.NEEDS_REAUTH and reading.usable(now))

    # --- what always holds ------------------------------------------------------------------------------------------

    @rule()
    def comes_to_rest(self) -> None:
        """With nothing in the way a worker that does what is due ends in a token that works, or rightly without one."""
        must_live = self._will_be_renewed()
        before = self.vault.credential.generation if self.vault.credential else 0
        for _ in range(120):  # a doubt is probed every minute of an hour
            wakeup = self._next()
            renewed = self.vault.credential is not None and self.vault.credential.generation > before
            if wakeup.at is None or wakeup.step is Step.END or (renewed and not self.state.reload):
                break
            self.what_is_due_is_done(Mood.ANSWERS, 0.5)
        else:
            raise AssertionError("it comes to no rest")
        if self.vault.deleted:
            assert self.state.status is Status.REVOKED
        elif must_live:
            assert self.vault.status is Status.ACTIVE, self.vault.reason
            assert self.vault.accepted()

    def _will_be_renewed(self) -> bool:
        vault = self.vault
        if vault.token not in vault.provider.first_use or not vault.sends:
            return vault.provider.renews(vault.token, vault.now)
        free = max([vault.now, self._next().at or vault.now, *(send.lease_until for send in vault.sends)])
        started = min(send.started_at for send in vault.sends)
        return vault.provider.renews(vault.token, vault.now) and free + HOLD < started + self.window - WINDOW_MARGIN

    @invariant()
    def the_generation_never_goes_back(self) -> None:
        known = self.vault.credential.generation if self.vault.credential else 0
        assert self.seen <= known
        assert self.state.generation <= known
        self.seen = known

    @invariant()
    def only_the_dead_need_the_user(self) -> None:
        if self.vault.status is Status.NEEDS_REAUTH:
            assert self.vault.provider.ended
            assert self.vault.reason == "rotation_lost" or self.vault.provider.ended == "withdrawn"

    @invariant()
    def something_is_always_due(self) -> None:
        wakeup, state, now = self._next(), self.state, self.vault.now
        if state.reload or state.status is not Status.ACTIVE:
            return
        if state.deleting:
            assert wakeup.step is Step.REVOKE
            return
        assert wakeup.at is not None
        assert state.credential is not None
        assert state.credential.expires_at is not None
        horizon = max(now, state.credential.expires_at, state.held_until or now)
        assert wakeup.at <= horizon + MAX_BACKOFF

    @invariant()
    def what_works_is_not_withheld(self) -> None:
        if self.vault.accepted(LAST_MOMENT) and not self.vault.deleted and self.vault.refused_at is None:
            assert after_waiting(self.vault.reading(), self.vault.now).verdict is Verdict.SERVE


class ALifeWithAWindow(ALife):
    """At a provider that takes a refresh token again for ten minutes."""

    window = timedelta(minutes=10)


@pytest.mark.parametrize("machine", [ALife, ALifeWithAWindow])
def test_no_order_of_facts_loses_a_grant_that_lives(machine: type[ALife], effort: settings) -> None:
    run_state_machine_as_test(
        machine, settings=settings(effort, max_examples=10 * effort.max_examples, stateful_step_count=25)
    )
