"""What a workflow does next, and when: the one decision its loop asks for."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from domain.credential import CredentialRef
from domain.life import Attempt, AttemptState, LifeState, Status


class Step(StrEnum):
    """One thing the workflow can do."""

    LOAD = "load"
    REVOKE = "revoke"
    ATTEMPT = "attempt"
    REFRESH = "refresh"
    CLOSE_ATTEMPT = "close_attempt"
    PROBE = "probe"
    END = "end"
    WAIT = "wait"


LONG_PAST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wakeup:
    """The next step and when it is due; None means: only a message can wake this life."""

    step: Step
    at: datetime | None
    session_id: str = ""


def next_wakeup(state: LifeState, now: datetime) -> Wakeup:
    """The earliest thing due. Messages come before timers; a deletion comes before everything but reading the row."""
    if state.reload:
        return Wakeup(Step.LOAD, now)
    if state.status is Status.REVOKED:
        return Wakeup(Step.END, now)
    if state.deleting:
        return Wakeup(Step.REVOKE, state.revoke_at or now)
    # Of what is due at one moment the first is done: a probe waits its turn behind a refresh.
    candidates = [*_attempts(state, now), *_refresh(state, now), *_probe(state)]
    if candidates:
        return min(candidates, key=lambda w: w.at or now)
    if state.status is Status.PENDING:
        return Wakeup(Step.END, now)
    return Wakeup(Step.WAIT, None)


def _attempts(state: LifeState, now: datetime) -> list[Wakeup]:
    known = {a.session_id: a for a in state.attempts}
    due = [Wakeup(Step.ATTEMPT, _retry_at(known.get(s), now), s) for s in state.returned]
    return due + [
        Wakeup(Step.CLOSE_ATTEMPT, max(a.deadline, a.retry_at or a.deadline), a.session_id)
        for a in state.attempts
        if a.session_id not in state.returned
    ]


def _retry_at(attempt: Attempt | None, now: datetime) -> datetime:
    return attempt.retry_at if attempt and attempt.retry_at else now


def _refresh(state: LifeState, now: datetime) -> list[Wakeup]:
    if state.status is not Status.ACTIVE or state.credential is None:
        return []
    due = _refresh_due(state, state.credential, now)
    return [] if due is None else [Wakeup(Step.REFRESH, max(due, state.held_until or due))]


def _probe(state: LifeState) -> list[Wakeup]:
    if state.status is not Status.ACTIVE or state.credential is None or state.probe_at is None:
        return []
    held_until = state.held_until if state.knows_holds else None
    return [Wakeup(Step.PROBE, max(state.probe_at, held_until or state.probe_at))]


def _refresh_due(state: LifeState, credential: CredentialRef, now: datetime) -> datetime | None:
    """What was begun is finished, although the token still lives: one in doubt is sent again inside a short window."""
    if not credential.refreshable:
        return state.refresh_at and max(state.refresh_at, state.retry_at or state.refresh_at)
    return state.retry_at or (now if state.refresh_wanted else state.refresh_at)


def not_before(state: LifeState) -> datetime:
    """When back-off and hold allow the next refresh; long past if neither is in force."""
    return max([LONG_PAST, *(at for at in (state.retry_at, state.held_until) if at)])


def is_open(state: LifeState, session_id: str) -> bool:
    """Whether an attempt still moves by itself; one that waits for a person does not.

    Nothing is known to have come to rest while the row has to be read again.
    """
    if state.reload:
        return True
    waiting = {AttemptState.AWAITING_SELECTION, AttemptState.PENDING_VERIFICATION}
    attempt = next((a for a in state.attempts if a.session_id == session_id), None)
    return session_id in state.returned or (attempt is not None and attempt.state not in waiting)
