"""Provider configs: a builder's OAuth apps, with sealed client secrets kept by version."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

import sqlalchemy
from sqlalchemy import ColumnElement, bindparam
from sqlmodel import col, func, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from domain.holds import SECRET_REPLACED
from domain.life import Status
from vault import holds
from vault.crypto import Owner, Sealer
from vault.database import Database
from vault.ids import new_id
from vault.tables import ClientSecret, Credential, Life, ProviderConfig

SECRET_GRACE = timedelta(hours=24)
"""How long a replaced client secret stays usable: the provider's console and ours are not changed in one moment."""
SECRET = "client_secret"
SIGNING_KEY = "signing_key"


class ConfigInUse(Exception):
    """The change would cut living installations or connections off from the app they belong to."""

    code = "config_in_use"

    def __init__(self, living: int) -> None:
        self.living = living
        super().__init__(f"{living} living installations or connections use this provider config; delete them first")


class ConfigChanged(Exception):
    """Somebody else changed the config since the revision the caller saw."""

    code = "config_changed"

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"the provider config was changed meanwhile (now revision {revision}); read it and try again")


@dataclass(frozen=True, slots=True)
class NewConfig:
    """A provider config as the builder gives it."""

    provider_id: str
    client_id: str
    client_secret: str = field(repr=False)
    oauth_redirect_url: str
    attachment: str
    enabled: bool = True
    display_name: str | None = None
    allowed_redirect_urls: list[str] | None = None
    scopes: list[str] | None = None
    bot_scopes: list[str] | None = None
    verify_user: bool = False
    trust_publishable_sessions: bool = False
    probe_interval_seconds: int | None = None
    signing_key: str | None = field(default=None, repr=False)
    client_secret_expires_at: datetime | None = None


class ConfigFields(TypedDict, total=False):
    """What of a config can be changed in the open; a field that is absent stays as it is."""

    provider_id: str
    client_id: str
    oauth_redirect_url: str
    attachment: str
    enabled: bool
    display_name: str | None
    allowed_redirect_urls: list[str] | None
    scopes: list[str] | None
    bot_scopes: list[str] | None
    verify_user: bool
    trust_publishable_sessions: bool
    probe_interval_seconds: int | None


async def create(db: Database, sealer: Sealer, workspace_id: str, new: NewConfig, now: datetime) -> ProviderConfig:
    """Store a new config and the first version of its client secret."""
    config = ProviderConfig(
        id=new_id("cfg"),
        workspace_id=workspace_id,
        provider_id=new.provider_id,
        client_id=new.client_id,
        secret_version=1,
        attachment=new.attachment,
        enabled=new.enabled,
        oauth_redirect_url=new.oauth_redirect_url,
        display_name=new.display_name,
        allowed_redirect_urls=new.allowed_redirect_urls,
        scopes=new.scopes,
        bot_scopes=new.bot_scopes,
        verify_user=new.verify_user,
        trust_publishable_sessions=new.trust_publishable_sessions,
        probe_interval_seconds=new.probe_interval_seconds,
        created_at=now,
        updated_at=now,
    )
    secret = await _sealed_secret(sealer, config, 1, new.client_secret, now)
    secret.expires_at = new.client_secret_expires_at
    config.sealed_signing_key = await _sealed_signing_key(sealer, config, new.signing_key)
    async with db.transaction() as tx:
        tx.add_all([config, secret])
    return config


async def get(tx: AsyncSession, workspace_id: str, config_id: str) -> ProviderConfig | None:
    """The workspace's config of that id, unless it was deleted."""
    return (await tx.exec(_present(workspace_id, config_id))).first()


async def search(
    tx: AsyncSession, workspace_id: str, *conditions: ColumnElement[bool], limit: int = 100, offset: int = 0
) -> list[ProviderConfig]:
    """The workspace's configs that meet the conditions, newest first."""
    query = (
        select(ProviderConfig)
        .where(ProviderConfig.workspace_id == workspace_id, col(ProviderConfig.deleted_at).is_(None), *conditions)
        .order_by(col(ProviderConfig.created_at).desc(), col(ProviderConfig.id))
        .limit(limit)
        .offset(offset)
    )
    return list(await tx.exec(query))


