"""The hold of a provider config: while the provider refuses the builder's app itself, nobody tries in vain."""

from datetime import datetime

from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from vault.tables import ProviderConfig


async def hold(tx: AsyncSession, config: ProviderConfig, until: datetime, reason: str) -> bool:
    """Freeze the config: an operator's failure, for which no connection is blamed.

    False if the client secret was replaced since `config` was read: the refusal was of the one before.
    """
    same = (col(ProviderConfig.id) == config.id, col(ProviderConfig.secret_version) == config.secret_version)
    frozen = update(ProviderConfig).where(*same).values(held_until=until, held_reason=reason)
    return bool((await tx.exec(frozen)).rowcount)


async def may_try(tx: AsyncSession, config_id: str, now: datetime, until: datetime) -> bool:
    """Whether to call as this app. Of those who waited for the end of a hold one goes first, the others until then.

    Nothing is written where nothing was held, as on almost every refresh.
    """
    this = col(ProviderConfig.id) == config_id
    held_until = (await tx.exec(select(ProviderConfig.held_until).where(this))).first()
    if held_until is None:
        return True
    over = (this, col(ProviderConfig.held_until) == held_until, col(ProviderConfig.held_until) <= now)
    return bool((await tx.exec(update(ProviderConfig).where(*over).values(held_until=until))).rowcount)


async def clear_hold(tx: AsyncSession, config_id: str) -> None:
    """The app works again. It writes nothing if the config was not held, as on almost every refresh."""
    held = (col(ProviderConfig.id) == config_id, col(ProviderConfig.held_until).is_not(None))
    await tx.exec(update(ProviderConfig).where(*held).values(held_until=None, held_reason=""))
