"""A consent that was refused: what it brought is destroyed here, and revoked upstream where that harms nobody."""

from dataclasses import dataclass, field

import structlog

from activities.deps import Deps
from activities.upstream import is_shared, tell
from activities.verdict import Failed
from vault import credentials
from vault.crypto import SealBroken
from vault.keys import KeyRingError
from vault.tables import AuthSession, Life, ProviderConfig

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What the provider granted, opened before it is destroyed here."""

    life: Life
    session_id: str
    account_id: str
    secrets: credentials.Secrets = field(repr=False)

    @classmethod
    async def of(cls, deps: Deps, life: Life, session: AuthSession, verdict: Failed) -> "Unwanted | None":
        """None where nothing was granted, or nobody knows whose grant it is: it may be a living one's."""
        async with deps.db.reading() as tx:
            row = await credentials.candidate(tx, life.id, session.id)
        account_id = verdict.account_id or session.account_id
        if row is None or not account_id:
            return None
        try:
            return cls(life, session.id, account_id, await credentials.open_secrets(deps.sealer, life, row))
        except (SealBroken, KeyRingError):
            return None

    async def disown(self, deps: Deps, config: ProviderConfig) -> None:
        """Revoke upstream, tried once; a grant that is somebody's, or may be, is kept."""
        provider = deps.catalog.get(self.life.provider_id)
        if provider is None or provider.revocation is None:
            return
        if await is_shared(deps, config, self.account_id, but=self.session_id):
            return
        upstream = await tell(deps, self.life, config, self.secrets)
        log.info("a refused consent was revoked", life_id=self.life.id, upstream=str(upstream))
