"""Refresh a credential: intent, call, commit, in that order (law 3). Expected failures come back as values."""

from datetime import datetime, timedelta
from functools import partial
from typing import TypeGuard

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.client import COMMIT, as_the_app
from activities.commit import commit_within
from activities.deps import Deps
from activities.holding import TOKEN_UNCHANGED, note_failure, settle_attempt
from activities.ids import config_ids_of
from activities.intent import RELOAD, Intent, Subject, ask_about, intend, subject_of
from activities.messages import Ending, RefreshOrder, RefreshResult
from activities.probe import tell
from activities.projection import project_reauth, project_refreshed, project_stumbled
from domain.credential import CredentialRef
from domain.holds import wait_of
from domain.life import Status
from domain.oauth.answer import TokenGrant
from domain.oauth.failures import THE_APPS_OWN, Failure, FailureKind
from domain.points import Point
from providers.flows import refresh_flow
from vault import credentials, holds, ledger
from vault.lives import LostRace, itself, lock_in_order, lock_life, sharing
from vault.tables import Life

ROTATION_LOST = "rotation_lost"


async def refresh(deps: Deps, order: RefreshOrder) -> RefreshResult:
    """Renew the generation the workflow knows. A newer one found in the row is success."""
    subject = await subject_of(deps, order)
    if isinstance(subject, RefreshResult):
        return subject
    await deps.reached(Point.REFRESH_BEFORE_INTENT, subject.life.id)
    intent = await intend(deps, subject)
    if isinstance(intent, RefreshResult):
        return intent
    await deps.reached(Point.REFRESH_AFTER_INTENT, subject.life.id)
    sent_at = deps.clock()
    answer = await _ask(deps, subject, intent)
    await deps.reached(Point.REFRESH_AFTER_ANSWER, subject.life.id)
    if isinstance(answer, TokenGrant):
        return await _commit(deps, order, subject, intent, answer, sent_at)
    settle = partial(_fail, deps, subject, intent, answer)
    return await commit_within(settle, deps.clock, intent.attempt.lease_until)


async def _ask(deps: Deps, subject: Subject, intent: Intent) -> TokenGrant | Failure:
    """Send the refresh token, within what the lease leaves."""
    refresh_token = subject.secrets.refresh or ""
    answer = await as_the_app(
        deps,
        subject.clients,
        lambda client: refresh_flow(subject.provider, client, refresh_token=refresh_token),
        intent.attempt.lease_until - COMMIT,
    )
    ends = subject.credential.expires_at is not None
    unchanged = ends and isinstance(answer, TokenGrant) and _is_unchanged(answer, subject.secrets)
    return Failure(FailureKind.MOMENT, TOKEN_UNCHANGED) if unchanged else answer


def _is_unchanged(grant: TokenGrant, before: credentials.Secrets) -> bool:
    """The token we have, with no word on how long it lives: it does not live longer for having been sent again."""
    same_refresh = grant.refresh_token in (None, before.refresh)
    return grant.access_token == before.access and same_refresh and not grant.lifetime_stated


async def _commit(
    deps: Deps, order: RefreshOrder, subject: Subject, intent: Intent, grant: TokenGrant, sent_at: datetime
) -> RefreshResult:
    """The sealed answer is the next thing written, tried again while the database is away and the lease lasts."""
    life, attempt = subject.life, intent.attempt
    ref = grant.reference(attempt.generation, sent_at, refreshable=True, asked=subject.credential.scopes)
    secrets = credentials.Secrets(grant.access_token, grant.refresh_token or subject.secrets.refresh)
    # The data key is read from the vault too, which may be away just now.
    seal = partial(credentials.seal, deps.sealer, life, attempt.generation, secrets)
    sealed = await commit_within(seal, deps.clock, attempt.lease_until)

    async def write() -> tuple[RefreshResult, bool]:
        if (renewed := await _as_it_was_read(deps, order, subject, ref, sealed)) is not None:
            return renewed, False
        async with deps.db.transaction() as tx:
            now = deps.clock()
            row = await lock_life(tx, life.id)
            swapped = row and await credentials.replace_current(tx, row, subject.credential.generation, ref, sealed)
            outcome = ledger.SUCCEEDED if swapped else ledger.SUPERSEDED
            await ledger.resolve_all(tx, life.id, subject.fingerprint, outcome, now)
            if not swapped or not _concerns(row, subject):
                return RELOAD, False
            probe_at = await project_refreshed(tx, row, ref, order.jitter, now)
            freed = await holds.clear(tx, subject.config.id, now, attempt.started_at)
            return RefreshResult(Ending.CREDENTIALED, ref.for_workflow(), probe_at=probe_at), freed

    await deps.reached(Point.REFRESH_BEFORE_COMMIT, life.id)
    result, freed = await commit_within(write, deps.clock, attempt.lease_until)
    await deps.reached(Point.REFRESH_AFTER_COMMIT, life.id)
    if result.ending is Ending.CREDENTIALED:
        deps.measures.renewed(life.provider_id, subject.credential.expires_at, sent_at)
    if freed:
        await deps.trip(config_ids_of(subject.config))
    return result


