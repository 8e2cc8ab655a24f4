"""Where a workspace's events go: its URL, the secrets that sign, and how the receiver behaves."""

import base64
import secrets
from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.delivery import LONGEST_PAUSE, PAUSE_AFTER, counted, pause
from vault import outbox
from vault.crypto import Owner, SealBroken, Sealer
from vault.database import Database, announce
from vault.tables import WebhookEndpoint

PREFIX = "whsec_"
SECRET_BYTES = 32
SECRET_GRACE = timedelta(hours=24)
"""How long the secret before the newest one goes on signing."""
SECRET = "webhook_secret"


def new_secret() -> str:
    """As the Standard Webhooks specification writes one: 256 random bits in base64, behind its prefix."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


async def find(tx: AsyncSession, workspace_id: str) -> WebhookEndpoint | None:
    """The workspace's endpoint."""
    return await tx.get(WebhookEndpoint, workspace_id)


async def set_url(
    db: Database, sealer: Sealer, workspace_id: str, url: str, now: datetime, *, refreshed: bool | None = None
) -> tuple[WebhookEndpoint, str]:
    """Send events to `url` from now on; answers the endpoint and its new secret, which is kept sealed alone.

    It takes back what is known of the one before: a pause, that it was gone, and the failures of what waits. The secret
    before goes on signing for a day. `refreshed` None: as before, and off at first.
    """
    while True:
        secret = new_secret()
        endpoint = await _renewed(db, sealer, workspace_id, secret, now, url, refreshed)
        if endpoint is not None:
            return endpoint, secret


async def rotate(db: Database, sealer: Sealer, workspace_id: str, now: datetime) -> str | None:
    """A new secret; the one before goes on signing for a day. None if there is no endpoint."""
    while True:
        async with db.reading() as tx:
            if await find(tx, workspace_id) is None:
                return None
        secret = new_secret()
        if await _renewed(db, sealer, workspace_id, secret, now) is not None:
            return secret


async def remove(db: Database, workspace_id: str) -> bool:
    """Forget the endpoint, its secrets and what waits for it; False if there is none."""
    async with db.transaction() as tx:
        endpoint = await _locked(tx, workspace_id)
        if endpoint is None:
            return False
        await outbox.drop(tx, workspace_id)
        await tx.delete(endpoint)
        return True


