"""What an activity's result means to a life: results become the facts of `domain.life`."""

from collections.abc import Sequence
from datetime import datetime

from activities.messages import AttemptResult, Ending, ProbeOrder, ProbeReport, RefreshResult, RevokeResult
from domain.checkup import ITS_TURN, TOKEN_REFUSED
from domain.life import (
    AttemptMoved,
    AttemptStumbled,
    Credentialed,
    Fact,
    Held,
    NotDeleted,
    Outdated,
    Probed,
    ProbeStumbled,
    Refused,
    RevocationStumbled,
    Revoked,
    Stumbled,
)
from domain.schedule import FIRST_BACKOFF, backoff


def of_refresh(result: RefreshResult | None, now: datetime, jitter: float) -> Fact:
    """None: no result came, the activity's own tries are used up."""
    if result is None:
        return Stumbled("no_worker_result", jitter=jitter)
    match result.ending:
        case Ending.CREDENTIALED if result.credential:
            return Credentialed(result.credential, jitter, result.probe_at)
        case Ending.REFUSED:
            return Refused(result.code)
        case Ending.HELD if result.not_before:
            return Held(result.not_before, result.code)
        case Ending.STUMBLED | Ending.WAITING:
            counted = result.ending is Ending.STUMBLED
            return Stumbled(result.code, result.not_before, counted=counted, jitter=jitter)
        case _:
            # The pause is for rows that stay at odds; a newer generation found by the reading clears it.
            return Outdated(retry_at=now + FIRST_BACKOFF)


def of_attempt(session_id: str, result: AttemptResult | None, jitter: float) -> Sequence[Fact]:
    """What an attempt brought comes first, where the attempt stands second."""
    if result is None:
        return [AttemptStumbled(session_id, jitter)]
    brought: list[Fact] = (
        [Credentialed(result.credential, jitter, result.probe_at, consented=True)] if result.credential else []
    )
    match result.ending:
        case Ending.STUMBLED:
            return [*brought, AttemptStumbled(session_id, jitter, result.not_before)]
        case Ending.RELOAD:
            return [*brought, Outdated()]
        case _:
            return [*brought, AttemptMoved(session_id, result.state, result.deadline)]


def of_probe(order: ProbeOrder, report: ProbeReport | None, now: datetime) -> Fact:
    """A refused access token is not a dead grant: the life refreshes, and hears the truth there."""
    if report is None:
        return ProbeStumbled(now + backoff(order.failures + 1, order.jitter))
    match report.ending:
        case Ending.REFUSED:
            return Refused(report.code)
        case Ending.STUMBLED | Ending.WAITING if report.not_before:
            counted, waited = report.ending is Ending.STUMBLED, report.code == ITS_TURN
            return ProbeStumbled(report.not_before, counted=counted, waited=waited)
        case Ending.RELOAD:
            return Outdated()
        case _:
            refused, withheld = report.ending is Ending.TOKEN_REFUSED, report.code == TOKEN_REFUSED
            return Probed(order.generation, refused, report.next_at, report.doubt, withheld)


def of_revocation(result: RevokeResult | None, jitter: float) -> Fact:
    """Without a result the provider may not have been told, so it is tried again."""
    match result.ending if result else None:
        case Ending.DONE:
            return Revoked()
        case Ending.RELOAD:
            return NotDeleted()
        case _:
            return RevocationStumbled(jitter)
