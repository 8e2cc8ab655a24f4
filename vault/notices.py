"""Client secrets that will end by themselves, and telling of it once for each notice."""

from datetime import datetime, timedelta

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.forecast import CLIENT_SECRET, NOTICE_DAYS, End, notice_due
from vault.events import append_config_event
from vault.tables import ClientSecret, ProviderConfig


async def notice_secrets(tx: AsyncSession, now: datetime) -> int:
    """Tell of every present config whose client secret ends within the next notice; answers how many."""
    soon = now + timedelta(days=NOTICE_DAYS[0])
    current = (
        ClientSecret.provider_config_id == ProviderConfig.id,
        ClientSecret.version == ProviderConfig.secret_version,
    )
    query = (
        select(ProviderConfig, ClientSecret)
        .where(*current, col(ClientSecret.expires_at) > now, col(ClientSecret.expires_at) <= soon)
        .where(col(ProviderConfig.deleted_at).is_(None))
        .with_for_update(of=ProviderConfig)
    )
    return sum([await _notice(tx, config, secret, now) for config, secret in (await tx.exec(query)).all()])


async def _notice(tx: AsyncSession, config: ProviderConfig, secret: ClientSecret, now: datetime) -> bool:
    if secret.expires_at is None:
        return False
    end = End(secret.expires_at, secret.created_at, CLIENT_SECRET)
    notice = notice_due(end, config.secret_noticed_days, now)
    if notice is None:
        return False
    config.secret_noticed_days = notice.days
    due_at = end.at.isoformat()
    await append_config_event(tx, config, "secret_due", now, reason=end.reason, days=notice.days, due_at=due_at)
    return True
