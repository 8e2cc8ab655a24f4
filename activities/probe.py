"""Ask the provider whether an access token still works. Its answer is about the token, never about the grant."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.deps import Deps
from activities.ids import ids_of
from activities.messages import LifeIds
from domain.oauth.failures import Failure, ProbeResult
from providers.flows import Identity, identity_flow
from vault import credentials
from vault.lives import ask_for_probe
from vault.tables import Credential, Life

TOLD_AT_ONCE = 20


async def identify(deps: Deps, life: Life, credential: Credential, access_token: str) -> Identity:
    """What the provider says of a token; a refused one is not served any more, until it is accepted again.

    Raises ValueError where the call needs a site and the life has none.
    """
    flow = identity_flow(deps.provider(life.provider_id), access_token=access_token, site_id=life.site_id or None)
    identity = await deps.http.drive(flow, deps.limits.http)
    if isinstance(identity, Failure):
        return Identity(ProbeResult.UNKNOWN, failure=identity)
    if identity.result is ProbeResult.REFUSED and credential.refused_at is None:
        await mark(deps, life, credential, deps.clock())
    if identity.result is ProbeResult.HEALTHY and credential.refused_at is not None:
        await mark(deps, life, credential, None)
    return identity


async def tell(tx: AsyncSession, siblings: Sequence[Life], now: datetime) -> list[LifeIds]:
    """Their grant changed: these locked rows are marked to be probed at once. The answer is for telling them so."""
    await ask_for_probe(tx, siblings, now)
    return [ids_of(sibling) for sibling in siblings[:TOLD_AT_ONCE]]


async def mark(deps: Deps, life: Life, credential: Credential, refused_at: datetime | None) -> None:
    """Withhold a token that was refused; None: serve it again."""
    async with deps.db.transaction() as tx:
        await credentials.mark_refused(tx, life.id, credential.generation, refused_at)
