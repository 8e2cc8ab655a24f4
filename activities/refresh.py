"""Refresh a credential: intent, call, commit, in that order (law 3). Expected failures come back as values."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeGuard

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.client import COMMIT, as_the_app, clients_of
from activities.commit import commit_within
from activities.deps import Deps
from activities.holding import TOKEN_UNCHANGED, note_failure, settle_attempt, waits_until
from activities.ids import config_ids_of
from activities.messages import Ending, RefreshOrder, RefreshResult
from activities.probe import identify, tell
from activities.projection import project_reauth, project_refreshed, project_stumbled
from domain.holds import HoldKind, wait_of
from domain.ledger import Rule, Ruling, Send, rule_on
from domain.life import Status
from domain.oauth.answer import TokenGrant
from domain.oauth.failures import THE_APPS_OWN, Failure, FailureKind, ProbeResult
from domain.oauth.token import ClientCredentials
from domain.points import Point
from providers.flows import refresh_flow
from providers.model import Provider
from vault import credentials, holds, ledger
from vault.lives import claim_generation, itself, lock_in_order, lock_life, sharing
from vault.tables import Credential, Life, ProviderConfig, TokenAttempt

IN_DOUBT = "in_doubt"
ROTATION_LOST = "rotation_lost"
# A refresh token that stays in force may be sent as often as one likes.
NO_ROTATION = timedelta(days=36_500)
GRANT_EXPIRED = "grant_expired"
RELOAD = RefreshResult(Ending.RELOAD)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is refreshed: the rows as they were read, and the opened secret."""

    life: Life
    credential: Credential
    config: ProviderConfig
    provider: Provider
    secrets: credentials.Secrets = field(repr=False)
    fingerprint: str
    clients: list[ClientCredentials]


@dataclass(frozen=True, slots=True)
class Intent:
    """A committed intent; `resent` says that an earlier send is unresolved, and no window makes up for it.

    `scout`: the config is held, and this is the one that finds out.
    """

    attempt: TokenAttempt
    resent: bool
    scout: bool = False


async def refresh(deps: Deps, order: RefreshOrder) -> RefreshResult:
    """Renew the generation the workflow knows. A newer one found in the row is success."""
    subject = await _subject(deps, order)
    if isinstance(subject, RefreshResult):
        return subject
    await deps.reached(Point.REFRESH_BEFORE_INTENT, subject.life.id)
    intent = await _intend(deps, subject)
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


async def _subject(deps: Deps, order: RefreshOrder) -> Subject | RefreshResult:
    rows = await credentials.with_its_rows(deps.db, order.life.life_id)
    if rows is None:
        return RELOAD
    life, credential, config = rows
    if life.deleted_at or life.status != Status.ACTIVE:
        return RELOAD
    if credential.generation < order.generation:
        return RELOAD  # an older vault was restored
    if credential.generation > order.generation:
        return RefreshResult(Ending.CREDENTIALED, credentials.reference(credential))
    if (waits := await _waits_until(deps, life, config)) is not None:
        return RefreshResult(Ending.HELD, code=config.held_reason, not_before=waits)
    if credential.sealed_refresh is None:
        return await _cannot_refresh(deps, life, credential)
    secrets = await credentials.open_secrets(deps.sealer, life, credential)
    print_ = await credentials.fingerprint_of(deps.sealer, life, credential, secrets)
    clients = await clients_of(deps, config)
    return Subject(life, credential, config, deps.provider(life.provider_id), secrets, print_, clients)


async def _waits_until(deps: Deps, life: Life, config: ProviderConfig) -> datetime | None:
    """Nothing is asked where nothing is held, as on almost every refresh."""
    if config.held_until is None:
        return None
    async with deps.db.reading() as tx:
        return await waits_until(tx, life, config, deps.catalog.get(life.provider_id), deps.clock())


async def _cannot_refresh(deps: Deps, life: Life, credential: Credential) -> RefreshResult:
    """No refresh token was ever granted: the credential lives until it expires, and then the user has to come again."""
    if credential.expires_at is None or credential.expires_at > deps.clock():
        return RefreshResult(Ending.WAITING, code="no_refresh_token", not_before=credential.expires_at)
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        if row is None or row.revision != life.revision:
            return RELOAD
        await project_reauth(tx, row, GRANT_EXPIRED, deps.clock())
    return RefreshResult(Ending.REFUSED, code=GRANT_EXPIRED)


async def _intend(deps: Deps, subject: Subject) -> Intent | RefreshResult:
    expires_at = subject.credential.expires_at
    intent = await _claim(deps, subject, expires_at)
    if intent is not None:
        return intent
    if subject.provider.identity is not None and await _probe(deps, subject) is not ProbeResult.REFUSED:
        later = deps.clock() + deps.limits.probe_every
        return RefreshResult(Ending.WAITING, code=IN_DOUBT, not_before=min(later, expires_at) if expires_at else later)
    if subject.provider.identity is None:
        return RefreshResult(Ending.WAITING, code=IN_DOUBT, not_before=expires_at)
    second = await _claim(deps, subject, deps.clock())
    return second or RELOAD


async def _claim(deps: Deps, subject: Subject, expires_at: datetime | None) -> Intent | RefreshResult | None:
    """Commit the intent if the ledger allows it; None asks for a probe of the old access token first."""
    now = deps.clock()
    window = timedelta(seconds=subject.provider.replay_window) if subject.provider.rotation else NO_ROTATION
    async with deps.db.transaction() as tx:
        generation = await claim_generation(tx, subject.life.id, subject.credential.generation)
        if generation is None:
            return RELOAD
        sends = await ledger.unresolved(tx, subject.life.id, subject.fingerprint)
        ruling = rule_on([Send(s.started_at, s.lease_until) for s in sends], now, window=window, expires_at=expires_at)
        if ruling.rule in (Rule.WAIT, Rule.PROBE):
            await tx.rollback()
            return None if ruling.rule is Rule.PROBE else _waiting(ruling)
        leave: holds.Leave | None = holds.Leave.FREE
        # What is in doubt goes on during an outage, whoever the scout is: its window will not wait.
        if ruling.rule is not Rule.REPLAY or subject.config.hold_kind != HoldKind.OUTAGE:
            leave = await holds.may_try(tx, subject.config.id, now, now + deps.limits.lease)
        if leave is None:
            await tx.rollback()
            return RELOAD
        attempt = await ledger.open_attempt(
            tx, subject.life.id, kind=ledger.REFRESH, generation=generation, fingerprint=subject.fingerprint,
            now=now, lease=deps.limits.lease,
        )  # fmt: skip
    return Intent(attempt, resent=ruling.rule is Rule.RESEND, scout=leave is holds.Leave.SCOUT)


def _waiting(ruling: Ruling) -> RefreshResult:
    return RefreshResult(Ending.WAITING, code=IN_DOUBT, not_before=ruling.until)


async def _probe(deps: Deps, subject: Subject) -> ProbeResult:
    return (await identify(deps, subject.life, subject.credential, subject.secrets.access)).result


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
            return RefreshResult(Ending.CREDENTIALED, ref, probe_at=probe_at), freed

    await deps.reached(Point.REFRESH_BEFORE_COMMIT, life.id)
    result, freed = await commit_within(write, deps.clock, attempt.lease_until)
    await deps.reached(Point.REFRESH_AFTER_COMMIT, life.id)
    if result.ending is Ending.CREDENTIALED:
        deps.measures.renewed(life.provider_id, subject.credential.expires_at, sent_at)
    if freed:
        await deps.trip(config_ids_of(subject.config))
    return result


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
        await _probe(deps, subject)
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
