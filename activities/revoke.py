"""End a life: tell the provider, destroy the secret, and say what happened upstream (law 10)."""

from datetime import datetime

from activities.deps import Deps
from activities.messages import Ending, LifeIds, RevokeResult
from domain.life import Status
from domain.oauth.failures import Failure
from domain.oauth.token import ClientCredentials
from providers.flows import Upstream, identity_flow, revocation_flow
from providers.model import Provider
from vault import configs, credentials, sessions
from vault.crypto import SealBroken
from vault.events import append_event
from vault.keys import KeyRingError
from vault.lives import compare_and_set, get_life, lock_life, of_account, siblings
from vault.tables import Credential, Life, ProviderConfig, Tombstone

KEPT_SHARED = "kept_shared"
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
        shared = await siblings(tx, life)
        config = await tx.get(ProviderConfig, life.provider_config_id)
    if shared:
        return KEPT_SHARED
    if not held:
        return Upstream.CONFIRMED
    provider = deps.catalog.get(life.provider_id)
    if provider is not None and provider.revocation is None:
        return Upstream.UNSUPPORTED
    if provider is None or config is None:
        return Upstream.UNCONFIRMED
    try:
        told = [await _tell(deps, life, credential, config, provider) for credential in held]
    except (SealBroken, KeyRingError):
        return Upstream.UNCONFIRMED
    return next(answer for answer in WORST_FIRST if answer in told)


async def _tell(deps: Deps, life: Life, credential: Credential, config: ProviderConfig, provider: Provider) -> str:
    secrets = await credentials.open_secrets(deps.sealer, life, credential)
    client = await configs.client_secrets(deps.db, deps.sealer, config.id, deps.clock())
    if not client:
        return Upstream.UNCONFIRMED
    if credential.role == credentials.CANDIDATE:
        shared = await _is_shared(deps, life, credential, secrets, provider)
        if shared is not False:
            return KEPT_SHARED if shared else Upstream.UNCONFIRMED
    flow = revocation_flow(
        provider,
        ClientCredentials(config.client_id, client[0]),
        refresh_token=secrets.refresh,
        access_token=secrets.access,
    )
    answer = await deps.http.drive(flow, deps.limits.http)
    return Upstream.UNCONFIRMED if isinstance(answer, Failure) else answer


async def _is_shared(
    deps: Deps, life: Life, candidate: Credential, secrets: credentials.Secrets, provider: Provider
) -> bool | None:
    """Whether another life lives on the grant behind a candidate, which has not joined any. None: not known yet."""
    async with deps.db.reading() as tx:
        session = await sessions.get_session(tx, candidate.session_id)
    account_id = session.account_id if session else ""
    if not account_id and provider.identity is not None:
        flow = identity_flow(provider, access_token=secrets.access, site_id=life.site_id or None)
        identity = await deps.http.drive(flow, deps.limits.http)
        account_id = "" if isinstance(identity, Failure) else identity.account_id or ""
        if not account_id:
            return None
    async with deps.db.reading() as tx:
        return bool(await of_account(tx, life, account_id))


async def _bury(deps: Deps, life: Life, upstream: str) -> None:
    now = deps.clock()
    async with deps.db.transaction() as tx:
        row = await lock_life(tx, life.id)
        stone = await tx.get(Tombstone, life.id)
        if row is None or stone is None or stone.finished_at is not None:
            return
        await sessions.end_open(tx, life.id, now, "deleted")
        await credentials.destroy(tx, life.id)
        stone.upstream, stone.finished_at = str(upstream), now
        await compare_and_set(tx, row, now, **_ended(row, now))
        append_event(tx, row, "deleted", now, old=row.status, new=Status.REVOKED, upstream=str(upstream))


def _ended(row: Life, now: datetime) -> dict[str, object]:
    return {
        "status": Status.REVOKED,
        "revoked_at": row.revoked_at or now,
        "next_due_at": None,
        "failures": 0,
        "health": "ok",
        "last_error": "",
    }
