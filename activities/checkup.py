"""The check-up of a life: does its token work, is its site still there, are its scopes, and when will it all end?

What the provider says of a token is never believed of the grant: a refused token is refreshed, and heard of there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.deps import Deps
from activities.messages import Ending, ProbeOrder, ProbeReport
from activities.probe import identify, mark
from activities.projection import CheckedUp, project_checkup, project_reauth
from domain.checkup import (
    DEFAULT_INTERVAL,
    ITS_TURN,
    MOST_TRIES,
    SCOPES_LOST,
    SECOND_LOOK,
    SITE_LOST,
    TOKEN_REFUSED,
    UNCLEAR,
    UNREACHABLE,
    UNSURE_AGAIN,
    Evidence,
    Finding,
    look_again_at,
    lost,
    next_checkup,
    still_granted,
    unclear,
)
from domain.forecast import End, end_of, forgotten, next_notice_at, notice_due
from domain.life import Status
from domain.oauth.failures import Failure, ProbeResult
from domain.schedule import backoff
from providers.flows import Site, sites_flow
from providers.model import Provider
from vault import credentials, holds
from vault.crypto import SealBroken
from vault.lives import get_life, lock_life, vouching
from vault.tables import Credential, Life, ProviderConfig


@dataclass(frozen=True, slots=True)
class Patient:
    """The rows as they were read."""

    life: Life
    credential: Credential
    config: ProviderConfig
    provider: Provider
    order: ProbeOrder

    @property
    def interval(self) -> timedelta:
        return interval_of(self.config)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What goes into the row, and back to the workflow."""

    ending: Ending
    at: datetime
    """The next check-up, before a notice makes it earlier."""
    doubt: str = ""
    code: str = ""
    scopes: tuple[str, ...] | None = None
    looked: bool = True
    """Whether the provider gave an answer that counts as a look."""


def interval_of(config: ProviderConfig) -> timedelta:
    """The time between two check-ups of this config's lives."""
    return timedelta(seconds=config.probe_interval_seconds) if config.probe_interval_seconds else DEFAULT_INTERVAL


async def check_up(deps: Deps, order: ProbeOrder) -> ProbeReport:
    """Check the generation the workflow knows up, unless it is held back or other calls go first."""
    now = deps.clock()
    async with deps.db.reading() as tx:
        life = await get_life(tx, order.life.life_id)
        credential = await credentials.current(tx, order.life.life_id)
        config = await tx.get(ProviderConfig, life.provider_config_id) if life else None
    if life is None or life.deleted_at or life.status != Status.ACTIVE:
        return ProbeReport(Ending.RELOAD)
    if credential is None or config is None:
        await _postpone(deps, life, now + DEFAULT_INTERVAL)  # a row at odds with itself; reconcile reports it
        return ProbeReport(Ending.RELOAD)
    patient = Patient(life, credential, config, deps.provider(life.provider_id), order)
    if credential.generation != order.generation:
        return await _write(deps, patient, Conclusion(Ending.RELOAD, now + SECOND_LOOK, life.doubt, looked=False))
    # The release wakes only what is due to be refreshed, so this is no long wait.
    held_until = holds.waits_until(config, life.id, now, now + DEFAULT_INTERVAL)
    if held_until is not None:
        return await _waiting(deps, life, held_until, config.held_reason)
    turn = now if order.waited else deps.turn_to_probe(life.provider_id)
    if turn > now:
        return await _waiting(deps, life, turn, ITS_TURN)
    return await _examined(deps, patient)


async def _waiting(deps: Deps, life: Life, until: datetime, why: str) -> ProbeReport:
    await _postpone(deps, life, until)
    return ProbeReport(Ending.WAITING, why, until)


async def _examined(deps: Deps, patient: Patient) -> ProbeReport:
    life, later = patient.life, next_checkup(deps.clock(), patient.interval, patient.order.jitter)
    try:
        secrets = await credentials.open_secrets(deps.sealer, life, patient.credential)
        finding = await _find(deps, patient, secrets.access)
    except (SealBroken, KeyError, ValueError):
        # No provider is to be asked with this; reconcile reports it.
        return await _write(deps, patient, Conclusion(Ending.DONE, later, life.doubt, looked=False))
    if finding.result is ProbeResult.REFUSED and patient.credential.sealed_refresh is not None:
        # A refresh tells of the grant.
        return await _write(deps, patient, Conclusion(Ending.TOKEN_REFUSED, later, life.doubt, TOKEN_REFUSED))
    if finding.result is ProbeResult.UNKNOWN and finding.doubt in ("", UNCLEAR):
        return await _unsure(deps, patient, finding)
    if finding.doubt:
        return await _doubted(deps, patient, finding, later)
    return await _write(deps, patient, Conclusion(Ending.DONE, later, scopes=finding.scopes))


async def _find(deps: Deps, patient: Patient, access: str) -> Finding:
    """Who it is, then where: a site that went away explains why the first question was not answered."""
    life, provider = patient.life, patient.provider
    identity = await identify(deps, life, patient.credential, access)
    if identity.result is ProbeResult.REFUSED:
        return Finding(ProbeResult.REFUSED, TOKEN_REFUSED)
    unanswered = identity.result is ProbeResult.UNKNOWN and provider.identity is not None
    if not provider.has_sites or not life.site_id:
        return _unanswered(identity.failure) if unanswered else _granted(patient, None)
    sites = await deps.http.drive(sites_flow(provider, access_token=access), deps.limits.http)
    if isinstance(sites, Failure):
        return _unanswered(sites)
    site = next((site for site in sites if site.id == life.site_id), None)
    if site is None and not (unanswered and not unclear(identity.failure)):
        return Finding(ProbeResult.HEALTHY, SITE_LOST, explicit=bool(sites))
    return _unanswered(identity.failure) if unanswered else _granted(patient, site)


