"""Exchange an authorization code, once: what it brought becomes a sealed candidate as the next thing."""

from dataclasses import dataclass, field
from functools import partial

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from activities.client import COMMIT, as_the_app, clients_of
from activities.commit import commit_within
from activities.deps import Deps
from activities.ids import config_ids_of
from activities.unwanted import Unwanted
from activities.verdict import Failed, Later
from domain.credential import CredentialRef
from domain.life import ENDED
from domain.oauth.answer import TokenGrant
from domain.oauth.failures import THE_APPS_OWN, Failure, FailureCode, FailureKind
from domain.oauth.token import ClientCredentials
from domain.points import Point
from providers.flows import exchange_flow
from vault import credentials, holds, ledger, sessions
from vault.crypto import fingerprint
from vault.lives import allot_generation, lock_life
from vault.sealing import CODE, VERIFIER, session_owner, visit_owner
from vault.tables import AuthSession, Credential, Life, ProviderConfig, TokenAttempt, Visit

EXCHANGE_UNKNOWN = "exchange_unknown"
DELETED = "deleted"
SESSION_ENDED = "session_ended"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A credential that has not passed its checks yet."""

    row: Credential
    secrets: credentials.Secrets = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Code:
    value: str = field(repr=False)
    verifier: str | None = field(repr=False)


async def exchange(deps: Deps, life: Life, session: AuthSession, config: ProviderConfig) -> Candidate | Failed | Later:
    """The candidate this session brought, exchanging its code if that was not done yet."""
    async with deps.db.reading() as tx:
        row = await credentials.candidate(tx, life.id, session.id)
        sent = await _ledger_row(tx, session.id)
    if row is not None:
        return Candidate(row, await credentials.open_secrets(deps.sealer, life, row))
    if life.deleted_at is not None:
        return Failed(DELETED)
    if sent is not None:
        return _unanswered(deps, sent)
    return await _exchange_once(deps, life, session, config)


def _unanswered(deps: Deps, sent: TokenAttempt) -> Failed | Later:
    """A code sent again may revoke what it issued (RFC 6749 4.1.2), so an unknown outcome ends the attempt."""
    if sent.outcome is None and deps.clock() < sent.lease_until:
        return Later("exchange_running")
    return Failed(sent.error_code or EXCHANGE_UNKNOWN)


async def _exchange_once(
    deps: Deps, life: Life, session: AuthSession, config: ProviderConfig
) -> Candidate | Failed | Later:
    code = await _open_code(deps, session)
    if code is None:
        return Failed(EXCHANGE_UNKNOWN)
    clients = await clients_of(deps, config)
    if not clients:
        return Failed("config_deleted")
    await deps.reached(Point.EXCHANGE_BEFORE_INTENT, life.id)
    attempt = await _intend(deps, life, session, code)
    if attempt is None:
        return Later("exchange_running")
    await deps.reached(Point.EXCHANGE_AFTER_INTENT, life.id)
    sent_at = deps.clock()
    answer = await _ask(deps, life, session, code, clients, attempt)
    await deps.reached(Point.EXCHANGE_AFTER_ANSWER, life.id)
    if isinstance(answer, Failure):
        settle = partial(_refused, deps, config, attempt, answer)
        return await commit_within(settle, deps.clock, attempt.lease_until)
    refreshable = answer.refresh_token is not None
    ref = answer.reference(attempt.generation, sent_at, refreshable=refreshable, asked=session.scopes)
    secrets = credentials.Secrets(answer.access_token, answer.refresh_token)
    return await _keep(deps, life, session, attempt, ref, secrets, answer, config)


async def _ask(
    deps: Deps,
    life: Life,
    session: AuthSession,
    code: _Code,
    clients: list[ClientCredentials],
    attempt: TokenAttempt,
) -> TokenGrant | Failure:
    """Send the code. A client that was refused got nothing issued, so the previous secret may show it again."""
    provider, redirect_uri = deps.provider(life.provider_id), session.oauth_redirect_url
    return await as_the_app(
        deps,
        clients,
        lambda client: exchange_flow(
            provider, client, code=code.value, redirect_uri=redirect_uri, verifier=code.verifier
        ),
        attempt.lease_until - COMMIT,
    )


async def _keep(
    deps: Deps,
    life: Life,
    session: AuthSession,
    attempt: TokenAttempt,
    ref: CredentialRef,
    secrets: credentials.Secrets,
    grant: TokenGrant,
    config: ProviderConfig,
) -> Candidate | Failed:
    seal = partial(credentials.seal, deps.sealer, life, ref.generation, secrets)
    sealed = await commit_within(seal, deps.clock, attempt.lease_until)

    async def write() -> tuple[Candidate | Failed, bool]:
        freed = False
        async with deps.db.transaction() as tx:
            row, fresh = await lock_life(tx, life.id), await sessions.get_session(tx, session.id)
            kept = await credentials.candidate(tx, life.id, session.id)
            gone = row is None or row.deleted_at is not None
            if kept is None and (gone or fresh is None or fresh.state in ENDED):
                # Too late: a secret that is kept now would be nobody's, and never destroyed.
                await ledger.resolve(tx, attempt, ledger.SUPERSEDED, deps.clock())
                return Failed(DELETED if gone else SESSION_ENDED), freed
            if kept is None:
                kept = credentials.new_candidate(life, session.id, ref, sealed)
                tx.add(kept)
                await ledger.resolve(tx, attempt, ledger.SUCCEEDED, deps.clock())
                await sessions.forget_code(tx, session)
                if grant.account_id:
                    await _note_account(tx, session, grant.account_id)
                freed = await holds.clear(tx, session.provider_config_id, deps.clock(), attempt.started_at)
        return Candidate(kept, secrets), freed

    await deps.reached(Point.EXCHANGE_BEFORE_COMMIT, life.id)
    kept, freed = await commit_within(write, deps.clock, attempt.lease_until)
    if freed:
        await deps.trip(config_ids_of(config))
    if isinstance(kept, Failed) and grant.account_id:
        await Unwanted(life, session.id, grant.account_id, secrets).disown(deps, config)
    await deps.reached(Point.EXCHANGE_AFTER_COMMIT, life.id)
    return kept


async def _note_account(tx: AsyncSession, session: AuthSession, account_id: str) -> None:
    row = await tx.get(AuthSession, session.id)
    if row is not None:
        row.account_id = account_id
        session.account_id = account_id


async def _open_code(deps: Deps, session: AuthSession) -> _Code | None:
    async with deps.db.reading() as tx:
        visit = await tx.get(Visit, session.consumed_visit_id)
    if visit is None or session.sealed_code is None:
        return None
    code = await deps.sealer.open(session_owner(session), CODE, 1, session.sealed_code)
    verifier = None
    if visit.sealed_verifier is not None:
        verifier = await deps.sealer.open(visit_owner(session, visit.id), VERIFIER, 1, visit.sealed_verifier)
    return _Code(code, verifier)


async def _intend(deps: Deps, life: Life, session: AuthSession, code: _Code) -> TokenAttempt | None:
    key = await deps.sealer.keys.data_key(life.workspace_id, life.tenant_id)
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        if row is None or await _ledger_row(tx, session.id) is not None:
            return None
        return await ledger.open_attempt(
            tx,
            row.id,
            kind=ledger.EXCHANGE,
            generation=await allot_generation(tx, row),
            fingerprint=fingerprint(key, code.value),
            now=deps.clock(),
            lease=deps.limits.lease,
            session_id=session.id,
        )


async def _ledger_row(tx: AsyncSession, session_id: str) -> TokenAttempt | None:
    query = select(TokenAttempt).where(TokenAttempt.session_id == session_id, col(TokenAttempt.kind) == ledger.EXCHANGE)
    return (await tx.exec(query)).first()


async def _refused(deps: Deps, config: ProviderConfig, attempt: TokenAttempt, failure: Failure) -> Failed | Later:
    """Only a code that certainly was not looked at may be sent again; then its ledger row goes, as if never opened."""
    untouched = failure.code in (FailureCode.UNREACHABLE, FailureCode.RATE_LIMITED) and not failure.in_doubt
    unknown = failure.in_doubt or failure.kind is FailureKind.MOMENT
    reason, freed = EXCHANGE_UNKNOWN if unknown else failure.code, False
    async with deps.db.transaction() as tx:
        if untouched:
            await tx.delete(await tx.merge(attempt))
            return Later(failure.code, failure.retry_after)
        outcome = ledger.UNKNOWN if unknown else ledger.REFUSED
        await ledger.resolve(tx, attempt, outcome, deps.clock(), reason)
        if failure.kind is FailureKind.USER:
            freed = await holds.clear(tx, config.id, deps.clock(), attempt.started_at)  # the app itself was accepted
    if freed:
        await deps.trip(config_ids_of(config))
    return Failed(reason, hold=failure.code in THE_APPS_OWN)
