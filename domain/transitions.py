"""How a fact moves a life: pure, so that every history of a life can be tried."""

from dataclasses import replace
from datetime import datetime, timedelta

from domain.credential import CredentialRef
from domain.life import (
    ENDED,
    Attempt,
    AttemptMoved,
    AttemptStumbled,
    Credentialed,
    Fact,
    Held,
    LifeState,
    Loaded,
    NotDeleted,
    Outdated,
    Probed,
    ProbeStumbled,
    Refused,
    RevocationStumbled,
    Revoked,
    Status,
    Stumbled,
)
from domain.schedule import FIRST_BACKOFF, MAX_BACKOFF, backoff, refresh_at


def apply(state: LifeState, fact: Fact, now: datetime) -> LifeState:
    """The state after `fact`. A credential older than the one that is known changes nothing (law 2)."""
    match fact:
        case Loaded():
            return _loaded(state, fact, now)
        case Credentialed():
            return _credentialed(state, fact)
        case Refused(reason=reason):
            dead = replace(_settled(state), status=Status.NEEDS_REAUTH, reason=reason, doubt="")
            return replace(dead, refresh_at=None, probe_at=None, probe_failures=0, probe_waited=False)
        case Held(until=until, reason=reason):
            # What was begun is finished after the hold: an earlier send may be in doubt, inside a short window.
            held = replace(state, held_until=until, held_reason=reason, last_error=reason, refresh_wanted=False)
            return replace(held, retry_at=max(until, now + FIRST_BACKOFF))
        case Stumbled():
            return _stumbled(state, fact, now)
        case AttemptMoved() | AttemptStumbled():
            return _attempted(state, fact, now)
        case Probed() | ProbeStumbled():
            return _probed(state, fact)
        case Outdated() | NotDeleted():
            return _read_again(state, fact)
        case Revoked() | RevocationStumbled():
            return _revoked(state, fact, now)


def _read_again(state: LifeState, fact: Outdated | NotDeleted) -> LifeState:
    again = replace(state, reload=True)
    if isinstance(fact, NotDeleted):
        return replace(again, deleting=False)
    return again if fact.retry_at is None else replace(again, refresh_wanted=False, retry_at=fact.retry_at)


def _revoked(state: LifeState, fact: Revoked | RevocationStumbled, now: datetime) -> LifeState:
    if isinstance(fact, Revoked):
        return replace(_settled(state), status=Status.REVOKED, deleting=False, attempts=[], returned=[])
    count = state.revoke_failures + 1
    return replace(state, revoke_failures=count, revoke_at=now + backoff(count, fact.jitter))


def _settled(state: LifeState) -> LifeState:
    return replace(state, failures=0, last_error="", retry_at=None, refresh_wanted=False, reason="")


def _loaded(state: LifeState, fact: Loaded, now: datetime) -> LifeState:
    kept = {a.session_id: a for a in state.attempts}
    attempts = [
        replace(a, retry_at=k.retry_at, failures=k.failures) if (k := kept.get(a.session_id)) else a
        for a in fact.attempts
    ]
    open_ = {a.session_id for a in fact.attempts}
    loaded = replace(
        state,
        status=fact.status,
        reason=fact.reason,
        attempts=attempts,
        returned=[s for s in dict.fromkeys([*state.returned, *fact.returned]) if s in open_],
        held_until=fact.held_until,
        held_reason=fact.held_reason,
        # A tombstone signalled while the row was being read may be newer than what was read.
        deleting=state.deleting or fact.deleting,
        reload=False,
        probe_at=fact.probe_at,
        doubt=fact.doubt,
        knows_holds=fact.knows_holds,
        withheld=fact.withheld,
    )
    if fact.knows_holds and _waits_for_a_hold(state):
        loaded = replace(loaded, retry_at=_after_the_hold(state, fact, now))
    if fact.credential is None:
        return loaded
    if fact.credential.generation != state.generation:
        loaded = _newly_known(loaded, fact.credential, fact.jitter)
    # Only the ledger remembers what a workflow that was started anew has forgotten.
    return replace(loaded, retry_at=loaded.retry_at or fact.in_doubt_until)