async def signing_secrets(sealer: Sealer, endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The secret that signs, and while a rotation lasts the one before it. Raises `SealBroken`.

    One before it that does not open signs nothing: a rotation is the way out where the newest does not open.
    """
    owner, version = _owner(endpoint.workspace_id), endpoint.secret_version
    opened = [await sealer.open(owner, SECRET, version, endpoint.sealed_secret_1 or b"")]
    if endpoint.sealed_secret_2 and endpoint.secret_2_retires_at and endpoint.secret_2_retires_at > now:
        with suppress(SealBroken):
            opened.append(await sealer.open(owner, SECRET, version - 1, endpoint.sealed_secret_2))
    return opened


async def got_through(tx: AsyncSession, seen: WebhookEndpoint, now: datetime) -> None:
    """The receiver took an event; usually there is nothing to write.

    If it was paused, all that waits goes now. After fewer failures it goes within minutes, and not before each event's
    own time if the receiver refused it: that speaks against the event.
    """
    if not (seen.failures or seen.last_error):
        # A failure that was noted meanwhile stays: it may be younger.
        return
    endpoint = await _unchanged(tx, seen)
    if endpoint is None:
        return
    if endpoint.failures >= PAUSE_AFTER:
        await outbox.release(tx, seen.workspace_id, now)
    else:
        await outbox.hasten(tx, seen.workspace_id, now)
    endpoint.failures, endpoint.paused_until, endpoint.last_error = 0, None, ""


async def failed(
    tx: AsyncSession, seen: WebhookEndpoint, attempts: int, error: str, now: datetime, jitter: float
) -> None:
    """An event failed on its n-th attempt; after enough of them the endpoint is left in peace for a while."""
    endpoint = await _unchanged(tx, seen)
    if endpoint is None:
        return
    endpoint.failures = counted(endpoint.failures, attempts)
    endpoint.last_error = error
    wait = pause(endpoint.failures, jitter)
    endpoint.paused_until = now + wait if wait else None


async def unsigned(tx: AsyncSession, seen: WebhookEndpoint, now: datetime) -> None:
    """Its secret does not open: nothing goes out without a signature, and it is looked at again after a while."""
    endpoint = await _unchanged(tx, seen)
    if endpoint is not None:
        endpoint.paused_until, endpoint.last_error = now + LONGEST_PAUSE, SealBroken.code


async def gone(tx: AsyncSession, seen: WebhookEndpoint, error: str, now: datetime) -> None:
    """It asked not to be called again: nothing goes out until a URL is set anew."""
    endpoint = await _unchanged(tx, seen)
    if endpoint is not None:
        endpoint.disabled_at, endpoint.last_error = now, error


async def destroy_retired(tx: AsyncSession, now: datetime) -> None:
    """Destroy the secrets whose day is over."""
    over = (col(WebhookEndpoint.secret_2_retires_at) <= now, col(WebhookEndpoint.sealed_secret_2).is_not(None))
    await tx.exec(update(WebhookEndpoint).where(*over).values(sealed_secret_2=None, secret_2_retires_at=None))


async def _renewed(
    db: Database,
    sealer: Sealer,
    workspace_id: str,
    secret: str,
    now: datetime,
    url: str = "",
    refreshed: bool | None = None,
) -> WebhookEndpoint | None:
    """One try: sealed outside of the transaction, under a version that must still be free in it."""
    async with db.reading() as tx:
        seen = await find(tx, workspace_id)
    version = seen.secret_version + 1 if seen else 1
    sealed = await sealer.seal(_owner(workspace_id), SECRET, version, secret)
    try:
        async with db.transaction() as tx:
            endpoint = await _unchanged(tx, seen) if seen else _new(workspace_id, now)
            if endpoint is None:
                return None
            _replace_secret(endpoint, version, sealed, now)
            if url:
                await _start_over(tx, endpoint, url, refreshed)
            elif endpoint.last_error == SealBroken.code:
                endpoint.paused_until, endpoint.last_error = None, ""
                announce(tx, workspace_id)
            tx.add(endpoint)
            return endpoint
    except IntegrityError:
        return None  # somebody else made it first


def _new(workspace_id: str, now: datetime) -> WebhookEndpoint:
    return WebhookEndpoint(
        workspace_id=workspace_id,
        url="",
        refreshed=False,
        secret_version=0,
        revision=0,
        created_at=now,
        updated_at=now,
    )


def _replace_secret(endpoint: WebhookEndpoint, version: int, sealed: bytes, now: datetime) -> None:
    if endpoint.sealed_secret_1:
        endpoint.sealed_secret_2, endpoint.secret_2_retires_at = endpoint.sealed_secret_1, now + SECRET_GRACE
    endpoint.sealed_secret_1, endpoint.secret_version = sealed, version
    endpoint.revision += 1
    endpoint.updated_at = now


async def _start_over(tx: AsyncSession, endpoint: WebhookEndpoint, url: str, refreshed: bool | None) -> None:
    endpoint.url = url
    endpoint.refreshed = endpoint.refreshed if refreshed is None else refreshed
    endpoint.failures, endpoint.paused_until, endpoint.last_error, endpoint.disabled_at = 0, None, "", None
    await outbox.restart(tx, endpoint.workspace_id)
    announce(tx, endpoint.workspace_id)


async def _locked(tx: AsyncSession, workspace_id: str) -> WebhookEndpoint | None:
    query = select(WebhookEndpoint).where(WebhookEndpoint.workspace_id == workspace_id).with_for_update()
    return (await tx.exec(query)).first()


async def _unchanged(tx: AsyncSession, seen: WebhookEndpoint) -> WebhookEndpoint | None:
    """The endpoint, unless the builder changed it since: what the old one did says nothing of the new one."""
    endpoint = await _locked(tx, seen.workspace_id)
    return endpoint if endpoint and endpoint.revision == seen.revision else None


def _owner(workspace_id: str) -> Owner:
    return Owner(workspace_id, tenant_id="", kind="webhook_endpoint", id=workspace_id)