async def redirect_urls(db: Database) -> dict[str, list[str]]:
    """Where providers send browsers back to: each URL of an enabled config of any workspace, with the configs' ids."""
    query = (
        select(ProviderConfig.oauth_redirect_url, ProviderConfig.id)
        .where(col(ProviderConfig.deleted_at).is_(None), col(ProviderConfig.enabled))
        .order_by(ProviderConfig.oauth_redirect_url, ProviderConfig.id)
    )
    urls: dict[str, list[str]] = {}
    async with db.reading() as tx:
        for url, config_id in await tx.exec(query):
            urls.setdefault(url, []).append(config_id)
    return urls


async def change(
    db: Database,
    sealer: Sealer,
    workspace_id: str,
    config_id: str,
    now: datetime,
    *,
    client_secret: str | None = None,
    client_secret_expires_at: datetime | None = None,
    signing_key: str | None = None,
    revision: int | None = None,
    **fields: Unpack[ConfigFields],
) -> ProviderConfig | None:
    """Change what is given; None if the workspace has no such config. A new client secret is a new version.

    `client_secret_expires_at` is of the new one if there is one, else of the one that is there.
    Raises `ConfigInUse` where `client_id` or `provider_id` would change under living rows, and `ConfigChanged` if
    `revision` is given and is no longer the config's.
    """
    while True:
        async with db.reading() as tx:
            seen = await get(tx, workspace_id, config_id)
        if seen is None:
            return None
        if revision not in (None, seen.revision):
            raise ConfigChanged(seen.revision)
        version = seen.secret_version + 1
        secret = None if client_secret is None else await _sealed_secret(sealer, seen, version, client_secret, now)
        sealed_key = await _sealed_signing_key(sealer, seen, signing_key)
        async with db.transaction() as tx:
            config = await _locked(tx, workspace_id, config_id, seen.revision)
            if config is None:
                continue  # changed since it was read: the version that was sealed may be taken
            if _moves(config, fields):
                await _refuse_if_in_use(tx, config_id)
            if secret is not None:
                secret.expires_at = client_secret_expires_at
                await _replace_secret(tx, config, secret, now)
            elif client_secret_expires_at is not None:
                await _set_secret_end(tx, config, client_secret_expires_at)
            config.sealed_signing_key = sealed_key or config.sealed_signing_key
            _touch(config, now, fields)
            return config


async def delete(db: Database, workspace_id: str, config_id: str, now: datetime) -> bool:
    """Delete the config; False if there is none. Raises `ConfigInUse` while living rows use it.

    Its client secrets outlive it by the grace period: revocations of what it connected may still be under way.
    """
    async with db.transaction() as tx:
        config = await _locked(tx, workspace_id, config_id)
        if config is None:
            return False
        await _refuse_if_in_use(tx, config_id)
        await _retire(tx, config_id, now)
        config.sealed_signing_key = None
        config.deleted_at = now
        _touch(config, now, {})
        return True


async def client_secrets(db: Database, sealer: Sealer, config_id: str, now: datetime) -> list[str]:
    """The client secret to use, and after it the previous one while that may still be tried."""
    rows = await db.rows(_SECRETS, {"config_id": config_id, "now": now})
    return [
        await sealer.open(_owner(workspace_id, config_id), SECRET, version, sealed or b"")
        for workspace_id, version, sealed in rows
    ]


_SECRETS = (
    sqlalchemy.select(col(ProviderConfig.workspace_id), col(ClientSecret.version), col(ClientSecret.sealed_secret))
    .join(ProviderConfig, col(ProviderConfig.id) == col(ClientSecret.provider_config_id))
    .where(
        col(ClientSecret.provider_config_id) == bindparam("config_id"),
        col(ClientSecret.sealed_secret).is_not(None),
        col(ClientSecret.retires_at).is_(None) | (col(ClientSecret.retires_at) > bindparam("now")),
    )
    .order_by(col(ClientSecret.version).desc())
    .limit(2)
)


async def signing_key(sealer: Sealer, config: ProviderConfig) -> str:
    """What the provider signs this app's webhooks with. Raises `SealBroken`."""
    owner = _owner(config.workspace_id, config.id)
    return await sealer.open(owner, SIGNING_KEY, 1, config.sealed_signing_key or b"")


