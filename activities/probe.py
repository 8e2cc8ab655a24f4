"""Ask the provider whether an access token still works. Its answer is about the token, never about the grant."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.deps import Deps
from activities.ids import ids_of
from activities.messages import Ending, LifeIds, ProbeOrder, ProbeReport
from activities.projection import project_reauth
from domain.life import Status
from domain.oauth.failures import Failure, ProbeResult
from domain.schedule import backoff
from providers.flows import identity_flow
from vault import credentials
from vault.crypto import SealBroken
from vault.lives import ask_for_probe, get_life, lock_life
from vault.tables import Credential, Life

TOKEN_REFUSED = "token_refused"
UNSURE = "probe_unclear"
# An API that neither accepts nor refuses for so long has another reason than this token.
MOST_TRIES = 6
# One refusal of a token that cannot be renewed may be the API's mistake.
SECOND_LOOK = timedelta(minutes=1)
TOLD_AT_ONCE = 20


async def probe(deps: Deps, order: ProbeOrder) -> ProbeReport:
    """Probe the generation the workflow knows; another one in the row has been renewed since and needs no probe."""
    async with deps.db.reading() as tx:
        life = await get_life(tx, order.life.life_id)
        credential = await credentials.current(tx, order.life.life_id)
    if life is None:
        return ProbeReport(Ending.RELOAD)
    stale = credential is None or credential.generation != order.generation
    if credential is None or stale or life.deleted_at or life.status != Status.ACTIVE:
        return await _done(deps, life, Ending.RELOAD)
    try:
        secrets = await credentials.open_secrets(deps.sealer, life, credential)
        result = await accepts(deps, life, credential, secrets.access)
    except (SealBroken, KeyError, ValueError):
        return await _done(deps, life, Ending.DONE)  # no provider is to be asked with this; reconcile reports it
    if result is ProbeResult.UNKNOWN and deps.provider(life.provider_id).identity is not None:
        return await _unsure(deps, life, credential, order)
    if result is not ProbeResult.REFUSED:
        return await _done(deps, life, Ending.DONE)
    if credential.sealed_refresh is not None:
        return await _done(deps, life, Ending.TOKEN_REFUSED)
    return await _for_good(deps, life, credential)


async def accepts(deps: Deps, life: Life, credential: Credential, access_token: str) -> ProbeResult:
    """What the provider says of a token; a refused one is not served any more, until it is accepted again."""
    flow = identity_flow(deps.provider(life.provider_id), access_token=access_token, site_id=life.site_id or None)
    identity = await deps.http.drive(flow, deps.limits.http)
    if isinstance(identity, Failure):
        return ProbeResult.UNKNOWN
    if identity.result is ProbeResult.REFUSED and credential.refused_at is None:
        await _mark(deps, life, credential, deps.clock())
    if identity.result is ProbeResult.HEALTHY and credential.refused_at is not None:
        await _mark(deps, life, credential, None)
    return identity.result


async def tell(tx: AsyncSession, siblings: Sequence[Life], now: datetime) -> list[LifeIds]:
    """Their grant changed: these locked rows are marked to be probed at once. The answer is for telling them so."""
    await ask_for_probe(tx, siblings, now)
    return [ids_of(sibling) for sibling in siblings[:TOLD_AT_ONCE]]


async def _mark(deps: Deps, life: Life, credential: Credential, refused_at: datetime | None) -> None:
    async with deps.db.transaction() as tx:
        await credentials.mark_refused(tx, life.id, credential.generation, refused_at)


async def _unsure(deps: Deps, life: Life, credential: Credential, order: ProbeOrder) -> ProbeReport:
    tries = order.failures + 1
    if tries >= MOST_TRIES:
        if credential.sealed_refresh is None and credential.refused_at is not None:
            await _mark(deps, life, credential, None)  # one refusal, never confirmed, must not withhold it for ever
        return await _done(deps, life, Ending.DONE)
    again_at = deps.clock() + backoff(tries, order.jitter)
    await _set_probe(deps, life, again_at)
    return ProbeReport(Ending.STUMBLED, UNSURE, again_at)


async def _for_good(deps: Deps, life: Life, credential: Credential) -> ProbeReport:
    """No token endpoint can be asked about this one, so the API's word counts once it has been given twice."""
    now = deps.clock()
    if credential.refused_at is None or now < credential.refused_at + SECOND_LOOK:
        again_at = now + SECOND_LOOK
        await _set_probe(deps, life, again_at)
        return ProbeReport(Ending.STUMBLED, TOKEN_REFUSED, again_at)
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        if row is None or row.revision != life.revision:
            return ProbeReport(Ending.RELOAD)
        await project_reauth(tx, row, TOKEN_REFUSED, now)
    return ProbeReport(Ending.REFUSED, TOKEN_REFUSED)


async def _done(deps: Deps, life: Life, ending: Ending) -> ProbeReport:
    await _set_probe(deps, life, None)
    return ProbeReport(ending)


async def _set_probe(deps: Deps, life: Life, at: datetime | None) -> None:
    """Unless somebody asked anew while the provider was being asked."""
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        if row is not None and row.probe_at == life.probe_at:
            row.probe_at = at
