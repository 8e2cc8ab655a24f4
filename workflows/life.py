"""The one workflow: the life of an installation or a connection.

It waits. What a fact means is decided in `domain.transitions`, what comes next in `domain.wakeup`, what is done in
`activities`. Changing the order or kind of commands breaks living runs: guard it with `workflow.patched` and add a
history to `tests/histories/`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.messages import AttemptOrder, ProbeOrder, RefreshOrder
    from domain.life import Fact, LifeState, Status
    from domain.transitions import apply
    from domain.wakeup import Step, Wakeup, is_open, next_wakeup, not_before
    from workflows import calls, learning
    from workflows.attributes import STATUS
    from workflows.details import details, timer_summary
    from workflows.messages import EnsureFresh, Freshness, LifeStart, LifeView, SessionRef, Settlement

# A wake after eviction replays the whole run, so runs are kept short (docs/adr/0002).
REFRESHES_PER_RUN = 12
REFRESHES_SPREAD = 2
# As many as the refreshes; the life that never refreshes has these alone.
PROBES_PER_RUN = 24
ANSWER_WITHIN = timedelta(seconds=18)
# The loop waits for its callers before it ends; only a cancel from Temporal's UI does not, and they may ask again.
ABANDON = workflow.HandlerUnfinishedPolicy.ABANDON


@workflow.defn(name="ConnectionLife")
class ConnectionLife:
    """Owns one life: awaits consents, refreshes before expiry, notices death, ends when deleted."""

    @workflow.init
    def __init__(self, start: LifeStart) -> None:
        self.life = start.life
        self.state = start.carried or LifeState()
        self.shown_status = workflow.info().typed_search_attributes.get(STATUS)
        self.refreshes = self.probes = 0
        self.refreshes_allowed = REFRESHES_PER_RUN + workflow.random().randint(-REFRESHES_SPREAD, REFRESHES_SPREAD)
        self.draining = False
        self.woken = False

    @workflow.run
    async def run(self, start: LifeStart) -> None:
        while True:
            wakeup = next_wakeup(self.state, workflow.now())
            workflow.set_current_details(details(self.life, self.state, wakeup))
            if wakeup.step is Step.END:
                if await self._quiet():
                    return
            elif self._run_is_long():
                await self._continue_as_new()
            elif await self._due(wakeup):
                await self._do(wakeup)

    # --- messages ------------------------------------------------------------------------------------------------

    @workflow.signal
    def authorization_returned(self, session: SessionRef) -> None:
        """The browser came back; the code lies sealed in the session's row."""
        self._expect(session.session_id)

    @workflow.signal
    def delete(self) -> None:
        """The tombstone is committed; revoke and destroy."""
        self.state = replace(self.state, deleting=True)

    @workflow.signal
    def wake(self) -> None:
        """Something about this life changed in the vault; read the row again."""
        self._read_again()

    @workflow.update(unfinished_policy=ABANDON)
    async def settled(self, session: SessionRef) -> Settlement:
        """Wait until an attempt has come to rest."""
        return await self._settlement(session)

    @workflow.update(unfinished_policy=ABANDON)
    async def choose_site(self, session: SessionRef) -> Settlement:
        """The installer's choice is in the session's row; go on with it."""
        self._expect(session.session_id)
        return await self._settlement(session)

    @workflow.update(unfinished_policy=ABANDON)
    async def ensure_fresh(self, request: EnsureFresh) -> Freshness:
        """Refresh now unless a newer generation than the one seen is there already."""
        seen, until = request.generation_seen, workflow.now() + ANSWER_WITHIN
        await self._reaches(lambda: not self.state.reload, until)
        if self.state.generation <= seen and self.state.status is Status.ACTIVE:
            self.state = replace(self.state, refresh_wanted=True)
            if not_before(self.state) <= until:
                await self._reaches(lambda: self.state.generation > seen or not self.state.refresh_wanted, until)
        pending = self.state.generation <= seen and self.state.status is Status.ACTIVE
        return Freshness(self.state.generation, pending=pending, continuing=pending and self.draining)

    @workflow.query
    def life_view(self) -> LifeView:
        """The live state, for `GET /api/connections/{id}` and operators."""
        state, wakeup = self.state, next_wakeup(self.state, workflow.now())
        return LifeView(
            status=state.status,
            reason=state.reason,
            health=state.health,
            generation=state.generation,
            expires_at=state.credential.expires_at if state.credential else None,
            next_step=wakeup.step,
            next_at=wakeup.at,
            failures=state.failures,
            last_error=state.last_error,
            held_until=state.held_until,
            open_attempts=len(state.attempts),
            doubt=state.doubt,
            checkup_at=state.probe_at,
        )

    def _expect(self, session_id: str) -> None:
        if session_id not in self.state.returned:
            self.state = replace(self.state, returned=[*self.state.returned, session_id])
        else:
            # The activity under way may have read the row before this was written into it.
            self._read_again()

    def _read_again(self) -> None:
        self.woken = True
        self.state = replace(self.state, reload=True)

    async def _settlement(self, session: SessionRef) -> Settlement:
        until = workflow.now() + ANSWER_WITHIN
        await self._reaches(lambda: not is_open(self.state, session.session_id), until)
        settled = not is_open(self.state, session.session_id)
        return Settlement(settled=settled, continuing=self.draining and not settled)

    async def _reaches(self, fact: Callable[[], bool], until: datetime) -> None:
        """Wait for a fact, but never past what a caller is promised, and never in the way of continue-as-new."""
        if fact():
            return
        try:
            await workflow.wait_condition(
                lambda: fact() or self.draining or self.state.status is Status.REVOKED,
                timeout=until - workflow.now(),
                timeout_summary="answer the caller",
            )
        except TimeoutError:
            return

    # --- the loop's parts ----------------------------------------------------------------------------------------

    async def _due(self, wakeup: Wakeup) -> bool:
        """Sleep until the step is due; False if a message changed what comes next. This is the movable timer."""
        wait = wakeup.at - workflow.now() if wakeup.at else None
        if wait is not None and wait <= timedelta(0):
            return True
        before = self.state
        try:
            await workflow.wait_condition(
                lambda: self.state is not before,
                timeout=wait,
                timeout_summary=timer_summary(wakeup, before),
            )
        except TimeoutError:
            return True
        return False

    async def _do(self, wakeup: Wakeup) -> None:
        match wakeup.step:
            case Step.LOAD:
                await self._load()
            case Step.REFRESH:
                await self._refresh()
            case Step.ATTEMPT | Step.CLOSE_ATTEMPT:
                await self._attempt(wakeup)
            case Step.PROBE:
                await self._probe()
            case Step.REVOKE:
                await self._revoke()
            case _:
                pass

    async def _load(self) -> None:
        self.woken = False
        loaded = await calls.load(self.life)
        if loaded is not None:
            self._learn(replace(loaded, jitter=workflow.random().random()))
            # What woke us while the row was being read may be newer than what was read.
            self.state = replace(self.state, reload=self.woken)

    async def _refresh(self) -> None:
        self.refreshes += 1
        order = RefreshOrder(self.life, self.state.generation, workflow.random().random())
        result = await calls.refresh(order, forced=self.state.refresh_wanted)
        self._learn(learning.of_refresh(result, workflow.now(), order.jitter))
        await calls.wake(result.siblings if result else [])

    async def _attempt(self, wakeup: Wakeup) -> None:
        order = AttemptOrder(self.life, wakeup.session_id, workflow.random().random())
        result = await calls.attempt(order, closing=wakeup.step is Step.CLOSE_ATTEMPT)
        self._learn(*learning.of_attempt(order.session_id, result, order.jitter))
        await calls.wake(result.siblings if result else [])

    async def _probe(self) -> None:
        jitter, state = workflow.random().random(), self.state
        order = ProbeOrder(self.life, state.generation, state.probe_failures, jitter, state.probe_waited)
        report = await calls.probe(order)
        # One that plans the next is a check-up; runs of before had none, and go on as they began.
        self.probes += report is not None and report.next_at is not None
        self._learn(learning.of_probe(order, report, workflow.now()))

    async def _revoke(self) -> None:
        jitter = workflow.random().random()
        self._learn(learning.of_revocation(await calls.revoke(self.life), jitter))

    def _learn(self, *facts: Fact) -> None:
        for fact in facts:
            self.state = apply(self.state, fact, workflow.now())
            if self.state.status != self.shown_status:
                self.shown_status = self.state.status
                workflow.upsert_search_attributes([STATUS.value_set(self.state.status)])

    def _run_is_long(self) -> bool:
        long = self.refreshes >= self.refreshes_allowed or self.probes >= PROBES_PER_RUN
        return long or workflow.info().is_continue_as_new_suggested()

    async def _continue_as_new(self) -> None:
        if await self._quiet():
            workflow.continue_as_new(LifeStart(self.life, self.state))

    async def _quiet(self) -> bool:
        """Let every handler finish; False if one of them left something to do."""
        before = self.state
        self.draining = True
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.draining = False
        return self.state is before
