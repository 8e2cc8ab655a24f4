"""Read a life's row: what its workflow starts from, and comes back to when something changed."""

from activities.deps import Deps
from activities.messages import LifeIds
from domain.life import Loaded, Status
from vault import credentials, sessions
from vault.lives import get_life
from vault.tables import ProviderConfig


async def load(deps: Deps, ids: LifeIds) -> Loaded:
    """The state the row tells. A row that is gone reads as revoked: its workflow ends."""
    async with deps.db.reading() as tx:
        life = await get_life(tx, ids.life_id)
        if life is None or life.status == Status.REVOKED:
            return Loaded(Status.REVOKED)
        credential = await credentials.current(tx, life.id)
        opened = await sessions.open_sessions(tx, life.id)
        config = await tx.get(ProviderConfig, life.provider_config_id)
    held = config if config and config.held_until and config.held_until > deps.clock() else None
    return Loaded(
        status=Status(life.status),
        reason=life.reason,
        credential=credentials.reference(credential) if credential else None,
        attempts=[sessions.as_attempt(s) for s in opened],
        returned=[s.id for s in opened if sessions.is_returned(s)],
        held_until=held.held_until if held else life.held_until,
        held_reason=held.held_reason if held else life.held_reason,
        deleting=life.deleted_at is not None,
    )