def _waits_for_a_hold(state: LifeState) -> bool:
    return bool(state.held_until and state.retry_at and state.retry_at >= state.held_until)


def _after_the_hold(state: LifeState, fact: Loaded, now: datetime) -> datetime | None:
    """What was begun and waits for the end of a hold is due when that ends.

    A hold that became longer takes it along: a life that is to try before its hold is over would wait by a back-off of
    its own, and would not be released.
    """
    if not fact.held_until:
        return now
    return max(fact.held_until, state.retry_at or now) if fact.moves_waiting else state.retry_at


def _newly_known(state: LifeState, credential: CredentialRef, jitter: float) -> LifeState:
    known = replace(state, credential=credential, failures=0, retry_at=None, last_error="")
    return replace(known, refresh_at=refresh_at(credential, jitter)) if state.status is Status.ACTIVE else known


def _credentialed(state: LifeState, fact: Credentialed) -> LifeState:
    if fact.credential.generation < state.generation:
        return replace(state, refresh_wanted=False)
    return replace(
        _settled(state),
        status=Status.ACTIVE,
        credential=fact.credential,
        refresh_at=refresh_at(fact.credential, fact.jitter),
        held_until=None,
        held_reason="",
        probe_at=fact.probe_at or state.probe_at,
        doubt="" if fact.consented else state.doubt,
        withheld=False,
    )


def _stumbled(state: LifeState, fact: Stumbled, now: datetime) -> LifeState:
    failures = state.failures + 1 if fact.counted else state.failures
    retry = now + (backoff(failures, fact.jitter) if fact.counted else _waiting(fact))
    return replace(
        state,
        failures=failures,
        last_error=fact.error,
        retry_at=max(retry, fact.not_before or retry),
        refresh_wanted=False,
    )


def _waiting(fact: Stumbled) -> timedelta:
    """The least pause of a wait: a worker's clock may lag behind the engine's, so what is over by ours gets one too."""
    return FIRST_BACKOFF if fact.not_before else MAX_BACKOFF


def _attempt_moved(state: LifeState, fact: AttemptMoved, now: datetime) -> LifeState:
    others = [a for a in state.attempts if a.session_id != fact.session_id]
    # Still open after its end by our clock: the worker's lags behind, and it is asked again after a pause.
    pause = now + FIRST_BACKOFF if fact.deadline <= now else None
    open_ = [] if fact.state in ENDED else [Attempt(fact.session_id, fact.state, fact.deadline, pause)]
    returned = [s for s in state.returned if s != fact.session_id]
    return replace(state, attempts=others + open_, returned=returned)


def _probed(state: LifeState, fact: Probed | ProbeStumbled) -> LifeState:
    if isinstance(fact, ProbeStumbled):
        failures = state.probe_failures + fact.counted
        return replace(state, probe_at=fact.again_at, probe_failures=failures, probe_waited=fact.waited)
    asked = replace(state, probe_at=fact.next_at, probe_failures=0, probe_waited=False, doubt=fact.doubt)
    if fact.generation != state.generation or state.status is not Status.ACTIVE:
        return asked
    return replace(asked, refresh_wanted=state.refresh_wanted or fact.refused, withheld=fact.withheld)


def _attempted(state: LifeState, fact: AttemptMoved | AttemptStumbled, now: datetime) -> LifeState:
    return _attempt_moved(state, fact, now) if isinstance(fact, AttemptMoved) else _attempt_stumbled(state, fact, now)


def _attempt_stumbled(state: LifeState, fact: AttemptStumbled, now: datetime) -> LifeState:
    if all(a.session_id != fact.session_id for a in state.attempts):
        return replace(state, reload=True)
    return replace(
        state,
        attempts=[
            replace(a, failures=a.failures + 1, retry_at=_again(a, fact, now)) if a.session_id == fact.session_id else a
            for a in state.attempts
        ],
    )


def _again(attempt: Attempt, fact: AttemptStumbled, now: datetime) -> datetime:
    soon = now + backoff(attempt.failures + 1, fact.jitter)
    return max(soon, fact.not_before or soon)
