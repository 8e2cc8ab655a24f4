"""Before a refresh token is sent: what is refreshed, whether it may be sent now, and the committed intent (law 3)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from activities.client import clients_of
from activities.deps import Deps
from activities.holding import waits_until
from activities.messages import Ending, RefreshOrder, RefreshResult
from activities.probe import identify
from activities.projection import project_reauth
from domain.holds import HoldKind
from domain.ledger import Rule, Ruling, Send, rule_on
from domain.life import Status
from domain.oauth.failures import ProbeResult
from domain.oauth.token import ClientCredentials
from providers.model import Provider
from vault import credentials, holds, ledger
from vault.lives import claim_generation, lock_life
from vault.tables import Credential, Life, ProviderConfig, TokenAttempt

IN_DOUBT = "in_doubt"
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


async def subject_of(deps: Deps, order: RefreshOrder) -> Subject | RefreshResult:
    """What is to be refreshed, or the result that says why nothing is."""
    rows = await credentials.with_its_rows(deps.db, order.life.life_id)
    if rows is None:
        return RELOAD
    life, credential, config = rows
    if life.deleted_at or life.status != Status.ACTIVE:
        return RELOAD
    if credential.generation < order.generation:
        return RELOAD  # an older vault was restored
    if credential.generation > order.generation:
        return RefreshResult(Ending.CREDENTIALED, credentials.reference(credential).for_workflow())
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


async def intend(deps: Deps, subject: Subject) -> Intent | RefreshResult:
    """Commit the intent to send; or the result that says why it may not be sent now."""
    expires_at = subject.credential.expires_at
    intent = await _claim(deps, subject, expires_at)
    if intent is not None:
        return intent
    if subject.provider.identity is not None and await ask_about(deps, subject) is not ProbeResult.REFUSED:
        later = deps.clock() + deps.limits.probe_every
        return RefreshResult(Ending.WAITING, code=IN_DOUBT, not_before=min(later, expires_at) if expires_at else later)
    if subject.provider.identity is None:
        return RefreshResult(Ending.WAITING, code=IN_DOUBT, not_before=expires_at)
    second = await _claim(deps, subject, deps.clock())
    return second or RELOAD


async def _claim(deps: Deps, subject: Subject, expires_at: datetime | None) -> Intent | RefreshResult | None:
    """Commit the intent if the ledger allows it; None asks for a probe of the old access token first."""
    if subject.config.held_until is None and (attempt := await _unhindered(deps, subject)) is not None:
        return Intent(attempt, resent=False)
    window = timedelta(seconds=subject.provider.replay_window) if subject.provider.rotation else NO_ROTATION
    async with deps.db.transaction() as tx:
        generation = await claim_generation(tx, subject.life.id, subject.credential.generation)
        if generation is None:
            return RELOAD
        now = deps.clock()  # the lease begins here: it may have waited for its turn
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


async def _unhindered(deps: Deps, subject: Subject) -> TokenAttempt | None:
    """As almost every refresh is: nothing of this token is in doubt, and its config is not held."""
    async with deps.db.directly() as tx:
        generation = await claim_generation(tx, subject.life.id, subject.credential.generation)
        if generation is not None:
            attempt = await ledger.open_unhindered(
                tx, subject.life, generation=generation, fingerprint=subject.fingerprint,
                now=deps.clock(), lease=deps.limits.lease,
            )  # fmt: skip
            if attempt is not None:
                return attempt
        tx.undo()
    return None


def _waiting(ruling: Ruling) -> RefreshResult:
    return RefreshResult(Ending.WAITING, code=IN_DOUBT, not_before=ruling.until)


async def ask_about(deps: Deps, subject: Subject) -> ProbeResult:
    """Whether the provider takes the old access token still."""
    return (await identify(deps, subject.life, subject.credential, subject.secrets.access)).result
