"""End a life: tell the provider, destroy the secret, and say what happened upstream (law 10)."""

from datetime import datetime

from activities.deps import Deps
from activities.messages import Ending, LifeIds, RevokeResult
from activities.upstream import KEPT_SHARED, tell, tell_of_candidate
from domain.life import Kind, Status
from providers.flows import Upstream
from vault import credentials, sessions
from vault.crypto import SealBroken
from vault.events import append_event
from vault.keys import KeyRingError
from vault.lives import compare_and_set, get_life, lock_life, of_account
from vault.tables import Credential, Life, ProviderConfig, Tombstone

DELETED = "deleted"
WORST_FIRST = (Upstream.UNCONFIRMED, Upstream.UNSUPPORTED, KEPT_SHARED, Upstream.CONFIRMED)


async def revoke(deps: Deps, ids: LifeIds) -> RevokeResult:
    """Try the provider for a quarter of an hour from the first attempt; then destroy the secret in any case."""
    async with deps.db.transaction() as tx:
        life = await get_life(tx, ids.life_id)
        stone = await tx.get(Tombstone, ids.life_id)
        if life is not None and stone is None:
            return RevokeResult(Ending.RELOAD)  # nobody asked for it: a signal sent by hand
        if life is None or stone is None or stone.finished_at is not None:
            return RevokeResult(Ending.DONE, stone.upstream if stone else Upstream.CONFIRMED)
        stone.first_try_at = stone.first_try_at or deps.clock()
        give_up_at = stone.first_try_at + deps.limits.revocation
    upstream = await _upstream(deps, life)
    if upstream == Upstream.UNCONFIRMED and deps.clock() < give_up_at:
        return RevokeResult(Ending.STUMBLED)
    await _bury(deps, life, upstream)
    return RevokeResult(Ending.DONE, upstream)


async def _upstream(deps: Deps, life: Life) -> str:
    """What cannot be told for want of a key, a client secret or a catalog entry is unconfirmed: a deletion ends."""
    async with deps.db.reading() as tx:
        held = await credentials.held(tx, life.id)
        config = await tx.get(ProviderConfig, life.provider_config_id)
        shared = config is not None and await of_account(tx, config, life.account_id)
    if not held:
        return KEPT_SHARED if shared else Upstream.CONFIRMED
    provider = deps.catalog.get(life.provider_id)
    if provider is not None and provider.revocation is None and not shared:
        return Upstream.UNSUPPORTED
    if provider is None or config is None:
        return KEPT_SHARED if shared else Upstream.UNCONFIRMED
    try:
        told = [await _told(deps, life, config, credential, shared=shared) for credential in held]
    except (SealBroken, KeyRingError):
        return Upstream.UNCONFIRMED
    return next(answer for answer in WORST_FIRST if answer in told)


async def _told(deps: Deps, life: Life, config: ProviderConfig, credential: Credential, *, shared: bool) -> str:
    candidate = credential.role == credentials.CANDIDATE
    if shared and not candidate:
        return KEPT_SHARED
    if deps.provider(life.provider_id).revocation is None:
        return Upstream.UNSUPPORTED
    secrets = await credentials.open_secrets(deps.sealer, life, credential)
    if candidate:
        return await tell_of_candidate(deps, life, config, credential, secrets)
    return await tell(deps, life, config, secrets)


async def _bury(deps: Deps, life: Life, upstream: str) -> None:
    now = deps.clock()
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        stone = await tx.get(Tombstone, life.id)
        if row is None or stone is None or stone.finished_at is not None:
            return
        await sessions.end_open(tx, life.id, now, DELETED)
        await credentials.destroy(tx, life.id)
        stone.upstream, stone.finished_at = str(upstream), now
        await compare_and_set(tx, row, now, **_ended(row, now))
        new = DELETED if row.kind == Kind.INSTALLATION else Status.REVOKED
        await append_event(tx, row, "deleted", now, old=row.status, new=new, reason=DELETED, upstream=str(upstream))


def _ended(row: Life, now: datetime) -> dict[str, object]:
    return {
        "status": Status.REVOKED,
        "revoked_at": row.revoked_at or now,
        "next_due_at": None,
        "failures": 0,
        "health": "ok",
        "last_error": "",
    }