async def stays(tx: AsyncSession, config_id: str) -> bool:
    """Whether the config is there, and held so until the transaction ends: a life is about to be bound to it."""
    query = select(ProviderConfig.id).where(ProviderConfig.id == config_id, col(ProviderConfig.deleted_at).is_(None))
    return (await tx.exec(query.with_for_update(read=True))).first() is not None


async def destroy_retired(tx: AsyncSession, now: datetime) -> int:
    """Destroy the client secrets whose grace period is over; answers how many."""
    over = (col(ClientSecret.retires_at) <= now, col(ClientSecret.sealed_secret).is_not(None))
    return (await tx.exec(update(ClientSecret).where(*over).values(sealed_secret=None))).rowcount


def _present(workspace_id: str, config_id: str) -> SelectOfScalar[ProviderConfig]:
    return select(ProviderConfig).where(
        ProviderConfig.id == config_id,
        ProviderConfig.workspace_id == workspace_id,
        col(ProviderConfig.deleted_at).is_(None),
    )


async def _locked(
    tx: AsyncSession, workspace_id: str, config_id: str, revision: int | None = None
) -> ProviderConfig | None:
    query = _present(workspace_id, config_id).with_for_update()
    if revision is not None:
        query = query.where(ProviderConfig.revision == revision)
    return (await tx.exec(query)).first()


def _moves(config: ProviderConfig, fields: ConfigFields) -> bool:
    now = (config.provider_id, config.client_id)
    return now != (fields.get("provider_id", config.provider_id), fields.get("client_id", config.client_id))


async def _refuse_if_in_use(tx: AsyncSession, config_id: str) -> None:
    """A life that never was active counts once a consent brought it a credential: that belongs to this app too."""
    credentialed = select(Credential.id).where(Credential.life_id == Life.id).exists()
    living = select(func.count()).where(
        Life.provider_config_id == config_id,
        col(Life.deleted_at).is_(None),
        (col(Life.status) != Status.PENDING) | credentialed,
    )
    count = (await tx.exec(living)).one()
    if count:
        raise ConfigInUse(count)


def _touch(config: ProviderConfig, now: datetime, fields: ConfigFields) -> None:
    for name, value in fields.items():
        setattr(config, name, value)
    config.revision += 1
    config.updated_at = now


async def _replace_secret(tx: AsyncSession, config: ProviderConfig, secret: ClientSecret, now: datetime) -> None:
    await _retire(tx, config.id, now)
    tx.add(secret)
    config.secret_version = secret.version
    config.secret_noticed_days = 0
    # What the provider refused was the secret before.
    await holds.let_go(tx, config, now, SECRET_REPLACED)


async def _set_secret_end(tx: AsyncSession, config: ProviderConfig, at: datetime) -> None:
    this = (col(ClientSecret.provider_config_id) == config.id, col(ClientSecret.version) == config.secret_version)
    await tx.exec(update(ClientSecret).where(*this).values(expires_at=at))
    config.secret_noticed_days = 0


async def _retire(tx: AsyncSession, config_id: str, now: datetime) -> None:
    current = (col(ClientSecret.provider_config_id) == config_id, col(ClientSecret.retires_at).is_(None))
    await tx.exec(update(ClientSecret).where(*current).values(retires_at=now + SECRET_GRACE))


async def _sealed_secret(
    sealer: Sealer, config: ProviderConfig, version: int, secret: str, now: datetime
) -> ClientSecret:
    sealed = await sealer.seal(_owner(config.workspace_id, config.id), SECRET, version, secret)
    return ClientSecret(provider_config_id=config.id, version=version, sealed_secret=sealed, created_at=now)


async def _sealed_signing_key(sealer: Sealer, config: ProviderConfig, key: str | None) -> bytes | None:
    return None if key is None else await sealer.seal(_owner(config.workspace_id, config.id), SIGNING_KEY, 1, key)


def _owner(workspace_id: str, config_id: str) -> Owner:
    return Owner(workspace_id, tenant_id="", kind="provider_config", id=config_id)
