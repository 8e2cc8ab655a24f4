"""Auth sessions and visits: the attempts at consent. Every change of state is one conditional update."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.life import ENDED, Attempt, AttemptState
from vault.tables import AuthSession, Visit

MAX_VISITS = 100


async def get_session(tx: AsyncSession, session_id: str) -> AuthSession | None:
    """One session by id. The caller checks the workspace."""
    return await tx.get(AuthSession, session_id, populate_existing=True)


async def open_sessions(tx: AsyncSession, life_id: str) -> Sequence[AuthSession]:
    """The attempts of a life that have not ended, as they are now, even if this transaction has read them before."""
    query = select(AuthSession).where(AuthSession.life_id == life_id, col(AuthSession.state).not_in(ENDED))
    return (await tx.exec(query.execution_options(populate_existing=True))).all()


def deadline_of(session: AuthSession) -> datetime:
    """When the attempt ends by itself, in the state it is in."""
    return session.deadline_at or session.expires_at


def as_attempt(session: AuthSession) -> Attempt:
    """What the workflow remembers of a session."""
    return Attempt(session.id, AttemptState(session.state), deadline_of(session))


def is_returned(session: AuthSession) -> bool:
    """Whether the workflow has something to do for it, rather than a person."""
    match AttemptState(session.state):
        case AttemptState.EXCHANGING:
            return True
        case AttemptState.AWAITING_SELECTION:
            return session.chosen_site_id != ""
        case AttemptState.PENDING_VERIFICATION:
            return session.verified_at is not None
        case _:
            return False


def returned() -> ColumnElement[bool]:
    """The same as `is_returned`, asked of the database."""
    state = col(AuthSession.state)
    return (
        (state == AttemptState.EXCHANGING)
        | ((state == AttemptState.AWAITING_SELECTION) & (col(AuthSession.chosen_site_id) != ""))
        | ((state == AttemptState.PENDING_VERIFICATION) & col(AuthSession.verified_at).is_not(None))
    )


async def add_visit(tx: AsyncSession, visit: Visit, now: datetime) -> bool:
    """Record a browser's visit; False if the session cannot be visited any more."""
    counted = await _update(
        tx,
        visit.session_id,
        AttemptState.PENDING,
        col(AuthSession.expires_at) > now,
        col(AuthSession.visits) < MAX_VISITS,
        visits=AuthSession.visits + 1,
    )
    if counted:
        tx.add(visit)
    return counted


async def find_visit(tx: AsyncSession, state_hash: str) -> tuple[Visit, AuthSession] | None:
    """The visit whose `state` this is, with its session."""
    query = (
        select(Visit, AuthSession)
        .join(AuthSession, col(AuthSession.id) == col(Visit.session_id))
        .where(Visit.state_hash == state_hash)
    )
    return (await tx.exec(query)).first()


async def consume(tx: AsyncSession, visit: Visit, sealed_code: bytes, now: datetime) -> bool:
    """Take the callback, once: of two that come at the same time one gets False."""
    return await _update(
        tx,
        visit.session_id,
        AttemptState.PENDING,
        col(AuthSession.expires_at) > now,
        state=AttemptState.EXCHANGING,
        consumed_visit_id=visit.id,
        consumed_at=now,
        sealed_code=sealed_code,
    )


async def deny(tx: AsyncSession, visit: Visit, reason: str, now: datetime) -> bool:
    """The provider sent the browser back without a code."""
    denied = await _update(
        tx,
        visit.session_id,
        AttemptState.PENDING,
        state=AttemptState.FAILED,
        reason=reason,
        consumed_visit_id=visit.id,
        consumed_at=now,
        finished_at=now,
    )
    if denied:
        await _forget_verifiers(tx, visit.session_id)
    return denied


async def acknowledge(tx: AsyncSession, session_id: str, now: datetime) -> None:
    """The workflow knows of the callback; the sweeper need not signal it again."""
    await tx.exec(
        update(AuthSession)
        .where(col(AuthSession.id) == session_id, col(AuthSession.acknowledged_at).is_(None))
        .values(acknowledged_at=now)
        .execution_options(synchronize_session=False)
    )


async def await_selection(
    tx: AsyncSession, session: AuthSession, sites: list[dict[str, Any]], deadline: datetime
) -> bool:
    """Several sites: the installer has to choose."""
    return await _update(
        tx,
        session.id,
        session.state,
        state=AttemptState.AWAITING_SELECTION,
        sites=sites,
        deadline_at=deadline,
    )


async def choose(tx: AsyncSession, session_id: str, site_id: str, now: datetime) -> bool:
    """Record the choice, once."""
    return await _update(
        tx,
        session_id,
        AttemptState.AWAITING_SELECTION,
        col(AuthSession.chosen_site_id) == "",
        col(AuthSession.deadline_at) > now,
        chosen_site_id=site_id,
        acknowledged_at=None,
    )


async def await_verification(tx: AsyncSession, session: AuthSession, deadline: datetime, account_id: str) -> bool:
    """The consent stands; the builder's backend has to say whose it is."""
    return await _update(
        tx,
        session.id,
        session.state,
        state=AttemptState.PENDING_VERIFICATION,
        deadline_at=deadline,
        account_id=account_id,
    )


async def verify(tx: AsyncSession, session_id: str, now: datetime) -> bool:
    """The builder's backend confirmed the user."""
    return await _update(
        tx,
        session_id,
        AttemptState.PENDING_VERIFICATION,
        col(AuthSession.deadline_at) > now,
        verified_at=now,
        acknowledged_at=None,
    )


async def finish(
    tx: AsyncSession, session: AuthSession, now: datetime, *, reason: str = "", expected: str = ""
) -> bool:
    """End an attempt: completed without a reason, failed with one; False if it has moved on since it was read.

    Its code and verifiers go at once (retention).
    """
    ended = await _update(
        tx,
        session.id,
        session.state,
        state=AttemptState.FAILED if reason else AttemptState.COMPLETED,
        reason=reason,
        expected=expected,
        finished_at=now,
        sealed_code=None,
    )
    if ended:
        await _forget_verifiers(tx, session.id)
    return ended


async def end_open(tx: AsyncSession, life_id: str, now: datetime, reason: str) -> None:
    """Fail every open attempt of a life. A callback may consume one between look and write, so it is looked again."""
    while opened := await open_sessions(tx, life_id):
        for session in opened:
            await finish(tx, session, now, reason=reason)


async def forget_code(tx: AsyncSession, session: AuthSession) -> None:
    """The code was exchanged: neither it nor a verifier is of use to anybody any more."""
    await _forget_verifiers(tx, session.id)
    await tx.exec(
        update(AuthSession)
        .where(col(AuthSession.id) == session.id)
        .values(sealed_code=None)
        .execution_options(synchronize_session=False)
    )


async def _forget_verifiers(tx: AsyncSession, session_id: str) -> None:
    """The visits are kept: the one that came back may still ask how it ended, another is told that it came too late."""
    await tx.exec(
        update(Visit)
        .where(col(Visit.session_id) == session_id)
        .values(sealed_verifier=None)
        .execution_options(synchronize_session=False)
    )


async def _update(tx: AsyncSession, session_id: str, was: str, *conditions: Any, **values: Any) -> bool:
    written = await tx.exec(
        update(AuthSession)
        .where(col(AuthSession.id) == session_id, col(AuthSession.state) == was, *conditions)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(written.rowcount == 1)
