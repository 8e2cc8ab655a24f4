"""Drive an attempt at consent: exchange once, learn the site and the account, then swap the credential in."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from activities.accept import accept
from activities.candidate import Candidate, exchange
from activities.deps import Deps
from activities.ids import config_ids_of
from activities.messages import AttemptOrder, AttemptResult, Ending
from activities.probe import tell
from activities.qualify import Chosen, Several, qualify
from activities.unwanted import Unwanted
from activities.verdict import Failed, Later
from domain.errors import where
from domain.life import ENDED, AttemptState
from vault import credentials, holds, sessions
from vault.crypto import SealBroken
from vault.keys import KeyRingError
from vault.lives import active_of, get_life, itself, lock_in_order, with_account
from vault.tables import AuthSession, Life, ProviderConfig

UNKNOWN_SESSION = "unknown_session"
KEYS_UNAVAILABLE = "keys_unavailable"
INTERNAL = "internal"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rows:
    """What an attempt is about, as it was read."""

    session: AuthSession
    life: Life
    config: ProviderConfig


async def advance_attempt(deps: Deps, order: AttemptOrder) -> AttemptResult:
    """Take the attempt as far as it goes without a person. Runs again from the rows after a crash."""
    rows = await _rows(deps, order)
    if rows is None:
        return AttemptResult(Ending.MOVED, AttemptState.FAILED, deps.clock(), code=UNKNOWN_SESSION)
    if not sessions.is_returned(rows.session):
        return _standing(rows.session)
    async with deps.db.transaction() as tx:
        await sessions.acknowledge(tx, rows.session.id, deps.clock())
    try:
        return await _advance(deps, order, rows)
    except KeyRingError:
        return await _end(deps, rows, Later(KEYS_UNAVAILABLE))
    except (SealBroken, KeyError, ValueError) as error:
        # What the rows hold will not be better the next time: the person is told instead of waiting for ever.
        log.warning(
            "an attempt cannot go on", session_id=rows.session.id, error=type(error).__name__, where=where(error)
        )
        return await _end(deps, rows, Failed(INTERNAL))


async def _advance(deps: Deps, order: AttemptOrder, rows: Rows) -> AttemptResult:
    brought = await exchange(deps, rows.life, rows.session, rows.config)
    if not isinstance(brought, Candidate):
        return await _end(deps, rows, brought)
    checked = await qualify(deps, rows.life, rows.session, brought)
    if isinstance(checked, Several):
        return await _ask_which(deps, rows, checked)
    if not isinstance(checked, Chosen):
        return await _end(deps, rows, checked)
    if rows.session.needs_verification and rows.session.verified_at is None:
        return await _ask_whose(deps, rows, checked)
    accepted = await accept(deps, rows.life, rows.session, brought, checked, order.jitter)
    if isinstance(accepted, Failed | Later):
        return await _end(deps, rows, accepted)
    return AttemptResult(
        Ending.CREDENTIALED,
        AttemptState.COMPLETED,
        deps.clock(),
        accepted.ref.for_workflow(),
        siblings=accepted.siblings,
        probe_at=accepted.probe_at,
    )


async def close_attempt(deps: Deps, order: AttemptOrder) -> AttemptResult:
    """The deadline has come: read the row before declaring the attempt expired, its callback may have come first."""
    rows = await _rows(deps, order)
    if rows is None:
        return AttemptResult(Ending.MOVED, AttemptState.FAILED, deps.clock(), code=UNKNOWN_SESSION)
    if sessions.is_returned(rows.session):
        return AttemptResult(Ending.RELOAD, AttemptState(rows.session.state), sessions.deadline_of(rows.session))
    if rows.session.state in ENDED or deps.clock() < sessions.deadline_of(rows.session):
        return _standing(rows.session)
    return await _end(deps, rows, Failed("expired"))


async def _rows(deps: Deps, order: AttemptOrder) -> Rows | None:
    async with deps.db.reading() as tx:
        session = await sessions.get_session(tx, order.session_id)
        life = await get_life(tx, order.life.life_id)
        config = await tx.get(ProviderConfig, session.provider_config_id) if session else None
    if session is None or life is None or config is None or session.life_id != life.id:
        return None
    return Rows(session, life, config)


def _standing(session: AuthSession) -> AttemptResult:
    """Where the attempt stands. One that completed brought a credential, which is learned from the row."""
    ending = Ending.RELOAD if session.state == AttemptState.COMPLETED else Ending.MOVED
    return AttemptResult(ending, AttemptState(session.state), sessions.deadline_of(session), code=session.reason)


async def _end(deps: Deps, rows: Rows, verdict: Failed | Later) -> AttemptResult:
    """A failed attempt destroys what it brought and touches nothing else; a living credential stays as it was."""
    now, session = deps.clock(), rows.session
    if isinstance(verdict, Later):
        if now < _patience(deps, session):
            return _again(session, verdict, now)
        verdict = Failed(verdict.code)
    unwanted = await Unwanted.of(deps, rows.life, session, verdict)
    account_id = unwanted.account_id if unwanted else ""
    async with deps.db.transaction() as tx:
        # Rows before sessions, as everywhere: two who wait for each other would wait in a circle.
        locked = await lock_in_order(tx, itself(rows.life.id), active_of(rows.config.id, account_id))
        if not await sessions.finish(tx, session, now, reason=verdict.reason, expected=verdict.expected):
            return AttemptResult(Ending.RELOAD, AttemptState(session.state), sessions.deadline_of(session))
        await credentials.destroy(tx, rows.life.id, session_id=session.id)
        told = await tell(tx, with_account(locked, account_id), now)
        held = verdict.hold and await holds.misconfigured(tx, rows.config, now, verdict.reason)
    if held:
        await deps.trip(config_ids_of(rows.config))
    if unwanted is not None:
        await unwanted.disown(deps, rows.config)
    others = [sibling for sibling in told if sibling.life_id != rows.life.id]
    return AttemptResult(Ending.MOVED, AttemptState.FAILED, now, code=verdict.reason, siblings=others)


def _again(session: AuthSession, verdict: Later, now: datetime) -> AttemptResult:
    not_before = now + timedelta(seconds=verdict.retry_after) if verdict.retry_after else None
    deadline, state = sessions.deadline_of(session), AttemptState(session.state)
    return AttemptResult(Ending.STUMBLED, state, deadline, code=verdict.code, not_before=not_before)


def _patience(deps: Deps, session: AuthSession) -> datetime:
    """Until when a moment's failure is worth another try: a while after the last thing a person had to do."""
    came = session.verified_at or session.deadline_at or session.consumed_at or session.expires_at
    return came + deps.limits.stumbling


async def _ask_which(deps: Deps, rows: Rows, several: Several) -> AttemptResult:
    sites = [{"id": s.id, "name": s.name, "url": s.url or ""} for s in several.sites]
    deadline = deps.clock() + deps.limits.selection
    async with deps.db.transaction() as tx:
        await sessions.await_selection(tx, rows.session, sites, deadline)
    return AttemptResult(Ending.MOVED, AttemptState.AWAITING_SELECTION, deadline)


async def _ask_whose(deps: Deps, rows: Rows, chosen: Chosen) -> AttemptResult:
    deadline = deps.clock() + deps.limits.verification
    async with deps.db.transaction() as tx:
        await sessions.await_verification(tx, rows.session, deadline, chosen.account_id)
    return AttemptResult(Ending.MOVED, AttemptState.PENDING_VERIFICATION, deadline)
