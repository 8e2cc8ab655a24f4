"""Is the candidate for the right site and the right account? Never guessed (law 9)."""

from dataclasses import dataclass

from activities.candidate import Candidate
from activities.deps import Deps
from activities.verdict import Failed, Later
from domain.life import Kind, Status
from domain.oauth.failures import Failure, ProbeResult
from providers.flows import Site, identity_flow, sites_flow
from vault.lives import get_life
from vault.tables import AuthSession, Life


@dataclass(frozen=True, slots=True)
class Chosen:
    """The one site (None where the provider has no sites) and the account (empty where it cannot be told)."""

    site: Site | None
    account_id: str


@dataclass(frozen=True, slots=True)
class Several:
    """The installer has to pick."""

    sites: tuple[Site, ...]


async def qualify(
    deps: Deps, life: Life, session: AuthSession, candidate: Candidate
) -> Chosen | Several | Failed | Later:
    """Site first, since the account is read through one; then the account, which also probes the token."""
    site = await _site(deps, life, session, candidate)
    if isinstance(site, Several | Failed | Later):
        return site
    return await _account(deps, life, session, candidate, site)


async def _site(
    deps: Deps, life: Life, session: AuthSession, candidate: Candidate
) -> Site | Several | Failed | Later | None:
    installation = await _installation(deps, life)
    if isinstance(installation, Failed):
        return installation
    if not deps.provider(life.provider_id).has_sites:
        return None
    flow = sites_flow(deps.provider(life.provider_id), access_token=candidate.secrets.access)
    sites = await deps.http.drive(flow, deps.limits.http)
    if isinstance(sites, Failure):
        return Later(sites.code, sites.retry_after)
    bound = installation or (life if life.site_id else None)
    if bound is not None:
        return _bound_site(sites, bound)
    return _free_site(sites, session.chosen_site_id)


async def _installation(deps: Deps, life: Life) -> Life | Failed | None:
    """A user connection lives inside an active installation and on its site."""
    if life.kind != Kind.CONNECTION or not life.installation_id:
        return None
    async with deps.db.reading() as tx:
        installation = await get_life(tx, life.installation_id)
    if installation is None or installation.deleted_at or installation.status != Status.ACTIVE:
        return Failed("installation_not_active")
    return installation


def _bound_site(sites: tuple[Site, ...], bound: Life) -> Site | Failed | None:
    if not bound.site_id:
        return None
    found = next((site for site in sites if site.id == bound.site_id), None)
    return found or Failed("site_mismatch", expected=bound.site_name or bound.site_id)


def _free_site(sites: tuple[Site, ...], chosen: str) -> Site | Several | Failed:
    if not sites:
        return Failed("no_site")
    if chosen:
        return next((site for site in sites if site.id == chosen), None) or Failed("site_lost", expected=chosen)
    return sites[0] if len(sites) == 1 else Several(sites)


async def _account(
    deps: Deps, life: Life, session: AuthSession, candidate: Candidate, site: Site | None
) -> Chosen | Failed | Later:
    provider = deps.provider(life.provider_id)
    account_id = session.account_id
    if provider.identity is not None:
        site_id = site.id if site else None
        flow = identity_flow(provider, access_token=candidate.secrets.access, site_id=site_id)
        identity = await deps.http.drive(flow, deps.limits.http)
        if isinstance(identity, Failure):
            return Later(identity.code, identity.retry_after)
        if identity.result is ProbeResult.REFUSED:
            return Failed("probe_refused")
        if identity.result is not ProbeResult.HEALTHY:
            return _unclear(identity.failure)
        account_id = identity.account_id or account_id
    if life.account_id and account_id != life.account_id:
        return Failed("account_mismatch", expected=life.account_id, account_id=account_id)
    lost = _lost(life, session, candidate)
    if lost:
        return Failed("scopes_missing", expected=" ".join(lost), account_id=account_id)
    return Chosen(site, account_id)


def _lost(life: Life, session: AuthSession, candidate: Candidate) -> list[str]:
    """What the life holds, the builder asked for again, and the new consent would take away."""
    granted, asked = candidate.row.scopes, session.scopes or ()
    if granted is None or life.granted_scopes is None:
        return []
    return [scope for scope in life.granted_scopes if scope in asked and scope not in granted]


def _unclear(failure: Failure | None) -> Failed | Later:
    """A 4xx of the identity call will not heal by asking again: the account may lack the product or the scope."""
    status = failure.status if failure else None
    if status is not None and 400 <= status < 500 and status != 429:
        return Failed("probe_failed")
    return Later(failure.code, failure.retry_after) if failure else Later("probe_unclear")