async def _as_it_was_read(
    deps: Deps, order: RefreshOrder, subject: Subject, ref: CredentialRef, sealed: credentials.SealedSecrets
) -> RefreshResult | None:
    """The same commit, if nobody wrote the row since it was read and its config is clear, as on almost every refresh.

    None if not: then nothing is written.
    """
    async with deps.db.directly() as tx:
        now = deps.clock()
        try:
            probe_at = await project_refreshed(tx, subject.life, ref, order.jitter, now)
        except LostRace:
            tx.undo()
            return None
        swapped = await credentials.replace_current(tx, subject.life, subject.credential.generation, ref, sealed)
        if not swapped or not await holds.is_clear(tx, subject.config.id):
            tx.undo()
            return None
        await ledger.resolve_all(tx, subject.life.id, subject.fingerprint, ledger.SUCCEEDED, now)
    return RefreshResult(Ending.CREDENTIALED, ref.for_workflow(), probe_at=probe_at)


async def _fail(deps: Deps, subject: Subject, intent: Intent, failure: Failure) -> RefreshResult:
    if failure.kind is FailureKind.OPERATOR and failure.code in THE_APPS_OWN:
        return await _hold(deps, subject, intent, failure)
    if failure.kind is not FailureKind.USER:
        return await _stumble(deps, subject, intent, failure)
    return await _refused(deps, subject, intent, ROTATION_LOST if intent.resent else failure.code)


async def _refused(deps: Deps, subject: Subject, intent: Intent, reason: str) -> RefreshResult:
    """The user's failure. It also says that the app itself was accepted, or its grants would not be looked at."""
    result, freed = await _require_consent(deps, subject, intent, reason)
    if freed:
        await deps.trip(config_ids_of(subject.config))
    if result.ending is Ending.REFUSED:
        # Only now: a crash in between must not leave a refused token in doubt.
        await ask_about(deps, subject)
    return result


async def _require_consent(deps: Deps, subject: Subject, intent: Intent, reason: str) -> tuple[RefreshResult, bool]:
    async with deps.db.transaction() as tx:
        now = deps.clock()
        rows = await lock_in_order(tx, itself(subject.life.id), sharing(subject.life.grant_id))
        row = rows.pop(subject.life.id, None)
        await ledger.resolve_all(tx, subject.life.id, subject.fingerprint, ledger.REFUSED, now)
        freed = await holds.clear(tx, subject.config.id, now, intent.attempt.started_at)
        if not _concerns(row, subject):
            return RELOAD, freed
        await project_reauth(tx, row, reason, now)
        siblings = await tell(tx, list(rows.values()), now)
    return RefreshResult(Ending.REFUSED, code=reason, siblings=siblings), freed


def _concerns(row: Life | None, subject: Subject) -> TypeGuard[Life]:
    """Whether what we know of `subject` may still be written to its row: law 2, and nothing after the tombstone."""
    return (
        row is not None
        and row.generation == subject.credential.generation
        and row.status == Status.ACTIVE
        and row.deleted_at is None
    )


async def _stumble(deps: Deps, subject: Subject, intent: Intent, failure: Failure) -> RefreshResult:
    async with deps.db.transaction() as tx:
        now = deps.clock()
        row = await lock_life(tx, subject.life.id)
        await settle_attempt(tx, intent.attempt, failure, now)
        first = _concerns(row, subject) and not row.failures
        stumbled = await _degrade(tx, row, subject, failure, now)
        changed = await note_failure(
            tx, intent.attempt, subject.config.id, failure, now, scout=intent.scout, first=first
        )
    if changed:
        await deps.trip(config_ids_of(subject.config))
    return stumbled


async def _degrade(
    tx: AsyncSession, row: Life | None, subject: Subject, failure: Failure, now: datetime
) -> RefreshResult:
    if not _concerns(row, subject):
        return RELOAD
    not_before = now + timedelta(seconds=failure.retry_after) if failure.retry_after else None
    await project_stumbled(tx, row, failure.code, now, not_before)
    return RefreshResult(Ending.STUMBLED, code=failure.code, not_before=not_before)


async def _hold(deps: Deps, subject: Subject, intent: Intent, failure: Failure) -> RefreshResult:
    """The operator's failure: the config is frozen. A connection is blamed only if the app is refused to it alone."""
    async with deps.db.transaction() as tx:
        now = deps.clock()
        row = await lock_life(tx, subject.life.id)
        alone = row is not None and await ledger.refused_alone(tx, row)
        await ledger.resolve(tx, intent.attempt, ledger.OPERATOR, now, failure.code)
        if alone:
            return await _degrade(tx, row, subject, failure, now)
        until = await holds.misconfigured(tx, subject.config, now, failure.code)
    if until is None:
        return RELOAD
    await deps.trip(config_ids_of(subject.config))
    waits = wait_of(subject.life.id, until, now, subject.life.next_due_at)
    return RefreshResult(Ending.HELD, code=failure.code, not_before=waits)
