"""Read a life's row: what its workflow starts from, and comes back to when something changed."""

from sqlmodel.ext.asyncio.session import AsyncSession

from activities.deps import Deps
from activities.holding import waits_until
from activities.messages import LifeIds
from domain.life import Loaded, Status
from vault import credentials, ledger, sessions
from vault.lives import get_life
from vault.tables import Life, ProviderConfig


async def load(deps: Deps, ids: LifeIds) -> Loaded:
    """The state the row tells. A row that is gone reads as revoked: its workflow ends."""
    async with deps.db.reading() as tx:
        life = await get_life(tx, ids.life_id)
        if life is not None and life.status != Status.REVOKED:
            return await _loaded(deps, tx, life)
    return await _ended(deps, ids.life_id)


async def _loaded(deps: Deps, tx: AsyncSession, life: Life) -> Loaded:
    credential = await credentials.current(tx, life.id)
    opened = await sessions.open_sessions(tx, life.id)
    config = await tx.get(ProviderConfig, life.provider_config_id)
    provider = deps.catalog.get(life.provider_id)
    waits = await waits_until(tx, life, config, provider, deps.clock()) if config else None
    return Loaded(
        status=Status(life.status),
        reason=life.reason,
        credential=credentials.reference(credential).for_workflow() if credential else None,
        attempts=[sessions.as_attempt(s) for s in opened],
        returned=[s.id for s in opened if sessions.is_returned(s)],
        held_until=waits or life.held_until,
        held_reason=config.held_reason if config and waits else life.held_reason,
        deleting=life.deleted_at is not None,
        probe_at=life.probe_at,
        doubt=life.doubt,
        knows_holds=True,
        moves_waiting=True,
        in_doubt_until=await ledger.in_doubt_until(tx, life.id),
        withheld=credentials.is_withheld(credential),
    )


async def _ended(deps: Deps, life_id: str) -> Loaded:
    """No workflow will look at this life again, so nothing of it may stay open."""
    async with deps.db.transaction() as tx:
        await sessions.end_open(tx, life_id, deps.clock(), "deleted")
    return Loaded(Status.REVOKED)