def _unanswered(failure: Failure | None) -> Finding:
    return Finding(ProbeResult.UNKNOWN, UNCLEAR if unclear(failure) else "")


def _granted(patient: Patient, site: Site | None) -> Finding:
    """A healthy one, but for scopes that the builder asked for and that were agreed and are granted no more."""
    life, listed = patient.life, site.scopes if site else ()
    scopes = still_granted(patient.credential.scopes, life.site_scopes or (), listed)
    required = [scope for scope in lost(life.granted_scopes, scopes) if scope in (life.requested_scopes or ())]
    return Finding(ProbeResult.HEALTHY, SCOPES_LOST if required else "", scopes=scopes)


async def _unsure(deps: Deps, patient: Patient, finding: Finding) -> ProbeReport:
    """An overloaded API says nothing of this life; one that answers it alone with a refusal leaves a doubt."""
    now, life, credential = deps.clock(), patient.life, patient.credential
    tries = patient.order.failures + 1
    if tries < MOST_TRIES:
        again_at = now + backoff(tries, patient.order.jitter)
        again = Conclusion(Ending.STUMBLED, again_at, life.doubt, finding.doubt or UNREACHABLE, looked=False)
        return await _write(deps, patient, again)
    if credential.sealed_refresh is None and credential.refused_at is not None:
        await mark(deps, life, credential, None)  # one refusal, never confirmed, must not withhold it for ever
    doubt = finding.doubt or life.doubt
    return await _write(deps, patient, Conclusion(Ending.DONE, now + UNSURE_AGAIN, doubt))


async def _doubted(deps: Deps, patient: Patient, finding: Finding, later: datetime) -> ProbeReport:
    """Looked at again before it is believed; and never believed of all at once."""
    life, now = patient.life, deps.clock()
    first = life.doubt != finding.doubt or life.probed_at is None
    since = None if first else life.probed_at
    async with deps.db.reading() as tx:
        vouched, tenants = await vouching(tx, life, finding.doubt, since or now)
    again_at = look_again_at(since, now, Evidence(finding.explicit, vouched, tenants))
    if again_at is None:
        return await _write(deps, patient, Conclusion(Ending.REFUSED, later, code=finding.doubt))
    # Scopes are known from the last refresh alone: the second look needs a newer word than the first.
    refresh = first and finding.doubt == SCOPES_LOST and patient.credential.sealed_refresh is not None
    ending = Ending.TOKEN_REFUSED if refresh else Ending.DONE
    conclusion = Conclusion(ending, again_at, finding.doubt, finding.doubt, finding.scopes, looked=first)
    return await _write(deps, patient, conclusion)


async def _postpone(deps: Deps, life: Life, at: datetime) -> None:
    """Unless somebody asked anew meanwhile."""
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        if row is not None and row.probe_at == life.probe_at:
            row.probe_at = at


async def _write(deps: Deps, patient: Patient, what: Conclusion) -> ProbeReport:
    """One transaction; what was refreshed or consented to meanwhile is not touched by what was seen before it."""
    async with deps.db.transaction() as tx:
        now = deps.clock()
        row = await lock_life(tx, patient.life.id)
        if row is None or row.deleted_at or row.status != Status.ACTIVE:
            return ProbeReport(Ending.RELOAD)
        if row.generation != patient.credential.generation:
            row.probe_at = now + SECOND_LOOK if row.probe_at == patient.life.probe_at else row.probe_at
            return ProbeReport(Ending.RELOAD)
        if what.ending is Ending.REFUSED:
            await project_reauth(tx, row, what.code, now)
            return ProbeReport(Ending.REFUSED, what.code)
        return await _project(tx, patient, row, what, now)


async def _project(tx: AsyncSession, patient: Patient, row: Life, what: Conclusion, now: datetime) -> ProbeReport:
    end = _end(patient, row)
    noticed = forgotten(end, row.noticed_days, now)
    notice = notice_due(end, noticed, now)
    noticed = notice.days if notice else noticed
    at = min(moment for moment in (what.at, next_notice_at(end, noticed, now)) if moment)
    if row.probe_at != patient.life.probe_at and row.probe_at is not None:
        at = row.probe_at  # somebody asked anew while the provider was being asked
    looked_at = now if what.looked else row.probed_at
    found = CheckedUp(at, looked_at, what.doubt, what.scopes, noticed, notice)
    await project_checkup(tx, row, found, now)
    stumbled = what.ending is Ending.STUMBLED
    return ProbeReport(what.ending, what.code, at if stumbled else None, next_at=at, doubt=what.doubt)


def _end(patient: Patient, row: Life) -> End | None:
    return end_of(
        patient.provider.lifespan,
        consented_at=row.consented_at or row.connected_at or row.created_at,
        issued_at=patient.credential.issued_at,
        expires_at=patient.credential.expires_at,
        refreshable=patient.credential.sealed_refresh is not None,
    )
